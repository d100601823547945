//! Statements that nobody would write, and what has to become of each.

use firebreak_domain::Contract;
use firebreak_query::{CheckedQuery, parse_sql, plan, plan_query, to_sql};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Words of questions, of other SQL, and what is none.
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
    "QUANTILE",
    "MEDIAN",
    "WIDTH_BUCKET",
    "CLAMP",
    "DATE_TRUNC",
    "CUBE",
    "GROUPING",
    "SETS",
    "ROUND",
    "GREATEST",
    "LEAST",
    "VARIANCE",
    "STDDEV",
    "VAR_POP",
    "STDDEV_POP",
    "PARTITION",
    "OFFSET",
    "ASC",
    "DESC",
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "ISODOW",
    "USING",
    "LEFT",
    "CROSS",
    "NATURAL",
    "person",
    "person_key",
    "vaccinations",
    "vaccine",
    "dose_date",
    "kind",
    "v",
    "c",
    "n",
    "partial",
    "'quarter'",
    "'emergency'",
    "'2024-Q4'",
    "0.9999",
    "-1",
    "10000",
    "9223372036854775807",
];

/// Statements that are answered, between them with all that a question can have. Words stand apart, so that each can be
/// changed.
pub const STATEMENTS: &[&str] = &[
    "SELECT region , AVG ( cost ) / 2 AS half , COUNT ( * ) FILTER ( WHERE kind IN ( 'other' ) ) \
     FROM health . visits FOR SYSTEM_TIME AS OF '2024-Q4' WHERE visit_year BETWEEN 2020 AND 2022 \
     AND NOT ( region = 'R01' OR cost > 5 ) GROUP BY region SETTINGS rho = 0.5",
    "SELECT c . vaccine , v . region , COUNT ( DISTINCT person ) AS p , SUM ( v . cost ) AS total \
     FROM health . visits v JOIN health . vaccinations c ON v . person = c . person WHERE v . kind = 'emergency' \
     GROUP BY ROLLUP ( c . vaccine , v . region ) HAVING COUNT ( * ) > 10 ORDER BY total DESC LIMIT 5",
    "SELECT DATE_TRUNC ( 'quarter' , visit_date ) AS q , MEDIAN ( cost ) AS m , \
     QUANTILE ( CLAMP ( cost , 0 , 500 ) , 0.9 ) AS high , STDDEV ( cost ) AS s FROM health . visits \
     WHERE visit_date >= DATE '2024-01-01' AND region IS NOT NULL GROUP BY q HAVING MEDIAN ( cost ) > 10 \
     ORDER BY m DESC LIMIT 3 OFFSET 1",
    "SELECT CASE WHEN cost >= 100 THEN 'dear' ELSE 'cheap' END AS c , WIDTH_BUCKET ( cost , 0 , 1000 , 20 ) AS b , \
     COUNT ( * ) AS n , SUM ( cost * 0.5 + 1 ) AS x FROM health . visits GROUP BY CUBE ( c , b )",
    "SELECT region , kind , EXTRACT ( YEAR FROM visit_date ) AS y , VARIANCE ( cost ) AS v FROM health . visits \
     GROUP BY GROUPING SETS ( ( region , kind ) , ( y ) , ( ) )",
    "SELECT kind , ROUND ( 100 * COUNT ( * ) / SUM ( COUNT ( * ) ) OVER ( ) , 1 ) AS share , \
     GREATEST ( COUNT ( * ) , 0 ) AS n FROM health . visits GROUP BY kind HAVING SUM ( cost ) > 0 ORDER BY 2 , kind DESC",
];

/// Two datasets of one register.
pub fn contracts() -> Vec<Contract> {
    let texts = [
        include_str!("../../../../deploy/sample/bundle/contracts/health.visits.toml"),
        include_str!("../../../../deploy/sample/bundle/contracts/health.vaccinations.toml"),
    ];
    texts.map(|text| toml::from_str(text).unwrap()).into()
}

/// Words in a row.
pub fn row_of_words() -> impl Strategy<Value = String> {
    prop::collection::vec(select(WORDS), 0..40).prop_map(|words| words.join(" "))
}

/// One of the statements with some of its words changed, added, taken away, or taken from another.
pub fn changed_statement() -> impl Strategy<Value = String> {
    let place = any::<Index>;
    let change = (place(), select(WORDS), 0..8_u8, (select(STATEMENTS), place(), 1..6_usize));
    (select(STATEMENTS), prop::collection::vec(change, 1..4)).prop_map(|(statement, changes)| {
        let mut words: Vec<&str> = statement.split_whitespace().collect();
        for (at, word, what, (other, from, number)) in changes {
            let at = at.index(words.len());
            match what {
                0 => words.splice(at..=at, [word]).for_each(drop),
                1 => words.insert(at, word),
                2 if words.len() > 1 => drop(words.remove(at)),
                3 => {
                    let other: Vec<&str> = other.split_whitespace().collect();
                    let from = from.index(other.len());
                    words.splice(at..at, other.into_iter().skip(from).take(number)).for_each(drop);
                }
                // By one that may fit: most of what is answered comes of these.
                _ => {
                    let alike = words_like(words.get(at).copied().unwrap_or_default());
                    let other = alike.get(from.index(alike.len())).copied();
                    words.splice(at..=at, other).for_each(drop);
                }
            }
        }
        words.join(" ")
    })
}

/// The words of all statements that begin like that one: numbers, texts, names, words of SQL, or signs.
fn words_like(word: &str) -> Vec<&'static str> {
    let kind = |word: &str| {
        let first = word.chars().next().unwrap_or(' ');
        (first.is_ascii_digit(), first == '\'', first.is_lowercase(), first.is_uppercase())
    };
    let words = STATEMENTS.iter().flat_map(|statement| statement.split_whitespace());
    let alike: Vec<&str> = words.filter(|other| kind(other) == kind(word)).collect();
    if alike.is_empty() { vec!["1"] } else { alike }
}

/// A statement is answered or refused, a refusal says what would be answered, and what is read is written as something
/// that means the same. Gives the question where it is answered.
pub fn survives(sql: &str, contracts: &[Contract]) -> Result<Option<CheckedQuery>, TestCaseError> {
    let read = parse_sql(sql);
    if let Ok(query) = &read {
        let again = parse_sql(&to_sql(query));
        prop_assert!(again.is_err() || again.unwrap().canonical() == query.canonical(), "{}", sql);
    }
    match plan(sql, contracts) {
        Ok(checked) => {
            prop_assert!(checked.cells() >= 1);
            let vectors = checked.vectors().count();
            prop_assert_eq!(checked.squared_sensitivities().len(), vectors, "{}", sql);
            prop_assert_eq!(checked.l1_sensitivities().len(), vectors, "{}", sql);
            let again = parse_sql(&to_sql(&read.unwrap())).and_then(|query| plan_query(&query, contracts));
            prop_assert!(again.is_ok_and(|again| again.canonical() == checked.canonical()), "{}", sql);
            Ok(Some(checked))
        }
        Err(refusal) => {
            let suggestion = refusal.suggestion.clone().unwrap_or_default();
            prop_assert!(plan(&suggestion, contracts).is_ok(), "{} → {}", sql, suggestion);
            Ok(None)
        }
    }
}
