//! By what an answer is split: declared categories, parts of dates, WIDTH_BUCKET and CASE.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

mod support;

use firebreak_domain::ReasonCode;
use firebreak_query::{CheckedQuery, parse_sql, plan, to_sql};
use support::visits;

fn checked(sql: &str) -> CheckedQuery {
    plan(sql, &[visits()][..]).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn refused(sql: &str) -> (ReasonCode, String) {
    let refusal = plan(sql, &[visits()][..]).map(drop).unwrap_err();
    (refusal.reason, refusal.detail)
}

fn canonical(sql: &str) -> String {
    checked(sql).canonical().as_str().to_owned()
}

/// Headings and, of each, how many groups, the first and the last.
fn groups(sql: &str) -> Vec<(String, usize, String, String)> {
    let query = checked(sql);
    let ends = |codes: &[String]| (codes.first().unwrap().clone(), codes.last().unwrap().clone());
    let of = |group: &firebreak_query::CheckedGroup| {
        let (first, last) = ends(&group.codes);
        (group.name.clone(), group.codes.len(), first, last)
    };
    query.shown_groups().map(of).collect()
}

fn group(name: &str, size: usize, first: &str, last: &str) -> (String, usize, String, String) {
    (name.to_owned(), size, first.to_owned(), last.to_owned())
}

#[test]
fn an_answer_is_split_by_parts_of_dates() {
    let of = |select: &str| groups(&format!("SELECT {select}, COUNT(*) FROM health.visits GROUP BY {select}"));
    assert_eq!(of("EXTRACT(YEAR FROM visit_date)"), [group("year", 5, "2020", "2024")]);
    assert_eq!(of("extract(quarter from visit_date)"), [group("quarter_of_year", 4, "1", "4")]);
    assert_eq!(of("EXTRACT(MONTH FROM visit_date)"), [group("month_of_year", 12, "1", "12")]);
    assert_eq!(of("EXTRACT(WEEK FROM visit_date)"), [group("week_of_year", 53, "1", "53")]);
    assert_eq!(of("EXTRACT(ISODOW FROM visit_date)"), [group("day_of_week", 7, "1", "7")]);
    assert_eq!(of("EXTRACT(DAY FROM visit_date)"), [group("day_of_month", 31, "1", "31")]);
    assert_eq!(of("extract(doy from visit_date)"), [group("day_of_year", 366, "1", "366")]);
    assert_eq!(of("DATE_TRUNC('year', visit_date)"), [group("year", 5, "2020", "2024")]);
    assert_eq!(of("DATE_TRUNC('QUARTER', visit_date)"), [group("quarter", 20, "2020-Q1", "2024-Q4")]);
    assert_eq!(of("DATE_TRUNC('month', visit_date)"), [group("month", 60, "2020-01", "2024-12")]);
    assert_eq!(of("DATE_TRUNC('week', visit_date)"), [group("week", 262, "2020-W01", "2025-W01")]);
}

#[test]
fn an_answer_is_split_into_parts_of_one_width() {
    let sql = "SELECT WIDTH_BUCKET(cost, 0, 1000, 20) AS band, COUNT(*) FROM health.visits GROUP BY band";
    assert_eq!(groups(sql), [group("band", 22, "0", "21")]);
    let by_hand = "SELECT COUNT(*) FROM health.visits GROUP BY WIDTH_BUCKET(cost, 0, 1000, 20)";
    assert_eq!(groups(by_hand), [group("width_bucket", 22, "0", "21")]);
    assert_eq!(canonical(sql), canonical(by_hand));
    let of_value = "SELECT COUNT(*) FROM health.visits GROUP BY WIDTH_BUCKET(cost * 0.5 + 1, -2.5, 1e3, 3)";
    assert_eq!(groups(of_value).len(), 1);
}

#[test]
fn an_answer_is_split_by_a_case_whose_labels_are_not_part_of_what_is_measured() {
    let of = |labels: [&str; 3]| {
        let [one, two, rest] = labels;
        format!(
            "SELECT CASE WHEN region IN ('R01', 'R02') THEN '{one}' WHEN cost >= 100 THEN '{two}' ELSE '{rest}' END \
             AS area, kind, COUNT(*) FROM health.visits GROUP BY area, kind ORDER BY area DESC"
        )
    };
    let sql = of(["coast", "dear", "rest"]);
    assert_eq!(groups(&sql)[0], group("area", 3, "coast", "rest"));
    assert_eq!(canonical(&sql), canonical(&of(["it''s", "ours", "é"])));
    assert_eq!(checked(&sql).basis(), checked(&of(["it''s", "ours", "é"])).basis());
    // Two groups in one are another question.
    let merged = of(["coast", "dear", "coast"]);
    assert_eq!(groups(&merged)[0], group("area", 2, "coast", "dear"));
    assert_ne!(canonical(&sql), canonical(&merged));
    let simple = "SELECT COUNT(*) FROM health.visits GROUP BY CASE region WHEN 'R01' THEN 1 WHEN 'R02' THEN 2 END";
    assert_eq!(groups(simple), [group("case", 2, "1", "2")]);
}

#[test]
fn a_group_is_named_by_its_heading_wherever_it_stands() {
    let one = parse_sql(
        "SELECT COUNT(*) AS n, DATE_TRUNC('month', visit_date) AS \"in\", region FROM health.visits \
         GROUP BY region, \"in\" ORDER BY \"in\" DESC, n",
    )
    .unwrap();
    let again = to_sql(&one);
    assert_eq!(
        again,
        "SELECT region, DATE_TRUNC('month', visit_date) AS \"in\", COUNT(*) AS n FROM health.visits \
         GROUP BY region, \"in\" ORDER BY \"in\" DESC, COUNT(*)"
    );
    assert!(parse_sql(&again).unwrap() == one);
    // By its place in the SELECT list, and by the expression itself.
    for order in ["2", "DATE_TRUNC('month', visit_date)"] {
        let sql = format!(
            "SELECT region, DATE_TRUNC('month', visit_date) AS m, COUNT(*) FROM health.visits GROUP BY region, m ORDER BY {order}"
        );
        assert!(to_sql(&parse_sql(&sql).unwrap()).ends_with("ORDER BY m"), "{order}");
    }
    // Two without a heading get different ones.
    let two = "SELECT COUNT(*) FROM health.visits GROUP BY WIDTH_BUCKET(cost, 0, 10, 2), WIDTH_BUCKET(cost, 0, 20, 2)";
    assert_eq!(groups(two), [group("width_bucket", 4, "0", "3"), group("width_bucket_2", 4, "0", "3")]);
}

#[test]
fn what_cannot_split_an_answer_is_refused_with_its_reason() {
    use ReasonCode::{LiteralMismatch, NotGroupable, TooManyGroups, UngroupedColumn, UnsupportedExpression};
    for (by, reason, words) in [
        ("EXTRACT(HOUR FROM visit_date)", UnsupportedExpression, "EXTRACT takes YEAR"),
        ("EXTRACT(WEEK(MONDAY) FROM visit_date)", UnsupportedExpression, "EXTRACT takes YEAR"),
        ("EXTRACT(YEAR FROM region)", NotGroupable, "no such part"),
        ("DATE_TRUNC('day', visit_date)", UnsupportedExpression, "DATE_TRUNC takes"),
        ("WIDTH_BUCKET(cost, 10, 10, 4)", LiteralMismatch, "the lower first"),
        ("WIDTH_BUCKET(cost, 0, 10, 0)", LiteralMismatch, "1 to 10000 buckets"),
        ("WIDTH_BUCKET(cost, 0, 10)", UnsupportedExpression, "WIDTH_BUCKET takes"),
        ("WIDTH_BUCKET(cost, 0, 10, 9999), WIDTH_BUCKET(cost, 0, 20, 9999)", TooManyGroups, "width_bucket has 10001"),
        ("CASE WHEN region = 'R01' THEN cost END", UnsupportedExpression, "texts in single quotes"),
        ("CASE WHEN region = 'R01' THEN 'a' ELSE cost END", UnsupportedExpression, "texts in single quotes"),
        ("CASE WHEN region = 'nowhere' THEN 'a' END", LiteralMismatch, "region"),
        ("cost + 1", NotGroupable, "GROUP BY names columns"),
    ] {
        let (found, detail) = refused(&format!("SELECT COUNT(*) FROM health.visits GROUP BY {by}"));
        assert_eq!(found, reason, "{by}: {detail}");
        assert!(detail.contains(words), "{by}: {detail}");
    }
    let (loose, _) = refused("SELECT DATE_TRUNC('month', visit_date), COUNT(*) FROM health.visits");
    assert_eq!(loose, UngroupedColumn);
    let (loose, _) = refused(
        "SELECT DATE_TRUNC('year', visit_date), COUNT(*) FROM health.visits GROUP BY DATE_TRUNC('month', visit_date)",
    );
    assert_eq!(loose, UngroupedColumn);
}

#[test]
fn a_category_may_rest_on_no_column_that_a_condition_may_not() {
    for by in [
        "CASE WHEN name = 'x' THEN 'a' END",
        "CASE person_key WHEN 'x' THEN 'a' END",
        "EXTRACT(YEAR FROM person_key)",
        "WIDTH_BUCKET(person_key, 0, 10, 2)",
    ] {
        let (reason, _) = refused(&format!("SELECT COUNT(*) FROM health.visits GROUP BY {by}"));
        assert_eq!(reason, ReasonCode::IdentifierColumn, "{by}");
    }
    let query = checked("SELECT COUNT(*) FROM health.visits GROUP BY CASE WHEN cost > 5 THEN 'a' END");
    assert!(query.columns().iter().any(|column| column.as_str() == "cost"), "what decides a group is touched");
}

#[test]
fn one_case_under_other_labels_is_refused_and_never_shown_under_them() {
    let case = |labels: [&str; 2]| format!("CASE WHEN cost >= 100 THEN '{}' ELSE '{}' END", labels[0], labels[1]);
    let (dear, cheap) = (case(["dear", "cheap"]), case(["cheap", "dear"]));
    for sql in [
        format!("SELECT {dear} AS band, COUNT(*) FROM health.visits GROUP BY {cheap}"),
        format!("SELECT {dear} AS band, {cheap}, COUNT(*) FROM health.visits GROUP BY band"),
        format!("SELECT COUNT(*) FROM health.visits GROUP BY {dear}, {cheap}"),
        format!("SELECT COUNT(*) FROM health.visits GROUP BY {dear} ORDER BY {cheap}"),
    ] {
        let (reason, detail) = refused(&sql);
        assert_eq!(reason, ReasonCode::UnsupportedClause, "{sql}");
        assert!(detail.contains("other labels"), "{detail}");
    }
    let same = format!("SELECT {dear} AS band, COUNT(*) FROM health.visits GROUP BY {dear} ORDER BY {dear}");
    assert_eq!(groups(&same), [group("band", 2, "dear", "cheap")]);
}

#[test]
fn a_heading_that_nobody_gave_gives_way_to_those_that_somebody_did() {
    let year = "EXTRACT(YEAR FROM visit_date)";
    let taken = format!("SELECT COUNT(*) AS year FROM health.visits GROUP BY {year}");
    assert_eq!(groups(&taken), [group("year_2", 5, "2020", "2024")]);
    let both = "SELECT WIDTH_BUCKET(cost, 0, 9, 3), WIDTH_BUCKET(cost, 0, 8, 2) AS width_bucket, COUNT(*) FROM health.visits \
                GROUP BY WIDTH_BUCKET(cost, 0, 9, 3), width_bucket";
    let names: Vec<String> = groups(both).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["width_bucket_2", "width_bucket"]);
}

