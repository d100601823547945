//! The forms in which a program could write an identifier, and the search for them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::{Digest, Sha256};

/// One form of one identifier.
pub struct Form {
    name: String,
    needle: Vec<u8>,
    /// Whether letters count in either case.
    any_case: bool,
}

impl Form {
    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form as it would stand in a file.
    pub fn planted(&self) -> &[u8] {
        &self.needle
    }
}

/// Every form of an identifier: as it is and without separators, in hexadecimal digits, in base64 at each of the three
/// places at which it can begin, percent-encoded, and its SHA-256.
pub fn forms_of(identifier: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let plain: String = identifier.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut writings = vec![
        identifier.to_owned(),
        identifier.trim().to_owned(),
        plain,
        identifier.to_lowercase(),
        identifier.to_uppercase(),
    ];
    writings.sort();
    writings.dedup();
    for writing in writings {
        let mut add = |form: &str, needle: Vec<u8>, any_case: bool| {
            forms.push(Form { name: format!("{writing} as {form}"), needle, any_case });
        };
        let bytes = writing.as_bytes();
        add("text", bytes.to_vec(), true);
        add("hex", hex::encode(bytes).into_bytes(), true);
        for begin in 0..3 {
            for (alphabet, engine) in [("base64", &STANDARD), ("URL base64", &URL_SAFE)] {
                add(&format!("{alphabet} from {begin}"), base64_within(engine, bytes, begin), false);
            }
        }
        add("percent-encoding", percent(bytes, |b| b.is_ascii_alphanumeric()), true);
        add("percent-encoding throughout", percent(bytes, |_| false), true);
        let digest = Sha256::digest(bytes);
        add("SHA-256", digest.to_vec(), false);
        add("SHA-256 in hex", hex::encode(digest).into_bytes(), true);
        add("SHA-256 in base64", STANDARD.encode(digest).trim_end_matches('=').into(), false);
        add("SHA-256 in URL base64", URL_SAFE.encode(digest).trim_end_matches('=').into(), false);
    }
    forms
}

/// The characters of base64 that depend on `bytes` alone, when so many other bytes stand before them.
fn base64_within(engine: &impl Engine, bytes: &[u8], before: usize) -> Vec<u8> {
    let padded = [vec![0; before], bytes.to_vec()].concat();
    let text = engine.encode(&padded);
    let first = (before * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text.bytes().take(last).skip(first).collect()
}

fn percent(bytes: &[u8], plain: impl Fn(&u8) -> bool) -> Vec<u8> {
    let one = |b: &u8| if plain(b) { vec![*b] } else { format!("%{b:02x}").into_bytes() };
    bytes.iter().flat_map(one).collect()
}

/// Which forms are found, and where.
pub fn found(forms: &[Form], places: &[(String, Vec<u8>)]) -> Vec<String> {
    // A character a byte, so that the search for text finds bytes.
    let text = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
    let mut hits = Vec::new();
    for (place, bytes) in places {
        let exact = text(bytes);
        let lower = exact.to_ascii_lowercase();
        for form in forms {
            let needle = text(&form.needle);
            let hit =
                if form.any_case { lower.contains(&needle.to_ascii_lowercase()) } else { exact.contains(&needle) };
            if hit {
                hits.push(format!("{} in {place}", form.name));
            }
        }
    }
    hits
}
