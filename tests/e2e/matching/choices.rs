//! Who takes part is asked as each part of a match is sent, and to the other side, one who takes no part and one whom
//! nobody knows are the same.

use super::begun::Begun;
use anyhow::{Context, Result, ensure};
use firebreak_domain::PurposeId;
use firebreak_store::Choice;
use firebreak_tests::run;

const PURPOSE: &str = "vaccination-round";

/// The keys, in the receiver's and the sender's register, of a person whom both hold.
fn in_both(begun: &Begun) -> Result<(String, String)> {
    let canary = begun.sides.federation.population().canary().context("no person stands in every register")?;
    let [_, patient, pupil] = &canary.person_keys;
    Ok((patient.clone(), pupil.clone()))
}

fn purpose() -> Result<PurposeId> {
    Ok(PURPOSE.parse()?)
}

impl Begun {
    async fn at_receiver(&self, person: &str, choice: Choice) -> Result<()> {
        Ok(self.sides.receiver.app.state().record_choice(person.as_bytes(), &choice).await?)
    }

    async fn at_sender(&self, person: &str, choice: Choice) -> Result<()> {
        Ok(self.sides.sender.app.state().record_choice(person.as_bytes(), &choice).await?)
    }

    /// What is left of the match; whether that person was matched, how many were, and how many were withheld.
    async fn rest(mut self, person: &str) -> Result<(bool, u64, u64)> {
        while self.machine.next(&self.sides.receiver.app).await?.is_some() {
            self.evaluate().await?;
        }
        if self.machine.tag_bytes() == 0 {
            self.tags().await?;
        }
        let report = self.machine.finish(&self.sides.receiver.app).await?;
        let persons = self.sides.receiver.app.state().matched_persons(&report.session).await?;
        ensure!(persons.len() as u64 == report.matched, "the register and the report differ");
        Ok((persons.iter().any(|matched| matched.as_slice() == person.as_bytes()), report.matched, report.withheld))
    }
}

#[test]
fn a_person_who_is_restricted_at_either_side_is_not_matched_and_everybody_else_is() -> Result<()> {
    run(async {
        let begun = Begun::start().await?;
        let (patient, pupil) = in_both(&begun)?;
        // Of another purpose, and lifted: the person takes part.
        begun.at_receiver(&patient, Choice::Restrict(Some("health-planning".parse()?))).await?;
        begun.at_sender(&pupil, Choice::Restrict(None)).await?;
        begun.at_sender(&pupil, Choice::Lift(None)).await?;
        let (matched, all, withheld) = begun.rest(&patient).await?;
        ensure!(matched && withheld == 0, "the person takes part and was not matched");

        let begun = Begun::start().await?;
        begun.at_receiver(&patient, Choice::Restrict(Some(purpose()?))).await?;
        assert_eq!(begun.rest(&patient).await?, (false, all - 1, 1), "restricted at the receiver");

        let begun = Begun::start().await?;
        begun.at_sender(&pupil, Choice::Restrict(None)).await?;
        // The receiver cannot tell: it withholds nobody, and has one match less.
        assert_eq!(begun.rest(&patient).await?, (false, all - 1, 0), "restricted at the sender");
        Ok(())
    })
}

#[test]
fn what_was_sent_stays_as_it_was_and_what_is_kept_follows_the_latest_choice() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        let (patient, pupil) = in_both(&begun)?;
        // At the sender, after the list was sent: a list that is sent again is the same.
        begun.evaluate().await?;
        let list = begun.list(0).await?;
        begun.at_sender(&pupil, Choice::Restrict(None)).await?;
        ensure!(begun.list(0).await? == list, "the list changed under a person who had been sent");
        begun.sides.restart_sender().await?;
        begun.session = begun.accept_again().await?;
        begun.session.open(&begun.sides.sender.app, &begun.opening).await?;
        ensure!(begun.list(0).await? == list, "the list changed with the program");
        begun.tags().await?;
        // At the receiver, after the chunk was sent: the match is not kept.
        begun.at_receiver(&patient, Choice::Restrict(None)).await?;
        let (matched, _, withheld) = begun.rest(&patient).await?;
        ensure!(!matched && withheld == 1, "a match is kept of a person who takes no part");
        Ok(())
    })
}

