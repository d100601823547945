//! Names and short codes. The first byte chooses the kind.

use super::text;
use firebreak_audit::VerifierKey;
use firebreak_domain::{
    AgreementId, AssessmentId, ColumnName, CutId, DatasetId, EndpointId, Identity, MatchKeyName, OpenCode, OrgId, Pin,
    PublicationId, PurposeId, ReleaseName, RequestId, SealKey, SeriesId, UnitSpaceId,
};
use std::fmt::Display;
use std::str::FromStr;

/// What was read is shown so that it is read as the same.
fn shown<T: FromStr + Display + PartialEq>(text: &str) -> bool {
    let Ok(name) = text.parse::<T>() else { return false };
    assert!(name.to_string().parse::<T>().is_ok_and(|again| again == name), "{name} is read as something else");
    true
}

fn owned<T: TryFrom<String> + Display + PartialEq>(text: &str) -> bool {
    let Ok(name) = T::try_from(text.to_owned()) else { return false };
    assert!(T::try_from(name.to_string()).is_ok_and(|again| again == name), "{name} is read as something else");
    true
}

fn open_code(text: &str) -> bool {
    let Some(code) = OpenCode::parse(text, OpenCode::MAX_LENGTH) else { return false };
    assert_eq!(code.to_string(), text);
    assert_eq!(OpenCode::of(code.number()), Some(code));
    true
}

fn request_id(text: &str) -> bool {
    RequestId::try_from(text.as_bytes()).is_ok_and(|id| id.as_bytes() == text.as_bytes())
}

/// How a kind is read, and one of it.
type Kind = (fn(&str) -> bool, &'static str);

const KINDS: &[Kind] = &[
    (shown::<OrgId>, "health-agency"),
    (shown::<EndpointId>, "open-portal"),
    (shown::<AgreementId>, "vaccination-round"),
    (shown::<AssessmentId>, "vaccination-round"),
    (shown::<PurposeId>, "public_health"),
    (shown::<DatasetId>, "health.visits"),
    (shown::<UnitSpaceId>, "health.persons"),
    (shown::<ColumnName>, "national_number"),
    (shown::<MatchKeyName>, "number"),
    (shown::<Identity>, "spiffe://firebreak.example/org/nso/analyst/ada"),
    (shown::<SeriesId>, "visits-by-region"),
    (shown::<PublicationId>, "07070707070707070707070707070707"),
    (shown::<ReleaseName>, "06060606060606060606060606060606"),
    (shown::<SealKey>, "x25519:0909090909090909090909090909090909090909090909090909090909090909"),
    (shown::<VerifierKey>, "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
    (owned::<CutId>, "2024-Q4"),
    (owned::<Pin>, "sha256:0909090909090909090909090909090909090909090909090909090909090909"),
    (open_code, "J45-9"),
    (request_id, "sixteen bytes ab"),
];

pub fn run(bytes: &[u8]) -> bool {
    let Some((which, name)) = bytes.split_first() else { return false };
    text(name).is_some_and(|name| KINDS[usize::from(*which) % KINDS.len()].0(name))
}

pub fn samples() -> Vec<Vec<u8>> {
    (0_u8..).zip(KINDS).map(|(which, (_, name))| [&[which], name.as_bytes()].concat()).collect()
}
