//! R28, R32: a crash at any moment of a request loses no recorded loss and changes no answer.
//!
//! Real processes are killed with SIGKILL, gateway and adapter in turn, at moments spread over a request: half of them
//! evenly, half where fewest have fallen so far. What was killed is started again and the same request is sent again.
//! The step on which a kill fell is read from what the program left on its disk and from what the caller had received.
//! Between asking the engine and storing the release nothing is written, so the two sides of the engine's answer are
//! one step here: `reserved, not settled`.

mod lane;
mod moments;
mod received;
mod step;

use anyhow::{Result, ensure};
use firebreak_tests::run;
use lane::{Lane, Toll};
use std::time::Instant;
use step::Step;

/// Kills in all; the environment variable `FIREBREAK_KILLS` gives another number.
const KILLS: u32 = 300;
/// Federations that are killed side by side: most of the time is waiting for programs to start.
const LANES: u32 = 3;

/// Rounds of a quarter as many kills that follow while one of the steps was missed: the shortest lasts less than a
/// millisecond, and how many kills fall on it is for the machine to say.
const MORE: u32 = 4;

/// Kills on federations of their own, side by side, the first of which has that number.
async fn round_of(kills: u32, first: u32, toll: &mut Toll) -> Result<()> {
    let mut lanes = Vec::new();
    for number in first..first + LANES {
        // Gateway and adapter in turn.
        let share = (kills / LANES).next_multiple_of(2);
        lanes.push(tokio::spawn(async move { Lane::start(number).await?.run(share).await }));
    }
    for lane in lanes {
        toll.add(lane.await??);
    }
    Ok(())
}

#[test]
fn no_kill_at_any_moment_of_a_request_loses_recorded_loss_or_changes_an_answer() -> Result<()> {
    run(async {
        let kills = std::env::var("FIREBREAK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
        let started = Instant::now();
        let mut toll = Toll::default();
        for round in 0..=MORE {
            let wanted = if round == 0 { kills } else { kills / 4 };
            round_of(wanted, round * LANES, &mut toll).await?;
            if Step::ALL.into_iter().all(|step| toll.of(step) > 0) {
                break;
            }
        }
        println!(
            "{} kills in {:.0?}, each followed by a restart and the same request again:",
            toll.kills(),
            started.elapsed()
        );
        for step in Step::ALL {
            println!("  {:>4}  {step}", toll.of(step));
        }
        println!("  {:>4}  of these with a part of the answer at its caller", toll.partly);
        ensure!(toll.kills() >= u64::from(kills), "fewer kills than asked for");
        for step in Step::ALL {
            ensure!(toll.of(step) > 0, "no kill fell on: {step}");
        }
        Ok(())
    })
}
