//! Two agencies' datasets, joined on the person.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

use firebreak_domain::{
    ColumnName, Contract, CutId, Epsilon, JoinSide, JoinTerms, MAX_JOIN_CELLS, ReasonCode, Refusal,
};
use firebreak_query::{AggregateQuery, BoundValue, CheckedJoin, check_join, parse_sql, plan, to_sql};

fn enrolments() -> Contract {
    contract(include_str!("../../../deploy/sample/bundle/contracts/education.enrolments.toml"))
}

fn vaccinations() -> Contract {
    contract(include_str!("../../../deploy/sample/bundle/contracts/health.vaccinations.toml"))
}

fn visits() -> Contract {
    contract(include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml"))
}

fn contract(text: &str) -> Contract {
    let contract: Contract = toml::from_str(text).unwrap();
    contract.check().unwrap();
    contract
}

fn terms() -> JoinTerms {
    JoinTerms {
        left: "education.enrolments".parse().unwrap(),
        right: "health.vaccinations".parse().unwrap(),
        field: "national_number".parse().unwrap(),
        normaliser: 1,
        epsilon: Epsilon::from_nano(500_000_000),
        semi_honest_join: true,
    }
}

fn asked(query: &AggregateQuery) -> Result<CheckedJoin, Refusal> {
    check_join(query, &[vaccinations(), enrolments()], &terms())
}

fn read(sql: &str) -> Result<CheckedJoin, Refusal> {
    asked(&parse_sql(sql)?)
}

fn checked(sql: &str) -> CheckedJoin {
    read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

fn column(name: &str) -> ColumnName {
    name.parse().unwrap()
}

const ON: &str = "FROM education.enrolments e JOIN health.vaccinations v ON PERSON";
const BY_BOTH: &str = "SELECT e.level, v.vaccine, COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON \
                       PERSON GROUP BY e.level, v.vaccine";

#[test]
fn each_side_has_its_own_labels_and_a_person_is_in_one_cell() {
    let join = checked(BY_BOTH);
    let answered = join.answered();
    assert_eq!(answered.shown_groups().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["level", "vaccine"]);
    assert_eq!((join.side(JoinSide::Left).labels(), join.side(JoinSide::Right).labels()), (6, 6));
    assert_eq!(answered.cells(), 36);
    assert_eq!(answered.rows_per_person(), 1);
    assert_eq!((answered.squared_sensitivities(), answered.l1_sensitivities()), ([1].as_slice(), [1].as_slice()));
    for (side, dataset, agency, reads) in [
        (JoinSide::Left, "education.enrolments", "education-agency", "level"),
        (JoinSide::Right, "health.vaccinations", "health-agency", "vaccine"),
    ] {
        let found = join.side(side);
        assert_eq!((found.dataset().as_str(), found.agency().as_str(), found.side()), (dataset, agency, side));
        assert_eq!(found.query().reads()[0].columns.iter().map(ColumnName::as_str).collect::<Vec<_>>(), [reads]);
        assert_eq!(found.query().cut(), answered.cut());
        assert_eq!(join.side_of(found.agency()).unwrap().dataset(), found.dataset());
    }
    assert!(join.side_of(&"nso".parse().unwrap()).is_none());
    assert!(answered.special().iter().any(|kind| kind.as_str() == "health"), "that of either dataset counts");
}

#[test]
fn a_row_has_the_label_of_its_groups_and_none_where_it_takes_no_part() {
    let join = checked(&format!(
        "SELECT e.level, e.region, v.vaccine, COUNT(*) {ON} WHERE e.weekly_hours >= 10 AND v.dose_date >= DATE \
         '2021-01-01' GROUP BY e.region, v.vaccine, e.level"
    ));
    let left = join.side(JoinSide::Left);
    assert_eq!(left.labels(), 6 * 17);
    let row = |level: Option<u16>, region: u16, hours: Option<i64>| {
        let value = move |name: &ColumnName| match name.as_str() {
            "level" => level.map(BoundValue::Code),
            "region" => Some(BoundValue::Code(region)),
            "weekly_hours" => hours.map(BoundValue::Number),
            _ => None,
        };
        left.label(&value)
    };
    // Groups stand in canonical order, level before region, and the last runs fastest.
    assert_eq!(row(Some(2), 3, Some(10)), Some(2 * 17 + 3));
    assert_eq!(row(Some(2), 3, Some(9)), None, "the condition does not hold");
    assert_eq!(row(Some(2), 3, None), None, "the condition is unknown");
    assert_eq!(row(None, 3, Some(10)), None, "a missing group");
    let right = join.side(JoinSide::Right);
    let dose = |day: i32| {
        right.label(&move |name: &ColumnName| match name.as_str() {
            "vaccine" => Some(BoundValue::Code(4)),
            "dose_date" => Some(BoundValue::Day(day)),
            _ => None,
        })
    };
    // 2021-01-01 is day 18,628.
    assert_eq!((dose(18_628), dose(18_627)), (Some(4), None));
    // A side without conditions and groups counts everybody under one label.
    let total = checked(&format!("SELECT COUNT(*) {ON}"));
    assert_eq!(total.side(JoinSide::Left).labels(), 1);
    assert_eq!(total.side(JoinSide::Left).label(&|_: &ColumnName| None), Some(0));
    assert_eq!(total.answered().cells(), 1);
}

#[test]
fn counts_by_labels_come_to_the_cells_that_are_called_so() {
    // A rule's text begins with a bracket, and so stands before any column's: the right side's group is between the
    // left side's two.
    let join = checked(&format!(
        "SELECT e.level, v.vaccine, WIDTH_BUCKET(e.weekly_hours, 0, 40, 2) AS hours, EXTRACT(YEAR FROM v.dose_date) \
         AS year, COUNT(*) AS n {ON} GROUP BY e.level, v.vaccine, hours, year"
    ));
    let answered = join.answered();
    let (left, right) = (join.side(JoinSide::Left), join.side(JoinSide::Right));
    assert_eq!((left.labels(), right.labels()), (6 * 4, 6 * 5));
    let (rows, columns) = (i64::from(left.labels()), i64::from(right.labels()));
    let counts: Vec<i64> = (0..rows * columns).collect();
    let arranged = join.arranged(&counts).unwrap();
    for row in answered.rows() {
        let labels: Vec<&str> = answered.labels(&row).collect();
        let [level, vaccine, hours, year] = labels.as_slice() else { panic!("{labels:?}") };
        let place = |contract: &Contract, name: &str, code: &str| {
            let codes = contract.column(name).unwrap().domain.codes();
            u16::try_from(codes.iter().position(|known| known == code).unwrap()).unwrap()
        };
        let of_left = left.label(&|name: &ColumnName| match name.as_str() {
            "level" => Some(BoundValue::Code(place(&enrolments(), "level", level))),
            // One number within each bucket: below 0 there is none, and 0 stands for the first.
            "weekly_hours" => Some(BoundValue::Number([-1, 0, 20, 40][hours.parse::<usize>().unwrap()])),
            _ => None,
        });
        let of_right = right.label(&|name: &ColumnName| match name.as_str() {
            "vaccine" => Some(BoundValue::Code(place(&vaccinations(), "vaccine", vaccine))),
            "dose_date" => {
                let day = chrono::NaiveDate::from_ymd_opt(year.parse().unwrap(), 6, 1).unwrap();
                Some(BoundValue::Day(day.to_epoch_days()))
            }
            _ => None,
        });
        let (of_left, of_right) = (i64::from(of_left.unwrap()), i64::from(of_right.unwrap()));
        assert_eq!(arranged[row.cell], of_left * columns + of_right, "{labels:?}");
    }
    assert_eq!(join.arranged(&counts[1..]), None);
}

#[test]
fn a_join_is_one_question_however_it_is_written() {
    let one = checked(&format!(
        "SELECT e.level, v.vaccine, COUNT(*) {ON} WHERE e.region = 'R01' AND v.region IN ('R01', 'R02') GROUP BY \
         e.level, v.vaccine"
    ));
    for sql in [
        "SELECT v.vaccine, e.level, COUNT(*) AS n FROM health.vaccinations v JOIN education.enrolments e ON person \
         WHERE v.region IN ('R02', 'R01') AND e.region = 'R01' GROUP BY v.vaccine, e.level",
        "SELECT enrolments.level, vaccinations.vaccine, COUNT(*) FROM education.enrolments INNER JOIN \
         health.vaccinations ON Person WHERE (enrolments.region = 'R01') AND NOT (vaccinations.region NOT IN ('R01', \
         'R02')) GROUP BY enrolments.level, vaccinations.vaccine",
    ] {
        let other = checked(sql);
        assert_eq!(other.answered().canonical(), one.answered().canonical(), "{sql}");
        assert_eq!(other.answered().basis(), one.answered().basis(), "{sql}");
        let again = parse_sql(&to_sql(&parse_sql(sql).unwrap())).unwrap();
        assert_eq!(again.canonical(), parse_sql(sql).unwrap().canonical(), "{sql}");
        assert!(again.on_person);
    }
    let canonical = one.answered().canonical().as_str();
    assert!(
        canonical.starts_with(
            "firebreak query format 1\ndataset education.enrolments\njoin health.vaccinations on person\ncut 2024-Q4\n"
        ),
        "{canonical}"
    );
    // The same words over one register are another question.
    let within =
        parse_sql("SELECT COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON e.person = v.person")
            .unwrap();
    assert_ne!(within.canonical(), parse_sql(&format!("SELECT COUNT(*) {ON}")).unwrap().canonical());
}

#[test]
fn what_either_contract_or_the_terms_say_is_part_of_what_the_counts_mean() {
    let query = parse_sql(BY_BOTH).unwrap();
    let basis = |left: Contract, right: Contract, terms: JoinTerms| {
        *check_join(&query, &[left, right], &terms).unwrap().answered().basis()
    };
    let base = basis(enrolments(), vaccinations(), terms());
    let mut changed = vaccinations();
    changed.unit_space.id = "health.others".parse().unwrap();
    assert_ne!(basis(enrolments(), changed, terms()), base);
    let mut changed = enrolments();
    changed.contribution.rows_per_person += 1;
    assert_ne!(basis(changed, vaccinations(), terms()), base);
    let other = JoinTerms { field: column("other_number"), ..terms() };
    assert_ne!(basis(enrolments(), vaccinations(), other), base);
    // What it costs is the price's, and stands in the key of a release.
    let dearer = JoinTerms { epsilon: Epsilon::from_nano(1_000_000_000), ..terms() };
    assert_eq!(basis(enrolments(), vaccinations(), dearer), base);
}

#[test]
fn what_a_join_cannot_answer_is_refused_with_what_it_can() {
    let refused = |sql: &str, reason: ReasonCode, words: &str| {
        let refusal = read(sql).map(drop).unwrap_err();
        assert_eq!(refusal.reason, reason, "{sql}: {refusal}");
        assert!(refusal.to_string().contains(words), "{sql}: {refusal}");
        if let Some(instead) = &refusal.suggestion {
            assert!(read(instead).is_ok(), "{sql}: {instead}");
        }
    };
    let by = |select: &str, rest: &str| format!("SELECT {select} {ON} {rest}");
    use ReasonCode as R;
    refused(&by("VARIANCE(e.weekly_hours)", ""), R::UnsupportedAggregate, "SUM and AVG of one value");
    refused(&by("COUNT(DISTINCT person)", ""), R::UnsupportedAggregate, "COUNT(*) counts the persons");
    refused(&by("COUNT(e.level)", ""), R::UnsupportedAggregate, "COUNT(*)");
    refused(&by("MEDIAN(e.weekly_hours)", ""), R::UnsupportedAggregate, "COUNT(*)");
    refused(&by("COUNT(*) FILTER (WHERE e.level = 'primary')", ""), R::UnsupportedAggregate, "WHERE");
    refused(
        &by("COUNT(*)", "WHERE e.level = 'primary' OR v.vaccine = 'MMR'"),
        R::UnsupportedExpression,
        "one of its datasets",
    );
    refused(&by("COUNT(*)", "WHERE e.national_number = 'x'"), R::IdentifierColumn, "national_number");
    refused(&by("COUNT(*)", "WHERE v.nobody = 'x'"), R::UnknownColumn, "health.vaccinations.vaccine");
    refused(&by("COUNT(*)", "WHERE v.left_out = 'yes'"), R::UnknownColumn, "");
    refused(&by("COUNT(*)", "WHERE v.vaccine = 'nothing'"), R::LiteralMismatch, "MMR");
    refused(&by("e.level, v.vaccine, COUNT(*)", "GROUP BY ROLLUP (e.level, v.vaccine)"), R::UnsupportedClause, "OVER");
    refused(&by("COUNT(*)", "SETTINGS rho = 0.01"), R::UnsupportedClause, "leave rho out");
    refused(
        &by("CASE WHEN e.level = 'primary' AND v.vaccine = 'MMR' THEN 'a' ELSE 'b' END AS g, COUNT(*)", "GROUP BY g"),
        R::NotGroupable,
        "one of its datasets",
    );
    // 17 regions on either side and 60 months are 17,340 cells.
    let months = by(
        "e.region, v.region, DATE_TRUNC('month', v.dose_date) AS month, COUNT(*)",
        "GROUP BY e.region, v.region, month",
    );
    refused(&months, R::TooManyGroups, &MAX_JOIN_CELLS.to_string());
    refused("SELECT COUNT(*) FROM education.enrolments", R::JoinAsked, "ON PERSON");
    refused(
        "SELECT COUNT(*) FROM education.enrolments e JOIN health.visits v ON PERSON",
        R::JoinAsked,
        "its [join] names",
    );
    refused("SELECT COUNT(*) FROM a JOIN b ON PERSON JOIN c ON PERSON", R::JoinAsked, "joins two datasets");
    refused("SELECT COUNT(*) FROM a JOIN b ON PERSON JOIN c USING (person)", R::JoinAsked, "joins two datasets");
    refused("SELECT COUNT(*) FROM education.enrolments e LEFT JOIN health.vaccinations v ON PERSON", R::JoinAsked, "");
    let old = parse_sql(&by("COUNT(*)", "")).unwrap();
    let none = AggregateQuery { cut: Some(CutId::new("1999-Q1").unwrap()), ..old };
    assert_eq!(asked(&none).map(drop).unwrap_err().reason, R::UnknownCut);
}

#[test]
fn what_chooses_among_released_values_and_totals_is_answered() {
    for sql in [
        format!(
            "SELECT e.level, v.vaccine, COUNT(*) AS n, COUNT(*) / SUM(COUNT(*)) OVER (PARTITION BY level) AS share \
             {ON} GROUP BY e.level, v.vaccine HAVING COUNT(*) > 10 ORDER BY n DESC LIMIT 5"
        ),
        format!("SELECT ROUND(COUNT(*), -1) AS n, GREATEST(COUNT(*), 0) AS kept {ON}"),
    ] {
        let join = checked(&sql);
        assert_eq!(join.answered().primitives().len(), 1, "{sql}");
    }
}

#[test]
fn each_way_of_joining_names_the_other_where_it_is_due() {
    let contracts = [visits(), vaccinations(), enrolments()];
    let refused = |sql: &str| plan(sql, &contracts[..]).map(drop).unwrap_err();
    let two = refused("SELECT COUNT(*) FROM education.enrolments e JOIN health.vaccinations v ON v.person = e.person");
    assert!(two.reason == ReasonCode::JoinAsked && two.detail.contains("ON PERSON"), "{two}");
    let one = refused("SELECT COUNT(*) FROM health.visits a JOIN health.vaccinations v ON PERSON");
    assert!(one.reason == ReasonCode::JoinAsked && one.detail.contains("USING (person)"), "{one}");
    // Without the terms of an agreement nothing is joined, whoever asks.
    let neither = refused(BY_BOTH);
    assert!(neither.reason == ReasonCode::JoinAsked && neither.detail.contains("[join]"), "{neither}");
}

#[test]
fn a_join_with_any_word_taken_out_doubled_or_exchanged_is_answered_or_refused() {
    let sql = format!(
        "SELECT e.level , v.vaccine , CASE WHEN v.region = 'R01' THEN 'a' ELSE 'b' END AS g , COUNT ( * ) AS n {ON} WHERE \
         e.weekly_hours BETWEEN 1 AND 20 AND NOT ( v.dose_date < DATE '2021-01-01' ) AND e.region IS NOT NULL GROUP BY \
         e.level , v.vaccine , g HAVING COUNT ( * ) > 1 ORDER BY n LIMIT 3"
    );
    assert!(read(&sql).is_ok());
    let words: Vec<&str> = sql.split_whitespace().collect();
    let survives = |words: &[&str]| {
        let sql = words.join(" ");
        if let Err(refusal) = read(&sql) {
            assert!(!refusal.to_string().contains("2021-01-01"), "{sql}: {refusal}");
        }
    };
    for place in 0..words.len() {
        survives(&words[..place]);
        let mut without = words.clone();
        without.remove(place);
        survives(&without);
        let mut doubled = words.clone();
        doubled.insert(place, words[place]);
        survives(&doubled);
        for other in place + 1..words.len() {
            let mut exchanged = words.clone();
            exchanged.swap(place, other);
            survives(&exchanged);
        }
    }
}
