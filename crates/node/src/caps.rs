use firebreak_domain::{CapPeriod, CapStanding, Counted, MatchCaps, MatchKey, OrgId, ReasonCode, Refusal};
use firebreak_policy::VisibleMatch;

/// The sender of a match, and the caps of its keys in a year, of which nobody has said yet how much is used; `None` where the
/// agreement permits no match.
#[must_use]
pub fn caps_of(matching: &VisibleMatch, year: i32) -> Option<(OrgId, Vec<CapStanding>)> {
    let terms = matching.agreement.matching.as_ref()?;
    let (receiver, sender) = (matching.receiver.unit_space.register_size, matching.sender.unit_space.register_size);
    let of_key = |key: &MatchKey| {
        let caps = MatchCaps::of(&matching.agreement, key, receiver).in_year(year, sender);
        caps.map(|(counted, period, cap)| CapStanding { key: key.name.clone(), counted, period, cap, used: None })
    };
    Some((terms.sender.clone(), terms.keys.iter().flat_map(of_key).collect()))
}

/// The refusal of what goes beyond a cap of which so many are left, under an agreement whose last year that is.
#[must_use]
pub fn exhausted_cap(counted: Counted, period: CapPeriod, left: u64, last_year: i32) -> Refusal {
    let instead = match (counted, period) {
        (_, CapPeriod::Year(year)) if year < last_year => {
            format!("more come on {}-01-01; until then {}", year.saturating_add(1), within(counted))
        }
        (_, CapPeriod::Year(_)) => {
            format!("the agreement ends before another year begins: {}, or conclude another", within(counted))
        }
        (_, CapPeriod::Life) => {
            format!(
                "no more come under this agreement: {}, or have the cap raised, which is a loosening",
                within(counted)
            )
        }
    };
    Refusal::new(ReasonCode::MatchCapExhausted)
        .because(format!("of the {counted} that the cap allows {period}, {left} are left"))
        .instead(instead)
}

/// What is possible within a cap.
const fn within(counted: Counted) -> &'static str {
    match counted {
        Counted::Evaluations => "match no more records than are left",
        Counted::Tags => "resume a session that has its list already, which costs nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_which_cap_how_much_is_left_and_when_more_comes() {
        let said = |counted, period, last| exhausted_cap(counted, period, 4096, last).to_string();
        let year = said(Counted::Evaluations, CapPeriod::Year(2026), 2027);
        assert!(year.contains("evaluations that the cap allows in 2026, 4096 are left"), "{year}");
        assert!(year.contains("more come on 2027-01-01"), "{year}");
        let last = said(Counted::Evaluations, CapPeriod::Year(2027), 2027);
        assert!(!last.contains("more come on") && last.contains("ends before another year"), "{last}");
        let life = said(Counted::Tags, CapPeriod::Life, 2027);
        assert!(life.contains("tags that the cap allows over the agreement's life, 4096 are left"), "{life}");
        assert!(life.contains("no more come under this agreement"), "{life}");
        assert_eq!(exhausted_cap(Counted::Tags, CapPeriod::Life, 0, 0).reason, ReasonCode::MatchCapExhausted);
    }
}