/// The grouping sets in the order in which they were measured, each as the headings of its groups.
fn sets(sql: &str) -> Vec<Vec<String>> {
    let query = checked(sql);
    let heading = |place: &usize| query.groups().get(*place).unwrap().name.clone();
    query.grouping_sets().iter().map(|set| set.groups().iter().map(heading).collect()).collect()
}

#[test]
fn margins_are_asked_for_as_in_sql_and_one_question_has_one_canonical_form() {
    let of = |group_by: &str| format!("SELECT COUNT(*) AS n FROM health.visits GROUP BY {group_by}");
    let named = |sets: &[&[&str]]| -> Vec<Vec<String>> {
        sets.iter().map(|set| set.iter().map(|name| (*name).to_owned()).collect()).collect()
    };
    assert_eq!(sets(&of("ROLLUP (region, kind)")), named(&[&[], &["region"], &["kind", "region"]]));
    let cube = named(&[&[], &["kind"], &["region"], &["kind", "region"]]);
    assert_eq!(sets(&of("CUBE (region, kind)")), cube);
    assert_eq!(sets(&of("GROUPING SETS ((kind), (region), (), (region, kind))")), cube);
    assert_eq!(sets(&of("kind, ROLLUP (region)")), named(&[&["kind"], &["kind", "region"]]));
    assert_eq!(sets(&of("ROLLUP ((region, kind), visit_year)")).len(), 3);
    assert_eq!(sets(&of("CUBE (region), CUBE (kind)")), cube);
    assert_eq!(sets(&of("region, kind")), named(&[&["kind", "region"]]));
    let same = [
        ("ROLLUP (region, kind)", "GROUPING SETS ((), (kind, region), (region), (region))"),
        ("ROLLUP (region, kind)", "region, kind WITH ROLLUP"),
        ("CUBE (kind, region)", "region, kind WITH CUBE"),
        ("CUBE (kind, region)", "ROLLUP (region), ROLLUP (kind)"),
        ("GROUPING SETS ((region, kind))", "kind, region"),
        ("(region, kind), ()", "kind, region"),
        ("kind, GROUPING SETS (region, ())", "GROUPING SETS ((region, kind), kind)"),
    ];
    for (one, other) in same {
        assert_eq!(canonical(&of(one)), canonical(&of(other)), "{one} is {other}");
    }
    let different =
        ["region", "ROLLUP (region)", "ROLLUP (region, kind)", "ROLLUP (kind, region)", "CUBE (region, kind)"];
    for (place, one) in different.iter().enumerate() {
        for other in &different[..place] {
            assert_ne!(canonical(&of(one)), canonical(&of(other)), "{one} is not {other}");
        }
    }
}

