//! An answer that every format is tried on.

use crate::{PublishedAnswer, QueryAnswer};
use firebreak_domain::{Charge, Delta, Rho};
use firebreak_wire::charge_to_wire;
use firebreak_wire::publication::v1::{Publication, publication::State};
use firebreak_wire::query::v1::{
    Accepted, Citation, Estimate, LeftOut, MissingPart, OutputColumn, Part, Released, Row, Selection, estimate::Status,
};

/// The same, published.
pub(crate) fn published() -> PublishedAnswer {
    let publication = Publication {
        organisation: "nso".into(),
        series: "visits".into(),
        revision: 2,
        state: State::Published.into(),
        published: 1_767_225_600,
        address: "https://x/publications/nso/visits/2".into(),
        release_id: "r-1".into(),
        ..Publication::default()
    };
    let citation = Citation { agency: "Directorate".into(), title: "Visits".into(), year: 2025, ..Citation::default() };
    PublishedAnswer { answer: answer(), publication, citation, intervals: "the noise alone".into() }
}

/// The same over two agencies, of which one gave no answer.
pub(crate) fn partial() -> QueryAnswer {
    let mut answer = answer();
    for estimate in answer.rows.iter_mut().flat_map(|row| &mut row.estimates) {
        if estimate.status() == Status::Normal {
            estimate.set_status(Status::Provisional);
        }
    }
    let part = Part { agency: "one".into(), dataset: "one.visits".into(), release_id: "r-1".into() };
    answer.accepted.columns.iter_mut().take(1).for_each(|column| column.registrations = true);
    answer.released.parts = vec![part];
    answer.released.missing = vec![MissingPart {
        agency: "other".into(),
        dataset: "other.visits".into(),
        why: "other is not connected".into(),
    }];
    answer
}

/// The same of groups that were selected.
pub(crate) fn selected() -> QueryAnswer {
    let mut answer = answer();
    let delta = Delta::from_atto(100_000_000);
    answer.accepted.cost = Some(charge_to_wire(Charge { delta, ..Charge::of_rho(Rho::from_nano(50_000_000)) }));
    answer.accepted.selection = Some(Selection { threshold: 23, delta_atto: delta.atto() });
    answer.released.all_groups = Some(counted(41.5, 2.0));
    answer
}

/// The same over a join: what bounding leaves out is measured of the one dataset, and of the other not yet.
pub(crate) fn joined() -> QueryAnswer {
    let mut answer = answer();
    answer.released.left_out = vec![
        LeftOut {
            dataset: "health.visits".into(),
            question: "SELECT 1".into(),
            release_id: "r-2".into(),
            rows: Some(counted(120.0, 10.5)),
            persons: Some(counted(64.25, 4.0)),
        },
        LeftOut { dataset: "health.doses".into(), question: "SELECT 2, 3".into(), ..LeftOut::default() },
    ];
    answer
}

fn counted(value: f64, error: f64) -> Estimate {
    Estimate {
        value: Some(value),
        standard_error: Some(error),
        lower: Some(value - 2.0 * error),
        upper: Some(value + 2.0 * error),
        status: Status::Normal.into(),
        ..Estimate::default()
    }
}

/// Two groups and two outputs: names and codes that must be quoted, an unreliable figure, and one not computable.
pub(crate) fn answer() -> QueryAnswer {
    let known = |status: Status| Estimate {
        value: Some(1234.0625),
        standard_error: Some(0.1),
        lower: Some(1.5),
        upper: Some(2.0),
        status: status.into(),
        ..Estimate::default()
    };
    let unknown = Estimate { status: Status::NotComputable.into(), ..Estimate::default() };
    let row = |region: &str, year: &str, estimates: [Estimate; 2]| Row {
        groups: vec![region.into(), year.into()],
        estimates: estimates.into(),
    };
    QueryAnswer {
        accepted: Accepted {
            cost: Some(charge_to_wire(Charge::of_rho(Rho::from_nano(5_000_000)))),
            dataset: "health.visits".into(),
            cut: "2024-Q4".into(),
            mechanism: "discrete_gaussian".into(),
            columns: ["visits", "mean, cost"]
                .map(|name| OutputColumn { name: name.into(), ..OutputColumn::default() })
                .into(),
            groups: vec!["region".into(), "visit_year".into()],
            periods: vec![1],
            ..Accepted::default()
        },
        rows: vec![
            row("n\"1", "2023", [known(Status::Unreliable), known(Status::Normal)]),
            row("=2", "2024", [known(Status::Normal), unknown]),
        ],
        released: Released {
            release_id: "r-1".into(),
            receipt: "text".into(),
            left: Vec::new(),
            estimand: "rows of the bounded view".into(),
            ..Released::default()
        },
    }
}
