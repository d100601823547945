//! Small sets against a large one: for some hours one key and one list of tags serve all of them, and then both are gone.

use super::caps::by_number;
use super::side::{RECEIVER, SENDER, Side, opening, refused, submitted_by};
use super::sides::Sides;
use super::truth::expected;
use agency_adapter::app::{CHUNK_ELEMENTS, MatchError, MatchReport, Prepared, Receiver, SenderSession};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::{CapPeriod, Clock, Counted, ManualClock, ReasonCode, SystemClock, Timestamp};
use firebreak_policy::Validity as BundleValidity;
use firebreak_store::{Choice, KeptEpoch};
use firebreak_tests::{Own, run};
use firebreak_transport::{Credential, Validity};
use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::sync::Arc;

const ROUND: &str = "vaccination-round";
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const ALL: RangeInclusive<i32> = i32::MIN..=i32::MAX;
/// Elements of a small set.
const SMALL: u64 = 1024;

/// Both sides in this process, an hour after midnight, under an agreement whose epochs are of twelve hours and whose lists
/// are held for eighteen.
struct Night {
    clock: Arc<ManualClock>,
    midnight: Timestamp,
    credential: Credential,
    sides: Sides,
}

/// A session that is open and whose set is committed to.
struct Session {
    machine: Receiver,
    session: SenderSession,
    key: [u8; 32],
    /// Whether it is of an epoch, and the elements of its chunks.
    epoch: Option<u64>,
    chunk: u32,
}

impl Night {
    async fn start() -> Result<Self> {
        Self::of_small_sets(SMALL).await
    }

    /// The same, where a small set has at most so many elements.
    async fn of_small_sets(elements: u64) -> Result<Self> {
        let (federation, folder) = Own::prepare(600)?;
        let file = federation.layout().bundle().join(format!("agreements/{ROUND}.toml"));
        let text = fs::read_to_string(&file)?;
        let epoch = format!("\n[match.epoch]\nhours = 12\nhold_hours = 18\nelements = {elements}\n");
        // Enough for several sets and lists.
        ensure!(text.contains("cap_permille = 1050"), "the sample has other terms");
        fs::write(&file, text.replace("cap_permille = 1050", "cap_permille = 50000") + &epoch)?;
        let midnight = Timestamp::from_secs((SystemClock.now().secs() / DAY + 1) * DAY);
        let (start, made, end) = (midnight.plus_secs(HOUR), midnight.plus_secs(-60 * DAY), midnight.plus_secs(9 * DAY));
        federation.sign_bundle(1, None, BundleValidity { made, valid_from: made, valid_until: end })?;
        let clock = Arc::new(ManualClock::at(start));
        let sides = Sides::open(federation, folder, clock.clone()).await?;
        let validity = Validity { not_before: midnight.plus_secs(-DAY), not_after: end };
        let credential = sides.federation.authority().issue(&sides.identity, &["localhost"], validity)?;
        Ok(Self { clock, midnight, credential, sides })
    }

    fn set_hour(&self, hours: i64) {
        self.clock.set(self.midnight.plus_secs(hours * HOUR));
    }

    /// A second bundle from now on, with another text in its agreement, or without the agreement.
    async fn second_bundle(&self, from: &str, to: Option<&str>) -> Result<()> {
        // Shown for as long as what loosens has to be.
        let (made, valid_from) = (self.clock.now().plus_secs(-31 * DAY), self.clock.now());
        let valid_until = self.midnight.plus_secs(9 * DAY);
        self.sides.second_bundle(ROUND, from, to, BundleValidity { made, valid_from, valid_until }).await
    }

    /// The request of that number, as its receiver prepares it and as its sender lets it in.
    async fn let_in(&mut self, number: u8, selection: &str) -> Result<(Prepared, SenderSession)> {
        self.sides.visit().await?;
        let submitted = submitted_by(&self.credential, number, self.clock.now())?;
        let prepared = self.sides.prepare(&submitted, selection).await?;
        let session = self.sides.accept(&submitted).await?;
        Ok((prepared, session))
    }

    /// Begins the session of that number, or takes it up again.
    async fn begin(&mut self, number: u8, selection: &str) -> Result<Session> {
        let (prepared, session) = self.let_in(number, selection).await?;
        let (key, tags) = session.open(&self.sides.sender.app, &opening(&prepared)?).await?;
        let (epoch, chunk) = (prepared.epoch(), prepared.chunk_elements());
        let machine = self.sides.begin(prepared, &key, tags).await?;
        Ok(Session { machine, session, key, epoch, chunk })
    }

