use super::*;
use crate::query::v1::{date_group, group, having};

const COOKBOOK: &str = include_str!("../../../../docs/COOKBOOK.md");

/// What is sent for a question.
fn message(sql: &str) -> wire::AggregateQuery {
    match question_to_wire(&parse_sql(sql).unwrap()).form {
        Some(question::Form::Query(message)) => message,
        _ => panic!("{sql}: sent in no message"),
    }
}

/// What a message is read as.
fn read(message: wire::AggregateQuery) -> AggregateQuery {
    let form = Some(question::Form::Query(message));
    question_from_wire(Some(&wire::Question { form, ..wire::Question::default() })).unwrap()
}

#[test]
fn every_recipe_of_the_cookbook_is_one_question_in_both_forms() {
    let blocks = COOKBOOK.split("\n```sql\n").skip(1);
    let recipes: Vec<&str> = blocks.filter_map(|block| block.split("\n```").next()).collect();
    assert!(recipes.len() >= 40, "{} recipes", recipes.len());
    for sql in recipes {
        let query = parse_sql(sql).unwrap();
        // What a message joins is joined on the person, and says nothing of the columns.
        let mut expected = query.clone();
        expected.joins.iter_mut().for_each(|join| join.on.clear());
        let sent = question_to_wire(&query);
        assert!(matches!(sent.form, Some(question::Form::Query(_))), "{sql}");
        let stored = question_from_bytes(&question_to_bytes(&query)).unwrap();
        for back in [question_from_wire(Some(&sent)).unwrap(), stored] {
            assert_eq!(back.canonical().as_str(), query.canonical().as_str(), "{sql}");
            assert!(back == expected, "{sql}");
        }
    }
}

