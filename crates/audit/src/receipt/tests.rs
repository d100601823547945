use super::*;
use crate::{CheckpointError, sample};

fn receipts() -> (VerifierKey, Vec<Receipt>) {
    let dir = tempfile::tempdir().unwrap();
    let (key, receipts) = sample::make_log(dir.path(), &[1, 6, 9], sample::leaves);
    (key.parse().unwrap(), receipts)
}

#[test]
fn a_receipt_reads_back_and_holds_with_and_without_its_opening() {
    let (key, receipts) = receipts();
    assert_eq!(receipts.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 1, 6]);
    for receipt in receipts {
        let closed = Receipt { opening: None, ..receipt.clone() };
        for receipt in [receipt, closed] {
            assert_eq!(Receipt::decode(receipt.encode().as_bytes()).unwrap(), receipt);
            let verified = receipt.verify(&key).unwrap();
            assert_eq!(
                (verified.index, verified.leaf, verified.opening),
                (receipt.index, receipt.leaf, receipt.opening)
            );
        }
    }
}

#[test]
fn a_receipt_that_claims_something_else_does_not_hold() {
    let (key, receipts) = receipts();
    let [first, second, third] = <[Receipt; 3]>::try_from(receipts).unwrap();
    let moved = Receipt { index: 7, ..third.clone() };
    assert_eq!(moved.verify(&key), Err(ReceiptError::NotIncluded));
    let beyond = Receipt { index: 9, ..third.clone() };
    assert_eq!(beyond.verify(&key), Err(ReceiptError::NotIncluded));
    let other_leaf = Receipt { leaf: second.leaf.clone(), opening: None, ..third.clone() };
    assert_eq!(other_leaf.verify(&key), Err(ReceiptError::NotIncluded));
    let other_tree = Receipt { checkpoint: first.checkpoint, ..third.clone() };
    assert_eq!(other_tree.verify(&key), Err(ReceiptError::NotIncluded));
    let other_opening = Receipt { opening: second.opening, ..third.clone() };
    assert_eq!(other_opening.verify(&key), Err(ReceiptError::OpeningMismatch));
    let other_log = sample::note_key();
    assert_eq!(third.verify(other_log.verifier()), Err(CheckpointError::WrongKey.into()));
}

#[test]
fn a_receipt_of_another_form_is_refused() {
    let (_, receipts) = receipts();
    let text = receipts[2].encode();
    let lines = text.lines().filter(|line| line.starts_with("proof ")).count();
    assert!(lines > 1);
    let many = text.replacen("proof ", &(format!("proof {}\n", to_base64(&[0; 32])).repeat(64) + "proof "), 1);
    for (changed, error) in [
        (text.replacen("format 1", "format 9", 1), None),
        (many, Some(TextError::Value("proof"))),
        (text.replacen("leaf 24", "leaf 25", 1), Some(TextError::Trailing)),
        (text.replacen("leaf 24", "leaf 99999999999", 1), Some(TextError::Value("leaf"))),
        (text.replacen("index 6", "index 06", 1), Some(TextError::Value("index"))),
    ] {
        assert_ne!(changed, text);
        let found = Receipt::decode(changed.as_bytes()).unwrap_err();
        assert!(error.is_none_or(|error| error == found), "{found}");
    }
}
