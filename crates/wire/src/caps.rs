use crate::query::v1 as wire;
use firebreak_domain::{AgreementId, CapPeriod, CapStanding, Counted, MatchKeyName};

/// How a cap of an agreement's match stands, as sent.
#[must_use]
pub fn to_wire(agreement: &AgreementId, standing: &CapStanding) -> wire::MatchCap {
    let counted = match standing.counted {
        Counted::Evaluations => wire::Counted::Evaluations,
        Counted::Tags => wire::Counted::Tags,
    };
    let year = match standing.period {
        CapPeriod::Year(year) => Some(year),
        CapPeriod::Life => None,
    };
    wire::MatchCap {
        agreement: agreement.to_string(),
        counted: counted.into(),
        year,
        cap: standing.cap,
        used: standing.used,
        key: standing.key.to_string(),
    }
}

/// How a cap stands, as received; `None` of one that counts what this program does not know, or whose key has no name.
#[must_use]
pub fn from_wire(cap: &wire::MatchCap) -> Option<CapStanding> {
    let counted = match cap.counted() {
        wire::Counted::Evaluations => Counted::Evaluations,
        wire::Counted::Tags => Counted::Tags,
        wire::Counted::Unspecified => return None,
    };
    let period = cap.year.map_or(CapPeriod::Life, CapPeriod::Year);
    let key = MatchKeyName::new(cap.key.clone()).ok()?;
    Some(CapStanding { key, counted, period, cap: cap.cap, used: cap.used })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cap_comes_back_as_it_was_sent_and_what_a_later_program_counts_is_left_out() {
        let agreement = AgreementId::new("round").unwrap();
        for counted in [Counted::Evaluations, Counted::Tags] {
            for period in [CapPeriod::Year(2026), CapPeriod::Year(0), CapPeriod::Life] {
                for used in [None, Some(0), Some(7)] {
                    let key = MatchKeyName::new("names").unwrap();
                    let standing = CapStanding { key, counted, period, cap: 9, used };
                    let sent = to_wire(&agreement, &standing);
                    assert_eq!((sent.agreement.as_str(), from_wire(&sent)), ("round", Some(standing)));
                    assert_eq!(from_wire(&wire::MatchCap { key: String::new(), ..sent.clone() }), None);
                    for unknown in [0, 99] {
                        assert_eq!(from_wire(&wire::MatchCap { counted: unknown, ..sent.clone() }), None);
                    }
                }
            }
        }
    }
}
