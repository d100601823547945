//! The ledger of losses: a hash chain of entries, and the balances that follow from it.
//!
//! Entry i is kept as its format number, its canonical bytes and its head
//! `SHA-256(format ‖ head of entry i−1 ‖ canonical bytes)`; the head before the first entry is 32 zero bytes.
//! Balances, and which requests are charged, are stored nowhere else: they follow from the entries, are made from
//! them when the state is opened and carried on from there. So a charge writes to one place, at its end, however many
//! there were before it.

use crate::{
    ReleaseKey, StoreError,
    accounts::{AccountKey, RequestRef},
    codec::{Reader, charge_bytes, put_bytes},
};
use firebreak_domain::{Charge, Delta, Epsilon, FORMAT, Rho, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Where the ledger stands: what goes into each leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerHead {
    /// Entries.
    pub count: u64,
    /// The last entry's head; zeros when there is none.
    pub head: [u8; 32],
    /// Charged for fresh answers in all, less what was given back.
    pub total: Charge,
}

/// One act on the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A fresh request was charged to every account.
    Reserve(Spend),
    /// A repeat was charged to every account but those of a unit space, which its list leaves out.
    Repeat(Spend),
    /// A fresh request that never ran got its charge back.
    Refund(Spend),
    /// A chunk of blinded elements was charged to a cap.
    Evaluate(Evaluation),
    /// A whole list of tags was charged to a cap.
    HandOut(HandOut),
}

/// What a request was charged, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spend {
    pub(crate) request: RequestRef,
    pub(crate) digest: [u8; 32],
    pub(crate) release_key: ReleaseKey,
    pub(crate) charge: Charge,
    pub(crate) accounts: Vec<AccountKey>,
}

/// What a chunk was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evaluation {
    pub(crate) account: AccountKey,
    pub(crate) session: [u8; 32],
    pub(crate) chunk: u32,
    pub(crate) blinded_hash: [u8; 32],
    pub(crate) elements: u64,
}

/// What a list of tags was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandOut {
    pub(crate) account: AccountKey,
    pub(crate) list: ListRef,
    pub(crate) tags: u64,
}

/// A list of tags: the session, and SHA-256 of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListRef {
    pub(crate) session: [u8; 32],
    pub(crate) hash: [u8; 32],
}

const WHAT: &str = "ledger entry";

