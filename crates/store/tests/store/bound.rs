//! How many sessions one receiver has open at a sender at once.

use crate::support::*;
use firebreak_domain::{Clock, Timestamp};
use firebreak_store::{OpenBound, SessionError, State};

const SECRET: [u8; 32] = [7; 32];

fn bound(receiver: &str, agreement: &str) -> OpenBound {
    OpenBound {
        agreement: agreement.parse().unwrap(),
        receiver: receiver.parse().unwrap(),
        most: 2,
        after: Timestamp::from_secs(0),
    }
}

async fn open(state: &State, number: u8, bound: OpenBound) -> Result<(), SessionError> {
    state.open_session_within(&[number; 32], &SECRET, bound).await.map(drop)
}

#[tokio::test]
async fn no_more_sessions_are_open_than_may_be_and_each_agreement_and_receiver_has_its_own() {
    let folder = Folder::new();
    let state = folder.open().await;
    let mine = || bound("health", "round");
    // Asked for all at once.
    let one = |number| open(&state, number, mine());
    let all = tokio::join!(one(1), one(2), one(3), one(4), one(5));
    let all = [all.0, all.1, all.2, all.3, all.4];
    assert_eq!(all.iter().filter(|opened| opened.is_ok()).count(), 2);
    assert_eq!(all.iter().filter(|opened| **opened == Err(SessionError::TooManyOpen)).count(), 3);
    assert_eq!(state.open_sessions().await.unwrap().len(), 2);
    for other in [bound("health", "another"), bound("education", "round")] {
        open(&state, if other.agreement.as_str() == "another" { 20 } else { 21 }, other).await.unwrap();
    }
    state.close().await;
    let state = folder.open().await;
    assert_eq!(open(&state, 9, mine()).await, Err(SessionError::TooManyOpen), "after a restart");
    let first = *state.open_sessions().await.unwrap().iter().map(|open| &open.session).find(|s| s[0] < 9).unwrap();
    assert!(state.open_session_within(&first, &SECRET, mine()).await.is_ok(), "one that was open before");
    state.close_session(&first).await.unwrap();
    open(&state, 9, mine()).await.unwrap();
    assert_eq!(open(&state, 10, mine()).await, Err(SessionError::TooManyOpen));
    // Past their lifetime they count no more, closed or not.
    let late = OpenBound { after: folder.clock.now(), ..mine() };
    open(&state, 10, late).await.unwrap();
}
