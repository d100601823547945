use super::*;

fn opening(payload: &[u8]) -> Opening {
    Opening::new(payload.to_vec()).unwrap()
}

fn sealer(readers: &[&OpeningKey]) -> Sealer {
    let sealer = Sealer::default();
    sealer.seal_to(&readers.iter().map(|key| key.seal_key()).collect::<Vec<_>>()).unwrap();
    sealer
}

#[test]
fn each_overseer_reads_by_themselves_and_nobody_else_does() {
    let keys: Vec<_> = (0..3).map(|_| OpeningKey::generate().unwrap()).collect();
    let sealer = sealer(&keys.iter().collect::<Vec<_>>());
    let named = request_line(b"request") + "and more";
    for (payload, request) in [(named.as_bytes(), &b"request"[..]), (b"", b""), (b"payload", b"")] {
        let opening = opening(payload);
        let sealed = sealer.seal(&opening, request).unwrap();
        for key in &keys {
            let opened = sealed.open_committed(key, &opening.commitment()).unwrap();
            assert!(opened.opening == opening && opened.request == request);
        }
        let stranger = OpeningKey::generate().unwrap();
        assert_eq!(sealed.open_committed(&stranger, &opening.commitment()).err(), Some(SealError::Open));
    }
}

#[test]
fn nothing_of_the_request_shows_and_no_two_are_alike() {
    let key = OpeningKey::generate().unwrap();
    let sealer = sealer(&[&key]);
    let opening = opening(b"a payload that could be found");
    let (one, two) =
        (sealer.seal(&opening, b"1234567890123").unwrap(), sealer.seal(&opening, b"1234567890123").unwrap());
    assert_ne!(one, two);
    let holds = |part: &[u8]| one.as_bytes().windows(part.len()).any(|window| window == part);
    assert!(!holds(b"a payload that could be found") && !holds(b"1234567890123") && !holds(&opening.nonce));
    let nonces: std::collections::BTreeSet<_> = (0..100)
        .map(|_| {
            let sealed = sealer.seal(&opening, b"").unwrap();
            sealed.as_bytes()[2 + ENCAPSULATED + WRAPPED..][..NONCE].to_vec()
        })
        .collect();
    assert_eq!(nonces.len(), 100);
}

/// A leaf that commits to `opening`, whose signer sealed `sealed`.
fn leaf(opening: &Opening, sealed: &SealedOpening) -> Leaf {
    Leaf { sealed: sealed.hash(), ..crate::sample::leaf(0, opening) }
}

#[test]
fn a_changed_byte_anywhere_is_the_keepers_fault_and_every_overseer_sees_it() {
    let keys: Vec<_> = (0..3).map(|_| OpeningKey::generate().unwrap()).collect();
    let sealer = sealer(&keys.iter().collect::<Vec<_>>());
    let one = opening(b"payload");
    let sealed = sealer.seal(&one, b"").unwrap();
    let leaf = leaf(&one, &sealed);
    for key in &keys {
        assert!(sealed.open(key, &leaf).is_ok());
        for place in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[place] ^= 1;
            assert_eq!(SealedOpening(bytes).open(key, &leaf).err(), Some(SealError::Changed), "{place}");
        }
        let other = sealer.seal(&one, b"").unwrap();
        assert_eq!(other.open(key, &leaf).err(), Some(SealError::Changed), "another of the same");
    }
}

#[test]
fn a_sealed_opening_opens_for_its_own_commitment_alone() {
    let key = OpeningKey::generate().unwrap();
    let one = opening(b"payload");
    let sealed = sealer(&[&key]).seal(&one, b"").unwrap();
    assert_eq!(sealed.open_committed(&key, &opening(b"payload").commitment()).err(), Some(SealError::Open));
    for length in 0..sealed.as_bytes().len() {
        let short = SealedOpening(sealed.as_bytes()[..length].to_vec());
        assert!(short.open_committed(&key, &one.commitment()).is_err(), "{length}");
    }
}

#[test]
fn what_is_no_sealed_opening_is_not_taken() {
    for (bytes, error) in [
        (vec![], SealError::Malformed),
        (vec![1, 0], SealError::Malformed),
        (vec![1, 1, 0], SealError::Malformed),
        (vec![2, 1, 0], SealError::Format(2)),
        (vec![0; LARGEST + 1], SealError::Large),
    ] {
        assert_eq!(SealedOpening::from_bytes(bytes), Err(error));
    }
}

#[test]
fn a_signer_who_seals_something_else_than_it_committed_to_is_told_from_a_keeper_who_changed_it() {
    let key = OpeningKey::generate().unwrap();
    let mut epoch = Epoch::begin(&[key.seal_key()]).unwrap();
    let request_of = |request: &[u8]| opening(request_line(request).as_bytes());
    let (committed, other) = (request_of(b"asked"), request_of(b"something else"));
    let aad = committed.commitment();
    // Another opening; the true one beside another request, beside none, and a request where there was none.
    for (opened, request) in
        [(&other, &b"something else"[..]), (&committed, b"something else"), (&committed, b""), (&other, b"asked")]
    {
        let plain = Opened::encode(opened, request).unwrap();
        let sealed = epoch.cipher.encrypt(&Nonce::from([0; NONCE]), Payload { msg: &plain, aad: &aad }).unwrap();
        let sealed = SealedOpening([epoch.head.as_slice(), &[0; NONCE], &sealed].concat());
        assert_eq!(sealed.open(&key, &leaf(&committed, &sealed)).err(), Some(SealError::Mismatch));
    }
    let none = opening(b"a payload without a request");
    let sealed = epoch.seal(&none, b"invented").unwrap();
    assert_eq!(sealed.open(&key, &leaf(&none, &sealed)).err(), Some(SealError::Mismatch));
    let sealed = epoch.seal(&committed, b"asked").unwrap();
    assert!(sealed.open(&key, &leaf(&committed, &sealed)).is_ok());
}

#[test]
fn keys_are_read_back_and_what_is_no_key_is_refused() {
    let key = OpeningKey::generate().unwrap();
    let again = OpeningKey::parse(&format!("{}\n", *key.secret())).unwrap();
    assert_eq!(again.seal_key(), key.seal_key());
    assert_eq!(key.seal_key().to_string().parse(), Ok(key.seal_key()));
    for text in ["", "x25519-secret:", "x25519-secret:00", &key.seal_key().to_string()] {
        assert_eq!(OpeningKey::parse(text).err(), Some(SealError::Secret));
    }
    // A point of small order: whatever is sealed to it, everybody reads.
    let nothing = SealKey::from_bytes([0; 32]);
    let sealer = sealer(&[&key]);
    assert_eq!(sealer.seal_to(&[key.seal_key(), nothing]), Err(SealError::Key(nothing)));
    assert_eq!(sealer.seal_to(&[]), Err(SealError::NoReaders));
    let opening = opening(b"payload");
    assert!(
        sealer.seal(&opening, b"").unwrap().open_committed(&key, &opening.commitment()).is_ok(),
        "those before stay"
    );
    assert_eq!(Sealer::default().seal(&opening, b"").err(), Some(SealError::NoReaders));
}
