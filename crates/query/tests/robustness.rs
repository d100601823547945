//! Hostile text: no panic, no overflow of the stack, no long time.
#![expect(clippy::unwrap_used, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::{Contract, ReasonCode};
use firebreak_query::{MAX_SQL_BYTES, parse_sql, plan, to_sql};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use sqlparser::keywords::ALL_KEYWORDS;
use std::time::{Duration, Instant};
use support::visits;

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "COUNT",
    "SUM",
    "AVG",
    "MAX",
    "(",
    ")",
    "*",
    ",",
    "+",
    "-",
    "/",
    "%",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "IS",
    "NULL",
    "LIKE",
    "FILTER",
    "DISTINCT",
    "AS",
    "ON",
    "JOIN",
    "UNION",
    "WITH",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "OVER",
    "HAVING",
    "ORDER",
    "LIMIT",
    "FOR",
    "SYSTEM_TIME",
    "OF",
    "SETTINGS",
    "rho",
    "DATE",
    "INTERVAL",
    "EXISTS",
    "health",
    ".",
    "visits",
    "region",
    "cost",
    "visit_date",
    "name",
    "fingerprint",
    "'R01'",
    "'2024-01-01'",
    "'é\u{0}'",
    "1",
    "0.5",
    "1e400",
    "\"region\"",
    "\"",
    "'",
    ";",
    "--",
    "/*",
    "*/",
    "$1",
    "$$",
    "[",
    "]",
    "{",
    "}",
    "::",
    "~",
    "@",
    "#",
    "\\",
    "\u{202e}",
    "ARRAY",
    "ALL",
    "ANY",
    "ROLLUP",
    "EXTRACT",
    "TRIM",
    "SUBSTRING",
    "POSITION",
    "VALUES",
    "TABLE",
    "LATERAL",
    "PIVOT",
    "AT",
    "TIME",
];

fn survives(sql: &str, contracts: &[Contract]) -> Result<(), TestCaseError> {
    match plan(sql, contracts) {
        Ok(checked) => prop_assert!(checked.cells() >= 1),
        Err(refusal) => {
            let suggestion = refusal.suggestion.clone().unwrap_or_default();
            prop_assert!(plan(&suggestion, contracts).is_ok(), "{} → {}", sql, suggestion);
        }
    }
    if let Ok(query) = parse_sql(sql) {
        let again = parse_sql(&to_sql(&query));
        prop_assert!(again.is_err() || again.unwrap().canonical() == query.canonical(), "{}", sql);
    }
    Ok(())
}

/// A fixed seed, so that every run sees the same cases.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_241_231),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn any_text_is_answered_or_refused(text in any::<String>()) {
        survives(&text, &[visits()])?;
    }

    #[test]
    fn any_row_of_words_is_answered_or_refused(words in prop::collection::vec(select(WORDS), 0..40)) {
        survives(&words.join(" "), &[visits()])?;
        survives(&format!("SELECT COUNT(*) FROM health.visits {}", words.join(" ")), &[visits()])?;
        survives(&format!("SELECT {}", words.join(" ")), &[visits()])?;
    }

    #[test]
    fn a_statement_with_words_changed_is_answered_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), select(WORDS), 0..3_u8), 1..5)
    ) {
        const STATEMENT: &str = "SELECT region , AVG ( cost ) / 2 AS half , COUNT ( * ) FILTER ( WHERE kind IN ( 'other' ) ) \
            FROM health . visits FOR SYSTEM_TIME AS OF '2024-Q4' WHERE visit_year BETWEEN 2020 AND 2022 \
            AND NOT ( region = 'R01' OR cost > 5 ) GROUP BY region SETTINGS rho = 0.5";
        let mut words: Vec<&str> = STATEMENT.split_whitespace().collect();
        for (at, word, what) in changes {
            let at = at.index(words.len());
            match what {
                0 => words[at] = word,
                1 => words.insert(at, word),
                _ => drop(words.remove(at)),
            }
        }
        survives(&words.join(" "), &[visits()])?;
    }
}

