use super::*;
use crate::sample;
use crate::{LeafSigner, SignedLeaf};
use proptest::prelude::*;

fn an_id() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,12}"
}

fn a_charge() -> impl Strategy<Value = Charge> {
    use firebreak_domain::{Delta, Epsilon, Rho};
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(rho, delta, epsilon)| Charge {
        rho: Rho::from_nano(rho),
        delta: Delta::from_atto(delta),
        epsilon: Epsilon::from_nano(epsilon),
    })
}

prop_compose! {
    pub(crate) fn any_leaf()(
        act in (any::<i64>(), prop::sample::select(LeafKind::ALL), an_id(), prop::sample::select(SignerRole::ALL)),
        organisations in prop::collection::btree_set(an_id(), 0..5),
        names in prop::option::of((an_id(), an_id(), an_id())),
        words in prop::option::of((
            prop::sample::select(&LEGAL_BASES[..]),
            prop::sample::select(&CLASSES[..]),
            prop::sample::select(OutputKind::ALL),
            prop::sample::select(ReasonCode::ALL),
        )),
        numbers in (any::<u64>(), a_charge(), a_charge()),
        hashes in any::<(Hash, Hash, Hash)>(),
    ) -> Leaf {
        Leaf {
            hour: Hour::of(Timestamp::from_secs(act.0)),
            kind: act.1,
            signer_org: OrgId::new(act.2).unwrap(),
            signer_role: act.3,
            organisations: organisations.into_iter().map(|id| OrgId::new(id).unwrap()).collect(),
            agreement: names.as_ref().map(|n| AgreementId::new(n.0.as_str()).unwrap()),
            purpose: names.as_ref().map(|n| PurposeId::new(n.1.as_str()).unwrap()),
            dataset: names.as_ref().map(|n| DatasetId::new(n.2.as_str()).unwrap()),
            legal_basis: words.map(|w| w.0),
            recipient_class: words.map(|w| w.1),
            output_kind: words.map(|w| w.2),
            reason: words.map(|w| w.3),
            bundle_sequence: numbers.0,
            charge: numbers.1,
            ledger_head: hashes.0,
            ledger_total: numbers.2,
            commitment: hashes.1,
            sealed: hashes.2,
        }
    }
}

proptest! {
    #[test]
    fn a_leaf_reads_back_as_written(leaf in any_leaf()) {
        prop_assert_eq!(Leaf::decode(leaf.encode().as_bytes()).unwrap(), leaf);
    }

    #[test]
    fn a_changed_byte_gives_another_leaf_or_none(
        leaf in any_leaf(), at in any::<prop::sample::Index>(), mask in 1u8..,
    ) {
        let mut text = leaf.encode().into_bytes();
        let at = at.index(text.len());
        text[at] ^= mask;
        if let Ok(read) = Leaf::decode(&text) {
            prop_assert_eq!(read.encode().into_bytes(), text);
            prop_assert_ne!(read, leaf);
        }
    }

    #[test]
    fn a_signed_leaf_reads_back_and_its_signature_counts(leaf in any_leaf()) {
        let key = sample::AgencyKey::new(1);
        let leaf = Leaf { signer_org: OrgId::new("health").unwrap(), ..leaf };
        let signed = SignedLeaf::sign(leaf, &key).unwrap();
        let read = SignedLeaf::decode(signed.as_bytes()).unwrap();
        prop_assert!(read.is_signed(&key));
        prop_assert!(!read.is_signed(&sample::AgencyKey::new(2)));
        prop_assert_eq!(read, signed);
    }
}

fn text() -> String {
    sample::leaf(4, &sample::opening(4)).encode()
}

#[test]
fn a_leaf_is_the_documented_text() {
    let expected = "firebreak leaf format 1\n\
        hour 2025-01-01T10:00:00Z\n\
        kind refusal\n\
        signer_org health\n\
        signer_role adapter\n\
        organisation health\n\
        organisation nso\n\
        agreement health-stats-2024\n\
        purpose public-health\n\
        legal_basis public_task\n\
        recipient_class statistics\n\
        output_kind dp_aggregate\n\
        dataset health.visits\n\
        reason PURPOSE_NOT_COVERED\n\
        bundle_sequence 7\n\
        charge_nano_rho 0\n\
        charge_atto_delta 0\n\
        charge_nano_epsilon 0\n\
        ledger_head 0303030303030303030303030303030303030303030303030303030303030303\n\
        ledger_nano_rho 20000000\n\
        ledger_atto_delta 0\n\
        ledger_nano_epsilon 0\n\
        commitment abababababababababababababababababababababababababababababababab\n\
        sealed cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\n";
    let sample = sample::leaf(4, &sample::opening(4));
    let leaf = Leaf { ledger_head: [3; 32], commitment: [0xab; 32], sealed: [0xcd; 32], ..sample };
    assert_eq!(leaf.encode(), expected);
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let later = text().replacen("format 1", "format 2", 1);
    let error = Leaf::decode(later.as_bytes()).unwrap_err();
    assert!(matches!(error, TextError::UnknownFormat(e) if e.found == 2), "{error}");
}

