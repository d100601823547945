//! Sessions take room on the sender's disk for up to a day: one receiver has only so many open at once.

use super::hostile::pair::{LetIn, Pair};
use super::side::refused;
use agency_adapter::app::{MatchError, OPEN_AT_ONCE};
use anyhow::{Context, Result, bail, ensure};
use firebreak_domain::ReasonCode;
use firebreak_tests::run;

#[test]
fn a_receiver_with_as_many_sessions_open_as_may_be_is_refused_another_until_one_ends() -> Result<()> {
    run(async {
        let mut pair = Pair::open().await?;
        let most = u8::try_from(OPEN_AT_ONCE)?;
        let mut open = Vec::new();
        for id in 1..=most {
            let LetIn { session, open: opening, .. } = pair.let_in(id).await?;
            session.open(&pair.sides.sender.app, &opening).await?;
            open.push((session, opening));
        }
        let LetIn { session: another, open: opening, .. } = pair.let_in(most + 1).await?;
        pair.sides.visit().await?;
        match another.open(&pair.sides.sender.app, &opening).await {
            Err(MatchError::Refused(refusal)) => {
                assert_eq!(refusal.reason, ReasonCode::MatchCapExhausted);
                ensure!(refusal.detail.contains(&OPEN_AT_ONCE.to_string()), "{refusal}");
                ensure!(refusal.to_string().len() > refusal.detail.len(), "it does not say what to do");
            }
            other => bail!("another session was opened: {other:?}"),
        }
        let state = pair.sides.sender.app.state();
        assert_eq!(state.open_sessions().await?.len(), usize::from(most));
        assert_eq!(state.offered().await?.len(), usize::from(most), "the register");
        // Those that are open go on, and another takes the room of one that ended.
        let again = pair.accept(1).await?;
        let (first, opening_of_first) = open.first().context("none is open")?;
        again.open(&pair.sides.sender.app, opening_of_first).await.context("the first, resumed")?;
        first.close(&pair.sides.sender.app).await?;
        let again = pair.accept(most + 1).await?;
        again.open(&pair.sides.sender.app, &opening).await.context("in the room of one that ended")?;
        let beyond = pair.let_in(most + 2).await?;
        refused(beyond.session.open(&pair.sides.sender.app, &beyond.open).await, ReasonCode::MatchCapExhausted)
    })
}
