//! Whole sessions between a receiver and a sender.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn number(n: u32) -> NormalisedInput {
    Normaliser::V1.normalise(&format!("id-{n:08}")).unwrap()
}

fn numbers(range: impl IntoIterator<Item = u32>) -> Vec<NormalisedInput> {
    range.into_iter().map(number).collect()
}

fn key() -> SessionKey {
    let context = KeyContext {
        agreement: "school-round",
        receiver: "health",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[3; 16],
        mode: Mode::Voprf,
    };
    derive_session_key(&SecretSeed::from_bytes([1; 32]), &context).unwrap()
}

const SESSION: SessionId = SessionId::from_bytes([3; 16]);

fn params() -> MatchParams {
    MatchParams::new(FORMAT, 16, 64, 80).unwrap()
}

fn receiver(inputs: Vec<NormalisedInput>) -> Receiver {
    let public = key().public_key().clone();
    Receiver::new(SESSION, &SecretSeed::from_bytes([2; 32]), inputs, public, params()).unwrap()
}

fn sender(inputs: Vec<NormalisedInput>) -> Sender {
    Sender::new(key(), inputs, params()).unwrap()
}

/// Runs a session; gives the matches and all that the sender was given.
fn run(mut receiver: Receiver, sender: &Sender) -> (Matches, Vec<Vec<u8>>) {
    let mut seen = Vec::new();
    while let Some(next) = receiver.next_chunk() {
        let chunk = receiver.blind_chunk(next).unwrap();
        seen.push(chunk.as_bytes().to_vec());
        let answer = sender.evaluate(next, chunk.as_bytes()).unwrap();
        let verified = receiver.verify_chunk(&chunk, &answer).unwrap();
        receiver.accept(&verified).unwrap();
    }
    for piece in sender.tag_list().unwrap().as_bytes().chunks(7 * receiver.params().tag_bytes()) {
        receiver.push_tags(piece).unwrap();
    }
    (receiver.finish().unwrap(), seen)
}

#[test]
fn the_receiver_learns_exactly_the_inputs_that_both_hold() {
    // Duplicates on both sides; other spellings of the same numbers.
    let mut mine = numbers((0..60).chain(10..20));
    mine.push(Normaliser::V1.normalise("ＩＤ 0000 0001").unwrap());
    let (matches, _) = run(receiver(mine), &sender(numbers((40..100).chain(50..60))));
    assert!(matches.inputs() == numbers(40..60));
    assert!(matches.contains(&number(40)) && !matches.contains(&number(39)));
}

#[test]
fn a_session_without_proofs_gives_the_same_matches() {
    let context = KeyContext {
        agreement: "school-round",
        receiver: "health",
        field: "number",
        normaliser: Normaliser::V1,
        session: &[3; 16],
        mode: Mode::Oprf,
    };
    let key = || derive_session_key(&SecretSeed::from_bytes([1; 32]), &context).unwrap();
    let (params, seed) = (params().in_mode(Mode::Oprf), SecretSeed::from_bytes([2; 32]));
    assert_eq!(params.evaluated_chunk_bytes(), params.blinded_chunk_bytes());
    let us = Receiver::new(SESSION, &seed, numbers(0..60), key().public_key().clone(), params).unwrap();
    let element = us.blind_chunk(0).unwrap().as_bytes()[..32].to_vec();
    assert!(us.open(0).unwrap().verify(&us.root(), &element).is_ok());
    let (matches, _) = run(us, &Sender::new(key(), numbers(40..100), params).unwrap());
    assert!(matches.inputs() == numbers(40..60));
    // A key of the one mode and a session of the other: no chunk has the length that is due.
    let us = Receiver::new(SESSION, &seed, numbers(0..60), key().public_key().clone(), self::params()).unwrap();
    let chunk = us.blind_chunk(0).unwrap();
    let bare = Evaluator::new(key(), params).evaluate(0, chunk.as_bytes()).unwrap();
    assert!(matches!(us.verify_chunk(&chunk, &bare), Err(PsiError::WrongLength { .. })));
}

#[test]
fn empty_sets_match_nothing() {
    assert!(run(receiver(vec![]), &sender(vec![])).0.inputs().is_empty());
    assert!(run(receiver(numbers(0..5)), &sender(vec![])).0.inputs().is_empty());
    assert!(run(receiver(vec![]), &sender(numbers(0..5))).0.inputs().is_empty());
}