    /// What is left of a session, which asks for the list where it is not held.
    async fn rest(&self, mut of: Session) -> Result<MatchReport> {
        self.sides.evaluate(&of.session, &mut of.machine).await?;
        if !of.machine.has_tags() {
            let list = self.sides.list(&of.session, 0).await?;
            of.machine.push_tags(&list)?;
        }
        of.machine.keep("a receipt")?;
        of.session.close(&self.sides.sender.app).await?;
        Ok(of.machine.finish(&self.sides.receiver.app).await?)
    }

    /// The persons matched in a session are exactly those whom both hold, of the receiver's born in those years.
    async fn check(&self, report: &MatchReport, born: RangeInclusive<i32>) -> Result<()> {
        let expected = expected(self.sides.federation.population(), born);
        assert_eq!((report.offered, report.unusable), (expected.offered, expected.unusable));
        assert_eq!(self.sides.matched(&report.session).await?, expected.matched);
        ensure!(!expected.matched.is_empty(), "nobody is to match");
        Ok(())
    }

    /// Evaluations and tags that the sender has charged.
    fn charged(&self) -> Result<(u64, u64)> {
        let key = by_number()?;
        let of = |counted| self.sides.sender.app.state().counted(counted, &key, CapPeriod::Life);
        Ok((of(Counted::Evaluations), of(Counted::Tags)))
    }

    /// What a side has kept of epochs, and the folder of the last.
    async fn kept(&self, side: &Side, agency: &str) -> Result<(Vec<KeptEpoch>, bool)> {
        let epochs = side.app.state().epochs().await?;
        let last = epochs.last().context("no epoch is kept")?.epoch;
        let files = self.sides.federation.layout().adapter(agency).join("state/sessions").join(hex::encode(last));
        Ok((epochs, files.exists()))
    }
}

#[test]
fn all_sessions_of_an_epoch_have_one_list_that_is_charged_once_and_each_gives_exactly_the_truth() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let first = night.begin(1, "").await?;
        assert_eq!((u64::from(first.chunk), first.epoch.is_some()), (SMALL, true));
        let (key, tags) = (first.key, u64::from(first.machine.tags()));
        let report = night.rest(first).await?;
        night.check(&report, ALL).await?;
        assert_eq!(report.held_until, Some(night.midnight.plus_secs(18 * HOUR)));
        assert_eq!(night.charged()?, (SMALL, tags));
        let sample = night.sides.receiver.app.open_sample(&report.session, &[7; 32], 1024).await?;
        assert_eq!(sample.context("nothing opens the commitment")?.places.len() as u64, SMALL);

        // A smaller set in the same places: the sender cannot tell them apart by size.
        let second = night.begin(2, "birth_year >= 1990").await?;
        assert_eq!((second.key, u64::from(second.chunk)), (key, SMALL));
        ensure!(second.machine.has_tags(), "the list is to be sent again");
        let report = night.rest(second).await?;
        night.check(&report, 1990..=i32::MAX).await?;
        assert_eq!(night.charged()?, (2 * SMALL, tags));

        // Both programs end in between; the key, the list and the charge are the same.
        night.sides.restart_receiver().await?;
        night.sides.restart_sender().await?;
        let third = night.begin(3, "").await?;
        ensure!(third.key == key && third.machine.has_tags(), "the epoch did not outlast the programs");
        let list = night.sides.list(&third.session, 0).await?;
        ensure!((list.len() as u64).is_multiple_of(tags), "another list");
        let report = night.rest(third).await?;
        night.check(&report, ALL).await?;
        assert_eq!(night.charged()?, (3 * SMALL, tags), "the list was charged again");
        Ok(())
    })
}

#[test]
fn a_set_that_is_not_small_has_a_key_and_a_list_of_its_own() -> Result<()> {
    run(async {
        let mut night = Night::of_small_sets(64).await?;
        let large = night.begin(1, "").await?;
        assert_eq!((large.epoch, large.chunk), (None, CHUNK_ELEMENTS));
        let key = large.key;
        let report = night.rest(large).await?;
        night.check(&report, ALL).await?;
        assert_eq!(report.held_until, None);
        ensure!(night.sides.receiver.app.state().epochs().await?.is_empty(), "a list is held");
        ensure!(night.begin(2, "").await?.key != key, "two sessions have one key");
        Ok(())
    })
}

