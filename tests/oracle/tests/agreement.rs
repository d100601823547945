//! Ours and the oracle's implementation of RFC 9497 give each other the same bytes, for whatever key and inputs.

use firebreak_oracle::{Batch, Key};
use firebreak_psi::oprf::{Blind, BlindedBatch, KeyPair, Mode, PublicKey};
use firebreak_psi::{PsiError, SecretSeed};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// What both sides are given.
#[derive(Debug, Clone)]
struct Case {
    mode: Mode,
    seed: [u8; 32],
    info: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    blinds: Vec<[u8; 64]>,
    rng: u64,
}

impl Case {
    fn keys(&self) -> (KeyPair, Key) {
        let ours = KeyPair::derive(self.mode, &SecretSeed::from_bytes(self.seed), &self.info).unwrap();
        (ours, Key::derive(self.mode, &self.seed, &self.info).unwrap())
    }

    fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(self.rng)
    }

    fn proved(&self) -> bool {
        self.mode == Mode::Voprf
    }

    fn our_batch(&self) -> (Vec<[u8; 32]>, BlindedBatch) {
        let blinds: Vec<_> = self.blinds.iter().map(|bytes| Blind::from_uniform_bytes(bytes).unwrap()).collect();
        let shown = blinds.iter().map(|blind| *blind.expose()).collect();
        (shown, BlindedBatch::new(self.mode, &self.inputs, blinds).unwrap())
    }
}

/// Batches of distinct inputs: an element that stands twice in a batch is refused by ours, and not by the RFC.
fn cases(modes: impl Strategy<Value = Mode>, most: usize) -> impl Strategy<Value = Case> {
    let inputs = prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..40), 1..most);
    let given = (modes, any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 0..80), inputs, any::<u64>());
    given.prop_flat_map(|(mode, seed, info, inputs, rng)| {
        let inputs: Vec<_> = inputs.into_iter().collect();
        let blinds = prop::collection::vec(prop::array::uniform32(any::<u16>()), inputs.len());
        let wide = |words: [u16; 32]| {
            let mut bytes = [0; 64];
            bytes.as_chunks_mut::<2>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_be_bytes());
            bytes
        };
        blinds.prop_map(move |blinds| Case {
            mode,
            seed,
            info: info.clone(),
            inputs: inputs.clone(),
            blinds: blinds.into_iter().map(wide).collect(),
            rng,
        })
    })
}

