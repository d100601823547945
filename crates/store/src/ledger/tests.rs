use super::*;
use crate::CappedKey;
use firebreak_domain::{CapPeriod, Counted};
use proptest::{prelude::*, test_runner::RngSeed};

fn account() -> impl Strategy<Value = AccountKey> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| AccountKey::from_bytes(&bytes))
}

fn spend() -> impl Strategy<Value = Spend> {
    let ids = (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u8; 32]>());
    let charge = (any::<u64>(), any::<u64>(), any::<u64>());
    (ids, charge, proptest::collection::vec(account(), 0..4)).prop_map(|(ids, charge, accounts)| Spend {
        request: RequestRef { principal: ids.0, id: ids.1 },
        digest: ids.2,
        release_key: ReleaseKey::from_bytes(ids.3),
        charge: Charge {
            rho: Rho::from_nano(charge.0),
            delta: Delta::from_atto(charge.1),
            epsilon: Epsilon::from_nano(charge.2),
        },
        accounts,
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let evaluation = (account(), any::<[u8; 32]>(), any::<u32>(), any::<[u8; 32]>(), any::<u64>()).prop_map(
        |(account, session, chunk, blinded_hash, elements)| Evaluation {
            account,
            session,
            chunk,
            blinded_hash,
            elements,
        },
    );
    let handed = (account(), any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>())
        .prop_map(|(account, session, hash, tags)| HandOut { account, list: ListRef { session, hash }, tags });
    prop_oneof![
        spend().prop_map(Entry::Reserve),
        spend().prop_map(Entry::Repeat),
        spend().prop_map(Entry::Refund),
        evaluation.prop_map(Entry::Evaluate),
        handed.prop_map(Entry::HandOut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(64) })]

    #[test]
    fn an_entry_reads_back_as_written_and_not_when_cut_or_extended(entry in entry(), secs in any::<i64>()) {
        let at = Timestamp::from_secs(secs);
        let bytes = entry.to_bytes(at);
        prop_assert_eq!(Entry::from_bytes(&bytes), Ok((at, entry)));
        for cut in 0..bytes.len() {
            prop_assert!(Entry::from_bytes(&bytes[..cut]).is_err());
        }
        prop_assert!(Entry::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Entry::from_bytes(&bytes);
    }
}

fn reserve(id: u8, rho: u64) -> Entry {
    Entry::Reserve(Spend {
        request: RequestRef { principal: [1; 32], id: [id; 16] },
        digest: [3; 32],
        release_key: ReleaseKey::from_bytes([4; 32]),
        charge: Charge::of_rho(Rho::from_nano(rho)),
        accounts: vec![AccountKey::from_bytes(b"a"), AccountKey::from_bytes(b"b")],
    })
}

#[test]
fn a_head_follows_from_format_head_before_and_entry() {
    let bytes = reserve(2, 5).to_bytes(Timestamp::from_secs(7));
    let expected = Sha256::digest([&1_u32.to_be_bytes()[..], &[9; 32], &bytes[4..]].concat());
    assert_eq!(chain(&[9; 32], &bytes), expected[..]);
}

#[test]
fn an_entry_that_leaves_the_range_changes_nothing() {
    let ledger = Ledger::default();
    let mut draft = ledger.draft();
    let at = Timestamp::from_secs(0);
    assert!(draft.append(&ledger, &reserve(2, u64::MAX - 1), at).is_ok());
    let before = draft.head();
    assert!(draft.append(&ledger, &reserve(3, 2), at).is_err(), "a balance beyond its integers");
    let Entry::Reserve(spend) = reserve(2, 1) else { panic!() };
    let other = Spend { accounts: vec![AccountKey::from_bytes(b"c")], ..spend };
    assert!(draft.append(&ledger, &Entry::Refund(other), at).is_err(), "a refund to an account that was not charged");
    assert_eq!(draft.head(), before);
    assert_eq!(draft.rows.len(), 1);
    assert!(draft.append(&ledger, &reserve(3, 1), at).is_ok());
}

#[test]
fn a_request_is_charged_once_and_given_back_once_across_transactions() {
    let (mut ledger, at) = (Ledger::default(), Timestamp::from_secs(0));
    let charge = reserve(2, 5);
    let Entry::Reserve(spend) = charge.clone() else { panic!() };
    let refund = Entry::Refund(spend.clone());
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &refund, at).is_err(), "nothing was charged");
    assert!(draft.append(&ledger, &charge, at).is_ok());
    assert!(draft.append(&ledger, &charge, at).is_err(), "charged in this transaction");
    ledger.commit(draft);
    // Given back, charged, given back and charged again in one transaction.
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &charge, at).is_err(), "charged before it");
    for (entry, by) in [(&refund, None), (&charge, Some(3)), (&refund, None), (&charge, Some(5))] {
        assert!(draft.append(&ledger, entry, at).is_ok());
        assert_eq!(draft.charged(&ledger, &spend.request), by);
        assert!(draft.append(&ledger, entry, at).is_err(), "twice");
    }
    ledger.commit(draft);
    assert_eq!(ledger.draft().charged(&ledger, &spend.request), Some(5));
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &refund, at).is_ok());
    ledger.commit(draft);
    assert_eq!(ledger.draft().charged(&ledger, &spend.request), None);
    assert!(ledger.charged.is_empty());
}

