use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// When answers leave: on a tick that follows from the question's public size, never from what the engine met.
///
/// PRIVACY: the time an engine takes depends on the data, and the time a sampler takes on the noise. An answer, a
/// refusal and a failure all wait for the tick. One that takes longer waits for the next doubling, and is counted.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    smallest: Duration,
}

/// Rows that the smallest tick is made for.
const ROWS_PER_TICK: u64 = 1_000_000;

impl Tick {
    /// Ticks of `smallest` for up to a million rows, twice that for two million, and so on.
    #[must_use]
    pub const fn of(smallest: Duration) -> Self {
        Self { smallest }
    }

    /// The tick for a register that is declared to have at most `rows` rows and a question of `cells` numbers.
    #[must_use]
    pub fn length(&self, rows: u64, cells: u64) -> Duration {
        // A noisy number takes about as long as fifty rows.
        let size = rows.saturating_add(cells.saturating_mul(50));
        let doublings = size.div_ceil(ROWS_PER_TICK).max(1).next_power_of_two().trailing_zeros();
        self.smallest.saturating_mul(2_u32.saturating_pow(doublings))
    }

    /// The tick for work on a whole set of declared size, such as a match: 20 µs a record.
    #[must_use]
    pub fn of_set(&self, declared: u64) -> Duration {
        self.smallest.max(Duration::from_micros(declared.saturating_mul(20)))
    }

    /// The smallest tick, for what is refused before any question is known.
    #[must_use]
    pub const fn smallest(&self) -> Duration {
        self.smallest
    }

    /// Waits for the tick of a request that came at `start`.
    pub async fn wait(start: Instant, length: Duration) {
        let mut tick = length.max(Duration::from_millis(1));
        while start.elapsed() > tick {
            tick = tick.saturating_mul(2);
            metrics::counter!("firebreak_tick_overruns_total").increment(1);
        }
        sleep_until(start + tick).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_follows_from_public_sizes_alone() {
        let tick = Tick::of(Duration::from_millis(50));
        assert_eq!(tick.length(1, 1), Duration::from_millis(50));
        assert_eq!(tick.length(1_000_000, 0), Duration::from_millis(50));
        assert_eq!(tick.length(1_000_001, 0), Duration::from_millis(100));
        assert_eq!(tick.length(6_000_000, 0), Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn an_overrun_waits_for_the_next_doubling() {
        let start = Instant::now();
        tokio::time::advance(Duration::from_millis(130)).await;
        Tick::wait(start, Duration::from_millis(50)).await;
        assert_eq!(start.elapsed(), Duration::from_millis(200));
    }
}
