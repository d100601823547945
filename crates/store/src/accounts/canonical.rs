//! Accounts and requests as the bytes under which the ledger knows them.

use crate::{
    AccountKind, CappedKey, RequestKey,
    codec::{Reader, put_bytes},
    key::prf,
};
use firebreak_domain::{CapPeriod, Counted, UnitSpaceId};

/// An account's name in the ledger: a kind byte, then its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AccountKey(Box<[u8]>);

/// A request's name in the state: the keyed hash of the principal, and the caller's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestRef {
    pub(crate) principal: [u8; 32],
    pub(crate) id: [u8; 16],
}

/// Kinds of the accounts of caps.
const EVALUATIONS: u8 = 6;
const TAGS: u8 = 7;
const EVALUATIONS_FOR_LIFE: u8 = 8;
const TAGS_FOR_LIFE: u8 = 9;

impl AccountKey {
    // PRIVACY: a principal is a person; only its keyed hash is written.
    pub(crate) fn of(account: &AccountKind, principals: &[u8; 32]) -> Self {
        let mut out = Vec::with_capacity(80);
        match account {
            AccountKind::UnitSpaceYear { space, year } => {
                out.push(1);
                put_bytes(&mut out, space.as_str().as_bytes());
                out.extend_from_slice(&year.to_be_bytes());
            }
            AccountKind::UnitSpaceLife(space) => {
                out.push(2);
                put_bytes(&mut out, space.as_str().as_bytes());
            }
            AccountKind::Agreement(agreement) => {
                out.push(3);
                put_bytes(&mut out, agreement.as_str().as_bytes());
            }
            AccountKind::Analyst { agreement, principal } => {
                out.push(4);
                put_bytes(&mut out, agreement.as_str().as_bytes());
                out.extend_from_slice(&prf(principals, &[principal.as_bytes()]));
            }
            AccountKind::Organisation(org) => {
                out.push(5);
                put_bytes(&mut out, org.as_str().as_bytes());
            }
        }
        Self(out.into())
    }

    /// The account of what a cap counts of a key for a receiver under an agreement. Entries of the ledger name that of the
    /// year; the one for life is [what the years add up to](Self::for_life).
    pub(crate) fn of_counted(counted: Counted, of: &CappedKey, period: CapPeriod) -> Self {
        Self::of_cap(counted, &[of.agreement.as_str(), of.receiver.as_str(), of.key.as_str()], period)
    }

    /// The account in which a program counted that gave an agreement's keys no caps of their own. Which key it was about
    /// cannot be known any more, so that it counts [against each](crate::State::counted).
    pub(crate) fn of_counted_without_key(counted: Counted, of: &CappedKey, period: CapPeriod) -> Self {
        Self::of_cap(counted, &[of.agreement.as_str(), of.receiver.as_str()], period)
    }

    fn of_cap(counted: Counted, parts: &[&str], period: CapPeriod) -> Self {
        let kind = match (counted, period) {
            (Counted::Evaluations, CapPeriod::Year(_)) => EVALUATIONS,
            (Counted::Tags, CapPeriod::Year(_)) => TAGS,
            (Counted::Evaluations, CapPeriod::Life) => EVALUATIONS_FOR_LIFE,
            (Counted::Tags, CapPeriod::Life) => TAGS_FOR_LIFE,
        };
        let mut out = vec![kind];
        for part in parts {
            put_bytes(&mut out, part.as_bytes());
        }
        if let CapPeriod::Year(year) = period {
            out.extend_from_slice(&year.to_be_bytes());
        }
        Self(out.into())
    }

    /// Where the account of a year that a cap counts in is counted for life; `None` for the other accounts.
    pub(crate) fn for_life(&self) -> Option<Self> {
        let (kind, rest) = self.0.split_first()?;
        let kind = match *kind {
            EVALUATIONS => EVALUATIONS_FOR_LIFE,
            TAGS => TAGS_FOR_LIFE,
            _ => return None,
        };
        let (of, _year) = rest.split_last_chunk::<4>()?;
        Some(Self([&[kind], of].concat().into()))
    }

    /// The account of persons that this names; `None` for the others.
    pub(crate) fn of_persons(&self) -> Option<AccountKind> {
        let mut reader = Reader::new("account", &self.0);
        let kind = reader.byte().ok()?;
        let space = |reader: &mut Reader<'_>| {
            let name = std::str::from_utf8(reader.bytes().ok()?).ok()?;
            UnitSpaceId::new(name).ok()
        };
        let account = match kind {
            1 => {
                let space = space(&mut reader)?;
                AccountKind::UnitSpaceYear { space, year: i32::from_be_bytes(reader.array().ok()?) }
            }
            2 => AccountKind::UnitSpaceLife(space(&mut reader)?),
            _ => return None,
        };
        reader.end().ok()?;
        Some(account)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The name of an account of persons as it is written once it was read; `None` for any other bytes.
#[must_use]
pub fn account_again(bytes: &[u8]) -> Option<Vec<u8>> {
    // The key is of principals, and persons are none.
    let account = AccountKey::from_bytes(bytes).of_persons()?;
    Some(AccountKey::of(&account, &[0; 32]).as_bytes().to_vec())
}

/// The name of the account in which that of a year is counted for life; `None` for bytes that name none that a cap counts.
#[must_use]
pub fn account_for_life(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(AccountKey::from_bytes(bytes).for_life()?.as_bytes().to_vec())
}

impl RequestRef {
    pub(crate) fn of(key: &RequestKey, principals: &[u8; 32]) -> Self {
        Self { principal: prf(principals, &[key.principal.as_bytes()]), id: *key.request_id.as_bytes() }
    }
}
