//! Random bytes for opendp's samplers: the kernel's own, fetched by the kilobyte.
//!
//! opendp takes every random bit of its exact samplers from one function, `openssl::rand::rand_priv_bytes`, one to
//! eight bytes at a time and some fourteen times for each number. OpenSSL's generator spends 0.3 to 0.6 µs on each
//! such call, whatever its length: two thirds of all that noise costs. This package has that one function and the
//! name under which it is asked for, so that the samplers stay opendp's own, to the letter, and their bits come from
//! `getrandom(2)` with nothing between.
//!
//! Nothing else of OpenSSL is here, and nothing else in the workspace asks for it.

/// Random bytes.
pub mod rand {
    use std::cell::RefCell;
    use zeroize::{Zeroize, Zeroizing};

    /// Bytes fetched at a time: enough for about forty numbers.
    const FETCHED: usize = 4096;

    /// Bytes that the kernel gave and nobody has had yet.
    struct Fetched {
        bytes: Zeroizing<[u8; FETCHED]>,
        /// How many of them are left, at the end.
        left: usize,
    }

    thread_local! {
        // Each thread has its own: no two ever get the same bytes, and none waits for another.
        static FETCHED_HERE: RefCell<Fetched> =
            RefCell::new(Fetched { bytes: Zeroizing::new([0; FETCHED]), left: 0 });
    }

    /// Fills `buffer` with random bytes of the kernel's cryptographic generator (`getrandom(2)` on Linux), which stay
    /// private: each is given once, and wiped here as it is given.
    ///
    /// # Errors
    /// The system gives no randomness. What is in `buffer` then must not be used.
    // SECURITY: a process that forks and goes on in the child, or a machine whose memory is copied while it runs and
    // that goes on twice, would give both the same bytes. Ours start other programs only, and memory that holds exact
    // values is not copied.
    pub fn rand_priv_bytes(buffer: &mut [u8]) -> Result<(), getrandom::Error> {
        FETCHED_HERE.with_borrow_mut(|fetched| fetched.give(buffer))
    }

    impl Fetched {
        fn give(&mut self, buffer: &mut [u8]) -> Result<(), getrandom::Error> {
            if buffer.len() > self.left {
                if buffer.len() > FETCHED {
                    return getrandom::fill(buffer);
                }
                // INVARIANT: until all of it is new, nothing of it may be given.
                self.left = 0;
                getrandom::fill(self.bytes.as_mut_slice())?;
                self.left = FETCHED;
            }
            let given = self.bytes.get_mut(FETCHED - self.left..).and_then(|rest| rest.get_mut(..buffer.len()));
            let given = given.ok_or(getrandom::Error::UNEXPECTED)?;
            buffer.copy_from_slice(given);
            given.zeroize();
            self.left -= buffer.len();
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::collections::HashSet;
        use std::thread;

        fn bytes<const N: usize>() -> [u8; N] {
            let mut buffer = [0; N];
            rand_priv_bytes(&mut buffer).unwrap();
            buffer
        }

        /// Of 40,000 random 16-byte strings any two are alike with a probability below 10⁻²⁹.
        #[test]
        fn nothing_is_given_twice_to_the_same_thread_or_to_another() {
            let of_a_thread = || (0..10_000).map(|_| bytes::<16>()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| thread::spawn(of_a_thread)).collect();
            let given: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            assert_eq!(given.iter().collect::<HashSet<_>>().len(), 40_000);
        }

        /// χ² with 255 degrees of freedom is above 442 with a probability below 10⁻⁹ (Laurent and Massart 2000, lemma
        /// 1).
        #[test]
        fn every_byte_is_as_frequent_as_any_other_whatever_the_lengths_asked_for() {
            let mut counts = [0_u32; 256];
            let mut number = 0;
            for length in (0..40).cycle().take(40_000) {
                let mut buffer = vec![0; length];
                rand_priv_bytes(&mut buffer).unwrap();
                number += length;
                buffer.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
            }
            let expected = number as f64 / 256.0;
            let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            assert!(statistic < 442.0, "{statistic}");
        }

        #[test]
        fn what_was_given_is_wiped_and_more_than_is_fetched_at_a_time_is_given_too() {
            let mut fetched = Fetched { bytes: Zeroizing::new([0; FETCHED]), left: 0 };
            let mut buffer = [0; 64];
            fetched.give(&mut buffer).unwrap();
            assert_ne!(buffer, [0; 64]);
            assert_eq!(fetched.bytes[..64], [0; 64]);
            assert_ne!(fetched.bytes[64..128], [0; 64]);
            let mut large = vec![0; FETCHED + 1];
            fetched.give(&mut large).unwrap();
            assert!(large.iter().any(|byte| *byte != 0));
            assert_eq!(fetched.left, FETCHED - 64, "what is fetched stays for the next");
        }
    }
}
