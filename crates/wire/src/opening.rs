use firebreak_audit::Opening;

/// An opening as sent: 32 random bytes, then what was committed to.
#[must_use]
pub fn opening_to_wire(opening: &Opening) -> Vec<u8> {
    [opening.nonce.as_slice(), &opening.payload].concat()
}

/// An opening as received; `None` if it is too short to be one.
#[must_use]
pub fn opening_from_wire(bytes: &[u8]) -> Option<Opening> {
    let (nonce, payload) = bytes.split_first_chunk::<32>()?;
    Some(Opening { nonce: *nonce, payload: payload.to_vec() })
}
