//! Accounts of privacy loss: reserving before anything runs, and giving back what was never used.

mod canonical;
mod reserve;

pub(crate) use canonical::{AccountKey, RequestRef};
pub use canonical::{account_again, account_for_life};

use crate::{OwnRelease, ReleaseKey, StoreError, StoredRelease, ledger::Spend, releases::Known, state::Refundable};
use firebreak_domain::{AgreementId, Charge, OrgId, RequestId, UnitSpaceId};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Whose loss an account counts.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountKind {
    /// The persons of a unit space, in one calendar year.
    UnitSpaceYear {
        /// The register of persons.
        space: UnitSpaceId,
        /// The year.
        year: i32,
    },
    /// The persons of a unit space, for ever.
    UnitSpaceLife(UnitSpaceId),
    /// All that one agreement asks.
    Agreement(AgreementId),
    /// All that one caller asks under one agreement.
    Analyst {
        /// The agreement.
        agreement: AgreementId,
        /// The caller's authenticated URI. Stored under a keyed hash alone.
        principal: String,
    },
    /// All that one organisation asks.
    Organisation(OrgId),
}

/// What every person of a unit space can have lost, at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonLoss {
    /// For life.
    pub for_life: Charge,
    /// By the calendar year in which it was charged.
    pub by_year: BTreeMap<i32, Charge>,
}

/// The kind of an account without its name: what an error may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountClass {
    /// [`AccountKind::UnitSpaceYear`].
    UnitSpaceYear,
    /// [`AccountKind::UnitSpaceLife`].
    UnitSpaceLife,
    /// [`AccountKind::Agreement`].
    Agreement,
    /// [`AccountKind::Analyst`].
    Analyst,
    /// [`AccountKind::Organisation`].
    Organisation,
}

/// An account and what may be spent from it in all.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountLimit {
    /// The account.
    pub account: AccountKind,
    /// Its limit. An ε of zero means that ε is not limited on its own ([`Charge::within`]).
    pub limit: Charge,
}

/// What makes two requests the same: who asks, under what number, and what.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The caller's authenticated URI. Stored under a keyed hash alone.
    pub principal: String,
    /// The number that the caller gave the request.
    pub request_id: RequestId,
    /// SHA-256 of the request.
    pub digest: [u8; 32],
}

/// One of several things that are reserved together ([`State::reserve_all`](crate::State::reserve_all)).
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// Under which request. Each of several has one of its own.
    pub key: RequestKey,
    /// What is to be released.
    pub release_key: ReleaseKey,
    /// What each account is charged.
    pub charge: Charge,
    /// The accounts; at least one.
    pub accounts: Vec<AccountLimit>,
}

/// A charge that stands in the ledger, and the right to store one release for it.
///
/// It cannot be copied or made elsewhere, and is used up by [`State::settle`](crate::State::settle) or
/// [`State::abandon`](crate::State::abandon). Dropping it keeps the charge: a request of the same id and digest
/// takes it up again.
#[must_use = "the charge stands until the reservation is settled or abandoned"]
pub struct Reservation {
    pub(crate) request: RequestRef,
    pub(crate) release_key: ReleaseKey,
    pub(crate) charge: Charge,
    /// What an unexecuted fresh reservation gives back; a resumed one gives nothing back.
    pub(crate) spend: Option<Spend>,
    pub(crate) refundable: Arc<Refundable>,
}

impl Reservation {
    /// What is to be released under it.
    #[must_use]
    pub fn release_key(&self) -> ReleaseKey {
        self.release_key
    }

    /// What was charged to each account.
    #[must_use]
    pub fn charge(&self) -> Charge {
        self.charge
    }

    /// To be called before the engine is asked. From here on the charge is never returned.
    pub fn mark_executing(&self) {
        self.refundable.forget(&self.request);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.refundable.forget(&self.request);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("charge", &self.charge).finish_non_exhaustive()
    }
}

/// What a request for a reservation came to.
#[derive(Debug)]
pub enum Reserved {
    /// Charged now.
    Fresh(Reservation),
    /// Charged before under the same id and digest, and nothing stored yet: it may run again under that charge.
    Resumed(Reservation),
    /// The release that this very request settled, with its evidence.
    Stored(OwnRelease),
    /// What is asked was released before, for another request of whomever. At first sight it is recorded as a request
    /// for that release, and charged to all accounts but those of a unit space, as if fresh. Sent again, and also where
    /// the other was merely faster, it is charged nothing more.
    // PRIVACY: without the evidence, which tells of the other request.
    Repeat(StoredRelease),
}

impl From<Known> for Reserved {
    fn from(known: Known) -> Self {
        match known {
            Known::Own(own) => Self::Stored(own),
            Known::Others(release) => Self::Repeat(release),
        }
    }
}

/// Why nothing was reserved. Nothing was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// An account would be overdrawn.
    #[error(
        "the privacy-loss budget of {account} does not cover this: ask for less precision, or wait for the next period"
    )]
    Exhausted {
        /// Which kind of account.
        account: AccountClass,
        /// What is left of it.
        left: Charge,
    },
    /// No account was named, so that nothing would bear the loss.
    #[error("no account was named that bears the loss")]
    NoAccount,
    /// The caller used the number for another request.
    #[error("the request id was used for another request: send this one under a new id")]
    RequestIdReused,
    /// The same request means another cut, rests on another contract or costs something else by now.
    #[error("the cut, the contract or the price changed since the request was first sent: send it under a new id")]
    RequestChanged,
    /// The request was charged in another year and nothing was released for it, or it was decided in another year.
    #[error(
        "a request is decided, paid for and, if it was kept, taken up again within one calendar year, and another has \
         begun: send it under a new id"
    )]
    OtherYear,
    /// The state failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of the charge of an abandoned reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Given back; the request counts as never sent.
    Refunded,
    /// Kept: the engine may have been asked.
    Kept,
}

impl AccountKind {
    /// The kind without the name.
    #[must_use]
    pub fn class(&self) -> AccountClass {
        match self {
            Self::UnitSpaceYear { .. } => AccountClass::UnitSpaceYear,
            Self::UnitSpaceLife(_) => AccountClass::UnitSpaceLife,
            Self::Agreement(_) => AccountClass::Agreement,
            Self::Analyst { .. } => AccountClass::Analyst,
            Self::Organisation(_) => AccountClass::Organisation,
        }
    }
}

impl AccountClass {
    /// Whether it counts the loss of persons, rather than a share of somebody who asks.
    #[must_use]
    pub fn is_unit_space(self) -> bool {
        matches!(self, Self::UnitSpaceYear | Self::UnitSpaceLife)
    }
}

impl fmt::Display for AccountClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnitSpaceYear => "the persons of this register for the period",
            Self::UnitSpaceLife => "the persons of this register for life",
            Self::Agreement => "the agreement",
            Self::Analyst => "the caller under the agreement",
            Self::Organisation => "the organisation",
        })
    }
}

impl fmt::Debug for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.class().fmt(f)
    }
}

impl fmt::Debug for AccountLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountLimit").field("account", &self.account).field("limit", &self.limit).finish()
    }
}
