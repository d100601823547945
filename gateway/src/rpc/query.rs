use super::{ROWS, refused, status};
use crate::app::{App, Asked, Budget, Finished, LeftOut, Losses, RegisterLoss, Unanswered, ValidatedJoin};
use bytes::Bytes;
use firebreak_domain::{Charge, ColumnName, Delta, Identity, Mechanism, Rho, UnitSpaceId};
use firebreak_node::{SubmittedQuery, Unread};
use firebreak_privacy::{Price, deviations};
use firebreak_query::{
    Bins, BoundNumber, CheckedJoin, CheckedOutput, CheckedQuery, GroupingSet, LogicalDataset, Part, Primitive,
    PrimitiveKind,
};
use firebreak_transport::peer;
use firebreak_wire::query::v1::query_service_server::QueryService;
use firebreak_wire::query::v1::{self as wire, run_query_response::Step};
use firebreak_wire::{
    accepted, accepted_at, accepted_over, all_groups, answer_rows, cap_to_wire, charge_to_wire, left_out_to_wire,
    part_to_wire,
};
use prost::Message;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// What every figure estimates.
const ESTIMAND: &str = "the bounded, clamped view of the cut: at most the contract's number of rows of each \
    person, each value within its declared bounds; intervals cover the noise alone";

/// What every figure over a join estimates.
const JOINED: &str = "the persons whom both registers know by one and the same identifier, each with one row of each \
    cut: the first by rank among those that are in a group; whoever takes part in none is not in it; intervals cover the \
    noise alone";

/// What a roll-up estimates beside.
const ADDED_UP: &str = "; added up over the cells of the release: rows that are in none of its groups are not in it";
/// What is added where persons are counted in several registers.
const REGISTRATIONS: &str = "; registrations: whoever stands in the registers of several agencies counts once in each";

/// Answers for statisticians.
pub struct Query {
    app: Arc<App>,
    wake: Arc<Notify>,
}

impl Query {
    /// Serves `app`; `wake` calls the courier.
    #[must_use]
    pub const fn new(app: Arc<App>, wake: Arc<Notify>) -> Self {
        Self { app, wake }
    }

    /// The header of a call that is answered for nothing, and so is not signed.
    fn unsigned(&self, agreement: String, purpose: String) -> wire::RequestHeader {
        wire::RequestHeader {
            format: firebreak_domain::FORMAT,
            request_id: vec![0; 16],
            agreement,
            purpose,
            expires: self.app.state().now().plus_secs(60).secs(),
            certificates: Vec::new(),
            signature: Vec::new(),
        }
    }
}

/// Runs a question, which came in `message`, from acceptance to its end; `say` passes on each step, and gives up when
/// the caller is gone.
pub(super) async fn run<F>(
    app: &App,
    submitted: Result<SubmittedQuery, Unread>,
    message: Arc<Bytes>,
    caller: &Identity,
    mut say: impl FnMut(RunStep) -> F,
) -> Result<(), Unanswered>
where
    F: Future<Output = ()>,
{
    let asked = match submitted {
        Ok(submitted) => Asked { submitted, message },
        Err(unread) => return Err(app.refuse_unread(unread, caller).await),
    };
    if asked.submitted.is_join() && asked.submitted.export.is_none() {
        let join = app.accept_join(&asked, caller).await?;
        let accepted = accepted(join.answered(), join.cost(), Mechanism::MatchingDummies);
        say(RunStep::Accepted(Box::new(accepted))).await;
        say(RunStep::Progress(wire::Progress { step: "asking both agencies".to_owned() })).await;
        let finished = app.finish_join(join, &asked).await?;
        say(RunStep::Finished(Box::new(finished))).await;
        return Ok(());
    }
    let query = app.accept(&asked, caller).await?;
    let accepted = announced(query.logical.as_ref(), query.query(), query.cost, query.price());
    say(RunStep::Accepted(Box::new(accepted))).await;
    say(RunStep::Progress(wire::Progress { step: "asking the agency".to_owned() })).await;
    let finished = app.finish(query, &asked).await?;
    say(RunStep::Finished(Box::new(finished))).await;
    Ok(())
}