#[test]
fn full_sets_leave_no_room_for_one_more() {
    let (matches, _) = run(receiver(numbers(0..64)), &sender(numbers(0..80)));
    assert_eq!(matches.inputs().len(), 64);
    let public = key().public_key().clone();
    let seed = SecretSeed::from_bytes([2; 32]);
    let refused = Receiver::new(SESSION, &seed, numbers(0..65), public, params());
    assert_eq!(refused.err(), Some(PsiError::SetTooLarge));
    assert_eq!(Sender::new(key(), numbers(0..81), params()).err(), Some(PsiError::SetTooLarge));
}

#[test]
fn the_sender_is_given_as_much_whether_all_match_or_none() {
    let them = sender(numbers(0..80));
    let lengths = |seen: &[Vec<u8>]| seen.iter().map(Vec::len).collect::<Vec<_>>();
    let (all, when_all) = run(receiver(numbers(0..64)), &them);
    let (none, when_none) = run(receiver(numbers(1000..1003)), &them);
    assert_eq!((all.inputs().len(), none.inputs().len()), (64, 0));
    assert_eq!(lengths(&when_all), vec![16 * 32; 4]);
    assert_eq!(lengths(&when_all), lengths(&when_none));
    // No element of one run comes back in the other, nor twice in one: blinds are never shared.
    let elements: Vec<&[u8]> = when_all.iter().chain(&when_none).flat_map(|chunk| chunk.chunks(32)).collect();
    assert_eq!(elements.iter().collect::<BTreeSet<_>>().len(), elements.len());
}

#[test]
fn the_tag_list_has_the_declared_size_and_follows_from_the_session() {
    for size in [0, 3, 80] {
        let list = sender(numbers(0..size)).tag_list().unwrap();
        assert_eq!(list.as_bytes().len(), params().tag_list_bytes());
        assert_eq!(list.as_bytes(), sender(numbers(0..size)).tag_list().unwrap().as_bytes());
    }
}

/// As a side does whose set does not fit into memory: a chunk of places at a time, and the list in pieces.
#[test]
fn a_list_kept_elsewhere_gives_the_same_bytes() {
    let (mine, theirs) = (numbers(0..60), numbers(40..100));
    let us = receiver(mine.clone());
    let shuffle = Shuffle::of_session(&SecretSeed::from_bytes([2; 32]));
    assert_eq!(shuffle.opening_seed().expose(), us.opening_seed().expose());
    let mut slots: Vec<Slot> =
        mine.iter().map(Slot::own).chain((0..4).map(|n| shuffle.padding(n, Normaliser::V1))).collect();
    slots.sort_by_cached_key(|slot| *shuffle.rank(slot));
    let mut commitment = shuffle.commitment();
    slots.iter().for_each(|slot| commitment.push(slot.as_ref()).unwrap());
    assert_eq!(commitment.root(), Ok(us.root()));
    let blinding = Blinding::new(SESSION, &SecretSeed::from_bytes([2; 32]), key().public_key().clone(), params());
    let evaluator = Evaluator::new(key(), params());
    let mut own = Vec::new();
    for (number, places) in (0..).zip(slots.chunks(16)) {
        let places: Vec<Slot> = places.iter().map(|slot| Slot::from_bytes(slot.as_ref()).unwrap()).collect();
        let chunk = blinding.blind(number, &places).unwrap();
        assert_eq!(chunk.as_bytes(), us.blind_chunk(number).unwrap().as_bytes());
        let verified =
            blinding.verify(&chunk, &places, &evaluator.evaluate(number, chunk.as_bytes()).unwrap()).unwrap();
        own.extend(verified.tags().map(<[u8]>::to_vec));
    }
    let mut list: Vec<Vec<u8>> = evaluator.tags(&theirs).unwrap().iter().map(<[u8]>::to_vec).collect();
    list.extend(evaluator.padding(0, 20).iter().map(<[u8]>::to_vec));
    list.sort_unstable();
    assert_eq!(list.concat(), sender(theirs).tag_list().unwrap().as_bytes());
    let mut stream = TagStream::new(params());
    for piece in list.chunks(7) {
        assert!(!stream.is_complete());
        stream.check(&piece.concat()).unwrap();
    }
    assert!(stream.is_complete());
    let both = slots.iter().zip(&own).filter(|(_, tag)| list.contains(tag)).filter_map(|(slot, _)| slot.input());
    let mut both: Vec<_> = both.collect();
    both.sort_unstable();
    assert!(both == numbers(40..60));
    assert_eq!(blinding.blind(0, &slots[..15]).err(), Some(PsiError::NoSuchChunk));
    assert_eq!(blinding.blind(4, &slots[..16]).err(), Some(PsiError::NoSuchChunk));
}

