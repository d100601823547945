//! A random sample of a committed set, opened inside the agency for those who oversee it.
//!
//! The set is formed again, of the same cut and selection and with what the session kept for it, and must give the root
//! that stands in the log. That alone shows that nothing was in it that this register does not hold, to whoever trusts
//! this program. The places are for whoever does not: who drew them looks each identifier up in the source itself.

use super::form::{self, Forming, Places};
use crate::app::App;
use crate::app::matching::MatchError;
use crate::app::matching::keys::Chosen;
use firebreak_domain::{ReasonCode, Refusal};
use firebreak_psi::{Opening, Root, Shuffle, Slot, sample_places, verify_opening};
use firebreak_query::selection;
use firebreak_records::{Behind, Reading, SetOpening, read_item, read_key};
use firebreak_store::{CommittedSetSource, LeafHash, SessionFiles};
use std::collections::BTreeMap;
use tokio::task::block_in_place;

/// Places that are opened at once, at most.
pub const MOST_PLACES: u32 = 65_536;

/// A sample of the set that a session committed to.
pub struct Sample {
    /// What was committed to.
    pub root: Root,
    /// The leaf of the log in which that stands.
    pub leaf: LeafHash,
    /// The places drawn, in ascending order.
    pub places: Vec<SampledPlace>,
}

/// A place of the set, opened.
pub struct SampledPlace {
    /// The place, its content and its way to the root.
    pub opening: Opening,
    /// Whether it holds no identifier.
    pub padding: bool,
    /// The agency's own keys of those who stand behind its identifier.
    pub persons: Vec<String>,
}

/// What a session has kept that opens its commitment.
struct Kept {
    leaf: LeafHash,
    shuffle: Shuffle,
    root: Root,
}

impl Kept {
    fn read(opening: &[u8]) -> Option<Self> {
        let (SetOpening { leaf, seed, .. }, root) = SetOpening::decode(opening)?;
        Some(Self { leaf, shuffle: Shuffle::new(seed), root })
    }
}

fn refused(what: &'static str) -> MatchError {
    Refusal::new(ReasonCode::SessionMismatch).because(what).into()
}

impl App {
    /// Opens `count` places, at most [`MOST_PLACES`], of the set that a session committed to, drawn by `seed`
    /// ([`sample_places`]). `None` for a session of which nothing is kept that would open it.
    ///
    /// It says nothing of what was sent, and nothing of what matched.
    ///
    /// # Errors
    /// [`MatchError`]; `SESSION_MISMATCH` where the register, the agreement or the contract no longer gives the set
    /// that was committed to.
    pub async fn open_sample(
        &self,
        session: &[u8; 32],
        seed: &[u8; 32],
        count: u32,
    ) -> Result<Option<Sample>, MatchError> {
        let (kept, source) = (self.state.session_opening(session).await?, self.state.set_source(session).await?);
        let Some((kept, source)) = kept.zip(source) else { return Ok(None) };
        let kept = Kept::read(&kept).ok_or(MatchError::Failed)?;
        let scratch = self.state.scratch_files()?;
        self.form_again(&source, &kept, scratch.files()).await?;
        let places = sample_places(&kept.root, seed, count.min(MOST_PLACES));
        let places = block_in_place(|| opened(&kept, places, scratch.files()))?;
        Ok(Some(Sample { root: kept.root, leaf: kept.leaf, places }))
    }

    /// Forms the set of that source once more, in as many places as were committed to. Whom a stronger key matched is in it
    /// like everybody.
    async fn form_again(
        &self,
        source: &CommittedSetSource,
        kept: &Kept,
        files: &SessionFiles,
    ) -> Result<(), MatchError> {
        let bundle = self.policy.bundle()?;
        // The match may be over long since, and its agreement too: what is looked at is what was.
        let terms = bundle.agreements().get(&source.agreement).and_then(|agreement| agreement.matching.as_ref());
        let terms = terms.ok_or_else(|| refused("the bundle no longer has the agreement under which it was formed"))?;
        let contract = bundle.contracts().get(&source.dataset);
        let contract = contract.ok_or_else(|| refused("the bundle no longer has the contract of its dataset"))?;
        let reading = match &source.reading {
            Some(text) => Reading::of(text).ok_or(MatchError::Failed)?,
            None => Chosen::of(terms, "")?.key.reading(),
        };
        let condition = selection(contract, &source.selection)?;
        let rows = self.datasets.rows_to_match(contract, &source.cut, &reading.columns()).await?;
        let forming = Forming {
            condition: condition.as_ref(),
            reading: &reading,
            shuffle: &kept.shuffle,
            files,
            // What the set is formed from is compared with nothing here.
            terms: [0; 32],
            cut: source.cut.clone(),
            places: Places::Committed(kept.root.size),
            disclosed: false,
        };
        forming.form(rows, None).await?;
        Ok(())
    }
}

/// Those places of the set in `files`, if it is the one that was committed to.
fn opened(kept: &Kept, places: Vec<u32>, files: &SessionFiles) -> Result<Vec<SampledPlace>, MatchError> {
    let mut builder = kept.shuffle.sample(places);
    let mut slots = form::slots(files)?.read()?;
    while let Some(record) = slots.next()? {
        builder.push(read_item(record.as_array().ok_or(MatchError::Failed)?).ok_or(MatchError::Failed)?.as_ref())?;
    }
    // Fewer places than were committed to hold fewer than were drawn.
    let formed = builder.finish().ok().filter(|(root, _)| *root == kept.root);
    let (root, openings) = formed.ok_or_else(|| {
        refused(
            "the register's cut and the selection do not give the set that was committed to: one of them was changed",
        )
    })?;
    let mut persons = persons_behind(&openings, files)?;
    let sampled = openings.into_iter().map(|opening| {
        verify_opening(&root, &opening)?;
        let padding = Slot::from_bytes(&opening.item).is_some_and(|slot| slot.is_padding());
        Ok::<_, MatchError>(SampledPlace {
            padding,
            persons: persons.remove(&opening.index).unwrap_or_default(),
            opening,
        })
    });
    sampled.collect()
}

/// Who stands behind the places that were opened.
fn persons_behind(openings: &[Opening], files: &SessionFiles) -> Result<BTreeMap<u32, Vec<String>>, MatchError> {
    let mut persons: BTreeMap<u32, Vec<String>> = openings.iter().map(|o| (o.index, Vec::new())).collect();
    let mut reader = form::persons(files)?.read()?;
    while let Some(record) = reader.next()? {
        let person = Behind::read(record).ok_or(MatchError::Failed)?;
        if let Some(behind) = persons.get_mut(&person.place) {
            let key = read_key(person.key).ok_or(MatchError::Failed)?;
            behind.push(String::from_utf8(key.to_vec()).map_err(|_| MatchError::Failed)?);
        }
    }
    Ok(persons)
}