#[test]
fn unknown_repeated_reordered_and_missing_lines_are_refused() {
    let good = text();
    let lines: Vec<&str> = good.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert!(Leaf::decode(join(&lines).as_bytes()).is_ok());
    let optional =
        ["organisation", "agreement", "purpose", "legal_basis", "recipient_class", "output_kind", "dataset", "reason"];
    for at in 1..lines.len() {
        let mut unknown = lines.clone();
        unknown.insert(at, "remark none");
        assert!(Leaf::decode(join(&unknown).as_bytes()).is_err(), "unknown line at {at}");
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at]);
        assert!(Leaf::decode(join(&repeated).as_bytes()).is_err(), "repeated line {at}");
        let mut swapped = lines.clone();
        swapped.swap(at - 1, at);
        assert!(Leaf::decode(join(&swapped).as_bytes()).is_err(), "swapped line {at}");
        let mut missing = lines.clone();
        missing.remove(at);
        let may_be_missing = optional.contains(&lines[at].split(' ').next().unwrap());
        assert_eq!(Leaf::decode(join(&missing).as_bytes()).is_ok(), may_be_missing, "missing line {at}");
    }
    assert_eq!(Leaf::decode(good.trim_end().as_bytes()), Err(TextError::Line("sealed")));
    assert_eq!(Leaf::decode(format!("{good}\n").as_bytes()), Err(TextError::Trailing));
}

#[test]
fn values_that_could_be_written_otherwise_are_refused() {
    for (from, to) in [
        ("bundle_sequence 7", "bundle_sequence 07"),
        ("bundle_sequence 7", "bundle_sequence +7"),
        ("T10:00:00Z", "T10:00:01Z"),
        ("T10:00:00Z", "T10:00:00z"),
        ("hour 2025", "hour 02025"),
        ("organisation health", "organisation zzz"),
    ] {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text());
        assert!(Leaf::decode(changed.as_bytes()).is_err(), "{to}");
    }
    let good = text();
    let upper = good.lines().map(|line| match line.strip_prefix("commitment ") {
        Some(hash) => format!("commitment {}\n", hash.to_uppercase()),
        None => format!("{line}\n"),
    });
    assert_eq!(Leaf::decode(upper.collect::<String>().as_bytes()), Err(TextError::Value("commitment")));
}

#[test]
fn an_hour_forgets_minutes_and_stays_writable() {
    assert_eq!(Hour::of(Timestamp::from_secs(1_735_729_199)).to_string(), "2025-01-01T10:00:00Z");
    assert_eq!(Hour::of(Timestamp::from_secs(-1)).to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(Hour::of(Timestamp::from_secs(i64::MAX)).to_string(), "9999-12-31T23:00:00Z");
}

#[test]
fn only_programs_sign_leaves() {
    let signers = IdentityRole::ALL.into_iter().filter(|role| SignerRole::try_from(*role).is_ok());
    assert_eq!(signers.collect::<Vec<_>>(), [IdentityRole::Gateway, IdentityRole::Adapter]);
}

#[test]
fn a_signature_moved_to_another_leaf_does_not_count() {
    let key = sample::AgencyKey::new(1);
    let [one, two]: [SignedLeaf; 2] = sample::leaves(0..2).try_into().unwrap();
    let signature = one.as_str().lines().last().unwrap();
    let moved = format!("{}{signature}\n", two.leaf().encode());
    let moved = SignedLeaf::decode(moved.as_bytes()).unwrap();
    assert_eq!(*moved.key(), key.key());
    assert!(two.is_signed(&key) && !moved.is_signed(&key));
}

#[test]
fn a_signed_leaf_too_large_for_an_entry_is_refused() {
    let long = vec![b'a'; 65_536];
    assert_eq!(SignedLeaf::decode(&long), Err(TextError::TooLarge));
}