#[test]
fn bytes_that_no_place_holds_are_not_taken_for_one() {
    assert!(Slot::from_bytes(&[]).is_none());
    assert!(Slot::from_bytes(&[b'1'; Slot::LONGEST + 1]).is_none());
    let padding = Shuffle::new(SecretSeed::from_bytes([1; 32])).padding(0, Normaliser::V1);
    assert!(padding.is_padding() && padding.input().is_none());
    let own = Slot::own(&number(1));
    assert!(!own.is_padding() && own.input() == Some(number(1)));
    assert!(Slot::from_bytes(b"lower-case").unwrap().input().is_none());
}

#[test]
fn tags_made_in_parts_give_the_same_list() {
    let them = sender(numbers(0..50));
    let parts = [them.tags(30..50).unwrap(), them.tags(0..30).unwrap()];
    assert_eq!(them.tag_list_of(&parts).unwrap().as_bytes(), them.tag_list().unwrap().as_bytes());
    assert_eq!(them.tag_list_of(&parts[..1]).err(), Some(PsiError::Incomplete));
    assert_eq!(them.tags(40..51).err(), Some(PsiError::NoSuchRange));
}

#[test]
fn a_resumed_session_sends_the_same_bytes_and_goes_on_from_the_first_missing_chunk() {
    let them = sender(numbers(40..100));
    let mut first = receiver(numbers(0..60));
    let chunk = first.blind_chunk(0).unwrap();
    let verified = first.verify_chunk(&chunk, &them.evaluate(0, chunk.as_bytes()).unwrap()).unwrap();
    first.accept(&verified).unwrap();
    assert_eq!((first.next_chunk(), first.accepted_chunks()), (Some(1), 1));
    let again = receiver(numbers((0..60).rev()));
    assert_eq!(again.root(), first.root());
    for number in 0..4 {
        assert_eq!(again.blind_chunk(number).unwrap().id(), first.blind_chunk(number).unwrap().id());
    }
    assert_eq!(again.blind_chunk(0).unwrap().as_bytes(), chunk.as_bytes());
    // What the first run took up stands; the rest follows.
    let (matches, seen) = run(first, &them);
    assert_eq!(seen.len(), 3);
    assert!(matches.inputs() == numbers(40..60));
}

#[test]
fn chunks_of_another_session_repeated_chunks_and_unknown_numbers_are_refused() {
    let them = sender(numbers(0..10));
    let mut us = receiver(numbers(0..10));
    let public = key().public_key().clone();
    let seed = SecretSeed::from_bytes([2; 32]);
    let other = Receiver::new(SessionId::from_bytes([4; 16]), &seed, numbers(0..10), public, params()).unwrap();
    let foreign = other.blind_chunk(0).unwrap();
    let answer = them.evaluate(0, foreign.as_bytes()).unwrap();
    assert_eq!(us.verify_chunk(&foreign, &answer).err(), Some(PsiError::ForeignChunk));
    assert_eq!(us.accept(&other.verify_chunk(&foreign, &answer).unwrap()), Err(PsiError::ForeignChunk));
    let chunk = us.blind_chunk(1).unwrap();
    let verified = us.verify_chunk(&chunk, &them.evaluate(1, chunk.as_bytes()).unwrap()).unwrap();
    assert_eq!(us.accept(&verified), Ok(()));
    assert_eq!(us.accept(&verified), Err(PsiError::ChunkRepeated));
    // The answer to another chunk of the same session.
    let wrong = them.evaluate(2, us.blind_chunk(2).unwrap().as_bytes()).unwrap();
    assert_eq!(us.verify_chunk(&chunk, &wrong).err(), Some(PsiError::ProofRejected));
    assert_eq!(us.blind_chunk(4).err(), Some(PsiError::NoSuchChunk));
    assert_eq!(them.evaluate(4, chunk.as_bytes()), Err(PsiError::NoSuchChunk));
}

