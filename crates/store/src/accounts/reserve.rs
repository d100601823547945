//! Reserving and giving back, each in one transaction.

use super::{
    Abandoned, AccountClass, AccountKey, AccountLimit, Claim, RequestKey, RequestRef, Reservation, ReserveError,
    Reserved,
};
use crate::{
    AccountKind, ReleaseKey, State, StoreError, StoredRelease,
    ledger::{Entry, Spend},
    releases::{self, Kept, Known},
    writer::Work,
};
use firebreak_domain::{Charge, Delta, Epsilon, Rho, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

/// A limit, in the ledger's terms.
struct Limit {
    class: AccountClass,
    key: AccountKey,
    limit: Charge,
}

/// A claim, in the ledger's terms. Of its spend the accounts are filled in by [`examine`].
struct Claimed {
    spend: Spend,
    limits: Vec<Limit>,
    /// The year whose account pays, if one does.
    year: Option<i32>,
}

/// What was found of a claim.
enum Found {
    /// Nothing more is charged for it.
    Before(Reserved),
    /// It is charged for; the release is one of another request for the same.
    New(Box<Spend>, Option<StoredRelease>),
}

/// What the claims examined so far will have changed.
#[derive(Default)]
struct Planned {
    requests: HashSet<RequestRef>,
    spent: HashMap<AccountKey, Charge>,
    total: Option<Charge>,
}

impl Planned {
    fn spent(&self, work: &Work, key: &AccountKey) -> Charge {
        self.spent.get(key).copied().unwrap_or_else(|| work.spent(key))
    }
}

impl State {
    /// Charges `charge` to every one of `accounts`, on the disk before it returns, unless the request or what it asks
    /// for was answered before.
    ///
    /// An account that is named twice is charged once and must keep within every limit given for it. A request belongs
    /// to its principal: another's request of the same id looks unused. What was stored for it before
    /// may have another release key than `release_key`, where cut, contract or price changed meanwhile: whether it
    /// still answers the question is for the caller to see.
    ///
    /// # Errors
    /// [`ReserveError`]; nothing was charged then.
    pub async fn reserve(
        &self,
        key: &RequestKey,
        release_key: &ReleaseKey,
        charge: Charge,
        accounts: &[AccountLimit],
    ) -> Result<Reserved, ReserveError> {
        if accounts.is_empty() {
            return Err(ReserveError::NoAccount);
        }
        let principals = &self.shared.keys.principals;
        let request = RequestRef::of(key, principals);
        if let Some(Kept { digest, known }) = self.recent(&request) {
            return if digest == key.digest { Ok(known.into()) } else { Err(ReserveError::RequestIdReused) };
        }
        let claim = self.claimed(request, key.digest, release_key, charge, accounts);
        let reserved = self.write_asking(vec![*release_key], move |work| Box::pin(reserve(work, claim))).await??;
        self.keep_known(request, key.digest, &reserved);
        Ok(reserved)
    }

    /// Reserves each of several things, as [`State::reserve`] does, in one transaction: all of them or none. An account
    /// of several claims is charged for each.
    ///
    /// # Errors
    /// [`ReserveError`]; nothing was charged for any of them then.
    pub async fn reserve_all(&self, claims: &[Claim]) -> Result<Vec<Reserved>, ReserveError> {
        if claims.iter().any(|claim| claim.accounts.is_empty()) {
            return Err(ReserveError::NoAccount);
        }
        let request = |claim: &Claim| RequestRef::of(&claim.key, &self.shared.keys.principals);
        let claimed = |claim: &Claim| {
            self.claimed(request(claim), claim.key.digest, &claim.release_key, claim.charge, &claim.accounts)
        };
        let all: Vec<Claimed> = claims.iter().map(claimed).collect();
        let asked = claims.iter().map(|claim| claim.release_key).collect();
        let reserved = self.write_asking(asked, move |work| Box::pin(reserve_all(work, all))).await??;
        for (claim, reserved) in claims.iter().zip(&reserved) {
            self.keep_known(request(claim), claim.key.digest, reserved);
        }
        Ok(reserved)
    }

    fn claimed(
        &self,
        request: RequestRef,
        digest: [u8; 32],
        release_key: &ReleaseKey,
        charge: Charge,
        accounts: &[AccountLimit],
    ) -> Claimed {
        let limit = |account: &AccountLimit| Limit {
            class: account.account.class(),
            key: AccountKey::of(&account.account, &self.shared.keys.principals),
            limit: account.limit,
        };
        let year = accounts.iter().find_map(|account| match account.account {
            AccountKind::UnitSpaceYear { year, .. } => Some(year),
            _ => None,
        });
        let spend = Spend { request, digest, release_key: *release_key, charge, accounts: Vec::new() };
        Claimed { spend, limits: accounts.iter().map(limit).collect(), year }
    }

    /// Gives the charge back, provided that this very reservation was charged by this run of the program, was never
    /// marked as executing, and nobody has taken its request up again. The request then counts as never sent.
    ///
    /// # Errors
    /// [`StoreError`]: the charge is kept.
    pub async fn abandon(&self, reservation: Reservation) -> Result<Abandoned, StoreError> {
        self.own(&reservation)?;
        self.write(move |work| Box::pin(abandon(work, reservation))).await
    }

    // SECURITY: a reservation pays in the ledger that made it and in no other.
    pub(crate) fn own(&self, reservation: &Reservation) -> Result<(), StoreError> {
        if Arc::ptr_eq(&reservation.refundable, &self.shared.core.refundable) {
            Ok(())
        } else {
            Err(StoreError::OtherState)
        }
    }

    fn recent(&self, request: &RequestRef) -> Option<Kept> {
        self.shared.core.recent.lock().unwrap_or_else(PoisonError::into_inner).get(request)
    }

    fn keep_known(&self, request: RequestRef, digest: [u8; 32], reserved: &Reserved) {
        match reserved {
            Reserved::Stored(own) => self.keep_recent(request, digest, Known::Own(own.clone())),
            Reserved::Repeat(release) => self.keep_recent(request, digest, Known::Others(release.clone())),
            Reserved::Fresh(_) | Reserved::Resumed(_) => {}
        }
    }

    fn keep_recent(&self, request: RequestRef, digest: [u8; 32], known: Known) {
        // A release whose leaf is not in the log yet still changes.
        if known.release().log_index.is_some() {
            let mut recent = self.shared.core.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.put(request, Kept { digest, known });
        }
    }
}

async fn reserve(work: &mut Work, claim: Claimed) -> Result<Result<Reserved, ReserveError>, StoreError> {
    match examine(work, claim, &mut Planned::default()).await? {
        Ok(found) => Ok(Ok(charge(work, found)?)),
        Err(error) => Ok(Err(error)),
    }
}

async fn reserve_all(work: &mut Work, claims: Vec<Claimed>) -> Result<Result<Vec<Reserved>, ReserveError>, StoreError> {
    let mut planned = Planned::default();
    let mut all = Vec::with_capacity(claims.len());
    for claim in claims {
        match examine(work, claim, &mut planned).await? {
            Ok(found) => all.push(found),
            // INVARIANT: nothing is charged before all were examined, each on top of those before it.
            Err(error) => return Ok(Err(error)),
        }
    }
    let charged: Result<Vec<_>, StoreError> = all.into_iter().map(|found| charge(work, found)).collect();
    Ok(Ok(charged?))
}

/// Whether a claim can be paid for, if it has to be. It charges nothing.
async fn examine(
    work: &mut Work,
    claim: Claimed,
    planned: &mut Planned,
) -> Result<Result<Found, ReserveError>, StoreError> {
    let Claimed { mut spend, limits, year } = claim;
    if !planned.requests.insert(spend.request) {
        return Ok(Err(ReserveError::RequestIdReused));
    }
    if let Some((at, before)) = work.charged(&spend.request).await? {
        if before.digest != spend.digest {
            return Ok(Err(ReserveError::RequestIdReused));
        }
        return Ok(resume(work, spend, at, before).await?.map(Found::Before));
    }
    let release = if work.has_release(&spend.release_key) {
        releases::by_key(work.sql(), &spend.release_key).await?.map(|settlement| settlement.release)
    } else {
        None
    };
    // Decided before New Year and charged after it.
    if year.is_some_and(|year| year != work.now().year()) {
        return Ok(Err(ReserveError::OtherYear));
    }
    // Whoever repeats pays as if it were fresh, so that the price does not tell; the persons have nothing more to lose.
    let charged = |limit: &&Limit| release.is_none() || !limit.class.is_unit_space();
    // A total beyond its integers would be refused by the ledger; here it counts as an account that is spent.
    let total = planned.total.unwrap_or_else(|| work.head().total).plus(spend.charge);
    let countable = release.is_some() || total.is_ok();
    for Limit { class, key, limit } in limits.iter().filter(charged) {
        let spent = planned.spent(work, key);
        if !countable || !spent.plus(spend.charge).is_ok_and(|after| after.within(limit)) {
            return Ok(Err(ReserveError::Exhausted { account: *class, left: left(limit, &spent) }));
        }
        if !spend.accounts.contains(key) {
            spend.accounts.push(key.clone());
        }
    }
    for key in &spend.accounts {
        let after = planned.spent(work, key).plus(spend.charge).map_err(|_| StoreError::Malformed("balance"))?;
        planned.spent.insert(key.clone(), after);
    }
    if release.is_none() {
        planned.total = total.ok();
    }
    Ok(Ok(Found::New(Box::new(spend), release)))
}

/// Charges for what was examined.
fn charge(work: &mut Work, found: Found) -> Result<Reserved, StoreError> {
    let (spend, release) = match found {
        Found::Before(reserved) => return Ok(reserved),
        Found::New(spend, release) => (*spend, release),
    };
    Ok(match release {
        Some(release) => {
            work.append(&Entry::Repeat(spend))?;
            Reserved::Repeat(release)
        }
        None => {
            work.append(&Entry::Reserve(spend.clone()))?;
            let refundable = Arc::clone(&work.core().refundable);
            refundable.remember(spend.request);
            Reserved::Fresh(Reservation {
                request: spend.request,
                release_key: spend.release_key,
                charge: spend.charge,
                spend: Some(spend),
                refundable,
            })
        }
    })
}

/// The request was charged before.
async fn resume(
    work: &mut Work,
    now: Spend,
    at: Timestamp,
    before: Spend,
) -> Result<Result<Reserved, ReserveError>, StoreError> {
    let Spend { release_key, charge, .. } = before;
    if let Some(settlement) = releases::by_key(work.sql(), &release_key).await? {
        return Ok(Ok(settlement.known_to(&now.request).into()));
    }
    if release_key != now.release_key || charge != now.charge {
        return Ok(Err(ReserveError::RequestChanged));
    }
    // PRIVACY: what is kept unmeasured is not carried into another year: charges that were saved up would let more
    // than that year's limit be released within it.
    if at.year() != work.now().year() {
        return Ok(Err(ReserveError::OtherYear));
    }
    let refundable = Arc::clone(&work.core().refundable);
    // INVARIANT: from here two may hold a reservation of this request, and one may execute: no refund to either.
    refundable.forget(&now.request);
    Ok(Ok(Reserved::Resumed(Reservation { request: now.request, release_key, charge, spend: None, refundable })))
}

async fn abandon(work: &mut Work, mut reservation: Reservation) -> Result<Abandoned, StoreError> {
    // INVARIANT: looked up by the one task that also resumes, so that no one can be between the two.
    let refundable = reservation.refundable.forget(&reservation.request);
    let Some(spend) = reservation.spend.take().filter(|_| refundable) else {
        return Ok(Abandoned::Kept);
    };
    work.append(&Entry::Refund(spend))?;
    Ok(Abandoned::Refunded)
}

fn left(limit: &Charge, spent: &Charge) -> Charge {
    Charge {
        rho: Rho::from_nano(limit.rho.nano().saturating_sub(spent.rho.nano())),
        delta: Delta::from_atto(limit.delta.atto().saturating_sub(spent.delta.atto())),
        epsilon: Epsilon::from_nano(limit.epsilon.nano().saturating_sub(spent.epsilon.nano())),
    }
}