impl Entry {
    /// Format number, kind, time, then the parts in the order of the fields.
    pub(crate) fn to_bytes(&self, at: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.push(match self {
            Self::Reserve(_) => 1,
            Self::Repeat(_) => 2,
            Self::Refund(_) => 3,
            Self::Evaluate(_) => 4,
            Self::HandOut(_) => 5,
        });
        out.extend_from_slice(&at.secs().to_be_bytes());
        match self {
            Self::Reserve(spend) | Self::Repeat(spend) | Self::Refund(spend) => {
                out.extend_from_slice(&spend.request.principal);
                out.extend_from_slice(&spend.request.id);
                out.extend_from_slice(&spend.digest);
                out.extend_from_slice(spend.release_key.as_bytes());
                out.extend_from_slice(&charge_bytes(&spend.charge));
                out.extend_from_slice(&(spend.accounts.len() as u64).to_be_bytes());
                for account in &spend.accounts {
                    put_bytes(&mut out, account.as_bytes());
                }
            }
            Self::Evaluate(evaluation) => {
                put_bytes(&mut out, evaluation.account.as_bytes());
                out.extend_from_slice(&evaluation.session);
                out.extend_from_slice(&evaluation.chunk.to_be_bytes());
                out.extend_from_slice(&evaluation.blinded_hash);
                out.extend_from_slice(&evaluation.elements.to_be_bytes());
            }
            Self::HandOut(handed) => {
                put_bytes(&mut out, handed.account.as_bytes());
                out.extend_from_slice(&handed.list.session);
                out.extend_from_slice(&handed.list.hash);
                out.extend_from_slice(&handed.tags.to_be_bytes());
            }
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote, whose format number is known to be ours.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<(Timestamp, Self), StoreError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.u32()?;
        let kind = reader.byte()?;
        let at = Timestamp::from_secs(reader.i64()?);
        let entry = match kind {
            1 => Self::Reserve(Spend::read(&mut reader)?),
            2 => Self::Repeat(Spend::read(&mut reader)?),
            3 => Self::Refund(Spend::read(&mut reader)?),
            4 => Self::Evaluate(Evaluation {
                account: AccountKey::from_bytes(reader.bytes()?),
                session: reader.array()?,
                chunk: reader.u32()?,
                blinded_hash: reader.array()?,
                elements: reader.u64()?,
            }),
            5 => Self::HandOut(HandOut {
                account: AccountKey::from_bytes(reader.bytes()?),
                list: ListRef { session: reader.array()?, hash: reader.array()? },
                tags: reader.u64()?,
            }),
            _ => return Err(StoreError::Malformed(WHAT)),
        };
        reader.end()?;
        Ok((at, entry))
    }
}

/// An entry as it is written once it was read; `None` for bytes that are none of this format.
#[must_use]
pub fn entry_again(bytes: &[u8]) -> Option<Vec<u8>> {
    // Whoever reads one asks for the format first.
    let bytes = Some(bytes).filter(|bytes| bytes.starts_with(&FORMAT.to_be_bytes()))?;
    Entry::from_bytes(bytes).ok().map(|(at, entry)| entry.to_bytes(at))
}

impl Spend {
    fn read(reader: &mut Reader<'_>) -> Result<Self, StoreError> {
        let request = RequestRef { principal: reader.array()?, id: reader.array()? };
        let digest = reader.array()?;
        let release_key = ReleaseKey::from_bytes(reader.array()?);
        let charge = reader.charge()?;
        let mut accounts = Vec::new();
        for _ in 0..reader.u64()? {
            accounts.push(AccountKey::from_bytes(reader.bytes()?));
        }
        Ok(Self { request, digest, release_key, charge, accounts })
    }
}

/// The head after an entry.
pub(crate) fn chain(previous: &[u8; 32], entry: &[u8]) -> [u8; 32] {
    let (format, body) = entry.split_at_checked(4).unwrap_or((entry, &[]));
    Sha256::new().chain_update(format).chain_update(previous).chain_update(body).finalize().into()
}

/// Balances, requests and head as of the last entry applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) head: LedgerHead,
    pub(crate) spent: HashMap<AccountKey, Charge>,
    /// What caps have counted: by year, as the entries say, and for life, as they add up.
    pub(crate) counted: HashMap<AccountKey, u64>,
    /// The lists of tags that are charged.
    pub(crate) handed_out: BTreeSet<ListRef>,
    /// Each request that is charged and was not given back, with the entry that charges it: about a hundred bytes
    /// each. A tree, since a hash table keeps everybody waiting when it doubles.
    pub(crate) charged: BTreeMap<RequestRef, u64>,
}

/// What one transaction adds to a [`Ledger`]. It becomes part of it when the transaction is on the disk.
#[derive(Default)]
pub(crate) struct Draft {
    changed: Ledger,
    /// Requests given back that were charged before the transaction.
    given_back: HashSet<RequestRef>,
    pub(crate) rows: Vec<Row>,
}

/// An entry to be written.
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) entry: Vec<u8>,
    pub(crate) head: [u8; 32],
}

impl Ledger {
    pub(crate) fn draft(&self) -> Draft {
        Draft { changed: Ledger { head: self.head, ..Ledger::default() }, ..Draft::default() }
    }

    /// What a cap has counted.
    pub(crate) fn counted(&self, account: &AccountKey) -> u64 {
        self.counted.get(account).copied().unwrap_or_default()
    }

    /// Takes over what a transaction that is now on the disk has changed.
    pub(crate) fn commit(&mut self, draft: Draft) {
        self.head = draft.changed.head;
        self.spent.extend(draft.changed.spent);
        self.counted.extend(draft.changed.counted);
        self.handed_out.extend(draft.changed.handed_out);
        for request in draft.given_back {
            self.charged.remove(&request);
        }
        self.charged.extend(draft.changed.charged);
    }
}

/// A sum that left the range of its integers, a request or a list of tags charged twice, or a refund of what was not
/// charged.
pub(crate) struct Unbalanced;

impl Draft {
    pub(crate) fn spent(&self, base: &Ledger, account: &AccountKey) -> Charge {
        self.changed.spent.get(account).or_else(|| base.spent.get(account)).copied().unwrap_or_default()
    }

