use super::*;
use crate::sample;

/// Example keys and note text of <https://pkg.go.dev/golang.org/x/mod/sumdb/note>.
const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn a_key_is_read_and_written_in_the_form_of_other_tools() {
    let file = format!("firebreak note key format 1\nkey {SECRET}\n");
    let key = NoteKey::decode(file.as_bytes()).unwrap();
    assert_eq!(key.verifier().to_string(), PUBLIC);
    assert_eq!(*key.encode(), file);
}

#[test]
fn a_key_file_of_another_form_is_refused() {
    for file in [
        SECRET.to_owned(),
        format!("firebreak note key format 2\nkey {SECRET}\n"),
        format!("firebreak note key format 1\nkey {SECRET}"),
        format!("firebreak note key format 1\nkey {}\n", SECRET.replace("c74f20a3", "c74f20a4")),
        format!("firebreak note key format 1\nkey {}\n", SECRET.replace("+AYEK", "+AoEK")),
        format!("firebreak note key format 1\nkey {PUBLIC}\n"),
    ] {
        assert!(NoteKey::decode(file.as_bytes()).is_err(), "{file}");
    }
    for name in ["", "a b", "a+b", "a\n", "ä", &"a".repeat(201)] {
        assert!(matches!(NoteKey::generate(name), Err(NoteKeyError::Name)), "{name}");
    }
    for text in ["", "a", "a+b+c", &PUBLIC.replace("c74f20a3", "C74F20A3"), &PUBLIC.replace("ARpc", "ARpd")] {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
}

#[test]
fn a_checkpoint_opens_under_its_own_key_alone() {
    let (ours, other) = (sample::note_key(), sample::note_key());
    let signed = ours.sign(3, [9; 32]).unwrap();
    assert_eq!(ours.verifier().open(signed.note().as_bytes()), Ok(signed.clone()));
    assert_eq!(other.verifier().open(signed.note().as_bytes()), Err(CheckpointError::WrongKey));
    let elsewhere = NoteKey::generate("firebreak.example/other").unwrap();
    assert_eq!(elsewhere.verifier().open(signed.note().as_bytes()), Err(CheckpointError::WrongOrigin));
    let forged = signed.note().replacen("\n3\n", "\n4\n", 1);
    assert_eq!(ours.verifier().open(forged.as_bytes()), Err(CheckpointError::BadSignature));
}

#[test]
fn what_nobody_would_check_is_not_part_of_a_checkpoint() {
    let key = sample::note_key();
    let note = key.sign(3, [9; 32]).unwrap().note().to_owned();
    let signature = note.lines().last().unwrap();
    let with_extension = {
        let text = format!("{}\n3\n{}\nextension\n", key.name(), crate::text::to_base64(&[9; 32]));
        let mut signed = Note::new(text.as_bytes(), &[]).unwrap();
        signed.add_sigs(&[&NoteSigner(&key)]).unwrap();
        String::from_utf8(signed.to_bytes()).unwrap()
    };
    let empty_with_root = key.sign(0, [9; 32]).unwrap().note().to_owned();
    let too_large = key.sign(MAX_SIZE + 1, [9; 32]).unwrap().note().to_owned();
    for note in [
        format!("{note}{signature}\n"),
        format!("{note}\u{2014} witness.example AAAAAQ==\n"),
        format!("{note}\n"),
        with_extension,
        empty_with_root,
        too_large,
        String::new(),
    ] {
        assert_eq!(key.verifier().open(note.as_bytes()), Err(CheckpointError::Malformed), "{note}");
    }
}
