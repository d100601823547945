//! Charges, settles, retries and abandons against a state folder until it is killed, and says what it was promised.
//!
//! `charger FOLDER ROUND`: eight tasks send requests; each request's number is its round, its task and a counter. After
//! each promise a line is printed: `reserved N`, `settled N ID`, `refunded N`, `evaluated N`, `handed N`. The crash test
//! kills this program and holds the folder to every line.
#![expect(clippy::print_stdout, reason = "the lines are what the program is for")]

use firebreak_domain::{AgreementId, CapLimits, Charge, MatchKeyName, OrgId, RequestId, Rho, SystemClock, UnitSpaceId};
use firebreak_store::{
    Abandoned, AccountKind, AccountLimit, CappedKey, EvaluationChunk, NewLeaf, ReleaseKey, RequestKey, Reserved, State,
    StateKey, TagsHandedOut,
};
use std::{error::Error, path::PathBuf, sync::Arc};

type Failure = Box<dyn Error + Send + Sync>;

const TASKS: u32 = 8;

const NO_LIMIT: CapLimits = CapLimits { per_year: u64::MAX, for_life: u64::MAX };

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("the first argument is the state folder")?);
    let round: u32 = arguments.next().ok_or("the second argument is the round")?.parse()?;
    let state = State::open(&folder, StateKey::from_bytes([42; 32]), Arc::new(SystemClock)).await?;
    println!("open");
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(charge(state.clone(), round << 20 | task << 16))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn capped() -> Result<CappedKey, Failure> {
    Ok(CappedKey {
        agreement: AgreementId::new("agreement")?,
        receiver: OrgId::new("receiver")?,
        key: MatchKeyName::new("number")?,
    })
}

/// What every request costs: its number tells.
fn cost(number: u32) -> Charge {
    Charge::of_rho(Rho::from_nano(u64::from(number % 7 + 1)))
}

async fn charge(state: State, first: u32) -> Result<(), Failure> {
    let limit = Charge::of_rho(Rho::from_nano(u64::MAX));
    let accounts = [AccountLimit { account: AccountKind::UnitSpaceLife(UnitSpaceId::new("persons")?), limit }];
    for number in first..first + 0xffff {
        let [a, b, c, d] = number.to_be_bytes();
        let id = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // Any 32 bytes that tell one request from another.
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(id) {
            *to = from;
        }
        let key = RequestKey {
            principal: "spiffe://firebreak.example/org/nso/analyst/ada".to_owned(),
            request_id: RequestId::from_bytes(id),
            digest,
        };
        let release_key = ReleaseKey::from_bytes(digest);
        let mut reserved = state.reserve(&key, &release_key, cost(number), &accounts).await?;
        println!("reserved {number}");
        if number % 5 == 0 {
            reserved = state.reserve(&key, &release_key, cost(number), &accounts).await?;
        }
        let (Reserved::Fresh(reservation) | Reserved::Resumed(reservation)) = reserved else {
            return Err("a new request was answered before it was settled".into());
        };
        if number % 3 == 0 {
            if state.abandon(reservation).await? == Abandoned::Refunded {
                println!("refunded {number}");
            }
        } else {
            reservation.mark_executing();
            let text = format!("release {number}");
            let leaf = NewLeaf { leaf: format!("leaf {number}").into_bytes(), sealed: b"sealed".to_vec() };
            let settled = state.settle(reservation, text.as_bytes(), b"evidence", leaf).await?;
            println!("settled {number} {}", settled.release().id);
        }
        if number % 11 == 0 {
            let chunk = EvaluationChunk {
                of: capped()?,
                period: 2025,
                session: digest,
                number: 0,
                blinded_hash: digest,
                elements: 10,
            };
            state.charge_evaluations(&chunk, NO_LIMIT).await?;
            println!("evaluated {number}");
        }
        if number % 13 == 0 {
            let list = TagsHandedOut { of: capped()?, period: 2025, session: digest, list_hash: digest, tags: 10 };
            state.charge_tags(&list, NO_LIMIT).await?;
            println!("handed {number}");
        }
    }
    Ok(())
}
