//! A question answered by adding up what another one's release holds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where its own material is wrong")]

use firebreak_domain::Contract;
use firebreak_query::{CheckedQuery, NotRolledUp, plan};

fn checked(sql: &str) -> CheckedQuery {
    let contract: Contract =
        toml::from_str(include_str!("../../../deploy/sample/bundle/contracts/health.visits.toml")).unwrap();
    plan(sql, &[contract][..]).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

const FINE: &str = "SELECT kind, region, visit_year, COUNT(*) AS n, SUM(cost) AS costs, COUNT(DISTINCT person) AS p, \
                    COUNT(*) FILTER (WHERE cost > 9) AS dear FROM health.visits WHERE cost >= 1 \
                    GROUP BY kind, region, visit_year";

/// A table for each vector: different numbers everywhere.
fn tables(query: &CheckedQuery) -> Vec<Vec<f64>> {
    let table = |(place, (_, set)): (usize, (_, &firebreak_query::GroupingSet))| {
        (0..set.cells()).map(|cell| ((cell * 7919 + place * 104_729) % 10_007) as f64).collect()
    };
    query.vectors().enumerate().map(table).collect()
}

#[test]
fn every_figure_is_the_sum_of_the_cells_that_are_its_parts_whatever_the_order_of_groups() {
    let fine = checked(FINE);
    let tables = tables(&fine);
    let deviations: Vec<f64> = (0..tables.len()).map(|place| 2.0 + place as f64).collect();
    for (groups, sql) in [
        (
            vec!["visit_year", "kind"],
            "SELECT visit_year, kind, COUNT(*), SUM(cost) FROM health.visits WHERE cost >= 1 \
                                      GROUP BY visit_year, kind",
        ),
        (
            vec!["region"],
            "SELECT region, SUM(cost), COUNT(*) FILTER (WHERE cost > 9) FROM health.visits \
                          WHERE cost >= 1 GROUP BY region",
        ),
        (vec![], "SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 1"),
    ] {
        let coarse = checked(sql);
        let figures = fine.rolled_up(&coarse, &tables, &deviations).unwrap();
        for row in coarse.rows() {
            let labels: Vec<&str> = coarse.labels(&row).collect();
            let values = figures.values(row.set, row.cell);
            for (place, primitive) in coarse.primitives().iter().enumerate() {
                let of = fine.primitives().iter().position(|known| known == primitive).unwrap();
                let mut parts = 0;
                let mut sum = 0.0;
                for part in fine.rows() {
                    let names: Vec<&str> = fine.shown_groups().map(|group| group.name.as_str()).collect();
                    let labelled: Vec<&str> = fine.labels(&part).collect();
                    let value = |group: &str| labelled[names.iter().position(|name| *name == group).unwrap()];
                    if groups.iter().zip(&labels).all(|(group, label)| value(group) == *label) {
                        sum += tables[of][part.cell];
                        parts += 1;
                    }
                }
                assert!((values[place] - sum).abs() < 1e-6, "{labels:?}: {} and {sum}", values[place]);
                let error = figures.noise(row.set).unwrap().deviation(place).unwrap();
                assert!((error - deviations[of] * f64::from(parts).sqrt()).abs() < 1e-9, "{error} over {parts}");
            }
        }
    }
}

#[test]
fn what_a_release_does_not_hold_does_not_come_out_of_it() {
    let fine = checked(FINE);
    for (sql, expected) in [
        ("SELECT COUNT(*) AS n FROM health.visits", NotRolledUp::OtherData),
        ("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= 2", NotRolledUp::OtherData),
        ("SELECT COUNT(DISTINCT person) AS p FROM health.visits WHERE cost >= 1", NotRolledUp::NotMeasured),
        ("SELECT MEDIAN(cost) AS m FROM health.visits WHERE cost >= 1", NotRolledUp::NotMeasured),
        ("SELECT COUNT(*) FILTER (WHERE cost > 8) AS n FROM health.visits WHERE cost >= 1", NotRolledUp::NotMeasured),
        (
            "SELECT WIDTH_BUCKET(cost, 0, 100, 4), COUNT(*) FROM health.visits WHERE cost >= 1 \
             GROUP BY WIDTH_BUCKET(cost, 0, 100, 4)",
            NotRolledUp::NotSplit,
        ),
    ] {
        assert_eq!(fine.rolls_up_to(&checked(sql)), Err(expected), "{sql}");
    }
    // Of several grouping sets, one that none of them holds is not known.
    let sets = checked(
        "SELECT kind, region, visit_year, COUNT(*) FROM health.visits GROUP BY GROUPING SETS ((kind, region), (visit_year))",
    );
    let of = |groups: &str| checked(&format!("SELECT {groups}, COUNT(*) FROM health.visits GROUP BY {groups}"));
    assert_eq!(sets.rolls_up_to(&of("kind, visit_year")), Err(NotRolledUp::NotSplit));
    assert_eq!(sets.rolls_up_to(&of("region")), Ok(()));
}
