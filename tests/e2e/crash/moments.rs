use super::step::{Killed, Step};

/// Milliseconds that a request takes at first guess.
const FIRST_GUESS: f64 = 90.0;
/// Milliseconds before the request is sent at which the earliest kill begins: to kill takes a while itself.
const EARLIEST: f64 = -12.0;

/// Chooses the moments at which a program is killed, in milliseconds after the request was sent.
pub struct Moments {
    killed: Killed,
    seen: Vec<(f64, Step)>,
    random: u64,
}

impl Moments {
    pub const fn new(killed: Killed, seed: u64) -> Self {
        Self { killed, seen: Vec::new(), random: seed }
    }

    /// Remembers on which step a kill fell.
    pub fn fell(&mut self, moment: f64, step: Step) {
        self.seen.push((moment, step));
    }

    /// The next moment: evenly over the request and, every second time, where the rarest step is thought to be.
    pub fn next(&mut self) -> f64 {
        let steps = Step::of(self.killed);
        let last = steps.last();
        let ends = self.seen.iter().filter(|(_, step)| Some(step) == last).map(|(moment, _)| *moment);
        let end = ends.fold(None, |least: Option<f64>, m| Some(least.map_or(m, |l| l.min(m)))).unwrap_or(FIRST_GUESS);
        if self.seen.len() % 2 == 0 {
            return self.between(EARLIEST, end + 15.0);
        }
        let count = |step: &Step| self.seen.iter().filter(|(_, s)| s == step).count();
        let Some(rarest) = steps.iter().min_by_key(|step| count(step)).copied() else { return 0.0 };
        let hits: Vec<f64> = self.seen.iter().filter(|(_, s)| *s == rarest).map(|(m, _)| *m).collect();
        if let Some(hit) = hits.get(self.below(hits.len())) {
            let hit = *hit;
            return self.between(hit - 2.0, hit + 2.0);
        }
        let before = self.seen.iter().filter(|(_, s)| *s < rarest).map(|(m, _)| *m).fold(EARLIEST, f64::max);
        let after = self.seen.iter().filter(|(_, s)| *s > rarest).map(|(m, _)| *m).fold(end + 15.0, f64::min);
        self.between(before.min(after) - 1.0, before.max(after) + 1.0)
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
