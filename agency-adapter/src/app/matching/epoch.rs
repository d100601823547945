//! Epochs: for some hours one key and one list of tags serve every small set of a match, as its agreement says.

use super::keys::Key;
use super::{MatchError, terms};
use crate::app::App;
use firebreak_domain::{
    Agreement, AgreementId, Epoch, EpochTerms, MatchCaps, OrgId, PurposeId, ReasonCode, Refusal, Timestamp,
};
use firebreak_policy::{Bundle, Permit, VisibleMatch};
use firebreak_psi::{MatchParams, PsiError, SecretSeed};
use firebreak_records::InEpoch;
use firebreak_store::{KeptEpoch, SessionError, SessionFiles, StoreError};
use sha2::{Digest, Sha256};

/// The epochs of a match by one key that was permitted.
#[derive(Clone)]
pub(super) struct Epochs {
    terms: EpochTerms,
    agreement: AgreementId,
    /// Evaluations that there can be by the key under the agreement.
    evaluations: u64,
    /// What their names begin with.
    named: Sha256,
}

/// One epoch, as both sides know it.
#[derive(Clone)]
pub(super) struct SharedEpoch {
    /// Its number and times.
    pub(super) epoch: Epoch,
    /// The name under which each side keeps what is of it.
    pub(super) name: [u8; 32],
    /// Elements of each set that is matched in it.
    pub(super) elements: u32,
    agreement: AgreementId,
    evaluations: u64,
}

impl Epochs {
    /// Those of a match by that key of the agreement that permits it; `None` where it has none.
    pub(super) fn of(permit: &Permit, key: &Key) -> Result<Option<Self>, Refusal> {
        let receivers = permit.contract(&terms(permit)?.receiver_dataset);
        let register = receivers.ok_or(Refusal::new(ReasonCode::DatasetNotCovered))?.unit_space.register_size;
        Ok(Self::under(permit.agreement(), &permit.question().purpose, key, register))
    }

    /// Those under an agreement whose receiver declares a register of so many.
    fn under(agreement: &Agreement, purpose: &PurposeId, key: &Key, register: u64) -> Option<Self> {
        let (terms, of_match) = agreement.epochs().zip(agreement.matching.as_ref())?;
        let evaluations = MatchCaps::of(agreement, key, register).evaluations.for_life;
        // SECURITY: all that key and list follow from, so that what was made for one match serves no other. The purpose is
        // in it because restrictions are for a purpose, and the evaluations because the length of tags follows from them.
        let named = Sha256::new().chain_update(b"firebreak match epoch 1\n").chain_update(format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{evaluations}\n",
            agreement.id,
            purpose,
            of_match.receiver,
            of_match.sender_dataset,
            key.field(),
            key.normaliser.number(),
            of_match.proofs,
            terms.hours,
            terms.elements,
        ));
        Some(Self { terms: *terms, agreement: agreement.id.clone(), evaluations, named })
    }

    /// The epoch of that moment.
    pub(super) fn at(&self, now: Timestamp) -> SharedEpoch {
        self.shared(self.terms.at(now))
    }

    /// The epoch of that name, if it is the one of that moment or one whose list may still be held; `None` if it has none.
    fn named(&self, name: &[u8; 32], now: Timestamp) -> Option<Epoch> {
        let first = self.terms.at(now.plus_secs(-i64::from(EpochTerms::MOST_HOLD_HOURS) * 3600)).number;
        (first..=self.terms.at(now).number)
            .map(|number| self.shared(self.terms.numbered(number)))
            .find(|of| of.name == *name)
            .map(|of| of.epoch)
    }

    /// The epoch of that number and name, in which a set was formed; `None` for a set that has a list of its own.
    ///
    /// # Errors
    /// `SESSION_MISMATCH` where the agreement has other terms by now, or no epochs.
    pub(super) fn taken_up(epochs: Option<&Self>, formed: Option<InEpoch>) -> Result<Option<SharedEpoch>, Refusal> {
        let Some(InEpoch { number, name }) = formed else { return Ok(None) };
        let numbered = epochs.map(|epochs| epochs.shared(epochs.terms.numbered(number)));
        numbered.filter(|epoch| epoch.name == name).map(Some).ok_or_else(over)
    }

    fn shared(&self, epoch: Epoch) -> SharedEpoch {
        SharedEpoch {
            epoch,
            name: self.named.clone().chain_update(epoch.number.to_be_bytes()).finalize().into(),
            elements: self.terms.elements,
            agreement: self.agreement.clone(),
            evaluations: self.evaluations,
        }
    }
}