#[test]
fn a_list_is_gone_when_the_agreement_says_and_the_next_epoch_has_no_tag_of_the_last() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let mut first = night.begin(1, "").await?;
        let (key, list) = (first.key, night.sides.list(&first.session, 0).await?);
        let length = list.len() / first.machine.tags() as usize;
        first.machine.push_tags(&list)?;
        ensure!(night.kept(&night.sides.sender, SENDER).await?.1, "the sender keeps nothing of the epoch");

        night.set_hour(12);
        refused(first.session.check(&night.sides.sender.app).await, ReasonCode::SessionMismatch)?;
        ensure!(night.sides.sender.app.close_old_sessions().await? == 1, "the sender keeps its key");
        let (epochs, files) = night.kept(&night.sides.sender, SENDER).await?;
        let closed = epochs.first().and_then(|epoch| epoch.closed_at);
        assert_eq!((closed, files), (Some(night.clock.now()), false));
        // A request of the epoch that is over begins no other.
        drop(first);
        let (prepared, session) = night.let_in(1, "").await?;
        let again = session.open(&night.sides.sender.app, &opening(&prepared)?).await;
        refused(again, ReasonCode::SessionMismatch)?;
        drop((prepared, session));

        let mut second = night.begin(2, "").await?;
        ensure!(second.key != key && !second.machine.has_tags(), "the next epoch has the same key");
        let next = night.sides.list(&second.session, 0).await?;
        let tags: HashSet<&[u8]> = list.chunks_exact(length).collect();
        ensure!(next.chunks_exact(length).all(|tag| !tags.contains(tag)), "a tag comes in both epochs");
        second.machine.push_tags(&next)?;
        drop(second);

        // The first list is held for the hours of the agreement, and not for one second more.
        night.clock.set(night.midnight.plus_secs(18 * HOUR - 1));
        assert_eq!(night.sides.receiver.app.close_old_sessions().await?, 0);
        night.set_hour(18);
        assert_eq!(night.sides.receiver.app.close_old_sessions().await?, 1);
        let (epochs, files) = night.kept(&night.sides.receiver, RECEIVER).await?;
        let closed: Vec<_> = epochs.iter().map(|epoch| epoch.closed_at).collect();
        assert_eq!((closed, files), (vec![Some(night.clock.now()), None], true), "one of the two lists is gone");
        let files = night.sides.federation.layout().adapter(RECEIVER).join("state/sessions");
        let first = epochs.first().context("no epoch is kept")?.epoch;
        ensure!(!files.join(hex::encode(first)).exists(), "the list of the first epoch is there");
        Ok(())
    })
}

#[test]
fn an_agreement_that_ends_or_that_has_other_terms_ends_what_both_sides_keep_at_once() -> Result<()> {
    run(async {
        for (from, to, kept) in [
            ("end = \"2034-12-31\"\nreview = \"2034", Some("end = \"2025-12-31\"\nreview = \"2025"), false),
            ("", None, false),
            ("hours = 12\n", Some("hours = 6\n"), false),
            // What neither the key nor the list follows from.
            ("retention_days = 180", Some("retention_days = 170"), true),
        ] {
            let mut night = Night::start().await?;
            let report = {
                let first = night.begin(1, "").await?;
                night.rest(first).await?
            };
            night.check(&report, ALL).await?;
            for side in [&night.sides.receiver, &night.sides.sender] {
                assert_eq!(side.app.close_old_sessions().await?, 0, "{to:?}: nothing has changed yet");
            }
            night.second_bundle(from, to).await.with_context(|| format!("{to:?}"))?;
            for (side, agency) in [(&night.sides.receiver, RECEIVER), (&night.sides.sender, SENDER)] {
                assert_eq!(side.app.close_old_sessions().await?, u64::from(!kept), "{to:?}");
                let (epochs, files) = night.kept(side, agency).await?;
                let closed = epochs.first().and_then(|epoch| epoch.closed_at);
                assert_eq!((closed, files), ((!kept).then(|| night.clock.now()), kept), "{to:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_session_of_an_epoch_that_was_ended_early_has_nothing_more_evaluated_or_compared() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let mut first = night.begin(1, "").await?;
        let list = night.sides.list(&first.session, 0).await?;
        first.machine.push_tags(&list)?;
        night.sides.evaluate(&first.session, &mut first.machine).await?;
        first.machine.keep("a receipt")?;
        let second = night.begin(2, "").await?;
        // An agreement that still runs, and allows fewer evaluations for life because it ends a year earlier.
        let (from, to) = ("end = \"2034-12-31\"\nreview = \"2034", "end = \"2033-12-31\"\nreview = \"2033");
        night.second_bundle(from, Some(to)).await?;
        for side in [&night.sides.receiver, &night.sides.sender] {
            assert_eq!(side.app.close_old_sessions().await?, 1);
        }
        let sides = &night.sides;
        refused(second.session.check(&sides.sender.app).await, ReasonCode::SessionMismatch)?;
        refused(first.machine.finish(&sides.receiver.app).await, ReasonCode::SessionMismatch)
    })
}

#[test]
fn a_list_that_is_to_be_held_for_fewer_hours_is_and_the_sender_keeps_its_key_to_the_end() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let first = night.begin(1, "").await?;
        night.rest(first).await?;
        night.second_bundle("hold_hours = 18", Some("hold_hours = 12")).await?;
        for (hour, gone) in [(11, 0), (12, 1)] {
            night.set_hour(hour);
            for side in [&night.sides.receiver, &night.sides.sender] {
                assert_eq!(side.app.close_old_sessions().await?, gone, "at {hour}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_match_whose_list_is_past_its_time_compares_nothing() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let mut of = night.begin(1, "").await?;
        night.sides.evaluate(&of.session, &mut of.machine).await?;
        let list = night.sides.list(&of.session, 0).await?;
        of.machine.push_tags(&list)?;
        of.machine.keep("a receipt")?;
        night.set_hour(18);
        refused(of.machine.finish(&night.sides.receiver.app).await, ReasonCode::SessionMismatch)?;
        night.sides.receiver.app.close_old_sessions().await?;
        drop(of);
        // Nor does the same request, which has all that the sender was needed for.
        let (prepared, _) = night.let_in(1, "").await?;
        let received = prepared.received()?.context("nothing is kept")?;
        let taken_up = prepared.take_up(&night.sides.receiver.app, &received).await.map(drop);
        refused(taken_up, ReasonCode::SessionMismatch)
    })
}

#[test]
fn a_sender_with_another_key_than_the_list_came_with_is_named() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let first = night.begin(1, "").await?;
        let tags = first.machine.tags();
        night.rest(first).await?;
        // A point of the group that is not the sender's key: twice the base point (RFC 9496, appendix A.1).
        let other = hex::decode("6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919")?;
        let (prepared, _) = night.let_in(2, "").await?;
        match night.sides.begin(prepared, &other, tags).await {
            Ok(_) => bail!("another key was taken"),
            Err(error) => match error.downcast_ref::<MatchError>() {
                Some(MatchError::Fault(refusal)) => {
                    assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
                    ensure!(refusal.detail.contains("the list of this epoch"), "{refusal}");
                }
                _ => return Err(error),
            },
        }
        let twin = night.begin(3, "").await?;
        let report = night.rest(twin).await?;
        night.check(&report, ALL).await
    })
}

