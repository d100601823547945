//! Vectors: RFC 9497 appendix A.1, ristretto255-SHA512 (A.1.1 OPRF mode, A.1.2 VOPRF mode).

use super::*;
use proptest::prelude::*;

const BLIND: &str = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
const SECOND: &str = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e";
const LONG: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn scalar(text: &str) -> Scalar {
    wire::scalar(&unhex(text).try_into().unwrap()).unwrap()
}

fn blind(text: &str) -> Blind {
    Blind::from_canonical_bytes(&unhex(text).try_into().unwrap()).unwrap()
}

fn seed() -> SecretSeed {
    SecretSeed::from_bytes([0xa3; 32])
}

#[test]
fn oprf_mode_gives_the_vectors_of_rfc_9497_a_1_1() {
    let key = KeyPair::derive(Mode::Oprf, &seed(), b"test key").unwrap();
    assert_eq!(hex::encode(key.secret.as_bytes()), "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e");
    for (input, blinded, evaluated, output) in [
        (
            "00",
            "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
            "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
            "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6",
        ),
        (
            LONG,
            "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
            "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
            "f4a74c9c592497375e796aa837e907b1a045d34306a749db9f34221f7e750cb4f2a6413a6bf6fa5e19ba6348eb673934a722a7ede2e7621306d18951e7cf2c73",
        ),
    ] {
        let inputs = [unhex(input)];
        let batch = BlindedBatch::new(Mode::Oprf, &inputs, vec![blind(BLIND)]).unwrap();
        assert_eq!(hex::encode(batch.as_bytes()), blinded);
        let answer = key.evaluate(batch.as_bytes(), 1).unwrap();
        assert_eq!(hex::encode(&answer), evaluated);
        let outputs = batch.finalize(&inputs, key.public_key(), &answer).unwrap();
        assert_eq!(hex::encode(outputs[0]), output);
        assert_eq!(*key.outputs(&inputs).unwrap(), *outputs);
    }
}

struct Case<'a> {
    inputs: &'a [&'a str],
    blinds: &'a [&'a str],
    blinded: &'a str,
    evaluated: &'a str,
    proof: &'a str,
    nonce: &'a str,
    outputs: &'a [&'a str],
}

const OUTPUTS: [&str; 2] = [
    "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c",
    "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6",
];

#[test]
fn voprf_mode_gives_the_vectors_of_rfc_9497_a_1_2_for_batches_of_one_and_two() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"test key").unwrap();
    assert_eq!(hex::encode(key.secret.as_bytes()), "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909");
    assert_eq!(
        hex::encode(key.public_key().as_bytes()),
        "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e"
    );
    let cases = [
        Case {
            inputs: &["00"],
            blinds: &[BLIND],
            blinded: "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            evaluated: "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            proof: "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
            nonce: SECOND,
            outputs: &OUTPUTS[..1],
        },
        Case {
            inputs: &[LONG],
            blinds: &[BLIND],
            blinded: "cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c",
            evaluated: "60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468",
            proof: "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
            nonce: SECOND,
            outputs: &OUTPUTS[1..],
        },
        Case {
            inputs: &["00", LONG],
            blinds: &[BLIND, SECOND],
            blinded: "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b94590a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
            evaluated: "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267ecc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
            proof: "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
            nonce: "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
            outputs: &OUTPUTS,
        },
    ];
    for Case { inputs, blinds, blinded, evaluated, proof, nonce, outputs } in cases {
        let inputs: Vec<_> = inputs.iter().map(|input| unhex(input)).collect();
        let batch = BlindedBatch::new(Mode::Voprf, &inputs, blinds.iter().map(|text| blind(text)).collect()).unwrap();
        assert_eq!(hex::encode(batch.as_bytes()), blinded);
        let read = ReadBatch::new(batch.as_bytes().to_vec(), inputs.len()).unwrap();
        let answer = key.evaluate_with(&read, |_| Ok(scalar(nonce))).unwrap();
        assert_eq!(hex::encode(&answer), format!("{evaluated}{proof}"));
        let found = batch.finalize(&inputs, key.public_key(), &answer).unwrap();
        assert_eq!(found.iter().map(hex::encode).collect::<Vec<_>>(), outputs);
        assert_eq!(*key.outputs(&inputs).unwrap(), *found);
    }
}

