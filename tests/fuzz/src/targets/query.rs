//! Questions as they are typed.

use super::{text, texts};
use crate::samples::{contracts, recipes};
use firebreak_query::{Decimal, MAX_SQL_BYTES, parse_sql, plan, plan_query, to_sql};
use firebreak_wire::{question_from_bytes, question_to_bytes};

/// A statement: read, written again, sent as a message, and checked against the sample contracts.
pub fn sql(bytes: &[u8]) -> bool {
    let Some(sql) = text(bytes) else { return false };
    let read = parse_sql(sql);
    if let Ok(query) = &read {
        assert!(sql.len() <= MAX_SQL_BYTES, "a statement beyond the bound was read");
        let again = parse_sql(&to_sql(query));
        assert!(again.is_err() || again.unwrap().canonical() == query.canonical(), "written again it asks for more");
        if let Some(received) = question_from_bytes(&question_to_bytes(query)) {
            assert!(received.canonical() == query.canonical(), "sent as a message it is another question");
        }
    }
    match plan(sql, contracts()) {
        Ok(checked) => {
            assert!(checked.cells() >= 1);
            let again = parse_sql(&to_sql(&read.unwrap())).and_then(|query| plan_query(&query, contracts()));
            assert!(again.is_ok_and(|again| again.canonical() == checked.canonical()), "another question as SQL");
        }
        Err(refusal) => {
            let suggestion = refusal.suggestion.unwrap_or_default();
            assert!(plan(&suggestion, contracts()).is_ok(), "what is suggested is refused: {suggestion}");
            return false;
        }
    }
    true
}

pub fn statements() -> Vec<Vec<u8>> {
    let answered = recipes().into_iter().filter(|sql| plan(sql, contracts()).is_ok());
    answered.map(|sql| sql.as_bytes().to_vec()).collect()
}

/// A number in a statement.
pub fn decimal(bytes: &[u8]) -> bool {
    let Some(number) = text(bytes).and_then(|text| text.parse::<Decimal>().ok()) else { return false };
    assert!(number.to_string().parse() == Ok(number));
    assert!(number.as_f64().is_finite());
    assert!(number.negated().negated() == number);
    true
}

pub fn decimals() -> Vec<Vec<u8>> {
    texts(&["12", "-1.50", ".5", "3.", "1e3", "2.5E-1", "0", "99999999999999999.99", "0.000001"])
}
