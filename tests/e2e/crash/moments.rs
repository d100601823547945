use super::step::{Killed, Step};

/// Milliseconds that a request takes at first guess.
const FIRST_GUESS: f64 = 90.0;
/// Milliseconds before the request is sent at which the earliest kill begins: to kill takes a while itself.
const EARLIEST: f64 = -12.0;

/// Milliseconds after the log shows a request within which its caller is answered.
const ANSWERED: f64 = 6.0;

/// When a program is killed.
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// So many milliseconds after the request was sent, or before.
    Sent(f64),
    /// So many milliseconds after the log has a new checkpoint. From there to the answer it is a short way, which
    /// clocks that begin with the request miss.
    Logged(f64),
}

/// Chooses the moments at which a program is killed.
pub struct Moments {
    killed: Killed,
    seen: Vec<(Moment, Step)>,
    random: u64,
}

impl Moments {
    pub const fn new(killed: Killed, seed: u64) -> Self {
        Self { killed, seen: Vec::new(), random: seed }
    }

    /// Remembers on which step a kill fell.
    pub fn fell(&mut self, moment: Moment, step: Step) {
        self.seen.push((moment, step));
    }

    /// The next moment: evenly over the request and, every second time, where the rarest step is thought to be.
    pub fn next(&mut self) -> Moment {
        let steps = Step::of(self.killed);
        let last = steps.last();
        let end =
            self.of(|step| Some(&step) == last).fold(None, |least: Option<f64>, m| Some(least.map_or(m, |l| l.min(m))));
        let end = end.unwrap_or(FIRST_GUESS);
        if self.seen.len().is_multiple_of(2) {
            return Moment::Sent(self.between(EARLIEST, end + 15.0));
        }
        let count = |step: &Step| self.seen.iter().filter(|(_, s)| s == step).count();
        let Some(rarest) = steps.iter().min_by_key(|step| count(step)).copied() else { return Moment::Sent(0.0) };
        if rarest == Step::GatewayLogged {
            return Moment::Logged(self.between(0.0, ANSWERED));
        }
        let hits: Vec<f64> = self.of(|step| step == rarest).collect();
        if let Some(hit) = hits.get(self.below(hits.len())) {
            let hit = *hit;
            return Moment::Sent(self.between(hit - 2.0, hit + 2.0));
        }
        let before = self.of(|step| step < rarest).fold(EARLIEST, f64::max);
        let after = self.of(|step| step > rarest).fold(end + 15.0, f64::min);
        Moment::Sent(self.between(before.min(after) - 1.0, before.max(after) + 1.0))
    }

    /// The milliseconds after the request was sent of the kills that fell on some steps.
    fn of(&self, wanted: impl Fn(Step) -> bool) -> impl Iterator<Item = f64> {
        self.seen.iter().filter_map(move |(moment, step)| match moment {
            Moment::Sent(milliseconds) if wanted(*step) => Some(*milliseconds),
            _ => None,
        })
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.below(1_000_000) as f64 / 1e6)
    }

    /// A number below `end`; 0 if there is none. SplitMix64.
    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}
