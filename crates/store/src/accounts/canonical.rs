//! Accounts and requests as the bytes under which the ledger knows them.

use crate::{
    AccountKind, RequestKey,
    codec::{Reader, put_bytes},
    key::prf,
};
use firebreak_domain::{AgreementId, OrgId, UnitSpaceId};

/// An account's name in the ledger: a kind byte, then its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AccountKey(Box<[u8]>);

/// A request's name in the state: the keyed hash of the principal, and the caller's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestRef {
    pub(crate) principal: [u8; 32],
    pub(crate) id: [u8; 16],
}

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

    /// The account of evaluations made for a receiver under an agreement in a period.
    pub(crate) fn of_evaluations(agreement: &AgreementId, receiver: &OrgId, period: i32) -> Self {
        let mut out = vec![6];
        put_bytes(&mut out, agreement.as_str().as_bytes());
        put_bytes(&mut out, receiver.as_str().as_bytes());
        out.extend_from_slice(&period.to_be_bytes());
        Self(out.into())
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

impl RequestRef {
    pub(crate) fn of(key: &RequestKey, principals: &[u8; 32]) -> Self {
        Self { principal: prf(principals, &[key.principal.as_bytes()]), id: *key.request_id.as_bytes() }
    }
}