#[test]
fn a_margin_is_a_row_after_its_parts_with_nothing_in_the_place_of_what_it_is_over() {
    let query =
        checked("SELECT kind, WIDTH_BUCKET(cost, 0, 10, 1) AS b, COUNT(*) FROM health.visits GROUP BY CUBE (kind, b)");
    let rows = query.rows();
    assert_eq!((rows.len(), query.cells()), ((5 + 1) * (3 + 1), (5 + 1) * (3 + 1)));
    let labels: Vec<Vec<&str>> = rows.iter().map(|row| query.labels(row).collect()).collect();
    let kinds = checked("SELECT kind, COUNT(*) FROM health.visits GROUP BY kind");
    let first = kinds.rows().first().map(|row| kinds.labels(row).next().unwrap().to_owned()).unwrap();
    assert_eq!(labels[..4], [[&*first, "0"], [&*first, "1"], [&*first, "2"], [&*first, ""]]);
    assert_eq!(labels[20..], [["", "0"], ["", "1"], ["", "2"], ["", ""]]);
    let by_kind = "SELECT kind, COUNT(*) AS n FROM health.visits GROUP BY ROLLUP (kind) ORDER BY";
    let last = |order: &str| {
        let query = checked(&format!("{by_kind} {order}"));
        let shown = query.shown(|row| vec![if row.codes == [None] { 50.0 } else { row.cell as f64 }]);
        shown.iter().map(|row| row.codes.clone()).next_back().unwrap()
    };
    assert_eq!((last("kind"), last("kind DESC")), (vec![None], vec![None]));
    assert_eq!((last("n"), last("n DESC")), (vec![None], vec![Some(0)]));
}