#[test]
fn a_hostile_tag_list_is_refused_and_leaves_what_was_there() {
    let list = sender(numbers(0..80)).tag_list().unwrap();
    let length = params().tag_bytes();
    let mut us = receiver(numbers(0..64));
    assert!(matches!(us.push_tags(&list.as_bytes()[..length + 1]), Err(PsiError::WrongLength { .. })));
    let what = "a piece of the tag list";
    assert_eq!(us.push_tags(&[]), Err(PsiError::WrongLength { what, expected: length, found: 0 }));
    let mut swapped = list.as_bytes()[..2 * length].to_vec();
    swapped.rotate_left(length);
    assert_eq!(us.push_tags(&swapped), Err(PsiError::TagOrder));
    assert_eq!(us.push_tags(&list.as_bytes()[..length].repeat(2)), Err(PsiError::TagOrder));
    assert_eq!(us.tag_bytes_received(), 0);
    us.push_tags(&list.as_bytes()[..length]).unwrap();
    assert_eq!(us.push_tags(&list.as_bytes()[..length]), Err(PsiError::TagOrder));
    us.push_tags(&list.as_bytes()[length..]).unwrap();
    assert_eq!(us.push_tags(&vec![0xff; length]), Err(PsiError::TooManyTags));
    assert_eq!(us.tag_bytes_received(), params().tag_list_bytes() as u64);
    assert!(!us.is_complete());
    assert_eq!(us.finish().err(), Some(PsiError::Incomplete));
}

#[test]
fn an_overseer_can_check_each_place_against_what_was_sent() {
    let mine = numbers(0..20);
    let us = receiver(mine.clone());
    let root = us.root();
    assert_eq!(root.size, 64);
    let sent: Vec<u8> = (0..4).flat_map(|chunk| us.blind_chunk(chunk).unwrap().as_bytes().to_vec()).collect();
    let mut found = Vec::new();
    for (index, element) in (0..64).zip(sent.chunks(32)) {
        found.extend(us.open(index).unwrap().verify(&root, element).unwrap());
    }
    found.sort_unstable();
    assert!(found == mine);
    assert_eq!(us.open(64).err(), Some(PsiError::NoSuchSlot));
}

#[test]
fn from_the_opening_seed_each_place_is_opened_and_none_is_blinded() {
    let mine = numbers(0..20);
    let us = receiver(mine.clone());
    let kept = us.opening_seed().clone();
    let set = CommittedSet::new(&kept, mine.clone(), 64).unwrap();
    assert_eq!(set.root(), us.root());
    let mut found = Vec::new();
    for index in 0..64 {
        let opening = set.open(index).unwrap();
        verify_opening(&us.root(), &opening).unwrap();
        found.extend(NormalisedInput::from_normal_form(&opening.item));
        // Used in the place of the session's seed, it gives other blinds.
        let public = key().public_key().clone();
        let other = Receiver::new(SESSION, &kept, mine.clone(), public, params()).unwrap();
        assert_ne!(*other.open(index).unwrap().blind, *us.open(index).unwrap().blind);
    }
    found.sort_unstable();
    assert!(found == mine);
    assert_eq!(set.open(64).err(), Some(PsiError::NoSuchSlot));
    let other = CommittedSet::new(&kept, numbers(0..21), 64).unwrap();
    assert_ne!(other.root(), us.root(), "another set has another root");
}

#[test]
fn an_opening_with_another_element_another_blind_or_content_of_no_rule_is_refused() {
    let us = receiver(numbers(0..64));
    let sent = us.blind_chunk(0).unwrap();
    let element = &sent.as_bytes()[..32];
    let opening = us.open(0).unwrap();
    assert_eq!(opening.verify(&us.root(), &sent.as_bytes()[32..64]).err(), Some(PsiError::OpeningRejected));
    let blind = us.open(1).unwrap().blind;
    let other = SlotOpening { blind, ..opening.clone() };
    assert_eq!(other.verify(&us.root(), element).err(), Some(PsiError::OpeningRejected));
    // A set committed to by a program of the receiver's own making, with content that no rule gives.
    let blind = zeroize::Zeroizing::new([1; 32].map(|byte: u8| byte & 0x0f));
    let odd = Commitment::new([b"lower-case"], &SecretSeed::from_bytes([9; 32])).unwrap();
    let batch = |item: &[u8]| {
        oprf::BlindedBatch::new(Mode::Voprf, &[item], vec![oprf::Blind::from_canonical_bytes(&blind).unwrap()]).unwrap()
    };
    let opening = SlotOpening { opening: odd.open(0, b"lower-case").unwrap(), mode: Mode::Voprf, blind: blind.clone() };
    let refused = opening.verify(&odd.root(), batch(b"lower-case").as_bytes());
    assert_eq!(refused.err(), Some(PsiError::OpeningRejected));
}

#[test]
fn one_seed_used_for_two_sets_by_mistake_shares_no_blind() {
    let (one, two) = (receiver(numbers(0..64)), receiver(numbers(100..164)));
    let blinds: BTreeSet<_> =
        (0..64).flat_map(|i| [*one.open(i).unwrap().blind, *two.open(i).unwrap().blind]).collect();
    assert_eq!(blinds.len(), 128);
}

