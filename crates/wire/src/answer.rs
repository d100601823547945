use crate::query::v1::estimate::Status as WireStatus;
use crate::query::v1::{Accepted, Estimate as WireEstimate, LeftOut, OutputColumn, Part as WirePart, Row, Selection};
use firebreak_domain::{Charge, DatasetId, Mechanism};
use firebreak_privacy::{Answer, AnswerColumn, Estimate, ObservationStatus, Price};
use firebreak_query::{CheckedOutput, CheckedQuery, LogicalDataset, Part};

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
        parts: Vec::new(),
        disjoint_registers: false,
        selection: None,
        periods: (0..).zip(query.shown_groups()).filter(|(_, group)| group.is_period).map(|(place, _)| place).collect(),
        question: query.digest_of_question().into(),
    }
}

/// The first message of an answer put together from the parts of a logical dataset. `query` is that of any part, and
/// the cost that of all.
#[must_use]
pub fn accepted_over(logical: &LogicalDataset, query: &CheckedQuery, cost: Charge, mechanism: Mechanism) -> Accepted {
    let registrations = |output: &CheckedOutput| !logical.disjoint_registers && query.counts_persons(output);
    let of_output = |output: &CheckedOutput| OutputColumn { registrations: registrations(output), ..column(output) };
    Accepted {
        dataset: logical.id.to_string(),
        columns: query.outputs().iter().map(of_output).collect(),
        parts: logical.parts.iter().map(|part| part_to_wire(part, String::new())).collect(),
        disjoint_registers: logical.disjoint_registers,
        // Each part has a question of its own.
        question: Vec::new(),
        ..accepted(query, cost, mechanism)
    }
}

/// A part of a logical dataset, as sent; the id of its release is empty where there is none yet.
#[must_use]
pub fn part_to_wire(part: &Part, release_id: String) -> WirePart {
    WirePart { agency: part.agency.to_string(), dataset: part.dataset.to_string(), release_id }
}

/// [`accepted`] at a price, which says how groups are selected where their codes are not declared.
#[must_use]
pub fn accepted_at(query: &CheckedQuery, price: &Price) -> Accepted {
    let selection = price.plan().selection();
    let selection = selection.map(|s| Selection { threshold: s.threshold(), delta_atto: s.delta().atto() });
    Accepted { selection, ..accepted(query, price.charge(), price.mechanism()) }
}

/// The number of all groups, where they were selected, as sent.
#[must_use]
pub fn all_groups(answer: &Answer) -> Option<WireEstimate> {
    answer.selected.as_ref().map(|selected| estimate_to_wire(&selected.all_groups))
}

/// What bounding leaves out of a cut of the dataset, as sent: the question that measures it, and once that was asked
/// the name of its release and its answer, rows before persons.
#[must_use]
pub fn left_out_to_wire(dataset: &DatasetId, question: String, measured: Option<(String, Answer)>) -> LeftOut {
    let (release_id, answer) = measured.unzip();
    let row = answer.and_then(|answer| answer_rows(&answer).into_iter().next());
    let mut figures = row.map(|row| row.estimates).unwrap_or_default().into_iter();
    LeftOut {
        dataset: dataset.to_string(),
        question,
        release_id: release_id.unwrap_or_default(),
        rows: figures.next(),
        persons: figures.next(),
    }
}

/// An output's heading, as sent.
#[must_use]
pub fn column(output: &CheckedOutput) -> OutputColumn {
    let column = AnswerColumn::of(output);
    OutputColumn {
        name: column.name,
        in_rank: column.in_rank,
        registrations: false,
        rounded: column.rounded.map(i32::from),
        at_least: column.at_least,
        at_most: column.at_most,
    }
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
        ObservationStatus::Provisional => WireStatus::Provisional,
        ObservationStatus::NotComputable => WireStatus::NotComputable,
    };
    WireEstimate {
        value: estimate.value,
        standard_error: estimate.standard_error,
        lower: estimate.interval.map(|(lower, _)| lower),
        upper: estimate.interval.map(|(_, upper)| upper),
        status: status.into(),
        rank_error: estimate.rank_error,
        clipped: estimate.clipped,
    }
}

/// The status of a received estimate as its SDMX code: `A` normal, `U` low reliability, `P` provisional, `O` not
/// computable.
#[must_use]
pub fn estimate_status(estimate: &WireEstimate) -> &'static str {
    match estimate.status() {
        WireStatus::Normal => ObservationStatus::Normal.code(),
        WireStatus::Unreliable => ObservationStatus::Unreliable.code(),
        WireStatus::Provisional => ObservationStatus::Provisional.code(),
        WireStatus::NotComputable | WireStatus::Unspecified => ObservationStatus::NotComputable.code(),
    }
}