#[test]
fn margins_that_are_too_many_or_written_otherwise_are_refused_by_name() {
    let of = |group_by: &str| refused(&format!("SELECT COUNT(*) FROM health.visits GROUP BY {group_by}"));
    let bucket = |n: u32| format!("WIDTH_BUCKET(cost, 0, {}, 1)", n + 1);
    let many: Vec<String> = (0..7).map(bucket).collect();
    let (reason, detail) = of(&format!("CUBE ({})", many.join(", ")));
    assert!(reason == ReasonCode::TooManyGroups && detail.contains("at most 64 grouping sets"), "{detail}");
    let (reason, detail) = of(&format!("ROLLUP ({})", many.join(", ")));
    assert!(reason == ReasonCode::TooManyGroups && detail.contains("at most 6 groups"), "{detail}");
    assert_eq!(of("ROLLUP (region, (kind, (visit_year, cost)))").0, ReasonCode::UnsupportedClause);
    assert_eq!(of("GROUPING SETS ((region), ROLLUP (kind))").0, ReasonCode::NotGroupable);
    assert_eq!(of("region WITH TOTALS").0, ReasonCode::UnsupportedClause);
    assert_eq!(of("ROLLUP (region, 2)").0, ReasonCode::UnsupportedClause);
    assert_eq!(of("ROLLUP (cost)").0, ReasonCode::NotGroupable);
    // Each set alone fits, all together do not.
    let days = "DATE_TRUNC('week', visit_date)";
    let crowd = format!("CUBE ({days}, WIDTH_BUCKET(cost, 0, 1000, 379))");
    assert_eq!(of(&crowd).0, ReasonCode::TooManyGroups);
}