#[test]
fn a_chunk_that_was_sent_is_the_same_whatever_is_chosen_meanwhile() -> Result<()> {
    run(async {
        let mut begun = Begun::start().await?;
        let (patient, _) = in_both(&begun)?;
        let bytes = async |begun: &mut Begun| -> Result<Vec<u8>> {
            let (_, chunk) = begun.machine.next(&begun.sides.receiver.app).await?.context("no chunk")?;
            Ok(chunk.as_bytes().to_vec())
        };
        begun.at_receiver(&patient, Choice::Restrict(None)).await?;
        let withheld = bytes(&mut begun).await?;
        begun.at_receiver(&patient, Choice::Lift(None)).await?;
        ensure!(bytes(&mut begun).await? == withheld, "the chunk is sent with other elements under the same number");
        begun.sides.restart_receiver().await?;
        let prepared = begun.prepare_again("").await?;
        let (key, tags) = begun.session.open(&begun.sides.sender.app, &begun.opening).await?;
        begun.machine = begun.sides.begin(prepared, &key, tags).await?;
        ensure!(bytes(&mut begun).await? == withheld, "the chunk is another after a restart");
        let (matched, _, count) = begun.rest(&patient).await?;
        ensure!(!matched && count == 1, "a person was matched who had been withheld");
        Ok(())
    })
}

/// One tag of the list is another when one person is withheld, and its size, its order and all others are the same.
#[test]
fn a_list_tells_nothing_of_who_is_withheld() -> Result<()> {
    run(async {
        let begun = Begun::start().await?;
        let (_, pupil) = in_both(&begun)?;
        let folder = begun.sides.federation.layout().adapter("education-agency").join("state");
        // The same session twice: as it is, and as it is under a copy of the state.
        let copy = begun.sides.federation.layout().root().join("state-before");
        firebreak_tests::copy_folder(&folder, &copy)?;
        let with = begun.list(0).await?;
        let mut begun = begun;
        begun.sides.sender.app.state().clone().close().await;
        std::fs::remove_dir_all(&folder)?;
        firebreak_tests::copy_folder(&copy, &folder)?;
        begun.sides.restart_sender().await?;
        begun.session = begun.accept_again().await?;
        begun.session.open(&begun.sides.sender.app, &begun.opening).await?;
        begun.at_sender(&pupil, Choice::Restrict(None)).await?;
        let without = begun.list(0).await?;
        assert_eq!(with.len(), without.len());
        let tags = |list: &[u8]| list.chunks(10).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (with, without) = (tags(&with), tags(&without));
        assert!(without.is_sorted_by(|one, other| one < other), "the order tells where somebody is missing");
        let differing = with.iter().zip(&without).filter(|(one, other)| one != other).count();
        assert_eq!(differing, 1, "one person is withheld");
        Ok(())
    })
}

#[test]
fn with_consent_as_the_legal_basis_those_alone_take_part_who_have_given_it_at_both_sides() -> Result<()> {
    run(async {
        let by_consent = async || {
            Begun::after(600, |bundle| {
                let file = bundle.join("agreements/vaccination-round.toml");
                let text = std::fs::read_to_string(&file)?;
                ensure!(text.contains("legal_basis = \"public_task\""), "the legal basis is written in another way");
                let text = text.replace("legal_basis = \"public_task\"", "legal_basis = \"consent\"");
                Ok(std::fs::write(&file, text)?)
            })
            .await
        };
        let begun = by_consent().await?;
        let (patient, pupil) = in_both(&begun)?;
        let (_, nobody, _) = begun.rest(&patient).await?;
        assert_eq!(nobody, 0, "somebody was matched without consent");
        let begun = by_consent().await?;
        begun.at_receiver(&patient, Choice::Consent(purpose()?)).await?;
        assert_eq!(begun.rest(&patient).await?.1, 0, "consent at one side is consent at both");
        let begun = by_consent().await?;
        begun.at_receiver(&patient, Choice::Consent(purpose()?)).await?;
        begun.at_sender(&pupil, Choice::Consent(purpose()?)).await?;
        let (matched, all, _) = begun.rest(&patient).await?;
        ensure!(matched && all == 1, "who consented was not matched, or somebody else was");
        Ok(())
    })
}
