use crate::draw::Draws;

const ROUNDS: usize = 6;

/// A permutation of the numbers below `size`: a balanced Feistel network over the next even power of two, walked until
/// it lands inside. It gives each agency keys that tell nothing about the order of another's.
#[derive(Debug, Clone)]
pub(crate) struct Permutation {
    size: u32,
    half_bits: u32,
    rounds: [u64; ROUNDS],
}

impl Permutation {
    pub(crate) fn new(size: u32, draws: &mut Draws) -> Self {
        let bits = u32::BITS - size.saturating_sub(1).leading_zeros();
        let mut rounds = [0; ROUNDS];
        rounds.iter_mut().for_each(|round| *round = draws.next());
        Self { size, half_bits: bits.div_ceil(2).max(1), rounds }
    }

    /// Where `index`, which is below the size, goes.
    pub(crate) fn apply(&self, index: u32) -> u32 {
        self.walk(index, |left, right| {
            self.rounds.iter().fold((left, right), |(left, right), key| (right, left ^ self.round(right, *key)))
        })
    }

    /// What goes to `image`, which is below the size.
    pub(crate) fn invert(&self, image: u32) -> u32 {
        self.walk(image, |left, right| {
            self.rounds.iter().rev().fold((left, right), |(left, right), key| (right ^ self.round(left, *key), left))
        })
    }

    fn walk(&self, from: u32, step: impl Fn(u32, u32) -> (u32, u32)) -> u32 {
        let mask = (1_u64 << self.half_bits) - 1;
        let mut at = u64::from(from);
        loop {
            let (left, right) = step((at >> self.half_bits) as u32, (at & mask) as u32);
            at = (u64::from(left) << self.half_bits) | u64::from(right);
            if at < u64::from(self.size) {
                return at as u32;
            }
        }
    }

    /// The mixing step of SplitMix64 (Steele, Lea and Flood 2014), cut to half the network's width.
    fn round(&self, half: u32, key: u64) -> u32 {
        let mut mixed = u64::from(half).wrapping_add(key);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> (64 - self.half_bits)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_hit_once_and_found_again() {
        for size in [1, 2, 3, 17, 1000, 4097] {
            let permutation = Permutation::new(size, &mut Draws::of_keys(1, 0));
            let mut seen = vec![false; size as usize];
            for index in 0..size {
                let image = permutation.apply(index);
                assert!(!std::mem::replace(&mut seen[image as usize], true), "{image} of {size} was hit twice");
                assert_eq!(permutation.invert(image), index);
            }
        }
    }

    #[test]
    fn neighbours_do_not_stay_neighbours() {
        let permutation = Permutation::new(1_000_000, &mut Draws::of_keys(1, 0));
        let close = (0..1000).filter(|i| permutation.apply(*i).abs_diff(permutation.apply(i + 1)) < 1000).count();
        assert!(close < 20, "{close} of 1000 neighbours stayed close");
    }
}
