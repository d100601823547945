//! How fast a step goes, and when it will be done.

use crate::number::count;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which a rate is taken.
const OVER: Duration = Duration::from_secs(10);
/// Over less no rate is told: one chunk more or less would change it too much.
const LEAST: Duration = Duration::from_secs(1);

/// How fast one step goes: by what was done in the last ten seconds.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(Instant, u64)>);

/// A rate and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    /// Units a second.
    pub(super) rate: f64,
    /// How long the rest takes at that rate.
    pub(super) left: Duration,
}

impl Pace {
    /// Takes up that so much of `of` is done now. Gives the rate once there is one: something was done, in a second or
    /// more. What was done before the first call counts for no rate.
    pub(super) fn step(&mut self, now: Instant, done: u64, of: u64) -> Option<Told> {
        self.0.push_back((now, done));
        // The newest that is as old as the time over which a rate is taken, or older, is what it begins with.
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= OVER) {
            self.0.pop_front();
        }
        let (since, before) = *self.0.front()?;
        let took = now.saturating_duration_since(since);
        let more = done.saturating_sub(before);
        if took < LEAST || more == 0 {
            return None;
        }
        let rate = more as f64 / took.as_secs_f64();
        let left = Duration::try_from_secs_f64(of.saturating_sub(done) as f64 / rate).unwrap_or(Duration::MAX);
        Some(Told { rate, left })
    }
}

impl Told {
    /// In words, such as `41 200 elements/s, 3 min 20 s left`.
    pub(super) fn words(self, unit: &str) -> String {
        let space = if unit.is_empty() { "" } else { " " };
        // To three digits: the rest changes with every chunk.
        let step = 10_f64.powi((self.rate.max(1.0).log10().floor() as i32 - 2).max(0));
        let rate = ((self.rate / step).round() * step) as u64;
        let rate = if rate == 0 { format!("{:.1}", self.rate) } else { count(rate) };
        format!("{rate}{space}{unit}/s, {} left", length(self.left))
    }
}

/// A length of time to the second, from an hour on to the minute; rounded up, so that only what is done takes no time.
fn length(time: Duration) -> String {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match minutes {
        0 => format!("{seconds} s"),
        1..60 => format!("{minutes} min {rest:02} s"),
        _ => {
            let minutes = seconds.div_ceil(60);
            format!("{} h {:02} min", count(minutes / 60), minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after each of these: milliseconds from the beginning, and done by then, of 10,000.
    fn told(steps: &[(u64, u64)]) -> Vec<Option<Told>> {
        let (begin, mut pace) = (Instant::now(), Pace::default());
        steps.iter().map(|(at, done)| pace.step(begin + Duration::from_millis(*at), *done, 10_000)).collect()
    }

    fn last(steps: &[(u64, u64)]) -> Option<(f64, u64)> {
        told(steps).pop().flatten().map(|told| (told.rate, told.left.as_secs()))
    }

    #[test]
    fn a_rate_is_told_from_a_second_on_and_gives_the_time_left() {
        assert_eq!(told(&[(0, 0), (999, 500)]), [None, None]);
        assert_eq!(last(&[(0, 0), (1000, 500)]), Some((500.0, 19)));
        assert_eq!(last(&[(0, 0), (2000, 500), (4000, 2000)]), Some((500.0, 16)));
        assert_eq!(last(&[(0, 0), (5000, 10_000)]), Some((2000.0, 0)));
    }

    #[test]
    fn what_was_done_before_a_resumed_match_began_counts_for_no_rate() {
        assert_eq!(last(&[(0, 9000), (2000, 9100)]), Some((50.0, 18)));
    }

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        // A thousand a second for five seconds, then a hundred.
        let mut steps: Vec<_> = (0..=5).map(|s| (s * 1000, s * 1000)).collect();
        steps.extend((6..=40).map(|s| (s * 1000, 5000 + (s - 5) * 100)));
        assert_eq!(last(&steps), Some((100.0, 15)));
        // Also where one step takes longer than that.
        assert_eq!(last(&[(0, 0), (1000, 4000), (21_000, 6000)]), Some((100.0, 40)));
    }

    #[test]
    fn a_step_that_stands_still_or_goes_back_has_no_rate() {
        assert_eq!(last(&[(0, 5), (3000, 5)]), None);
        assert_eq!(last(&[(0, 5), (3000, 0)]), None);
        assert_eq!(last(&[(0, u64::MAX), (3000, u64::MAX)]), None);
        let begin = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::default();
        pace.step(begin, 0, 10);
        assert_eq!(pace.step(begin - Duration::from_secs(9), 5, 10), None);
    }

    #[test]
    fn rates_and_times_are_told_in_words() {
        let words = |rate, seconds, unit| {
            Told { rate, left: Duration::from_secs_f64(seconds) }.words(unit).replace('\u{202f}', " ")
        };
        assert_eq!(words(41_234.0, 199.5, "elements"), "41 200 elements/s, 3 min 20 s left");
        assert_eq!(words(999.6, 0.0, ""), "1 000/s, 0 s left");
        assert_eq!(words(0.3, 59.2, "bytes"), "0.3 bytes/s, 1 min 00 s left");
        assert_eq!(words(12.0, 3599.5, "bytes"), "12 bytes/s, 1 h 00 min left");
        assert_eq!(words(1.0, 7501.0, "bytes"), "1 bytes/s, 2 h 06 min left");
        let never = Told { rate: 1.0, left: Duration::MAX }.words("");
        assert!(never.ends_with(" min left"), "{never}");
    }
}