impl App {
    /// Destroys what is kept of every epoch whose time has passed, on either side: its key, its files, a receiver's list.
    /// Gives how many they were.
    ///
    /// PRIVACY: that time is the earlier of the one that was stated when it began and the one that the agreement in force
    /// gives it. Under an agreement that has ended, or with which the epoch has no longer anything in common, it is over.
    pub(super) async fn close_epochs(&self) -> Result<u64, StoreError> {
        let now = self.state.now();
        let shortened = self.shorten_epochs(now).await;
        // Whatever became of that, what is past its time is closed.
        self.running.end_epochs(now);
        let closed = self.state.close_epochs().await?;
        shortened.map(|()| closed)
    }

    async fn shorten_epochs(&self, now: Timestamp) -> Result<(), StoreError> {
        // Out of force a bundle says of nothing whether it is permitted: what was stated when the epoch began holds.
        let Some(bundle) = self.policy.accepted().filter(|bundle| bundle.in_force(now)) else { return Ok(()) };
        for kept in self.state.kept_epochs().await? {
            let until = kept_until(&bundle, &kept, self.recorder.organisation(), now).unwrap_or(now);
            if until < kept.until {
                self.state.shorten_epoch(&kept.epoch, until).await?;
                self.running.end_epoch(&kept.epoch, until);
            }
        }
        Ok(())
    }
}

/// Until when the bundle has an organisation keep an epoch; `None` if it permits no match of that epoch.
fn kept_until(bundle: &Bundle, kept: &KeptEpoch, of: &OrgId, now: Timestamp) -> Option<Timestamp> {
    let receiver = &bundle.agreements().get(&kept.agreement)?.matching.as_ref()?.receiver;
    let VisibleMatch { agreement, receiver: receivers, .. } = bundle.visible_match(receiver, &kept.agreement, now)?;
    let keys = Key::all(agreement.matching.as_ref()?).ok()?;
    let register = receivers.unit_space.register_size;
    let pairs = agreement.purposes.iter().flat_map(|purpose| keys.iter().map(move |key| (purpose, key)));
    let mut epochs = pairs.filter_map(|(purpose, key)| Epochs::under(&agreement, purpose, key, register));
    let epoch = epochs.find_map(|epochs| epochs.named(&kept.epoch, now))?;
    Some(if of == receiver { epoch.held_until } else { epoch.ends })
}

impl SharedEpoch {
    /// The session's parameters with tags as long as all evaluations of the epoch need.
    pub(super) const fn params(&self, of_session: MatchParams) -> Result<MatchParams, PsiError> {
        of_session.of_epoch(self.evaluations)
    }

    /// Opens what is kept of it here until `until`: the seed, the same each time, and the files.
    pub(super) async fn open(&self, app: &App, until: Timestamp) -> Result<(SecretSeed, SessionFiles), MatchError> {
        let fresh = SecretSeed::generate()?;
        let opened = app.state.open_epoch(&self.name, fresh.expose(), &self.agreement, until).await;
        let seed = opened.map_err(|error| match error {
            SessionError::Closed => over().into(),
            error => MatchError::from(error),
        })?;
        let seed = SecretSeed::from_bytes(seed.as_slice().try_into().map_err(|_| MatchError::Failed)?);
        Ok((seed, app.state.session_files(&self.name).await?))
    }
}