fn batch_of(count: u16) -> (Vec<[u8; 2]>, BlindedBatch) {
    let inputs: Vec<_> = (0..count).map(u16::to_be_bytes).collect();
    let blinds = (0..count).map(|n| Blind::of(Scalar::from(n) + Scalar::from(9u8)).unwrap()).collect();
    let batch = BlindedBatch::new(Mode::Voprf, &inputs, blinds).unwrap();
    (inputs, batch)
}

/// A batch, and the same as it is read from its bytes.
fn batch_and_kept(count: u16) -> (Vec<[u8; 2]>, [BlindedBatch; 2]) {
    let (inputs, batch) = batch_of(count);
    let (_, BlindedBatch { blinds, .. }) = batch_of(count);
    let kept = BlindedBatch::kept(Mode::Voprf, blinds, batch.as_bytes()).unwrap();
    (inputs, [batch, kept])
}

#[test]
fn a_change_of_any_byte_of_an_evaluated_batch_is_refused() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let (inputs, batches) = batch_and_kept(3);
    for batch in batches {
        let answer = key.evaluate(batch.as_bytes(), 3).unwrap();
        let found = batch.finalize(&inputs, key.public_key(), &answer).unwrap();
        assert_eq!(*found, *key.outputs(&inputs).unwrap());
        for place in 0..answer.len() {
            let mut changed = answer.clone();
            changed[place] ^= 1;
            assert!(batch.finalize(&inputs, key.public_key(), &changed).is_err(), "byte {place}");
        }
    }
}

#[test]
fn a_batch_is_read_from_its_own_bytes_alone() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let (inputs, [batch, kept]) = batch_and_kept(2);
    assert_eq!(kept.as_bytes(), batch.as_bytes());
    let kept = |blinds, bytes: &[u8]| BlindedBatch::kept(Mode::Voprf, blinds, bytes);
    let blinds = || vec![blind(BLIND), blind(SECOND)];
    let due = PsiError::WrongLength { what: "a chunk that was blinded", expected: 64, found: 63 };
    assert_eq!(kept(blinds(), &batch.as_bytes()[..63]).err(), Some(due));
    assert_eq!(kept(blinds(), &batch.as_bytes()[..32].repeat(2)).err(), Some(PsiError::DuplicateElement));
    assert_eq!(kept(vec![], &[]).err(), Some(PsiError::BatchSize));
    // Under other blinds nothing comes of it that is the key's.
    let other = kept(blinds(), batch.as_bytes()).unwrap();
    let answer = key.evaluate(batch.as_bytes(), 2).unwrap();
    let outputs = key.outputs(&inputs).unwrap();
    assert!(other.finalize(&inputs, key.public_key(), &answer).unwrap().iter().all(|tag| !outputs.contains(tag)));
}

#[test]
fn an_element_raised_to_another_key_is_refused_even_with_that_keys_proof() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let other = KeyPair::derive(Mode::Voprf, &seed(), b"other").unwrap();
    let (inputs, batch) = batch_of(4);
    let wrong = other.evaluate(batch.as_bytes(), 4).unwrap();
    assert_eq!(batch.finalize(&inputs, key.public_key(), &wrong).err(), Some(PsiError::ProofRejected));
    // One element swapped for the other key's, the rest and the proof as they should be.
    let mut mixed = key.evaluate(batch.as_bytes(), 4).unwrap();
    mixed[32..64].copy_from_slice(&wrong[32..64]);
    assert_eq!(batch.finalize(&inputs, key.public_key(), &mixed).err(), Some(PsiError::ProofRejected));
    // Two evaluations in each other's place.
    let mut swapped = key.evaluate(batch.as_bytes(), 4).unwrap();
    let (left, right) = swapped.split_at_mut(32);
    left.swap_with_slice(&mut right[..32]);
    assert_eq!(batch.finalize(&inputs, key.public_key(), &swapped).err(), Some(PsiError::ProofRejected));
}