/// A difference between two lists would tell when a person came or went.
#[test]
fn a_list_is_the_same_to_the_end_of_its_epoch_and_who_is_restricted_is_in_none_that_follows() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let first = night.begin(1, "").await?;
        let list = night.sides.list(&first.session, 0).await?;
        drop(first);
        let canary = night.sides.federation.population().canary().context("no person stands in every register")?;
        let [_, patient, pupil] = &canary.person_keys;
        night.sides.sender.app.state().record_choice(pupil.as_bytes(), &Choice::Restrict(None)).await?;
        night.sides.restart_sender().await?;
        let second = night.begin(2, "").await?;
        ensure!(night.sides.list(&second.session, 0).await? == list, "the list was changed in its epoch");
        let report = night.rest(second).await?;
        ensure!(
            night.sides.matched(&report.session).await?.contains(patient),
            "the tag was there before, and cannot be taken back"
        );

        night.set_hour(12);
        night.sides.sender.app.close_old_sessions().await?;
        let next = night.begin(3, "").await?;
        let report = night.rest(next).await?;
        ensure!(
            !night.sides.matched(&report.session).await?.contains(patient),
            "a restricted person is in the next list"
        );
        Ok(())
    })
}

#[test]
fn a_list_that_broke_off_goes_on_in_the_next_session_and_one_at_a_time_receives_it() -> Result<()> {
    run(async {
        let mut night = Night::start().await?;
        let mut first = night.begin(1, "").await?;
        let list = night.sides.list(&first.session, 0).await?;
        let half = list.len() / first.machine.tags() as usize * 100;
        let (begun, rest) = list.split_at(half);
        first.machine.push_tags(begun)?;

        let (prepared, session) = night.let_in(2, "").await?;
        let (key, tags) = session.open(&night.sides.sender.app, &opening(&prepared)?).await?;
        match night.sides.begin(prepared, &key, tags).await {
            Ok(_) => bail!("two sessions receive the list"),
            Err(error) => match error.downcast_ref::<MatchError>() {
                Some(MatchError::Refused(refusal)) => {
                    ensure!(refusal.detail.contains("another match is receiving"), "{refusal}");
                }
                _ => return Err(error),
            },
        }
        drop((first, session));

        night.sides.restart_receiver().await?;
        let mut second = night.begin(2, "").await?;
        assert_eq!(second.machine.tag_bytes(), half as u64, "it goes on elsewhere");
        second.machine.push_tags(rest)?;
        ensure!(second.machine.has_tags(), "the list is not whole");
        ensure!(second.machine.push_tags(begun).is_err(), "more than the list was taken");
        let report = night.rest(second).await?;
        night.check(&report, ALL).await
    })
}
