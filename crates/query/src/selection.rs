//! A condition alone, by which a receiver selects those of its records that it matches.

use crate::{AggregateQuery, CheckedQuery, check, parse_sql};
use firebreak_domain::{Contract, Domain, ReasonCode, Refusal};

/// A selection as a question that counts the rows for which it is true, over the one dataset of the contract; `None`
/// where all are selected.
///
/// # Errors
/// A [`Refusal`] for a condition that does not fit the contract, and for what is more than a condition.
pub fn selection(contract: &Contract, condition: &str) -> Result<Option<CheckedQuery>, Refusal> {
    if condition.trim().is_empty() {
        return Ok(None);
    }
    let all = format!("SELECT COUNT(*) AS n FROM {}", contract.id);
    let selected = parse_sql(&format!("{all} WHERE {condition}"))?;
    // SECURITY: the text stands in the place of a condition and is read as one. What ends the condition and goes on
    // (HAVING, LIMIT, SETTINGS) would be passed over, and something else selected than was asked for.
    let without = AggregateQuery { filter: None, ..selected.clone() };
    if selected.filter.is_none() || without != parse_sql(&all)? {
        return Err(Refusal::new(ReasonCode::UnsupportedClause).because("a selection is a condition alone"));
    }
    // What is left out is said of bounded rows, and a match is of all.
    let mut contract = contract.clone();
    contract.columns.retain(|column| column.domain != Domain::LeftOut);
    check(&selected, &contract).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        toml::from_str(include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml")).unwrap()
    }

    #[test]
    fn a_selection_is_of_all_rows_and_knows_nothing_of_what_bounding_leaves_out() {
        let contract = contract();
        assert!(contract.columns.iter().any(|column| column.domain == Domain::LeftOut));
        assert!(selection(&contract, "vaccine = 'MMR'").unwrap().is_some());
        assert!(selection(&contract, " ").unwrap().is_none());
        for refused in ["left_out = 'yes'", "vaccine = 'MMR' AND left_out = 'no'", "COUNT(*) > 1"] {
            assert!(selection(&contract, refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_goes_on_behind_a_condition_is_refused() {
        for more in [
            "HAVING n > 5",
            "ORDER BY n",
            "LIMIT 1",
            "SETTINGS rho = 0.01",
            "GROUP BY vaccine",
            "GROUP BY ROLLUP (vaccine)",
            "UNION ALL SELECT COUNT(*) AS n FROM health.visits",
            "; SELECT 1",
        ] {
            assert!(selection(&contract(), &format!("vaccine = 'MMR' {more}")).is_err(), "{more}");
        }
    }
}