fn both_modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Oprf), Just(Mode::Voprf)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn one_seed_gives_both_the_same_key_and_the_same_outputs(case in cases(both_modes(), 4)) {
        let (ours, theirs) = case.keys();
        prop_assert_eq!(ours.public_key().as_bytes(), &theirs.public().unwrap());
        let outputs = ours.outputs(&case.inputs).unwrap();
        for (output, input) in outputs.iter().zip(&case.inputs) {
            prop_assert_eq!(*output, theirs.output(input).unwrap());
        }
    }

    #[test]
    fn what_ours_blinds_theirs_evaluates_and_ours_unblinds(case in cases(both_modes(), 8)) {
        let (ours, theirs) = case.keys();
        let (_, batch) = case.our_batch();
        let answer = theirs.evaluate(batch.as_bytes(), &mut case.rng()).unwrap();
        let outputs = batch.finalize(&case.inputs, ours.public_key(), &answer).unwrap();
        prop_assert_eq!(&*outputs, &*ours.outputs(&case.inputs).unwrap());
    }

    #[test]
    fn what_theirs_blinds_ours_evaluates_and_theirs_unblinds(case in cases(both_modes(), 8)) {
        let (ours, theirs) = case.keys();
        let batch = Batch::blind(case.mode, &case.inputs, &mut case.rng()).unwrap();
        let answer = ours.evaluate(&batch.bytes(), case.inputs.len()).unwrap();
        let outputs = batch.finalize(&case.inputs, ours.public_key().as_bytes(), &answer).unwrap();
        for (output, input) in outputs.iter().zip(&case.inputs) {
            prop_assert_eq!(*output, theirs.output(input).unwrap());
        }
    }

    #[test]
    fn one_blind_gives_both_the_same_blinded_and_evaluated_elements(case in cases(both_modes(), 8)) {
        let (ours, theirs) = case.keys();
        let made_by_theirs = Batch::blind(case.mode, &case.inputs, &mut case.rng()).unwrap();
        let blinds = made_by_theirs.blinds();
        let blinds = blinds.iter().map(|blind| Blind::from_canonical_bytes(blind).unwrap()).collect();
        let made_by_ours = BlindedBatch::new(case.mode, &case.inputs, blinds).unwrap();
        prop_assert_eq!(made_by_ours.as_bytes(), made_by_theirs.bytes());
        let elements = made_by_ours.as_bytes().len();
        let by_ours = ours.evaluate(made_by_ours.as_bytes(), case.inputs.len()).unwrap();
        let by_theirs = theirs.evaluate(made_by_ours.as_bytes(), &mut case.rng()).unwrap();
        prop_assert_eq!(&by_ours[..elements], &by_theirs[..elements]);
        prop_assert_eq!(by_ours.len(), by_theirs.len());
        prop_assert_eq!(by_ours.len() - elements, if case.proved() { 64 } else { 0 });
    }

    /// A proof is over the whole batch: a change of any one bit is found, in an element or in the proof, by whoever made it.
    #[test]
    fn a_changed_answer_is_refused_by_both_whoever_made_it(
        case in cases(Just(Mode::Voprf), 6),
        by_ours: bool,
        place: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let (ours, theirs) = case.keys();
        let (blinds, batch) = case.our_batch();
        let same = Batch::of(case.mode, &blinds, batch.as_bytes());
        let mut answer = if by_ours {
            ours.evaluate(batch.as_bytes(), case.inputs.len()).unwrap()
        } else {
            theirs.evaluate(batch.as_bytes(), &mut case.rng()).unwrap()
        };
        let public = ours.public_key();
        prop_assert!(batch.finalize(&case.inputs, public, &answer).is_ok());
        prop_assert!(same.finalize(&case.inputs, public.as_bytes(), &answer).is_ok());
        let place = place.index(answer.len());
        answer[place] ^= 1 << bit;
        prop_assert!(batch.finalize(&case.inputs, public, &answer).is_err());
        prop_assert!(same.finalize(&case.inputs, public.as_bytes(), &answer).is_err());
    }

    #[test]
    fn another_keys_evaluation_is_refused_by_both_even_with_that_keys_proof(
        case in cases(Just(Mode::Voprf), 6),
        other: [u8; 32],
        by_ours: bool,
    ) {
        prop_assume!(other != case.seed);
        let (ours, _) = case.keys();
        let (liar, their_liar) = Case { seed: other, ..case.clone() }.keys();
        let (blinds, batch) = case.our_batch();
        let same = Batch::of(case.mode, &blinds, batch.as_bytes());
        let answer = if by_ours {
            liar.evaluate(batch.as_bytes(), case.inputs.len()).unwrap()
        } else {
            their_liar.evaluate(batch.as_bytes(), &mut case.rng()).unwrap()
        };
        let refused = batch.finalize(&case.inputs, ours.public_key(), &answer).err();
        prop_assert_eq!(refused, Some(PsiError::ProofRejected));
        let refused = same.finalize(&case.inputs, ours.public_key().as_bytes(), &answer).err();
        prop_assert_eq!(refused, Some(firebreak_oracle::Refused::ProofVerification));
    }

    /// Random bytes are a point in about one case of sixteen, so that both outcomes are met.
    #[test]
    fn both_read_the_same_encodings_as_points(bytes: [u8; 32], near in 0..64_u8) {
        let (_, theirs) = Case {
            mode: Mode::Oprf, seed: [7; 32], info: vec![], inputs: vec![], blinds: vec![], rng: 0,
        }.keys();
        // Even and below 2^255, without which none is one; and small ones, the identity among them.
        let mut even = bytes;
        even[0] &= 0xfe;
        even[31] &= 0x7f;
        let mut small = [0; 32];
        small[0] = near;
        for encoding in [bytes, even, small] {
            let by_theirs = theirs.evaluate(&encoding, &mut ChaCha20Rng::seed_from_u64(0));
            prop_assert_eq!(PublicKey::from_bytes(&encoding).is_ok(), by_theirs.is_ok(), "{:?}", encoding);
        }
    }
}

/// The largest batch whose elements have a two-byte number each is far from what properties are tried on.
#[test]
fn a_batch_of_a_thousand_is_proved_by_either_to_the_other() {
    let inputs: Vec<_> = (0..1000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let case = Case { mode: Mode::Voprf, seed: [3; 32], info: b"batch".to_vec(), inputs, blinds: vec![], rng: 5 };
    let (ours, theirs) = case.keys();
    let batch = Batch::blind(case.mode, &case.inputs, &mut case.rng()).unwrap();
    let blinds = batch.blinds().iter().map(|blind| Blind::from_canonical_bytes(blind).unwrap()).collect();
    let same = BlindedBatch::new(case.mode, &case.inputs, blinds).unwrap();
    let by_ours = ours.evaluate(&batch.bytes(), 1000).unwrap();
    let by_theirs = theirs.evaluate(&batch.bytes(), &mut case.rng()).unwrap();
    let outputs = batch.finalize(&case.inputs, ours.public_key().as_bytes(), &by_ours).unwrap();
    assert_eq!(*same.finalize(&case.inputs, ours.public_key(), &by_theirs).unwrap(), outputs);
}
