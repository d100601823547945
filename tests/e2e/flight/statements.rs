//! Statements, tickets and actions by a client that shows every status as it came.

use super::client::Client;
use super::{AGREEMENT, PURPOSE, spent};
use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Float64Type;
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginTransactionRequest, ActionCreatePreparedStatementRequest,
    ActionEndTransactionRequest, ProstMessageExt,
};
use firebreak::client::Ask;
use firebreak_domain::Rho;
use firebreak_tests::{Caller, ask_until_answered, run, shared};
use firebreak_wire::refusal_of_status;
use prost::Message;
use tonic::Code;

const PRICE: Rho = Rho::from_nano(5_000_000);

/// All rows of an answer.
fn whole(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let schema = batches.first().context("no rows")?.schema();
    Ok(concat_batches(&schema, batches)?)
}

/// What an answer says of itself.
fn told<'a>(batch: &'a RecordBatch, key: &str) -> Result<&'a str> {
    batch.schema_ref().metadata().get(key).map(String::as_str).with_context(|| format!("no {key}"))
}

#[test]
fn a_ticket_shown_twice_at_once_before_it_was_ever_answered_is_one_request_charged_once() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let client = Client::open(&shared.federation, shared.live.address, "annie").await?;
        // The adapter has seen the log once it has answered anything.
        let annie = Caller("nso", "analyst", "annie").connect(&shared.federation, shared.live.address).await?;
        ask_until_answered(&annie, &Ask::new(AGREEMENT, PURPOSE, "SELECT COUNT(*) AS n FROM health.visits")?).await?;
        for times in [2, 6] {
            let sql = format!(
                "SELECT visit_year, COUNT(*) AS n FROM health.visits WHERE cost >= {times} GROUP BY visit_year"
            );
            let (before, ticket) = (spent(shared, "annie").await?, client.ticket(&sql).await?);
            let mut showing = tokio::task::JoinSet::new();
            for _ in 0..times {
                let (client, ticket) = (client.clone(), ticket.clone());
                showing.spawn(async move { client.rows(&ticket).await });
            }
            let shown = showing.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
            let answers = shown.iter().map(|batches| whole(batches)).collect::<Result<Vec<_>>>()?;
            let (first, others) = answers.split_first().context("no answer")?;
            ensure!(first.num_rows() == 5, "{} rows", first.num_rows());
            for other in others {
                assert_eq!(first.columns(), other.columns());
                assert_eq!(told(first, "release_id")?, told(other, "release_id")?);
            }
            let after = spent(shared, "annie").await?;
            assert_eq!(after.nano() - before.nano(), PRICE.nano(), "{times} at once");
        }
        Ok(())
    })
}

#[test]
fn a_transaction_is_refused_by_its_name_wherever_one_is_begun_ended_or_named() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let client = Client::open(&shared.federation, shared.live.address, "tilly").await?;
        let end = ActionEndTransactionRequest { transaction_id: "one".into(), action: 1 };
        let savepoint = ActionBeginSavepointRequest { transaction_id: "one".into(), name: "here".to_owned() };
        let sql = "SELECT COUNT(*) AS n FROM health.visits".to_owned();
        let prepared = ActionCreatePreparedStatementRequest { query: sql, transaction_id: Some("one".into()) };
        for (kind, body, says) in [
            ("BeginTransaction", ActionBeginTransactionRequest {}.as_any(), "transactions are not served here"),
            ("EndTransaction", end.as_any(), "transactions are not served here"),
            ("BeginSavepoint", savepoint.as_any(), "savepoints are not served here"),
            ("CreatePreparedStatement", prepared.as_any(), "transactions are not served here"),
        ] {
            let status =
                client.act(kind, body.encode_to_vec()).await?.err().with_context(|| format!("{kind} is served"))?;
            assert_eq!(status.code(), Code::Unimplemented, "{kind}: {status}");
            ensure!(status.message().contains(says), "{kind}: {}", status.message());
            ensure!(status.message().contains("each question is decided, paid and answered by itself"), "{status}");
        }
        Ok(())
    })
}