/// Statements that make a recursive or backtracking reader suffer, up to the bound on length.
fn hostile() -> Vec<String> {
    let many = |text: &str, times: usize| text.repeat(times);
    let fill = |head: &str, text: &str, tail: &str| {
        let room = MAX_SQL_BYTES - head.len() - tail.len();
        format!("{head}{}{tail}", text.repeat(room / text.len()))
    };
    let mut statements = Vec::new();
    for depth in [8, 11, 12, 13, 40, 1000] {
        statements.push(format!("SELECT {}COUNT(*){} FROM a", many("(", depth), many(")", depth)));
        statements.push(format!("SELECT {}COUNT(*) FROM a", many("(", depth)));
        statements.push(format!("SELECT {}1 x{} FROM a", many("CAST(", depth), many(")", depth)));
        statements.push(format!("SELECT {}1 x{} FROM a", many("SUM(", depth), many(")", depth)));
        statements.push(format!("SELECT {}1 x{} FROM a", many("CASE WHEN ", depth), many(" END", depth)));
        statements.push(format!("SELECT {}1 FROM a", many("CASE CASE WHEN ", depth)));
        statements.push(format!("SELECT COUNT(*) FROM {}a", many("(", depth)));
        statements.push(format!("SELECT COUNT(*) FROM {}a{}", many("(SELECT * FROM ", depth), many(")", depth)));
        statements.push(format!("{}SELECT 1{}", many("(", depth), many(")", depth)));
        statements.push(format!("{} SELECT 1", many("WITH a AS (", depth)));
        statements.push(format!("SELECT COUNT(*) FROM a WHERE {}x = 1", many("NOT ", depth)));
        statements.push(format!("SELECT COUNT(*) FROM a WHERE {}x y", many("NOT (", depth)));
        statements.push(format!("SELECT COUNT(*) FROM a WHERE {}x", many("EXISTS (", depth)));
        statements.push(format!("SELECT {}1 FROM a", many("INTERVAL ", depth)));
        statements.push(format!("SELECT {}1 FROM a", many("DATE ", depth)));
        statements.push(format!("SELECT {}1{} FROM a", many("EXTRACT(YEAR FROM ", depth), many(")", depth)));
        statements.push(format!("SELECT {}1 FROM a", many("{a: ", depth)));
        statements.push(format!("SELECT {}1 FROM a", many("[", depth)));
        statements.push(format!("SELECT a{} FROM a", many("[1", depth)));
        statements.push(format!("SELECT CAST(1 AS {}INT{}) FROM a", many("ARRAY<", depth), many(">", depth)));
        statements.push(format!("SELECT COUNT(*) FROM a {}", many("JOIN (b ", depth)));
        statements.push(format!("SELECT COUNT(*) FROM a WHERE x IN {}1", many("(SELECT y FROM b WHERE y IN ", depth)));
    }
    for (text, tail) in [
        ("1+", "1 FROM a"),
        ("1-", "COUNT(*) FROM a"),
        ("- ", "1 FROM a"),
        ("COUNT(*),", "1 FROM a"),
        ("a.", "b FROM a"),
        ("1::INT", " FROM a"),
        ("1||", "1 FROM a"),
        ("x,", "x FROM a"),
        ("'", ""),
        ("\"", ""),
        ("/*", ""),
        ("a(", ""),
        ("$", ""),
        ("~", "1 FROM a"),
        ("a IS NULL ", ""),
        ("x BETWEEN ", ""),
        (".", ""),
        ("e'", ""),
        ("1 AT TIME ZONE ", "1"),
    ] {
        statements.push(fill("SELECT ", text, tail));
    }
    statements.push(fill("SELECT COUNT(*) FROM a WHERE ", "x=1 AND ", "x=1"));
    statements.push(fill("SELECT COUNT(*) FROM a WHERE ", "x=1 OR y=2 AND ", "x=1"));
    statements.push(fill("SELECT COUNT(*) FROM a WHERE x IN (", "1,", "1)"));
    statements.push(fill("SELECT COUNT(*) FROM a WHERE x = ", "x = ", "1"));
    statements.push(fill("SELECT COUNT(*) FROM a", ",a", ""));
    statements.push(fill("SELECT COUNT(*) FROM a", " JOIN a", ""));
    statements.push(fill("SELECT COUNT(*) FROM a", " UNION SELECT 1", ""));
    statements.push(fill("", "SELECT 1;", ""));
    statements.push(fill("SELECT COUNT(*) FROM a GROUP BY ", "a,", "a"));
    statements.push(fill("SELECT COUNT(*) FROM ", "a.", "a"));
    statements
}

/// The time that this thread has had on a processor, where the system tells; elsewhere the time since `began`. A busy
/// machine stretches the one and not the other.
fn spent(began: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| began.elapsed(), Duration::from_nanos)
}

/// Runs on half of the stack that a worker thread has. Two seconds are far more than any of them takes, and far less
/// than what doubles at each level would.
fn quickly(statements: impl Iterator<Item = String> + Send + 'static) {
    let run = || {
        let (contracts, began) = ([visits()], Instant::now());
        for sql in statements {
            let start = spent(began);
            let _ = plan(&sql, &contracts[..]);
            let took = spent(began).saturating_sub(start);
            let shown: String = sql.chars().take(60).collect();
            assert!(took < Duration::from_secs(2), "{took:?}: {shown}");
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn no_statement_takes_long_or_deep() {
    quickly(hostile().into_iter());
}

/// Every word that the parser knows, in rows and in brackets, so that a special form that a later parser learns is
/// found when it recurses without counting or tries itself twice.
#[test]
fn no_keyword_takes_long_or_deep() {
    quickly(ALL_KEYWORDS.iter().flat_map(|word| {
        let row = format!("{word} ").repeat(600 / word.len());
        let nested = format!("{word} (").repeat(12);
        let long = "x + ".repeat(100);
        let typed = format!("{word} < ").repeat(100);
        [
            format!("SELECT {row} FROM a"),
            format!("SELECT COUNT(*) FROM a WHERE {row}"),
            format!("SELECT COUNT(*) FROM a WHERE {nested}{long}x y"),
            format!("SELECT CAST(1 AS {typed}INT) FROM a"),
        ]
    }));
}

#[test]
fn a_long_statement_is_refused_before_it_is_read() {
    let padded = |bytes: usize| format!("{:<bytes$}", "SELECT COUNT(*) FROM health.visits");
    assert!(plan(&padded(MAX_SQL_BYTES), &[visits()][..]).is_ok());
    let refusal = plan(&padded(MAX_SQL_BYTES + 1), &[visits()][..]).unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::QueryTooLarge);
}