/// Golden: what stands here was sent and committed to before there was a second rule. Sessions that were opened by then
/// can be resumed, and their commitments opened.
#[test]
fn a_session_over_numbers_sends_the_bytes_that_it_always_sent() {
    let us = receiver(numbers(0..20));
    assert_eq!(hex::encode(us.root().hash), "b936fcd8ee1b1fe40b5ac4f16471df355a074d8403a38722f593f10cf8df7250");
    assert_eq!(
        hex::encode(us.blind_chunk(3).unwrap().id().hash),
        "e84a9f68779ffea7584555da74f2fc3531a84acaa1255f051d22ca37024035b9"
    );
    assert_eq!(
        hex::encode(receiver(vec![]).root().hash),
        "02aae3f7df448c8febb10f3831a06a1419f92ac2df84c31873a897ea26175c49"
    );
}

fn persons(range: impl IntoIterator<Item = u32>) -> Vec<NormalisedInput> {
    let name = |n: u32| format!("Шевч{}нко", ["е", "о", "а", "у"].map(|v| v.repeat(n as usize / 4))[n as usize % 4]);
    let person = |n| Normaliser::V2.normalise_parts(&[Some(&name(n)), Some("Тарас"), Some("9.3.1987")]).unwrap();
    range.into_iter().map(person).collect()
}

#[test]
fn a_session_over_persons_matches_them_and_pads_as_long_as_they_are() {
    let (mine, theirs) = (persons(4..44), persons(24..100));
    let us = receiver(mine.clone());
    let root = us.root();
    let mut found = Vec::new();
    for number in 0..4 {
        let sent = us.blind_chunk(number).unwrap();
        for (index, element) in (number * 16..).zip(sent.as_bytes().chunks(32)) {
            let opening = us.open(index).unwrap();
            assert_eq!(opening.opening.item.len(), 33);
            let item = opening.verify(&root, element).unwrap();
            assert_eq!(item.is_none(), opening.opening.item[0] >= 0x80);
            found.extend(item);
        }
    }
    found.sort_unstable();
    let mut all = mine;
    all.sort_unstable();
    assert!(found == all && all.len() == 40);
    let mut both = persons(24..44);
    both.sort_unstable();
    assert!(run(us, &sender(theirs)).0.inputs() == both);
}

#[test]
fn an_item_of_the_length_of_another_rule_is_refused_unless_it_is_padding() {
    for (item, accepted) in [
        ([0x01; 33].as_slice(), true),
        (&[0x01; 20], false),
        (&[0x01; 32], false),
        (&[0x02; 33], false),
        (&[b'1'; 20], true),
        (&[b'1'; 33], false),
        (&[0x80; 20], true),
        (&[0xff; 33], true),
        (&[0x80; 21], false),
        (&[0x80; 32], false),
        (&[], false),
    ] {
        let blind = zeroize::Zeroizing::new([7; 32].map(|byte: u8| byte & 0x0f));
        let committed = Commitment::new([item], &SecretSeed::from_bytes([9; 32])).unwrap();
        let blinded = oprf::Blind::from_canonical_bytes(&blind).unwrap();
        let batch = oprf::BlindedBatch::new(Mode::Voprf, &[item], vec![blinded]).unwrap();
        let opening = SlotOpening { opening: committed.open(0, item).unwrap(), mode: Mode::Voprf, blind };
        let verified = opening.verify(&committed.root(), batch.as_bytes());
        assert_eq!(verified.is_ok(), accepted, "{item:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_matches_are_the_intersection(
        mine in prop::collection::btree_set(0u32..60, 0..32),
        theirs in prop::collection::btree_set(0u32..60, 0..40),
    ) {
        let params = MatchParams::new(FORMAT, 8, 32, 40).unwrap();
        let public = key().public_key().clone();
        let seed = SecretSeed::from_bytes([6; 32]);
        let us = Receiver::new(SESSION, &seed, numbers(mine.iter().copied()), public, params).unwrap();
        let them = Sender::new(key(), numbers(theirs.iter().copied()), params).unwrap();
        let both = numbers(mine.intersection(&theirs).copied());
        prop_assert!(run(us, &them).0.inputs() == both);
    }

    #[test]
    fn arbitrary_pieces_of_a_tag_list_never_panic(piece in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut us = receiver(numbers(0..3));
        let before = us.tag_bytes_received();
        if us.push_tags(&piece).is_err() {
            prop_assert_eq!(us.tag_bytes_received(), before);
        } else {
            prop_assert_eq!(us.tag_bytes_received(), piece.len() as u64);
        }
    }
}
