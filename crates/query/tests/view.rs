//! HAVING, ORDER BY and LIMIT over released values.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where its own material is wrong"
)]

mod support;

use firebreak_domain::{ReasonCode, Refusal};
use firebreak_query::{CheckedQuery, check, parse_sql, to_sql};
use support::visits;

fn read(sql: &str) -> Result<CheckedQuery, Refusal> {
    check(&parse_sql(sql)?, &visits())
}

fn checked(sql: &str) -> CheckedQuery {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

/// The codes of the rows that are shown, by the released counts of the four kinds of visit in declared order.
fn shown(clauses: &str, counts: [f64; 5]) -> Vec<usize> {
    let sql = format!("SELECT kind, COUNT(*) AS n, 100 / COUNT(*) AS share FROM health.visits GROUP BY kind {clauses}");
    let query = checked(&sql);
    assert_eq!(query.cells(), 5, "the fixture has five kinds");
    query.shown(|row| vec![counts[row.cell]]).into_iter().map(|row| row.cell).collect()
}

#[test]
fn rows_are_kept_sorted_and_cut_by_released_values() {
    let counts = [30.0, -5.0, 70.0, 30.0, 1.0];
    for (clauses, wanted) in [
        ("", vec![0, 1, 2, 3, 4]),
        ("ORDER BY n", vec![1, 4, 0, 3, 2]),
        ("ORDER BY n DESC", vec![2, 0, 3, 4, 1]),
        ("ORDER BY 2 DESC, kind DESC", vec![2, 3, 0, 4, 1]),
        ("ORDER BY COUNT(*) * -1", vec![2, 0, 3, 4, 1]),
        ("ORDER BY kind DESC", vec![4, 3, 2, 1, 0]),
        ("ORDER BY 1 DESC LIMIT 2", vec![4, 3]),
        ("LIMIT 2 OFFSET 1", vec![1, 2]),
        ("ORDER BY n DESC LIMIT 1 OFFSET 9", vec![]),
        ("HAVING COUNT(*) > 30", vec![2]),
        ("HAVING n >= 30 AND NOT (n > 60)", vec![0, 3]),
        ("HAVING n < 0 OR 60 < n ORDER BY n DESC", vec![2, 1]),
        ("HAVING n BETWEEN 30 AND 70 ORDER BY share", vec![2, 0, 3]),
        ("HAVING n NOT BETWEEN 0 AND 50", vec![1, 2]),
        ("HAVING n <> 30", vec![1, 2, 4]),
        ("LIMIT 0", vec![]),
    ] {
        assert_eq!(shown(clauses, counts), wanted, "{clauses}");
    }
}

#[test]
fn what_is_not_computable_is_not_kept_and_comes_last() {
    let counts = [20.0, 0.0, 10.0, 0.0, 5.0];
    assert_eq!(shown("HAVING share > 0", counts), [0, 2, 4]);
    assert_eq!(shown("HAVING NOT (share > 0)", counts), Vec::<usize>::new(), "unknown stays unknown");
    assert_eq!(shown("HAVING share > 0 OR n = 0", counts), [0, 1, 2, 3, 4]);
    assert_eq!(shown("HAVING share > 0 AND n = 0", counts), Vec::<usize>::new());
    assert_eq!(shown("ORDER BY share", counts), [0, 2, 4, 1, 3]);
    assert_eq!(shown("ORDER BY share DESC", counts), [4, 2, 0, 1, 3]);
}

#[test]
fn what_is_shown_changes_neither_what_is_measured_nor_its_price() {
    let plain = "SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region";
    for clauses in ["HAVING n > 5", "ORDER BY n DESC LIMIT 3", "HAVING COUNT(*) > 1 ORDER BY region"] {
        let query = checked(&format!("{plain} {clauses}"));
        assert_eq!(query.canonical(), checked(plain).canonical(), "{clauses}");
        assert_eq!(query.primitives().len(), 1, "{clauses}");
    }
    // A value that stands in HAVING alone is measured, and paid for.
    assert_eq!(checked(&format!("{plain} HAVING SUM(cost) > 5")).primitives().len(), 2);
}

#[test]
fn a_view_is_read_back_as_it_was_written() {
    for clauses in [
        "HAVING COUNT(*) > 5 AND (SUM(cost) < 3 OR NOT (COUNT(*) = 2))",
        "ORDER BY region DESC, COUNT(*) - 1 LIMIT 3 OFFSET 2",
        "HAVING 1 + COUNT(*) >= 2 * SUM(cost) ORDER BY SUM(cost) / COUNT(*) DESC",
        "ORDER BY (3) LIMIT 1",
    ] {
        let sql = format!("SELECT region, COUNT(*) FROM health.visits GROUP BY region {clauses}");
        let query = parse_sql(&sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        let again = parse_sql(&to_sql(&query)).unwrap_or_else(|refusal| panic!("{}: {refusal}", to_sql(&query)));
        assert!(again == query, "{clauses}: {}", to_sql(&query));
    }
}

#[test]
fn what_no_view_has_is_refused() {
    for (clauses, reason) in [
        ("HAVING region = 'R01'", ReasonCode::UngroupedColumn),
        ("HAVING COUNT(*)", ReasonCode::UnsupportedExpression),
        ("HAVING COUNT(*) IN (1, 2)", ReasonCode::UnsupportedExpression),
        ("ORDER BY cost", ReasonCode::UngroupedColumn),
        ("ORDER BY 7", ReasonCode::UnsupportedClause),
        ("ORDER BY n NULLS FIRST", ReasonCode::UnsupportedClause),
        ("LIMIT -1", ReasonCode::LiteralMismatch),
        ("LIMIT 1.5", ReasonCode::LiteralMismatch),
        ("LIMIT 'x'", ReasonCode::LiteralMismatch),
        ("FETCH FIRST 3 ROWS ONLY", ReasonCode::UnsupportedClause),
        ("HAVING MIN(cost) > 1", ReasonCode::UnsupportedAggregate),
        ("HAVING (SELECT 1) > 1", ReasonCode::SubqueryAsked),
    ] {
        let sql = format!("SELECT region, COUNT(*) AS n FROM health.visits GROUP BY region {clauses}");
        assert_eq!(read(&sql).err().map(|refusal| refusal.reason), Some(reason), "{clauses}");
    }
}
