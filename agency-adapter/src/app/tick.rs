use firebreak_query::{BoundPredicate, CheckedQuery, GroupingSet, Primitive, PrimitiveKind};
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

/// Rows, each read for one figure, that the smallest tick is made for: 5 ns each where that is 50 ms. What follows is
/// in the time of one such row.
///
/// A row takes about 2 ns of one processor, by a thousand groups (`bench-groups` prints it, `engine_per_row`).
const ROWS_PER_TICK: u64 = 10_000_000;

/// Ticks are whole tenths of the smallest. Theirs is no secret that could be told by a finer one: a tick follows from
/// the question and from public sizes alone.
const STEPS: u64 = 10;

/// To count distinct persons takes as long as to count so many rows.
const DISTINCT: u64 = 40;

/// To count values by candidate takes as long as to count so many rows.
const HISTOGRAM: u64 = 40;

/// To weigh a candidate of a quantile takes at most as long as to count so many rows: 7.5 µs.
///
/// PRIVACY: how long a choice takes follows from the scores, from 0.2 µs a candidate where all are alike to 4 µs and,
/// at worst in many runs, 5 µs where one has all the values (`bench-accuracy` prints it). The tick is for the
/// longest.
const CANDIDATE: u64 = 1_500;

/// To read a row of a file and rank it among its person's is reckoned as to count so many rows: 2 µs. It is no bound
/// that was measured; what takes longer waits for the next doubling, and is counted.
const READ: u64 = 400;

/// To put a row of a join beside another is reckoned as to count so many rows, likewise: 0.2 µs.
const JOINED: u64 = 40;

/// To draw the noise of a number takes as long as to count so many rows: 6 µs, on one processor (`bench-accuracy`
/// prints it, `draw_per_number`).
const NUMBER: u64 = 1_200;

/// How many rows could be counted in the time that a question takes over a register that is declared to have so many
/// persons. Follows from the question and from public sizes.
#[must_use]
pub fn work(query: &CheckedQuery, persons: u64) -> u64 {
    let rows = persons.saturating_mul(u64::from(query.rows_per_person()));
    let weight = |primitive: &Primitive| match primitive.kind() {
        PrimitiveKind::CountRows | PrimitiveKind::CountValues { .. } => 1,
        PrimitiveKind::SumCentred { value, .. } => value.parts(),
        PrimitiveKind::CountPersons => DISTINCT,
        PrimitiveKind::Quantile { value, .. } => value.parts() + HISTOGRAM,
    };
    // What adds up is counted once, or, where nothing holds all groups, at most once for each grouping set.
    let counted: u64 = query.vectors().map(|(primitive, _)| weight(primitive)).sum();
    let filters = query.primitives().iter().filter_map(Primitive::filter).chain(query.filter());
    // With several grouping sets a row is asked first whether it is in a group of each.
    let times = if query.grouping_sets().len() > 1 { 2 } else { 1 };
    let of_groups = query.groups().iter().map(|group| times * group.category.parts());
    let tested = filters.map(BoundPredicate::parts).chain(of_groups);
    // Each grouping set is a pass of its own over the rows, and each quantile is. To test a condition on a row, or a
    // value that puts it into a group, takes as long as to count it.
    let quantiles = query.vectors().filter(|(p, _)| matches!(p.kind(), PrimitiveKind::Quantile { .. })).count();
    let passes = (query.grouping_sets().len() + quantiles) as u64;
    let read = counted.saturating_add(passes.saturating_mul(tested.sum::<u64>()));
    // Of open codes there are as many groups as there are; noise is drawn for at most three times as many as are shown.
    let cells = |set: &GroupingSet| if query.selection().is_some() { 3 * query.cells() } else { set.cells() };
    let numbers = query.vectors().map(|(primitive, set)| (cells(set) as u64).saturating_mul(drawn(primitive.kind())));
    let measured = rows.saturating_mul(read).saturating_add(numbers.fold(0, u64::saturating_add));
    measured.saturating_add(joining(query, persons, rows))
}

/// What it takes to join several datasets. It is allowed for whether or not the join is at hand: what others asked
/// before is nobody's business either.
fn joining(query: &CheckedQuery, persons: u64, rows: u64) -> u64 {
    if query.reads().len() < 2 {
        return 0;
    }
    let read = query.reads().iter().map(|reads| reading(persons, reads.rows_per_person));
    read.fold(rows.saturating_mul(JOINED), u64::saturating_add)
}

/// What it takes to read a cut of a dataset whose contract declares so many persons and rows of each, and to bound it.
#[must_use]
pub const fn reading(persons: u64, rows_per_person: u32) -> u64 {
    persons.saturating_mul(rows_per_person as u64).saturating_mul(READ)
}

/// What is drawn in each cell.
fn drawn(kind: &PrimitiveKind) -> u64 {
    match kind {
        PrimitiveKind::Quantile { candidates, .. } => u64::from(candidates.count()) * CANDIDATE,
        _ => NUMBER,
    }
}

impl Tick {
    /// Ticks of `smallest` at least, and of as much again for each ten million rows that are counted once.
    #[must_use]
    pub const fn of(smallest: Duration) -> Self {
        Self { smallest }
    }

    /// The tick for so much [`work`].
    #[must_use]
    pub fn length(&self, work: u64) -> Duration {
        let steps = u32::try_from(work.div_ceil(ROWS_PER_TICK / STEPS).max(STEPS)).unwrap_or(u32::MAX);
        (self.smallest / STEPS as u32).saturating_mul(steps)
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
        assert_eq!(tick.length(1), Duration::from_millis(50));
        assert_eq!(tick.length(10_000_000), Duration::from_millis(50));
        assert_eq!(tick.length(10_000_001), Duration::from_millis(55));
        assert_eq!(tick.length(30_000_000), Duration::from_millis(150));
        assert!(tick.length(u64::MAX) > Duration::from_secs(86_400));
    }

    #[test]
    fn the_tick_of_a_set_follows_from_its_declared_size_alone() {
        let tick = Tick::of(Duration::from_millis(50));
        assert_eq!(tick.of_set(0), Duration::from_millis(50));
        assert_eq!(tick.of_set(2_500), Duration::from_millis(50));
        assert_eq!(tick.of_set(1_000_000), Duration::from_secs(20));
        assert!(tick.of_set(u64::MAX) > Duration::from_secs(86_400));
    }

    #[tokio::test(start_paused = true)]
    async fn an_overrun_waits_for_the_next_doubling() {
        let start = Instant::now();
        tokio::time::advance(Duration::from_millis(130)).await;
        Tick::wait(start, Duration::from_millis(50)).await;
        assert_eq!(start.elapsed(), Duration::from_millis(200));
    }
}
