use super::connection::MESSAGE;
use super::{Ask, ClientError, Connection, QueryAnswer};
use firebreak_wire::query::v1::query_service_client::QueryServiceClient;
use firebreak_wire::query::v1::run_query_response;
use firebreak_wire::query::v1::{
    Accepted, Released, Row, RunQueryRequest, RunQueryResponse, ValidateQueryRequest, ValidateQueryResponse,
};
use tonic::Streaming;
use tonic::transport::Channel;

/// What is reported while an answer is made.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The request is permitted and its cost reserved.
    Accepted(&'a Accepted),
    /// How it goes, in words.
    Progress(&'a str),
}

/// Asks a question and waits for its answer, reporting each step as it comes.
///
/// # Errors
/// [`ClientError::Refused`]; failures of the connection, after which the same `ask` may be sent again at no cost.
pub async fn run_query(
    connection: &Connection,
    ask: &Ask,
    report: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<QueryAnswer, ClientError> {
    let header = connection.sign(ask, ask.aggregate(), connection.own_organisation())?;
    let request = RunQueryRequest { header: Some(header), question: Some(ask.question()) };
    collect(client(connection).run_query(request).await?.into_inner(), report).await
}

/// An answer from its steps, reporting each as it comes.
pub(super) async fn collect(
    mut steps: Streaming<RunQueryResponse>,
    report: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<QueryAnswer, ClientError> {
    let mut answer = Unfinished::default();
    while let Some(message) = steps.message().await? {
        answer.take(message.step, report)?;
    }
    answer.finish()
}

/// Says what [`run_query`] would say and cost, or would cost with a 95 % interval of ± `half_width` at most of each
/// count and sum. Nothing is read, charged or signed.
///
/// # Errors
/// As [`run_query`].
pub async fn validate_query(
    connection: &Connection,
    ask: &Ask,
    half_width: Option<f64>,
) -> Result<ValidateQueryResponse, ClientError> {
    let request = ValidateQueryRequest {
        agreement: ask.agreement.to_string(),
        purpose: ask.purpose.to_string(),
        question: Some(ask.question()),
        half_width,
    };
    Ok(client(connection).validate_query(request).await?.into_inner())
}

pub(super) fn client(connection: &Connection) -> QueryServiceClient<Channel> {
    QueryServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE)
}

/// An answer on its way: accepted, then progress and rows, then released.
#[derive(Default)]
struct Unfinished {
    accepted: Option<Accepted>,
    rows: Vec<Row>,
    released: Option<Released>,
}

impl Unfinished {
    fn take(
        &mut self,
        step: Option<run_query_response::Step>,
        report: &mut (dyn FnMut(Step<'_>) + Send),
    ) -> Result<(), ClientError> {
        use run_query_response::Step as Wire;
        if self.released.is_some() {
            return Err(ClientError::Answer("something follows the release"));
        }
        match step {
            // A step that a later version adds is passed over.
            None => {}
            Some(Wire::Accepted(accepted)) => report(Step::Accepted(self.accepted.insert(accepted))),
            Some(Wire::Progress(progress)) => report(Step::Progress(&progress.step)),
            Some(Wire::Rows(batch)) => {
                let accepted = self.accepted.as_ref().ok_or(ClientError::Answer("rows come before the headings"))?;
                let (groups, outputs) = (accepted.groups.len(), accepted.columns.len());
                if batch.rows.iter().any(|row| row.groups.len() != groups || row.estimates.len() != outputs) {
                    return Err(ClientError::Answer("a row does not fit the headings"));
                }
                self.rows.extend(batch.rows);
            }
            Some(Wire::Released(released)) => self.released = Some(released),
        }
        Ok(())
    }

    fn finish(self) -> Result<QueryAnswer, ClientError> {
        match (self.accepted, self.released) {
            (Some(accepted), Some(released)) => Ok(QueryAnswer { accepted, rows: self.rows, released }),
            _ => Err(ClientError::Answer(
                "it ended before the release; the same request id may be sent again at no cost",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firebreak_wire::query::v1::{Estimate, OutputColumn, Progress, Rows};
    use run_query_response::Step as Wire;

    fn accepted() -> Wire {
        let columns = vec![OutputColumn { name: "n".into(), ..OutputColumn::default() }];
        Wire::Accepted(Accepted { columns, groups: vec!["region".into()], ..Accepted::default() })
    }

    fn rows(groups: &[&str]) -> Wire {
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        Wire::Rows(Rows { rows: vec![Row { groups, estimates: vec![Estimate::default()] }] })
    }

    fn read(steps: Vec<Wire>) -> Result<QueryAnswer, ClientError> {
        let mut answer = Unfinished::default();
        for step in steps {
            answer.take(Some(step), &mut |_| {})?;
        }
        answer.finish()
    }

    #[test]
    fn batches_of_rows_are_joined_in_order() {
        let progress = Wire::Progress(Progress { step: "measuring".into() });
        let released = Wire::Released(Released::default());
        let answer = read(vec![accepted(), progress, rows(&["a"]), rows(&["b"]), released]).unwrap();
        let groups: Vec<_> = answer.rows.iter().map(|r| r.groups.concat()).collect();
        assert_eq!(groups, ["a", "b"]);
    }

    #[test]
    fn an_answer_out_of_order_or_cut_short_is_no_answer() {
        let released = || Wire::Released(Released::default());
        for steps in [
            vec![accepted(), rows(&["a"])],
            vec![rows(&["a"]), released()],
            vec![accepted(), rows(&["a", "b"]), released()],
            vec![accepted(), released(), rows(&["a"])],
            vec![released()],
        ] {
            assert!(matches!(read(steps), Err(ClientError::Answer(_))));
        }
    }
}
