//! The list of an epoch at its receiver: received once, looked up in by every session of the epoch, and deleted when the
//! agreement says. Beside it, what a session has of the sender's tags, be they an epoch's or its own.

use super::list::List;
use crate::app::App;
use crate::app::matching::epoch::SharedEpoch;
use crate::app::matching::received::keep_sender;
use crate::app::matching::running::Receiving;
use crate::app::matching::{MatchError, Prepared};
use firebreak_domain::Timestamp;
use firebreak_policy::Denial;
use firebreak_psi::{MatchParams, PublicKey};
use firebreak_records::Stated;
use firebreak_store::{LookUp, SessionFiles, StoreError};
use tokio::task::block_in_place;
use zeroize::Zeroizing;

const TAGS: &str = "tags";
const BUSY: &str = "another match is receiving the list of this epoch: send the same request again when it is there";
const OTHERWISE: &str =
    "the sender stated another key or number of tags than those with which the list of this epoch came";

/// The list of an epoch.
pub(super) struct Held {
    files: SessionFiles,
    params: MatchParams,
    /// What has arrived of it, as long as that is not all.
    arriving: Option<Arriving>,
    /// When it is deleted.
    until: Timestamp,
}

struct Arriving {
    list: List,
    /// One session receives it.
    _alone: Receiving,
}

impl Held {
    /// Opens what is held of the list of an epoch whose sender states that key, and tags of those parameters.
    ///
    /// SECURITY: the key is the one that the list came with. Under another, evaluations would be compared with tags that
    /// they have nothing to do with, and a sender that had a key for each session could tell them apart.
    pub(super) async fn open(
        app: &App,
        epoch: &SharedEpoch,
        key: &PublicKey,
        params: MatchParams,
    ) -> Result<Self, MatchError> {
        let until = epoch.epoch.held_until;
        let (_, files) = epoch.open(app, until).await?;
        let alone = if files.holds(TAGS) {
            None
        } else {
            Some(app.running.receive(epoch.name).map_err(|refusal| refusal.because(BUSY))?)
        };
        block_in_place(|| {
            keep_sender(&files, Stated { public_key: *key.as_bytes(), tags: params.sender_padded() }, OTHERWISE)?;
            let mut held = Self { files, params, arriving: None, until };
            // It may have become whole before this session was the one to receive it.
            match alone.filter(|_| !held.files.holds(TAGS)) {
                Some(alone) => {
                    let list = List::open(&held.files, params)?;
                    held.arriving = Some(Arriving { list, _alone: alone });
                    held.make_ready()?;
                }
                // What a program that was killed in between has left of it.
                None => held.files.delete(List::NAME),
            }
            Ok(held)
        })
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), MatchError> {
        match &mut self.arriving {
            Some(arriving) => arriving.list.push(piece)?,
            // It is whole: whatever comes is too much.
            None => return Err(super::of_peer(firebreak_psi::PsiError::TooManyTags)),
        }
        self.make_ready()
    }

    /// Makes single tags of the list findable once all of it has arrived.
    fn make_ready(&mut self) -> Result<(), MatchError> {
        let Some(arrived) = self.arriving.as_ref().filter(|arriving| arriving.list.is_complete()) else {
            return Ok(());
        };
        let length = self.params.tag_bytes();
        let mut writer = self.files.write_look_up(TAGS, length)?;
        // Nothing stands behind a tag: no list of an epoch has rows.
        for tag in arrived.list.entries(length) {
            writer.push(&tag?)?;
        }
        writer.finish()?;
        self.arriving = None;
        self.files.delete(List::NAME);
        Ok(())
    }
}

/// What a session has of the sender's tags.
pub(super) enum Theirs {
    /// A list of its own.
    Own(List),
    /// The list of its epoch.
    Held(Held),
}

impl Theirs {
    /// Checks and keeps the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), MatchError> {
        match self {
            Self::Own(list) => list.push(piece),
            Self::Held(held) => held.push(piece),
        }
    }

    /// Bytes that have arrived.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Own(list) | Self::Held(Held { arriving: Some(Arriving { list, .. }), .. }) => list.bytes(),
            Self::Held(Held { arriving: None, params, .. }) => params.tag_list_bytes() as u64,
        }
    }

    /// Whether all of it has.
    pub(super) const fn is_complete(&self) -> bool {
        match self {
            Self::Own(list) => list.is_complete(),
            Self::Held(held) => held.arriving.is_none(),
        }
    }

    /// When it is deleted, if it is an epoch's.
    pub(super) const fn held_until(&self) -> Option<Timestamp> {
        match self {
            Self::Own(_) => None,
            Self::Held(held) => Some(held.until),
        }
    }

    /// Searches for tags that are asked for in ascending order.
    pub(super) fn search(&self, params: &MatchParams) -> Result<Search<'_>, MatchError> {
        Ok(match self {
            Self::Own(list) => {
                let mut entries: Entries<'_> = Box::new(list.entries(params.entry_bytes()));
                Search::Read { next: entries.next().transpose()?, entries }
            }
            Self::Held(held) => Search::LookedUp(held.files.look_up(TAGS, params.tag_bytes())?),
        })
    }
}

/// A tag with its sealed row.
type Entry = Zeroizing<Vec<u8>>;
type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, StoreError>> + 'a>;

/// A search in the sender's tags.
pub(super) enum Search<'a> {
    /// By reading all of them once.
    Read { next: Option<Entry>, entries: Entries<'a> },
    /// By looking up each.
    LookedUp(LookUp),
}

impl Search<'_> {
    /// The sealed row behind the tag, of no byte where rows do not go with tags; `None` if the tag is not there. It is not
    /// below any that was asked for before.
    pub(super) fn sealed_behind(&mut self, tag: &[u8]) -> Result<Option<&[u8]>, MatchError> {
        match self {
            Self::Read { next, entries } => {
                while next.as_ref().is_some_and(|their| their.get(..tag.len()) < Some(tag)) {
                    *next = entries.next().transpose()?;
                }
                Ok(next.as_ref().and_then(|their| their.strip_prefix(tag)))
            }
            Self::LookedUp(look_up) => Ok(look_up.holds(tag)?.then_some(&[])),
        }
    }
}

impl Prepared {
    /// What there is of the sender's tags: the list of the session's epoch, or one of its own. A refusal is recorded.
    pub(super) async fn theirs(&self, app: &App, key: &PublicKey, params: MatchParams) -> Result<Theirs, MatchError> {
        let Some(epoch) = &self.epoch else {
            return Ok(Theirs::Own(block_in_place(|| List::open(&self.files, params))?));
        };
        match Held::open(app, epoch, key, params).await {
            Ok(held) => Ok(Theirs::Held(held)),
            Err(MatchError::Refused(refusal)) => {
                let denial = Denial { refusal, facts: self.standing.facts().clone() };
                Err(app.refuse_match(denial, self.standing.intent()).await)
            }
            Err(error) => Err(error),
        }
    }
}