#[test]
fn preparing_what_may_not_be_asked_is_refused_for_the_reason_for_which_asking_it_is() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let client = Client::open(&shared.federation, shared.live.address, "grete").await?;
        for (sql, reason) in [
            ("SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number", "IDENTIFIER_COLUMN"),
            ("SELECT fingerprint, COUNT(*) AS n FROM health.visits GROUP BY fingerprint", "FORBIDDEN_KIND"),
            ("SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = 1990", "COLUMN_NOT_COVERED"),
            ("SELECT COUNT(*) AS n FROM education.enrolments", "DATASET_NOT_COVERED"),
            ("SELECT * FROM health.visits", "ROWS_ASKED"),
            ("DELETE FROM health.visits", "NOT_A_SELECT"),
            ("SELECT COUNT(*) AS n FROM health.visits SETTINGS rho = 0.5", "LOSS_CEILING"),
        ] {
            let prepared = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
            let prepared = client.act("CreatePreparedStatement", prepared.as_any().encode_to_vec()).await?;
            let prepared = prepared.err().with_context(|| format!("prepared: {sql}"))?;
            let asked = client.flight_info(sql).await?.err().with_context(|| format!("priced: {sql}"))?;
            for (how, status) in [("prepared", &prepared), ("asked", &asked)] {
                let refusal = refusal_of_status(status).with_context(|| format!("{how}: {status}"))?;
                assert_eq!(refusal.reason, reason, "{how}: {sql}");
                let receipt =
                    refusal.metadata.get("receipt").with_context(|| format!("{how} without evidence: {sql}"))?;
                firebreak_audit::Receipt::decode(receipt.as_bytes())?.verify(&shared.log_key()?)?;
            }
            assert_eq!((prepared.code(), prepared.message()), (asked.code(), asked.message()), "{sql}");
        }
        assert_eq!(spent(shared, "grete").await?, Rho::default(), "a refusal is charged");
        Ok(())
    })
}

#[test]
fn thousands_of_groups_are_answered_by_both_ways_with_the_same_figures() -> Result<()> {
    const GROUPS: usize = 17 * 5 * 60;
    run(async {
        let shared = shared().await?;
        let sql = "SELECT region, kind, DATE_TRUNC('month', visit_date) AS month, COUNT(*) AS visits, \
                   SUM(cost) AS costs FROM health.visits GROUP BY region, kind, month";
        let mary = Caller("nso", "analyst", "mary").connect(&shared.federation, shared.live.address).await?;
        let answer = ask_until_answered(&mary, &Ask::new(AGREEMENT, PURPOSE, sql)?).await?;
        assert_eq!(answer.rows.len(), GROUPS);
        let distinct: std::collections::BTreeSet<_> = answer.rows.iter().map(|row| &row.groups).collect();
        assert_eq!(distinct.len(), GROUPS, "a group comes twice");

        let client = Client::open(&shared.federation, shared.live.address, "mary").await?;
        let shown = whole(&client.rows(&client.ticket(sql).await?).await?)?;
        assert_eq!(shown.num_rows(), GROUPS);
        assert_eq!(told(&shown, "release_id")?, answer.released.release_id);
        let column = |name: &str| shown.column_by_name(name).with_context(|| format!("no column {name}"));
        let labels = ["region", "kind", "month"].map(column).into_iter().collect::<Result<Vec<_>>>()?;
        let figures = ["visits", "costs"].map(column).into_iter().collect::<Result<Vec<_>>>()?;
        for (place, row) in answer.rows.iter().enumerate() {
            for (label, of) in row.groups.iter().zip(&labels) {
                assert_eq!(of.as_string::<i32>().value(place), label, "row {place}");
            }
            for (estimate, of) in row.estimates.iter().zip(&figures) {
                let figure = (!of.is_null(place)).then(|| of.as_primitive::<Float64Type>().value(place));
                assert_eq!(figure, estimate.value, "row {place}");
            }
        }
        Ok(())
    })
}