/// Whether key and list of an epoch are still kept here: one that was ended before its time is over for whoever has them in
/// hand, too.
pub(super) async fn is_kept(app: &App, name: &[u8; 32]) -> Result<bool, MatchError> {
    match app.state.session_opened(name).await {
        Ok(_) => Ok(true),
        Err(SessionError::Closed | SessionError::Unknown) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keeps, at the sender, in which epoch a session is opened, the first time; afterwards it is that one, or none as before.
///
/// SECURITY: what was evaluated under an epoch's key goes on under no other, nor under one of the session's own.
pub(super) fn keep_epoch(files: &SessionFiles, epoch: Option<&SharedEpoch>) -> Result<(), MatchError> {
    let name = epoch.map_or([0; 32], |epoch| epoch.name);
    let mut spool = files.spool("epoch")?;
    if spool.is_empty() {
        return Ok(spool.add(&name)?);
    }
    if spool.get(0)?.as_slice() == name { Ok(()) } else { Err(MatchError::Fault(another_epoch())) }
}

/// The refusal of a session that goes on in another epoch than it was opened in.
pub(super) fn another_epoch() -> Refusal {
    let refusal = Refusal::new(ReasonCode::SessionMismatch);
    refusal.because("the session was opened in another epoch, or in none: begin a new match")
}

/// The refusal of a session whose epoch is over.
pub(super) fn over() -> Refusal {
    let refusal = Refusal::new(ReasonCode::SessionMismatch);
    refusal
        .because("the epoch of this session is over, or the agreement has other terms by now")
        .instead("a match under a new request id, once the next epoch has begun if this one was ended early")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: &str = include_str!("../../../../deploy/sample/bundle/agreements/vaccination-round.toml");
    const EPOCH: &str = "[match.epoch]\nhours = 12\nhold_hours = 18\nelements = 1024\n";
    const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

    /// The epochs by the strongest key of the sample agreement with one text in the place of another.
    fn edited(from: &str, to: &str) -> Option<Epochs> {
        let text = format!("{ROUND}\n{EPOCH}");
        assert!(text.contains(from), "{from}");
        let agreement: Agreement = toml::from_str(&text.replace(from, to)).unwrap();
        let key = Key::all(agreement.matching.as_ref().unwrap()).unwrap().remove(0);
        Epochs::under(&agreement, &agreement.purposes[0], &key, 10_000)
    }

    fn name(from: &str, to: &str) -> [u8; 32] {
        edited(from, to).unwrap().at(NOW).name
    }

    #[test]
    fn whatever_key_and_list_follow_from_makes_it_another_epoch() {
        let changes = [
            ("format = 1", "format = 1"),
            ("id = \"vaccination-round\"", "id = \"another-round\""),
            ("purposes = [\"vaccination-round\"]", "purposes = [\"letters\"]"),
            ("receiver = \"health-agency\"", "receiver = \"clinic\""),
            ("sender_dataset = \"education.enrolments\"", "sender_dataset = \"education.exams\""),
            ("name = \"number\"", "name = \"numbers\""),
            ("columns = [\"national_number\"]\nnormaliser", "columns = [\"passport\"]\nnormaliser"),
            (
                "columns = [\"national_number\"]\nnormaliser = 1",
                "columns = [\"family\", \"given\", \"born\"]\nnormaliser = 2",
            ),
            ("[match]", "[match]\nproofs = false"),
            ("hours = 12\n", "hours = 6\n"),
            ("elements = 1024", "elements = 512"),
            ("cap_permille = 1050", "cap_permille = 2100"),
            ("end = \"2034-12-31\"", "end = \"2035-12-31\""),
        ];
        let mut names: Vec<_> = changes.iter().map(|(from, to)| name(from, to)).collect();
        assert_eq!(names[0], name("hold_hours = 18", "hold_hours = 24"), "a list that is held longer is the same list");
        assert_ne!(names[0], edited("format = 1", "format = 1").unwrap().at(NOW.plus_secs(12 * 3600)).name);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), changes.len());
    }

    #[test]
    fn under_consent_with_a_payload_or_with_several_keys_there_are_none() {
        for (from, to) in [
            ("legal_basis = \"public_task\"", "legal_basis = \"consent\""),
            ("[match.epoch]", "[match.payload]\ncolumns = [\"level\"]\nretention_days = 7\n[match.epoch]"),
            (
                "[match.epoch]",
                "[[match.key]]\nname = \"other\"\ncolumns = [\"passport\"]\nnormaliser = 1\n[match.epoch]",
            ),
        ] {
            assert!(edited(from, to).is_none(), "{to}");
        }
    }

    #[test]
    fn a_set_is_taken_up_in_the_epoch_in_which_it_was_formed_and_in_no_other() {
        let epochs = edited("format = 1", "format = 1").unwrap();
        let formed = epochs.at(NOW);
        let kept = Some(InEpoch { number: formed.epoch.number, name: formed.name });
        assert_eq!(Epochs::taken_up(Some(&epochs), kept).unwrap().map(|epoch| epoch.name), Some(formed.name));
        assert!(Epochs::taken_up(Some(&epochs), None).unwrap().is_none(), "it has a list of its own");
        let other = edited("elements = 1024", "elements = 512").unwrap();
        for epochs in [None, Some(&other)] {
            let refusal = Epochs::taken_up(epochs, kept).map(|_| ()).unwrap_err();
            assert_eq!(refusal.reason, ReasonCode::SessionMismatch);
        }
    }
}
