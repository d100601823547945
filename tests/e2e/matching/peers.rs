//! One side of a match as its program is, and a peer in the tunnel that is none of ours: what both say over the wire.

mod receiver;
mod sender;

use anyhow::Result;
use firebreak_tests::run;

/// In real time, which is a minute and more: both at once.
#[test]
fn a_peer_that_falls_silent_is_found_out_by_either_side_and_the_same_request_goes_on() -> Result<()> {
    run(async {
        tokio::try_join!(sender::falls_silent(), receiver::falls_silent())?;
        Ok(())
    })
}
