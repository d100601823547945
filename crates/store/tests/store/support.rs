//! What the tests of this crate share: a state in a folder of its own, and short ways to say things.

use firebreak_domain::{AgreementId, Charge, Clock, ManualClock, OrgId, RequestId, Rho, Timestamp, UnitSpaceId};
use firebreak_store::{
    AcceptedBundle, AccountKind, AccountLimit, NewLeaf, OpenError, OwnRelease, ReleaseKey, RequestKey, Reservation,
    ReserveError, Reserved, Settled, State, StateKey, StoredRelease,
};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

pub const START: i64 = 1_750_000_000;

pub struct Folder {
    pub path: TempDir,
    pub clock: Arc<ManualClock>,
}

impl Folder {
    pub fn new() -> Self {
        Self { path: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::at(Timestamp::from_secs(START))) }
    }

    pub async fn open(&self) -> State {
        self.try_open().await.unwrap()
    }

    pub async fn try_open(&self) -> Result<State, OpenError> {
        open(self.path.path(), Arc::clone(&self.clock) as Arc<dyn Clock>).await
    }
}

pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<State, OpenError> {
    State::open(path, StateKey::from_bytes([42; 32]), clock).await
}

pub fn rho(nano: u64) -> Charge {
    Charge::of_rho(Rho::from_nano(nano))
}

pub fn principal(name: &str) -> String {
    format!("spiffe://firebreak.example/org/nso/analyst/{name}")
}

pub fn request(name: &str, id: u8, digest: u8) -> RequestKey {
    RequestKey { principal: principal(name), request_id: RequestId::from_bytes([id; 16]), digest: [digest; 32] }
}

pub fn key(number: u8) -> ReleaseKey {
    ReleaseKey::from_bytes([number; 32])
}

pub fn bundle(sequence: u64) -> AcceptedBundle {
    AcceptedBundle { sequence, manifest: [sequence as u8; 32] }
}

pub fn life() -> AccountKind {
    AccountKind::UnitSpaceLife(UnitSpaceId::new("health.persons").unwrap())
}

pub fn year() -> AccountKind {
    AccountKind::UnitSpaceYear { space: UnitSpaceId::new("health.persons").unwrap(), year: 2025 }
}

pub fn agreement() -> AccountKind {
    AccountKind::Agreement(AgreementId::new("health-stats").unwrap())
}

pub fn analyst(name: &str) -> AccountKind {
    AccountKind::Analyst { agreement: AgreementId::new("health-stats").unwrap(), principal: principal(name) }
}

pub fn organisation() -> AccountKind {
    AccountKind::Organisation(OrgId::new("nso").unwrap())
}

pub fn within(account: AccountKind, nano: u64) -> AccountLimit {
    AccountLimit { account, limit: rho(nano) }
}

pub fn fresh(reserved: Result<Reserved, ReserveError>) -> Reservation {
    match reserved {
        Ok(Reserved::Fresh(reservation)) => reservation,
        other => panic!("not fresh: {other:?}"),
    }
}

pub fn resumed(reserved: Result<Reserved, ReserveError>) -> Reservation {
    match reserved {
        Ok(Reserved::Resumed(reservation)) => reservation,
        other => panic!("not resumed: {other:?}"),
    }
}

pub fn stored(reserved: Result<Reserved, ReserveError>) -> OwnRelease {
    match reserved {
        Ok(Reserved::Stored(own)) => own,
        other => panic!("not stored: {other:?}"),
    }
}

pub fn repeat(reserved: Result<Reserved, ReserveError>) -> StoredRelease {
    match reserved {
        Ok(Reserved::Repeat(release)) => release,
        other => panic!("not a repeat: {other:?}"),
    }
}

/// Settles with a release, evidence and a leaf that are told apart by a word, and must be the first.
pub async fn settle(state: &State, reservation: Reservation, word: &str) -> StoredRelease {
    match settled(state, reservation, word).await {
        Settled::Now(release) => release,
        other => panic!("not stored now: {other:?}"),
    }
}

/// The same, and says what became of it.
pub async fn settled(state: &State, reservation: Reservation, word: &str) -> Settled {
    let [release, evidence, leaf] = ["release", "evidence", "leaf"].map(|what| format!("{what} {word}"));
    state.settle(reservation, release.as_bytes(), evidence.as_bytes(), self::leaf(leaf.as_bytes())).await.unwrap()
}

/// A leaf as a program hands it over, with what stands for its sealed opening.
pub fn leaf(leaf: &[u8]) -> NewLeaf {
    NewLeaf { leaf: leaf.to_vec(), sealed: [b"opens ", leaf].concat() }
}

/// Whether `bytes` stand in any file of the folder.
pub fn in_a_file(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}