fn evaluation(year: i32, elements: u64) -> Entry {
    let of = CappedKey {
        agreement: "round".parse().unwrap(),
        receiver: "health".parse().unwrap(),
        key: "number".parse().unwrap(),
    };
    let account = AccountKey::of_counted(Counted::Evaluations, &of, CapPeriod::Year(year));
    Entry::Evaluate(Evaluation { account, session: [7; 32], chunk: 2, blinded_hash: [8; 32], elements })
}

#[test]
fn an_evaluation_is_written_with_the_agreement_the_receiver_the_key_and_the_year_that_it_counts_in() {
    let of = [&5_u64.to_be_bytes()[..], b"round", &6_u64.to_be_bytes(), b"health", &6_u64.to_be_bytes(), b"number"];
    let account = [&[6][..], &of.concat(), &2025_i32.to_be_bytes()].concat();
    let parts = [
        &1_u32.to_be_bytes()[..],
        &[4],
        &9_i64.to_be_bytes(),
        &(account.len() as u64).to_be_bytes(),
        &account,
        &[7; 32],
        &2_u32.to_be_bytes(),
        &[8; 32],
        &4096_u64.to_be_bytes(),
    ];
    let (at, entry) = (Timestamp::from_secs(9), evaluation(2025, 4096));
    assert_eq!(entry.to_bytes(at), parts.concat());
    assert_eq!(Entry::from_bytes(&parts.concat()), Ok((at, entry)));
}

#[test]
fn the_years_of_a_cap_add_up_for_life_and_beyond_its_integers_nothing_is_counted() {
    let (ledger, at) = (Ledger::default(), Timestamp::from_secs(0));
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &evaluation(2025, 40), at).is_ok());
    assert!(draft.append(&ledger, &evaluation(2026, u64::MAX - 40), at).is_ok());
    assert!(draft.append(&ledger, &evaluation(2027, 1), at).is_err(), "the sum for life is beyond its integers");
    let counted = |entry: &Entry| {
        let Entry::Evaluate(evaluation) = entry else { panic!() };
        let life = evaluation.account.for_life().unwrap();
        (draft.counted(&ledger, &evaluation.account), draft.counted(&ledger, &life))
    };
    assert_eq!(counted(&evaluation(2025, 0)), (40, u64::MAX));
    assert_eq!(counted(&evaluation(2026, 0)), (u64::MAX - 40, u64::MAX));
    assert_eq!(counted(&evaluation(2027, 0)), (0, u64::MAX));
}

#[test]
fn a_list_of_tags_is_charged_once_across_transactions() {
    let (mut ledger, at) = (Ledger::default(), Timestamp::from_secs(0));
    let account = AccountKey::from_bytes(b"a");
    let list = ListRef { session: [1; 32], hash: [2; 32] };
    let entry = |list| Entry::HandOut(HandOut { account: account.clone(), list, tags: 5 });
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &entry(list), at).is_ok());
    assert!(draft.append(&ledger, &entry(list), at).is_err(), "charged in this transaction");
    ledger.commit(draft);
    let mut draft = ledger.draft();
    assert!(draft.append(&ledger, &entry(list), at).is_err(), "charged before it");
    assert!(draft.append(&ledger, &entry(ListRef { hash: [3; 32], ..list }), at).is_ok(), "other tags");
    ledger.commit(draft);
    assert_eq!(ledger.counted.get(&account), Some(&10));
}
