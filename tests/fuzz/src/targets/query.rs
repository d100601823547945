//! Questions as they are typed.

use super::{text, texts};
use crate::samples::{contracts, recipes};
use firebreak_query::{Decimal, MAX_SQL_BYTES, PrimitiveKind, parse_sql, plan, plan_query, selection, to_sql};
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

/// By what a receiver selects those whom it matches. Whatever the text, it is a condition alone, on the rows of the one
/// dataset.
pub fn condition(bytes: &[u8]) -> bool {
    let Some(condition) = text(bytes) else { return false };
    let mut taken = false;
    for contract in contracts() {
        let Ok(selected) = selection(contract, condition) else { continue };
        taken = true;
        assert_eq!(selected.is_none(), condition.trim().is_empty(), "a condition selects all, or none does not");
        let Some(query) = selected else { continue };
        assert!(query.filter().is_some() && query.cells() == 1 && query.groups().is_empty());
        let [counted] = query.primitives() else { panic!("a selection counts more than rows") };
        assert!(*counted.kind() == PrimitiveKind::CountRows && counted.filter().is_none());
        let [read] = query.reads() else { panic!("a selection reads more than a dataset") };
        assert!(read.dataset == contract.id && *query.dataset() == contract.id && query.rho().is_none());
        assert_eq!(Some(query.cut()), contract.latest_cut());
        let left_out = contract.left_out().map(|column| &column.name);
        assert!(query.columns().iter().all(|name| Some(name) != left_out), "a selection knows what is left out");
        // In brackets, which hold a condition and nothing else, it is the same. One bracket more may be one too many.
        let again = selection(contract, &format!("({condition}\n)"));
        let same = again.ok().flatten().is_none_or(|again| again.canonical() == query.canonical());
        assert!(same, "something stands behind the condition");
        for more in ["HAVING n > 5", "ORDER BY n", "LIMIT 1", "SETTINGS rho = 0.01"] {
            assert!(selection(contract, &format!("{condition}\n{more}")).is_err(), "{more} is passed over");
        }
    }
    taken
}

pub fn conditions() -> Vec<Vec<u8>> {
    texts(&[
        "",
        "vaccine = 'MMR'",
        "vaccine = 'MMR' AND dose_date >= DATE '2020-01-01'",
        "visit_year BETWEEN 2020 AND 2023 AND NOT (kind = 'emergency' OR cost > 100.50)",
        "region IN ('R01', 'R02') OR birth_year < 2010",
        // Without the dashes, more than a condition.
        "weekly_hours >= 10 AND region IS NOT NULL -- HAVING n > 5 ORDER BY n LIMIT 1 SETTINGS rho = 0.01",
        "region = 'R01' -- LIMIT 1",
    ])
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
