//! Hostile text: no panic, no overflow of the stack, no long time.
#![expect(clippy::unwrap_used, reason = "a test stops where its own material is wrong")]

mod statements;
mod support;

use firebreak_domain::ReasonCode;
use firebreak_query::{MAX_SQL_BYTES, plan};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sqlparser::keywords::ALL_KEYWORDS;
use statements::{STATEMENTS, changed_statement, contracts, row_of_words, survives};
use std::time::{Duration, Instant};
use support::visits;

/// The same cases in every run; a longer one takes proptest's own `PROPTEST_CASES`, and `PROPTEST_RNG_SEED` for others.
/// `bench-audit-sql` goes on to the price.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 512;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(20_241_231);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_answered_or_refused(text in any::<String>()) {
        survives(&text, &contracts())?;
    }

    #[test]
    fn any_row_of_words_is_answered_or_refused(words in row_of_words()) {
        survives(&words, &contracts())?;
        survives(&format!("SELECT COUNT(*) FROM health.visits {words}"), &contracts())?;
        survives(&format!("SELECT {words}"), &contracts())?;
    }

    #[test]
    fn a_statement_with_words_changed_is_answered_or_refused(statement in changed_statement()) {
        survives(&statement, &contracts())?;
    }
}

#[test]
fn what_is_changed_into_other_statements_is_answered_as_it_is() {
    for statement in STATEMENTS {
        assert!(survives(statement, &contracts()).unwrap().is_some(), "{statement}");
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