/// Gives a stored release again, from acceptance to its end, as [`run`] does.
async fn give<F>(
    app: &App,
    submitted: Result<SubmittedQuery, Unread>,
    caller: &Identity,
    mut say: impl FnMut(RunStep) -> F,
) -> Result<(), Unanswered>
where
    F: Future<Output = ()>,
{
    let asked = match submitted {
        Ok(submitted) => Asked { submitted, message: Arc::default() },
        Err(unread) => return Err(app.refuse_unread(unread, caller).await),
    };
    let query = app.accept_release(&asked, caller).await?;
    let accepted = announced(query.logical.as_ref(), query.answered(), query.cost, query.price());
    say(RunStep::Accepted(Box::new(accepted))).await;
    let finished = app.finish(query, &asked).await?;
    say(RunStep::Finished(Box::new(finished))).await;
    Ok(())
}

/// The first message of an answer.
pub(super) fn announced(
    logical: Option<&LogicalDataset>,
    query: &CheckedQuery,
    cost: Charge,
    price: &Price,
) -> wire::Accepted {
    match logical {
        None => accepted_at(query, price),
        Some(logical) => accepted_over(logical, query, cost, price.mechanism()),
    }
}

/// A step of an answer.
pub(super) enum RunStep {
    Accepted(Box<wire::Accepted>),
    Progress(wire::Progress),
    Finished(Box<Finished>),
}

/// What the figures of an answer estimate, and which groups it leaves out.
pub(super) fn estimand(selection: Option<(i64, Delta)>) -> String {
    match selection {
        None => ESTIMAND.to_owned(),
        Some((threshold, delta)) => format!(
            "{ESTIMAND}; groups are shown whose noisy number of persons is at least {threshold}, the others are left \
             out (delta {delta}): figures of groups close to that are too large on average"
        ),
    }
}

/// What a sum over a join adds up, and what of it no interval covers.
fn added_up_by(bins: &Bins) -> String {
    let (low, high) = bins.bounds();
    let (value, parts, rounding) = (value_of(bins), bins.count(), bins.rounding());
    let how = if rounding == 0.0 {
        "as it is".to_owned()
    } else {
        format!(
            "rounded to the middle of one of {parts} parts: each person's is off by {rounding} at most, which a status counts \
             in and no interval covers"
        )
    };
    format!(
        "; what is added up is of each person one value of {value}, from {low} to {high}, {how}; a row without it is in no \
         group"
    )
}

/// The value whose bins they are, in words that repeat nothing of a calculation.
fn value_of(bins: &Bins) -> String {
    let columns = names(bins.columns());
    if bins.is_derived() { format!("what the question works out from {columns}") } else { columns }
}

/// Which groups an answer will leave out, as far as it is known before there is one.
pub(super) fn foreseen(accepted: &wire::Accepted) -> Option<(i64, Delta)> {
    accepted.selection.map(|selection| (selection.threshold, Delta::from_atto(selection.delta_atto)))
}

/// The end of an answer as sent.
pub(super) fn released(finished: Finished) -> wire::Released {
    let selected = finished.answer.selected.map(|selected| (selected.threshold, selected.delta));
    let mut estimand = if finished.joined { JOINED.to_owned() } else { estimand(selected) };
    if let Some(bins) = &finished.bins {
        estimand.push_str(&added_up_by(bins));
    }
    if finished.registrations {
        estimand.push_str(REGISTRATIONS);
    }
    if finished.rolled_up {
        estimand.push_str(ADDED_UP);
    }
    let missing = |(part, why): (Part, String)| wire::MissingPart {
        agency: part.agency.to_string(),
        dataset: part.dataset.to_string(),
        why,
    };
    wire::Released {
        release_id: finished.release_id,
        all_groups: all_groups(&finished.answer),
        receipt: finished.receipt,
        left: finished.left.into_iter().map(account).collect(),
        estimand,
        parts: finished.parts.iter().map(|(part, release)| part_to_wire(part, release.clone())).collect(),
        missing: finished.missing.into_iter().map(missing).collect(),
        left_out: finished
            .left_out
            .into_iter()
            .map(|LeftOut { dataset, question, measured }| left_out_to_wire(&dataset, question, measured))
            .collect(),
    }
}