/// A value of an enum in `proto/`: its number and name there, SQL that means it, and how the question that is read from
/// the number says so, in its canonical form or written as SQL.
type Pin = (i32, &'static str, &'static str, &'static str);

/// Checks the table of all values of an enum: each against `proto/`, what is sent for its SQL, and what that is read
/// as. A round trip alone would not see two values that are exchanged on both ways.
fn pinned<E: TryFrom<i32>>(
    table: &[Pin],
    name: fn(&E) -> &'static str,
    sql: fn(&str) -> String,
    number: fn(&wire::AggregateQuery) -> Option<i32>,
) {
    let last = i32::try_from(table.len()).unwrap();
    assert!(table.iter().map(|(number, ..)| *number).eq(1..=last), "each number once, in order");
    assert!(E::try_from(last + 1).is_err(), "a value is in no row of the table");
    for (expected, in_proto, written, means) in table {
        assert_eq!(E::try_from(*expected).ok().as_ref().map(name), Some(*in_proto));
        let sql = sql(written);
        let sent = message(&sql);
        assert_eq!(number(&sent), Some(*expected), "{sql}");
        let back = read(sent);
        let says = format!("{}{}", back.canonical().as_str(), to_sql(&back));
        assert!(says.contains(means), "{sql} is read as\n{says}");
    }
}

#[test]
fn every_aggregate_is_pinned_to_its_number() {
    const AGGREGATES: &[Pin] = &[
        (1, "AGGREGATE_COUNT_ROWS", "COUNT(*)", "measure count_rows - where"),
        (2, "AGGREGATE_COUNT_DISTINCT", "COUNT(DISTINCT person)", "measure count_distinct person where"),
        (3, "AGGREGATE_COUNT", "COUNT(cost)", "measure count cost where"),
        (4, "AGGREGATE_SUM", "SUM(cost)", "measure sum cost where"),
        (5, "AGGREGATE_AVG", "AVG(cost)", "measure avg cost where"),
        (6, "AGGREGATE_VAR_SAMP", "VARIANCE(cost)", "measure var_samp cost where"),
        (7, "AGGREGATE_VAR_POP", "VAR_POP(cost)", "measure var_pop cost where"),
        (8, "AGGREGATE_STDDEV_SAMP", "STDDEV(cost)", "measure stddev_samp cost where"),
        (9, "AGGREGATE_STDDEV_POP", "STDDEV_POP(cost)", "measure stddev_pop cost where"),
        (10, "AGGREGATE_QUANTILE", "QUANTILE(cost, 0.25)", "measure quantile n:0.25 cost where"),
    ];
    let sql = |of: &str| format!("SELECT {of} FROM health.visits");
    pinned(AGGREGATES, measure::Aggregate::as_str_name, sql, |sent| Some(sent.measures.first()?.aggregate));
    // A column may stand in place of the value that is this column.
    for (_, _, of, _) in AGGREGATES.iter().filter(|(number, ..)| *number >= 4) {
        let mut sent = message(&sql(of));
        let measure = &mut sent.measures[0];
        (measure.column, measure.value) = ("cost".to_owned(), None);
        assert!(read(sent) == parse_sql(&sql(of)).unwrap(), "{of}");
    }
}

#[test]
fn every_part_of_a_date_is_pinned_to_its_number() {
    const PARTS: &[Pin] = &[
        (1, "PART_YEAR", "EXTRACT(YEAR FROM visit_date)", "group (year visit_date)"),
        (2, "PART_QUARTER", "DATE_TRUNC('quarter', visit_date)", "group (quarter visit_date)"),
        (3, "PART_MONTH", "DATE_TRUNC('month', visit_date)", "group (month visit_date)"),
        (4, "PART_WEEK", "DATE_TRUNC('week', visit_date)", "group (week visit_date)"),
        (5, "PART_QUARTER_OF_YEAR", "EXTRACT(QUARTER FROM visit_date)", "group (quarter_of_year visit_date)"),
        (6, "PART_MONTH_OF_YEAR", "EXTRACT(MONTH FROM visit_date)", "group (month_of_year visit_date)"),
        (7, "PART_WEEK_OF_YEAR", "EXTRACT(WEEK FROM visit_date)", "group (week_of_year visit_date)"),
        (8, "PART_DAY_OF_WEEK", "EXTRACT(ISODOW FROM visit_date)", "group (day_of_week visit_date)"),
        (9, "PART_DAY_OF_MONTH", "EXTRACT(DAY FROM visit_date)", "group (day_of_month visit_date)"),
        (10, "PART_DAY_OF_YEAR", "EXTRACT(DOY FROM visit_date)", "group (day_of_year visit_date)"),
    ];
    let sql = |part: &str| format!("SELECT {part} AS p, COUNT(*) AS n FROM health.visits GROUP BY p");
    pinned(PARTS, date_group::Part::as_str_name, sql, |sent| match &sent.group_by.first()?.category {
        Some(group::Category::Date(date)) => Some(date.part),
        _ => None,
    });
    assert_eq!(message(&sql("DATE_TRUNC('year', visit_date)")), message(&sql("EXTRACT(YEAR FROM visit_date)")));
}

#[test]
fn every_operator_is_pinned_to_its_number() {
    const COMPARISONS: &[Pin] = &[
        (1, "OPERATOR_EQUAL", "=", "where (eq cost n:5)"),
        (2, "OPERATOR_NOT_EQUAL", "<>", "where (ne cost n:5)"),
        (3, "OPERATOR_LESS", "<", "where (lt cost n:5)"),
        (4, "OPERATOR_LESS_OR_EQUAL", "<=", "where (le cost n:5)"),
        (5, "OPERATOR_GREATER", ">", "where (gt cost n:5)"),
        (6, "OPERATOR_GREATER_OR_EQUAL", ">=", "where (ge cost n:5)"),
    ];
    let sql = |operator: &str| format!("SELECT COUNT(*) FROM health.visits WHERE cost {operator} 5");
    let number = |sent: &wire::AggregateQuery| match sent.filter.as_ref()?.node.as_ref()? {
        predicate::Node::Compare(compare) => Some(compare.operator),
        _ => None,
    };
    pinned(COMPARISONS, wire::comparison::Operator::as_str_name, sql, number);

    const OF_ROWS: &[Pin] = &[
        (1, "OPERATOR_ADD", "+", "sum (add cost n:5)"),
        (2, "OPERATOR_SUBTRACT", "-", "sum (subtract cost n:5)"),
        (3, "OPERATOR_MULTIPLY", "*", "sum (multiply cost n:5)"),
    ];
    let sql = |operator: &str| format!("SELECT SUM(cost {operator} 5) FROM health.visits");
    let number = |sent: &wire::AggregateQuery| match sent.measures.first()?.value.as_ref()?.node.as_ref()? {
        row_value::Node::Binary(binary) => Some(binary.operator),
        _ => None,
    };
    pinned(OF_ROWS, wire::row_binary::Operator::as_str_name, sql, number);

    const OF_OUTPUTS: &[Pin] = &[
        (1, "OPERATOR_ADD", "+", "COUNT(*) + SUM(cost)"),
        (2, "OPERATOR_SUBTRACT", "-", "COUNT(*) - SUM(cost)"),
        (3, "OPERATOR_MULTIPLY", "*", "COUNT(*) * SUM(cost)"),
        (4, "OPERATOR_DIVIDE", "/", "COUNT(*) / SUM(cost)"),
    ];
    let sql = |operator: &str| format!("SELECT COUNT(*) {operator} SUM(cost) AS x FROM health.visits");
    let number = |sent: &wire::AggregateQuery| match sent.outputs.first()?.expression.as_ref()?.node.as_ref()? {
        expression::Node::Binary(binary) => Some(binary.operator),
        _ => None,
    };
    pinned(OF_OUTPUTS, wire::binary::Operator::as_str_name, sql, number);
}

#[test]
fn every_kind_of_group_has_its_own_field() {
    for (field, group) in [
        (2_u8, "region"),
        (3, "WIDTH_BUCKET(cost, 0, 500, 10)"),
        (4, "EXTRACT(YEAR FROM visit_date)"),
        (5, "CASE WHEN cost < 100 THEN 'cheap' ELSE 'dear' END"),
    ] {
        let sql = format!("SELECT COUNT(*) AS n FROM health.visits GROUP BY {group}");
        let mut sent = message(&sql);
        assert!(read(sent.clone()) == parse_sql(&sql).unwrap(), "{group}");
        sent.group_by[0].name.clear();
        // The number of the first field, and 2 for a field that begins with its length.
        assert_eq!(sent.group_by[0].encode_to_vec()[0], (field << 3) | 2, "{group}");
    }
}

#[test]
fn every_kind_of_margins_is_the_list_of_its_sets() {
    const MARGINS: &[(&str, &[&[u32]])] = &[
        ("region, kind", &[]),
        ("ROLLUP (region, kind)", &[&[0, 1], &[0], &[]]),
        ("CUBE (region, kind)", &[&[0, 1], &[0], &[1], &[]]),
        ("region, ROLLUP (kind)", &[&[0, 1], &[0]]),
        ("GROUPING SETS ((region), (kind))", &[&[0], &[1]]),
        ("GROUPING SETS ((region, kind), (kind), ())", &[&[0, 1], &[1], &[]]),
    ];
    for (by, sets) in MARGINS {
        let sql = format!("SELECT region, kind, COUNT(*) AS n FROM health.visits GROUP BY {by}");
        let query = parse_sql(&sql).unwrap();
        let mut sent = message(&sql);
        let mut found: Vec<Vec<u32>> = sent.grouping_sets.iter().map(|set| set.groups.clone()).collect();
        let mut expected: Vec<Vec<u32>> = sets.iter().map(|set| set.to_vec()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{by}");
        assert!(read(sent.clone()) == query, "{by}");
        // In whatever order they stand.
        sent.grouping_sets = sets.iter().map(|set| wire::GroupingSet { groups: set.to_vec() }).collect();
        assert_eq!(read(sent.clone()).canonical().as_str(), query.canonical().as_str(), "{by}");
        sent.grouping_sets.reverse();
        assert_eq!(read(sent).canonical().as_str(), query.canonical().as_str(), "{by}");
    }
}

/// What a condition compares with.
fn compared(condition: &wire::Predicate) -> Option<&literal::Value> {
    match condition.node.as_ref()? {
        predicate::Node::Compare(compare) => compare.literal.as_ref()?.value.as_ref(),
        _ => None,
    }
}

/// Fields of one type, which a round trip would not tell apart were they exchanged on both ways.
#[test]
fn alternatives_of_one_type_keep_their_places() {
    let sql = "SELECT region, GREATEST(COUNT(*), 1) AS above, LEAST(SUM(cost), 2) AS below FROM health.visits \
               WHERE cost > 3 AND (kind = 'other' OR visit_date = DATE '2024-01-02') GROUP BY region \
               HAVING COUNT(*) > 4 AND (SUM(cost) > 5 OR COUNT(*) < 6) ORDER BY region DESC, above LIMIT 7 OFFSET 8";
    let sent = message(sql);
    assert!(read(sent.clone()) == parse_sql(sql).unwrap());

    let Some(predicate::Node::All(all)) = sent.filter.and_then(|filter| filter.node) else { panic!("no AND") };
    let Some(predicate::Node::Any(any)) = &all.of[1].node else { panic!("no OR") };
    let [number, text, date] = ["3", "other", "2024-01-02"].map(str::to_owned);
    assert_eq!(compared(&all.of[0]), Some(&literal::Value::Number(number)));
    assert_eq!(compared(&any.of[0]), Some(&literal::Value::Text(text)));
    assert_eq!(compared(&any.of[1]), Some(&literal::Value::Date(date)));

    let end = |output: &wire::Output| match output.expression.as_ref()?.node.as_ref()? {
        expression::Node::Clip(clip) => clip.end.clone(),
        _ => None,
    };
    assert_eq!(end(&sent.outputs[0]), Some(clip::End::AtLeast("1".to_owned())));
    assert_eq!(end(&sent.outputs[1]), Some(clip::End::AtMost("2".to_owned())));

    let view = sent.view.unwrap();
    let Some(having::Node::All(all)) = view.having.and_then(|having| having.node) else { panic!("no AND") };
    assert!(matches!(&all.of[1].node, Some(having::Node::Any(any)) if any.of.len() == 2));
    assert!(view.order_by.iter().map(|order| order.descending).eq([true, false]));
    assert_eq!((view.limit, view.offset), (Some(7), 8));
}

#[test]
fn sides_and_ends_keep_their_places() {
    let sql = "SELECT WIDTH_BUCKET(cost, 1, 2, 3) AS b, SUM(CLAMP(cost, 4, 5)) AS s, SUM(cost - 6) AS d, \
               COUNT(*) / 7 AS r FROM health.visits WHERE cost BETWEEN 8 AND 9 GROUP BY b HAVING COUNT(*) > 10";
    let sent = message(sql);
    assert!(read(sent.clone()) == parse_sql(sql).unwrap());

    let Some(group::Category::WidthBucket(bucket)) = &sent.group_by[0].category else { panic!("no bucket") };
    assert_eq!((bucket.low.as_str(), bucket.high.as_str(), bucket.buckets), ("1", "2", 3));
    let value = |at: usize| sent.measures[at].value.clone().and_then(|value| value.node);
    let Some(row_value::Node::Clamp(clamp)) = value(0) else { panic!("no clamp") };
    assert_eq!((clamp.low.as_str(), clamp.high.as_str()), ("4", "5"));
    let Some(row_value::Node::Binary(difference)) = value(1) else { panic!("no difference") };
    let right = difference.right.and_then(|right| right.node);
    assert_eq!(right, Some(row_value::Node::Constant("6".to_owned())));
    let ratio = sent.outputs[2].expression.clone().and_then(|ratio| ratio.node);
    let Some(expression::Node::Binary(ratio)) = ratio else { panic!("no ratio") };
    let right = ratio.right.and_then(|right| right.node);
    assert_eq!(right, Some(expression::Node::Constant("7".to_owned())));
    let Some(predicate::Node::Between(range)) = sent.filter.and_then(|filter| filter.node) else { panic!("no range") };
    let number = |text: &str| Some(wire::Literal { value: Some(literal::Value::Number(text.to_owned())) });
    assert_eq!((range.low, range.high), (number("8"), number("9")));
    let Some(having::Node::Compare(compare)) = sent.view.unwrap().having.unwrap().node else { panic!("no HAVING") };
    let right = compare.right.and_then(|right| right.node);
    assert_eq!(right, Some(expression::Node::Constant("10".to_owned())));
}

#[test]
fn a_join_is_the_same_as_a_message_and_as_it_is_stored() {
    let sql = "SELECT v.region, COUNT(DISTINCT person) AS n, SUM(v.cost) AS s FROM health.visits v \
               JOIN health.vaccinations c ON v.person = c.person WHERE c.vaccine = 'MMR' GROUP BY v.region";
    let query = parse_sql(sql).unwrap();
    let back = question_from_wire(Some(&question_to_wire(&query))).unwrap();
    assert_eq!((back.joins.len(), back.canonical()), (1, query.canonical()));
    let stored = question_from_bytes(&question_to_bytes(&query)).unwrap();
    assert_eq!(stored.canonical(), query.canonical());
}

#[test]
fn both_forms_of_a_question_are_one_question() {
    for sql in [
        "SELECT COUNT(*) AS n FROM health.visits",
        "SELECT region, AVG(cost) AS mean, COUNT(*) FILTER (WHERE kind = 'emergency') / COUNT(*) * -100.5 AS share \
         FROM health.visits WHERE NOT (visit_year BETWEEN 2020 AND 2022 OR kind IN ('other', 'maternity')) \
         AND cost >= 1.5 AND visit_date < DATE '2024-01-01' AND region IS NOT NULL GROUP BY region",
        "SELECT COUNT(DISTINCT person_key) AS p, SUM(cost) - COUNT(cost) AS d FROM health.visits",
        "SELECT DATE_TRUNC('week', visit_date) AS w, WIDTH_BUCKET(cost + 1, -1.5, 20, 7) AS b, EXTRACT(ISODOW FROM \
         visit_date) AS d, MEDIAN(cost) AS m, QUANTILE(CLAMP(cost, 1, 2), 0.9999) / 2 AS q FROM health.visits \
         GROUP BY w, b, d ORDER BY w DESC, m",
        "SELECT EXTRACT(DAY FROM visit_date) AS d, EXTRACT(DOY FROM visit_date) AS n, COUNT(*) AS v FROM health.visits \
         GROUP BY d, n",
        "SELECT region, kind, COUNT(*) AS n FROM health.visits GROUP BY region, ROLLUP (kind)",
        "SELECT region, kind, ROUND(LEAST(GREATEST(COUNT(*), -0.5), 100), -1) AS n, SUM(cost) / SUM(SUM(cost)) \
         OVER (PARTITION BY region) AS share, SUM(COUNT(*)) OVER () AS total FROM health.visits GROUP BY region, kind \
         HAVING n > 10 AND ROUND(SUM(cost)) > 0 ORDER BY GREATEST(COUNT(*), 1)",
        "SELECT e.level, v.vaccine, COUNT(*) AS n FROM education.enrolments e JOIN health.vaccinations v ON PERSON WHERE \
         v.region = 'R01' GROUP BY e.level, v.vaccine",
        "SELECT CASE WHEN region = 'R01' OR cost IS NULL THEN 'it''s' WHEN cost < 5 THEN 'b' END AS c, COUNT(*) AS n \
         FROM health.visits GROUP BY c, CASE region WHEN 'R02' THEN 1 ELSE 0 END",
    ] {
        let query = parse_sql(sql).unwrap();
        let back = question_from_wire(Some(&question_to_wire(&query))).unwrap();
        assert!(back == query, "{sql}");
        let cut = Some(CutId::new("2024-Q4").unwrap());
        let stored = AggregateQuery { cut, rho: Some(Rho::from_nano(7)), ..query };
        let mut bytes = question_to_bytes(&stored);
        assert!(question_from_bytes(&bytes).is_some_and(|back| back == stored), "{sql}");
        bytes[0] = STORED_FORMAT + 1;
        assert!(question_from_bytes(&bytes).is_none(), "a later format");
    }
}

#[test]
fn an_empty_message_is_refused_by_the_name_of_the_field() {
    let refusal = question_from_wire(Some(&wire::Question::default())).map(drop).unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::MalformedRequest);
}