    pub(crate) fn counted(&self, base: &Ledger, account: &AccountKey) -> u64 {
        self.changed.counted.get(account).copied().unwrap_or_else(|| base.counted(account))
    }

    /// Whether that very list of tags is charged.
    pub(crate) fn is_handed_out(&self, base: &Ledger, list: &ListRef) -> bool {
        self.changed.handed_out.contains(list) || base.handed_out.contains(list)
    }

    /// The entry that charges a request, if it is charged.
    pub(crate) fn charged(&self, base: &Ledger, request: &RequestRef) -> Option<u64> {
        let before = || base.charged.get(request).filter(|_| !self.given_back.contains(request));
        self.changed.charged.get(request).or_else(before).copied()
    }

    pub(crate) fn head(&self) -> LedgerHead {
        self.changed.head
    }

    /// Appends an entry, or changes nothing. Returns its number, the first being 1.
    pub(crate) fn append(&mut self, base: &Ledger, entry: &Entry, at: Timestamp) -> Result<u64, Unbalanced> {
        let bytes = entry.to_bytes(at);
        let (seq, head) = self.apply(base, entry, &bytes)?;
        self.rows.push(Row { seq, entry: bytes, head });
        Ok(seq)
    }

    /// Counts an entry without keeping it to be written.
    pub(crate) fn apply(&mut self, base: &Ledger, entry: &Entry, bytes: &[u8]) -> Result<(u64, [u8; 32]), Unbalanced> {
        let mut total = self.changed.head.total;
        let count = self.changed.head.count + 1;
        match entry {
            Entry::Reserve(spend) | Entry::Repeat(spend) | Entry::Refund(spend) => {
                let refund = matches!(entry, Entry::Refund(_));
                if self.charged(base, &spend.request).is_some() != refund {
                    return Err(Unbalanced);
                }
                let step = |balance: Charge| match entry {
                    Entry::Refund(_) => minus(balance, spend.charge).ok_or(Unbalanced),
                    _ => balance.plus(spend.charge).map_err(|_| Unbalanced),
                };
                let changed: Vec<_> = spend
                    .accounts
                    .iter()
                    .map(|account| Ok((account.clone(), step(self.spent(base, account))?)))
                    .collect::<Result<_, Unbalanced>>()?;
                if !matches!(entry, Entry::Repeat(_)) {
                    total = step(total)?;
                }
                self.changed.spent.extend(changed);
                if !refund {
                    self.changed.charged.insert(spend.request, count);
                } else if self.changed.charged.remove(&spend.request).is_none() {
                    self.given_back.insert(spend.request);
                }
            }
            Entry::Evaluate(evaluation) => self.count(base, &evaluation.account, evaluation.elements)?,
            Entry::HandOut(handed) => {
                if self.is_handed_out(base, &handed.list) {
                    return Err(Unbalanced);
                }
                self.count(base, &handed.account, handed.tags)?;
                self.changed.handed_out.insert(handed.list);
            }
        }
        let head = chain(&self.changed.head.head, bytes);
        self.changed.head = LedgerHead { count, head, total };
        Ok((count, head))
    }

    /// Counts in the account of a year and in the one for life, or in neither.
    fn count(&mut self, base: &Ledger, account: &AccountKey, more: u64) -> Result<(), Unbalanced> {
        let accounts = [Some(account.clone()), account.for_life()].into_iter().flatten();
        let sum = |account: AccountKey| {
            let sum = self.counted(base, &account).checked_add(more).ok_or(Unbalanced)?;
            Ok((account, sum))
        };
        let changed: Vec<_> = accounts.map(sum).collect::<Result<_, Unbalanced>>()?;
        self.changed.counted.extend(changed);
        Ok(())
    }
}

fn minus(from: Charge, charge: Charge) -> Option<Charge> {
    Some(Charge {
        rho: Rho::from_nano(from.rho.nano().checked_sub(charge.rho.nano())?),
        delta: Delta::from_atto(from.delta.atto().checked_sub(charge.delta.atto())?),
        epsilon: Epsilon::from_nano(from.epsilon.nano().checked_sub(charge.epsilon.nano())?),
    })
}

#[cfg(test)]
mod tests;
