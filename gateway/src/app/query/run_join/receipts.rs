use firebreak_node::Evidence;

/// Evidence of an answer over a join as it is stored: the gateway's of the release, and each agency's of its commitment,
/// each behind its length.
pub(super) fn encode(evidence: [&Evidence; 3]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for evidence in evidence {
        let one = evidence.encode();
        bytes.extend((one.len() as u64).to_be_bytes());
        bytes.extend(one);
    }
    bytes
}

/// What [`encode`] wrote; `None` for anything else.
pub(super) fn decode(mut rest: &[u8]) -> Option<[Evidence; 3]> {
    let mut one = || {
        let (length, behind) = rest.split_first_chunk()?;
        let (evidence, behind) = behind.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        rest = behind;
        Evidence::decode(evidence)
    };
    let all = [one()?, one()?, one()?];
    rest.is_empty().then_some(all)
}
