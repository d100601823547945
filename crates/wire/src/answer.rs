use crate::query::v1::estimate::Status as WireStatus;
use crate::query::v1::{Accepted, Estimate as WireEstimate, OutputColumn, Row};
use firebreak_domain::{Charge, Mechanism};
use firebreak_privacy::{Answer, Estimate, ObservationStatus};
use firebreak_query::{CheckedOutput, CheckedQuery};

/// The first message of an answer: what will be answered, and at what cost.
#[must_use]
pub fn accepted(query: &CheckedQuery, cost: Charge, mechanism: Mechanism) -> Accepted {
    Accepted {
        cost: Some(crate::charge_to_wire(cost)),
        dataset: query.datasets(),
        cut: query.cut().to_string(),
        mechanism: mechanism.as_str().to_owned(),
        columns: query.outputs().iter().map(column).collect(),
        groups: query.shown_groups().map(|g| g.name.clone()).collect(),
        periods: (0..).zip(query.shown_groups()).filter(|(_, group)| group.is_period).map(|(place, _)| place).collect(),
    }
}

/// An output's heading, as sent.
#[must_use]
pub fn column(output: &CheckedOutput) -> OutputColumn {
    OutputColumn { name: output.name().to_owned(), in_rank: output.is_quantile() }
}

/// The rows of an answer as sent, in order.
#[must_use]
pub fn answer_rows(answer: &Answer) -> Vec<Row> {
    let row = |row: &firebreak_privacy::AnswerRow| Row {
        groups: row.groups.clone(),
        estimates: row.outputs.iter().map(estimate_to_wire).collect(),
    };
    answer.rows.iter().map(row).collect()
}

/// An estimate as sent.
#[must_use]
pub fn estimate_to_wire(estimate: &Estimate) -> WireEstimate {
    let status = match estimate.status {
        ObservationStatus::Normal => WireStatus::Normal,
        ObservationStatus::Unreliable => WireStatus::Unreliable,
        ObservationStatus::NotComputable => WireStatus::NotComputable,
    };
    WireEstimate {
        value: estimate.value,
        standard_error: estimate.standard_error,
        lower: estimate.interval.map(|(lower, _)| lower),
        upper: estimate.interval.map(|(_, upper)| upper),
        status: status.into(),
        rank_error: estimate.rank_error,
    }
}

/// The status of a received estimate as its SDMX code: `A` normal, `U` low reliability, `O` not computable.
#[must_use]
pub fn estimate_status(estimate: &WireEstimate) -> &'static str {
    match estimate.status() {
        WireStatus::Normal => ObservationStatus::Normal.code(),
        WireStatus::Unreliable => ObservationStatus::Unreliable.code(),
        WireStatus::NotComputable | WireStatus::Unspecified => ObservationStatus::NotComputable.code(),
    }
}
