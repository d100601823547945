//! What a gateway sees of a match follows from the padded sizes, and from nothing that the sets hold.
//!
//! A recorder stands in the gateway's place between two programs that are the real ones. It has both agencies' keys, which
//! no gateway has, and ends the tunnel on both sides: so it knows each message inside of it, in its order and by its exact
//! length. Beside them it counts the bytes of the tunnel's frames, which is all that a gateway sees.

mod recorder;

use super::side::{RECEIVER, SENDER};
use crate::tunnels::{adapter, gateway, in_front};
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{ClientError, Connection, MatchAsk, record_choice, run_match};
use firebreak_domain::{Clock, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::Federation;
use firebreak_tests::{Caller, Own, change_contracts, run};
use firebreak_transport::Shutdown;
use firebreak_wire::local::v1::{ChoiceKind, MatchSummary};
use recorder::{Recorder, View, Way};
use std::time::Duration;

/// Persons of the population: fewer than a bucket of either side.
const PERSONS: u32 = 600;
/// The smallest tick of the programs that tests start.
const TICK: Duration = Duration::from_millis(20);
/// Bytes each way by which the frames of two matches with the same messages may differ: the lengths of an ECDSA
/// signature and of the date in a header, and how many records and control frames the same bytes are cut into.
const SLACK: u64 = 4096;

/// The programs, and the recorder between them.
struct Watched {
    federation: Federation,
    recorder: Recorder,
    /// The receiver's staff, and the sender's.
    desks: [Connection; 2],
    programs: [agency_adapter::program::Running; 2],
    gateway: firebreak_gateway::program::Running,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Watched {
    /// Under a sender whose register is declared to have so many.
    async fn start(sender_register: &str) -> Result<Self> {
        let (federation, folder) = Own::prepare(PERSONS)?;
        // Within the receiver's cap there is room for all the worlds.
        change_contracts(&federation, RECEIVER, &[("register_size", "200_000")])?;
        change_contracts(&federation, SENDER, &[("register_size", sender_register)])?;
        let now = SystemClock.now();
        let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
        federation.sign_bundle(1, None, validity)?;
        let shutdown = Shutdown::new();
        let genuine = gateway(&federation, &shutdown).await?;
        let recorder = Recorder::before(&federation, genuine.address).await?;
        let address = in_front(&federation, recorder.clone(), &shutdown).await?;
        // The first gateway is asked for tunnels; the second, genuine one shows the adapter the log.
        let receiver = adapter(&federation, RECEIVER, &[address, genuine.address], &shutdown).await?;
        let sender = adapter(&federation, SENDER, &[genuine.address], &shutdown).await?;
        let mut desks = Vec::new();
        for (agency, program) in [(RECEIVER, &receiver), (SENDER, &sender)] {
            let local = program.local.context("no local listener")?;
            desks.push(Caller::connect_local(&federation, agency, local).await?);
        }
        let desks: [Connection; 2] = desks.try_into().map_err(|_| anyhow::anyhow!("two desks"))?;
        let programs = [receiver, sender];
        Ok(Self { federation, recorder, desks, programs, gateway: genuine, shutdown, _folder: folder })
    }

    /// A match of those whom the condition selects: what it came to, and what was seen of it.
    async fn world(&self, selection: &str) -> Result<(MatchSummary, View)> {
        let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
        ask.selection = selection.to_owned();
        for _ in 0..100 {
            self.recorder.begin();
            let [desk, _] = &self.desks;
            match run_match(desk, &ask, &mut |_| {}).await {
                Ok(summary) => return Ok((summary, self.recorder.seen())),
                // The log is not seen yet, or the sender has yet to dial.
                Err(ClientError::Refused(refused))
                    if ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE"].contains(&refused.refusal.reason.as_str()) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the match did not end")
    }

    async fn stop(self) {
        self.shutdown.request();
        self.gateway.finished().await;
        for program in self.programs {
            program.finished().await;
        }
    }
}

#[test]
fn a_gateways_view_follows_from_the_buckets_and_from_nothing_that_the_sets_hold() -> Result<()> {
    run(async {
        let watched = Watched::start("601").await?;
        let (all, seen) = watched.world("").await?;
        ensure!(all.matched > 1, "{} matched: the population shows too little", all.matched);
        let pieces =
            seen.messages.iter().filter(|message| message.what == "ListTags" && message.way == Way::ToReceiver);
        ensure!(pieces.count() > 0, "no list was seen: {:?}", seen.messages);
        ensure!(seen.opened_after >= TICK, "the sender answered before its tick: {:?}", seen.opened_after);

        // Other sets in the same buckets.
        let mut worlds = Vec::new();
        for selection in ["birth_year >= 2012", "birth_year >= 2012 AND birth_year < 2012"] {
            worlds.push((selection, watched.world(selection).await?));
        }
        // Somebody who matched is withheld by the receiver, then by the sender.
        let canary = watched.federation.population().canary().context("no person stands in every register")?;
        let [_, patient, pupil] = &canary.person_keys;
        let [receiver, sender] = &watched.desks;
        record_choice(receiver, patient, ChoiceKind::Restrict, None).await?;
        worlds.push(("withheld by the receiver", watched.world("").await?));
        record_choice(receiver, patient, ChoiceKind::Lift, None).await?;
        record_choice(sender, pupil, ChoiceKind::Restrict, None).await?;
        worlds.push(("withheld by the sender", watched.world("").await?));
        let matched: Vec<_> = worlds.iter().map(|(_, (summary, _))| summary.matched).collect();
        let [some, none, but_one, but_one_too] = *matched.as_slice() else { bail!("{matched:?}") };
        ensure!(some < all.matched && none == 0, "the worlds do not differ: {matched:?} of {}", all.matched);
        ensure!((but_one, but_one_too) == (all.matched - 1, all.matched - 1), "{matched:?} of {}", all.matched);

        for (world, (_, view)) in &worlds {
            assert_eq!(view.messages, seen.messages, "{world}");
            for (way, before, now) in [
                ("to the sender", seen.to_sender, view.to_sender),
                ("to the receiver", seen.to_receiver, view.to_receiver),
            ] {
                ensure!(before.abs_diff(now) <= SLACK, "{world}: {now} bytes {way}, and {before} before");
            }
        }
        watched.stop().await;

        // The twin: in another bucket the view is another.
        let watched = Watched::start("10_000").await?;
        let (summary, other) = watched.world("").await?;
        assert_eq!(summary.matched, all.matched);
        ensure!(other.messages != seen.messages, "another bucket is not seen");
        ensure!(other.to_receiver > seen.to_receiver + 10 * SLACK, "the list is as long as before");
        watched.stop().await;
        Ok(())
    })
}