#[test]
fn hostile_batches_are_refused_by_name() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let (inputs, batch) = batch_of(2);
    let good = batch.as_bytes();
    assert_eq!(key.evaluate(&[], 0), Err(PsiError::BatchSize));
    assert_eq!(key.evaluate(good, 65_536), Err(PsiError::BatchSize));
    assert!(matches!(key.evaluate(&good[..63], 2), Err(PsiError::WrongLength { .. })));
    assert!(matches!(key.evaluate(good, 1), Err(PsiError::WrongLength { .. })));
    assert_eq!(key.evaluate(&good[..32].repeat(2), 2), Err(PsiError::DuplicateElement));
    assert_eq!(key.evaluate(&[0; 32], 1), Err(PsiError::IdentityElement));
    assert_eq!(key.evaluate(&[0xff; 32], 1), Err(PsiError::InvalidElement));
    assert_eq!(BlindedBatch::new::<[u8; 1]>(Mode::Voprf, &[], vec![]).err(), Some(PsiError::BatchSize));
    assert_eq!(BlindedBatch::new(Mode::Voprf, &inputs, vec![blind(BLIND)]).err(), Some(PsiError::BatchSize));
    assert_eq!(Blind::from_canonical_bytes(&[0; 32]).err(), Some(PsiError::InvalidScalar));
    assert_eq!(Blind::from_uniform_bytes(&[0; 64]).err(), Some(PsiError::InvalidScalar));
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(PsiError::IdentityElement));
    assert!(PublicKey::from_bytes(&[0; 31]).is_err());
    let answer = key.evaluate(good, 2).unwrap();
    assert_eq!(batch.finalize(&inputs[..1], key.public_key(), &answer).err(), Some(PsiError::BatchSize));
    let mut identity = answer.clone();
    identity[..32].fill(0);
    assert_eq!(batch.finalize(&inputs, key.public_key(), &identity).err(), Some(PsiError::IdentityElement));
    let mut unreduced = answer;
    unreduced[95] = 0xff;
    assert_eq!(batch.finalize(&inputs, key.public_key(), &unreduced).err(), Some(PsiError::InvalidScalar));
}

#[test]
fn what_is_blinded_in_one_mode_is_not_unblinded_in_the_other() {
    let key = KeyPair::derive(Mode::Oprf, &seed(), b"").unwrap();
    let (inputs, batch) = batch_of(2);
    // Where a proof is due, an answer without one is cut short.
    let bare = key.evaluate(batch.as_bytes(), 2).unwrap();
    let due = PsiError::WrongLength { what: "an evaluated chunk", expected: 128, found: 64 };
    assert_eq!(batch.finalize(&inputs, key.public_key(), &bare).err(), Some(due));
    // Where none is due, one is too much.
    let blinds = vec![blind(BLIND), blind(SECOND)];
    let unproved = BlindedBatch::new(Mode::Oprf, &inputs, blinds).unwrap();
    let proved = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let answer = proved.evaluate(unproved.as_bytes(), 2).unwrap();
    let due = PsiError::WrongLength { what: "an evaluated chunk", expected: 64, found: 128 };
    assert_eq!(unproved.finalize(&inputs, proved.public_key(), &answer).err(), Some(due));
    assert_ne!(key.public_key(), proved.public_key());
    assert_ne!(*key.outputs(&inputs).unwrap(), *proved.outputs(&inputs).unwrap());
}

#[test]
fn two_proofs_of_one_statement_differ() {
    let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
    let (_, batch) = batch_of(1);
    let (first, second) = (key.evaluate(batch.as_bytes(), 1).unwrap(), key.evaluate(batch.as_bytes(), 1).unwrap());
    assert_eq!(first[..32], second[..32]);
    assert_ne!(first[32..], second[32..]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_verify(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = KeyPair::derive(Mode::Voprf, &seed(), b"").unwrap();
        let (inputs, batch) = batch_of(2);
        prop_assert!(batch.finalize(&inputs, key.public_key(), &bytes).is_err());
        if let Ok(answer) = key.evaluate(&bytes, bytes.len() / 32) {
            prop_assert_eq!(answer.len(), bytes.len() + 64);
        }
        let _ = PublicKey::from_bytes(&bytes);
    }
}