/// What is left of each account, one a line, for where there is only text.
pub(super) fn left(accounts: &[Budget]) -> String {
    let line = |budget: &Budget| {
        let left = budget.limit.rho.nano().saturating_sub(budget.spent.rho.nano());
        format!("{}: rho {} of {}", budget.of, Rho::from_nano(left), budget.limit.rho)
    };
    accounts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn account(budget: Budget) -> wire::Account {
    wire::Account {
        of: budget.of,
        limit: Some(charge_to_wire(budget.limit)),
        spent: Some(charge_to_wire(budget.spent)),
    }
}

#[tonic::async_trait]
impl QueryService for Query {
    type RunQueryStream = ReceiverStream<Result<wire::RunQueryResponse, Status>>;

    async fn run_query(
        &self,
        request: Request<wire::RunQueryRequest>,
    ) -> Result<Response<Self::RunQueryStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let request = request.into_inner();
        let submitted = SubmittedQuery::read(request.header.as_ref(), request.question.as_ref(), None);
        let message = Arc::new(Bytes::from(request.encode_to_vec()));
        let (send, receive) = mpsc::channel(8);
        let (app, wake) = (Arc::clone(&self.app), Arc::clone(&self.wake));
        // The work goes on when the caller is gone: what is charged is also stored, for a retry to find, and what is
        // refused leaves evidence.
        tokio::spawn(async move {
            let end = run(&app, submitted, message, &caller, |step| say(send.clone(), step)).await;
            wake.notify_one();
            if let Err(unanswered) = end {
                let _ = send.send(Err(status(unanswered))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn validate_query(
        &self,
        request: Request<wire::ValidateQueryRequest>,
    ) -> Result<Response<wire::ValidateQueryResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let request = request.into_inner();
        let header = self.unsigned(request.agreement, request.purpose);
        let submitted = SubmittedQuery::read(Some(&header), request.question.as_ref(), None)
            .map_err(|unread| refused(self.app.foresee_unread(unread, &caller)))?;
        if submitted.is_join() {
            let validated = self.app.validate_join(&submitted, &caller, request.half_width).map_err(refused)?;
            return Ok(Response::new(join_to_wire(validated)));
        }
        let validated = self.app.validate(&submitted, &caller, request.half_width).map_err(refused)?;
        let (logical, query) = (validated.logical.as_ref(), &validated.query);
        let accepted = announced(logical, query, validated.cost, &validated.price);
        let parts = logical.map_or(1, |logical| logical.parts.len());
        let noise = measured_noise(query, &validated.price, parts);
        let not_covered = request.half_width.map(|_| not_covered(query)).unwrap_or_default();
        Ok(Response::new(wire::ValidateQueryResponse {
            cost: accepted.cost,
            canonical_query: validated.canonical.into(),
            dataset: accepted.dataset,
            cut: accepted.cut,
            columns: accepted.columns,
            groups: accepted.groups,
            cells: validated.query.cells() as u64,
            noise,
            affordable: validated.affordable,
            rho_nano: validated.rho.nano(),
            selection: accepted.selection,
            not_covered,
        }))
    }

    type GetReleaseStream = ReceiverStream<Result<wire::RunQueryResponse, Status>>;

    async fn get_release(
        &self,
        request: Request<wire::GetReleaseRequest>,
    ) -> Result<Response<Self::GetReleaseStream>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::GetReleaseRequest { header, release_id, roll_up } = request.into_inner();
        let submitted = SubmittedQuery::read_release(header.as_ref(), &release_id, roll_up.as_ref());
        let (send, receive) = mpsc::channel(8);
        let (app, wake) = (Arc::clone(&self.app), Arc::clone(&self.wake));
        tokio::spawn(async move {
            let end = give(&app, submitted, &caller, |step| say(send.clone(), step)).await;
            wake.notify_one();
            if let Err(unanswered) = end {
                let _ = send.send(Err(status(unanswered))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn cite_release(
        &self,
        request: Request<wire::CiteReleaseRequest>,
    ) -> Result<Response<wire::CiteReleaseResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let wire::CiteReleaseRequest { agreement, purpose, release_id } = request.into_inner();
        let header = self.unsigned(agreement, purpose);
        let submitted = SubmittedQuery::read_release(Some(&header), &release_id, None)
            .map_err(|unread| refused(self.app.foresee_unread(unread, &caller)))?;
        let cited = self.app.cite_release(&submitted, &caller).await.map_err(|failure| status(failure.into()))?;
        Ok(Response::new(wire::CiteReleaseResponse { citation: Some(cited.map_err(refused)?.into()) }))
    }

    async fn get_budget(
        &self,
        request: Request<wire::GetBudgetRequest>,
    ) -> Result<Response<wire::GetBudgetResponse>, Status> {
        let caller = peer(&request)?.identity.clone();
        let budgets = self.app.budget(&caller, &request.into_inner().agreement).await.map_err(refused)?;
        let caps = budgets.caps.iter().map(|standing| cap_to_wire(&budgets.agreement, standing)).collect();
        let accounts = budgets.accounts.into_iter().map(account).collect();
        Ok(Response::new(wire::GetBudgetResponse { accounts, caps }))
    }

    async fn get_loss(&self, _: Request<wire::GetLossRequest>) -> Result<Response<wire::GetLossResponse>, Status> {
        let losses = self.app.losses().map_err(|failure| status(failure.into()))?;
        Ok(Response::new(loss_to_wire(losses)))
    }
}

/// What persons can have lost, as a message.
pub(super) fn loss_to_wire(losses: Losses) -> wire::GetLossResponse {
    let register = |(unit_space, loss): (UnitSpaceId, RegisterLoss)| {
        let (agency, per_year, for_life) = loss.policy.map_or((String::new(), None, None), |(agency, year, life)| {
            (agency.to_string(), Some(charge_to_wire(year)), Some(charge_to_wire(life)))
        });
        let year = |(year, spent)| wire::YearLoss { year, spent: Some(charge_to_wire(spent)) };
        wire::RegisterLoss {
            unit_space: unit_space.to_string(),
            agency,
            for_life: Some(charge_to_wire(loss.for_life)),
            limit_for_life: for_life,
            years: loss.by_year.into_iter().map(year).collect(),
            limit_per_year: per_year,
        }
    };
    wire::GetLossResponse {
        registers: losses.registers.into_iter().map(register).collect(),
        together: Some(charge_to_wire(losses.together)),
    }
}

/// What a question over a join would cost, as a message.
fn join_to_wire(validated: ValidatedJoin) -> wire::ValidateQueryResponse {
    let ValidatedJoin { canonical, join, price, cost, affordable } = validated;
    let answered = join.answered();
    let accepted = accepted(answered, cost, Mechanism::MatchingDummies);
    wire::ValidateQueryResponse {
        cost: accepted.cost,
        canonical_query: canonical.into(),
        dataset: accepted.dataset,
        cut: accepted.cut,
        columns: accepted.columns,
        groups: accepted.groups,
        cells: answered.cells() as u64,
        noise: counted_noise(&join, price.deviation()),
        affordable,
        rho_nano: price.charge().rho.nano(),
        selection: None,
        not_covered: Vec::new(),
    }
}

/// What a join counts, and what it adds up from that, with the noise in each.
fn counted_noise(join: &CheckedJoin, deviation: f64) -> Vec<wire::MeasuredNoise> {
    let of = |measured, standard_error| wire::MeasuredNoise { measured, standard_error };
    let Some(bins) = join.bins() else { return vec![of("count of persons".to_owned(), deviation)] };
    let value = value_of(bins);
    let rounded = match bins.rounding() {
        0.0 => String::new(),
        rounding => format!("; besides, each person's value is off by {rounding} at most"),
    };
    vec![
        of(format!("count of persons in each of {} parts of {value}", bins.count()), deviation),
        of(format!("sum of {value}{rounded}"), bins.deviation_of_sum(deviation)),
        of(format!("count of persons with a value of {value}"), bins.deviation_of_count(deviation)),
    ]
}

/// The standard errors of what is measured, after margins are made to add up, in the sum of so many parts.
fn measured_noise(query: &CheckedQuery, price: &Price, parts: usize) -> Vec<wire::MeasuredNoise> {
    let errors = query.deviations(&deviations(query, price.mechanism(), price.sigmas()));
    let several = query.grouping_sets().len() > 1;
    let of_vector = |((primitive, set), (error, scale)): ((&Primitive, &GroupingSet), (f64, f64))| {
        let (measured, unit) = measured(primitive);
        let groups: Vec<&str> =
            set.groups().iter().filter_map(|place| Some(&*query.groups().get(*place)?.name)).collect();
        let measured = match groups.as_slice() {
            _ if !several => measured,
            [] => format!("{measured}, in all"),
            groups => format!("{measured}, by {}", groups.join(", ")),
        };
        let standard_error = match primitive.kind() {
            PrimitiveKind::Quantile { candidates, .. } => candidates.rank_error(scale, 0.05),
            _ => error / unit * (parts as f64).sqrt(),
        };
        wire::MeasuredNoise { measured, standard_error }
    };
    query.vectors().zip(errors.into_iter().zip(price.sigmas())).map(of_vector).collect()
}

/// The outputs for which no price follows from a wanted half-width.
fn not_covered(query: &CheckedQuery) -> Vec<wire::NotCovered> {
    let why = |output: &CheckedOutput| match (output.is_quantile(), output.reads_a_quantile()) {
        (true, _) => "a quantile is off in rank and not in value: the noise says by how many values at most",
        (_, true) => "what is worked out from quantiles has no interval",
        _ => {
            "how wide its interval is depends on what is released: ask its counts and sums as outputs of their own, or \
             see the interval of the answer"
        }
    };
    let outputs = query.outputs().iter().filter(|output| !output.is_linear());
    outputs.map(|output| wire::NotCovered { column: output.name().to_owned(), why: why(output).to_owned() }).collect()
}

/// What a primitive measures, in words, and the units of its fixed point in 1.
fn measured(primitive: &Primitive) -> (String, f64) {
    match primitive.kind() {
        PrimitiveKind::CountRows => ("count of rows".to_owned(), 1.0),
        PrimitiveKind::CountPersons => ("count of persons".to_owned(), 1.0),
        PrimitiveKind::CountValues { columns } => (format!("count of {}", names(columns)), 1.0),
        PrimitiveKind::SumCentred { value: BoundNumber::Column(column), decimals, .. } => {
            (format!("sum of {column}"), 10_f64.powi(i32::from(*decimals)))
        }
        PrimitiveKind::SumCentred { value, decimals, .. } => {
            (format!("sum of a value from {}", names(value.columns())), 10_f64.powi(i32::from(*decimals)))
        }
        PrimitiveKind::Quantile { value, .. } => {
            let columns = names(value.columns());
            (format!("rank of a quantile of {columns}, in values, 95 % bound"), 1.0)
        }
    }
}

fn names<'a>(columns: impl IntoIterator<Item = &'a ColumnName>) -> String {
    columns.into_iter().map(ColumnName::as_str).collect::<Vec<_>>().join(", ")
}

type Said = mpsc::Sender<Result<wire::RunQueryResponse, Status>>;

async fn say(send: Said, step: RunStep) {
    let step = match step {
        RunStep::Accepted(accepted) => Step::Accepted(*accepted),
        RunStep::Progress(progress) => Step::Progress(progress),
        RunStep::Finished(finished) => {
            let rows = answer_rows(&finished.answer);
            for some in rows.chunks(ROWS) {
                let rows = Step::Rows(wire::Rows { rows: some.to_vec() });
                let _ = send.send(Ok(wire::RunQueryResponse { step: Some(rows) })).await;
            }
            Step::Released(released(*finished))
        }
    };
    let _ = send.send(Ok(wire::RunQueryResponse { step: Some(step) })).await;
}
