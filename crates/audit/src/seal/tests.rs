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
    for (payload, request) in [(&b"payload"[..], &b"request"[..]), (b"", b""), (b"", b"request"), (b"payload", b"")] {
        let opening = opening(payload);
        let sealed = sealer.seal(&opening, request).unwrap();
        for key in &keys {
            let opened = sealed.open(key, &opening.commitment()).unwrap();
            assert!(opened.opening == opening && opened.request == request);
        }
        let stranger = OpeningKey::generate().unwrap();
        assert_eq!(sealed.open(&stranger, &opening.commitment()).err(), Some(SealError::Open));
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

#[test]
fn every_changed_byte_and_every_other_leaf_is_refused() {
    let key = OpeningKey::generate().unwrap();
    let sealer = sealer(&[&key]);
    let one = opening(b"payload");
    let sealed = sealer.seal(&one, b"request").unwrap();
    for place in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[place] ^= 1;
        let changed = SealedOpening::from_bytes(bytes).unwrap();
        assert!(changed.open(&key, &one.commitment()).is_err(), "{place}");
    }
    for length in 0..sealed.as_bytes().len() {
        let short = SealedOpening::from_bytes(sealed.as_bytes()[..length].to_vec()).unwrap();
        assert!(short.open(&key, &one.commitment()).is_err(), "{length}");
    }
    assert_eq!(sealed.open(&key, &opening(b"payload").commitment()).err(), Some(SealError::Open));
}

#[test]
fn what_its_signer_did_not_commit_to_is_told_from_what_was_changed() {
    let key = OpeningKey::generate().unwrap();
    let mut epoch = Epoch::begin(&[key.seal_key()]).unwrap();
    let (committed, other) = (opening(b"this"), opening(b"that"));
    let plain = Opened::encode(&other, b"").unwrap();
    let aad = committed.commitment();
    let sealed = epoch.cipher.encrypt(&Nonce::from([0; NONCE]), Payload { msg: &plain, aad: &aad }).unwrap();
    let sealed = SealedOpening([epoch.head.as_slice(), &[0; NONCE], &sealed].concat());
    assert_eq!(sealed.open(&key, &aad).err(), Some(SealError::Mismatch));
    epoch.used = 1;
    assert!(epoch.seal(&committed, b"").unwrap().open(&key, &aad).is_ok());
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
    assert!(sealer.seal(&opening, b"").unwrap().open(&key, &opening.commitment()).is_ok(), "those before stay");
    assert_eq!(Sealer::default().seal(&opening, b"").err(), Some(SealError::NoReaders));
}
