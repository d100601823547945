//! Bytes that no client of ours would send.

use super::client::{Client, question};
use super::{AGREEMENT, PURPOSE, SQL};
use anyhow::{Context, Result, ensure};
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, Command, CommandGetDbSchemas, CommandGetTables,
    CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket};
use firebreak_tests::{Header, hear_under, run, shared};
use firebreak_wire::refusal_of_status;
use prost::Message;

const SERVICE: &str = "/arrow.flight.protocol.FlightService/";
/// Typed wherever something can be typed; no answer may have it.
const TYPED: &str = "typedbysomebody";

/// Commands that are none, are cut off, or are larger than anybody's.
fn commands() -> Vec<Vec<u8>> {
    let any = |type_url: &str, value: Vec<u8>| Any { type_url: type_url.to_owned(), value: value.into() };
    let statement = CommandStatementQuery { query: format!("SELECT {TYPED} FROM {TYPED}"), transaction_id: None };
    let whole = statement.as_any().encode_to_vec();
    let of_type = |kind: &str, value: Vec<u8>| {
        any(&format!("type.googleapis.com/arrow.flight.protocol.sql.{kind}"), value).encode_to_vec()
    };
    let mut commands = vec![
        Vec::new(),
        vec![0xff; 64],
        TYPED.as_bytes().to_vec(),
        any(TYPED, vec![1, 2, 3]).encode_to_vec(),
        of_type(TYPED, vec![1, 2, 3]),
        whole.iter().take(whole.len() / 2).copied().collect(),
        whole,
        vec![b'x'; 300 * 1024],
        of_type("CommandStatementQuery", vec![b'x'; 200 * 1024]),
        CommandStatementQuery { query: "(".repeat(100_000), transaction_id: None }.as_any().encode_to_vec(),
        CommandStatementQuery { query: SQL.to_owned(), transaction_id: Some(TYPED.into()) }.as_any().encode_to_vec(),
        TicketStatementQuery { statement_handle: TYPED.into() }.as_any().encode_to_vec(),
        CommandPreparedStatementQuery { prepared_statement_handle: TYPED.into() }.as_any().encode_to_vec(),
    ];
    for kind in [
        "CommandStatementUpdate",
        "CommandStatementIngest",
        "CommandStatementSubstraitPlan",
        "CommandGetTables",
        "CommandGetSqlInfo",
        "CommandGetXdbcTypeInfo",
        "CommandGetCrossReference",
        "TicketStatementQuery",
        "ActionBeginTransactionRequest",
        "DoPutUpdateResult",
    ] {
        commands.push(of_type(kind, vec![0xff; 9]));
        commands.push(of_type(kind, Vec::new()));
    }
    for pattern in ["%".repeat(256), "(".repeat(256), "\\".repeat(200), "%_".repeat(128), "x".repeat(257), "é".into()]
    {
        let tables = CommandGetTables {
            catalog: Some(TYPED.to_owned()),
            db_schema_filter_pattern: Some(pattern.clone()),
            table_name_filter_pattern: Some(pattern.clone()),
            table_types: vec![TYPED.to_owned(); 500],
            include_schema: true,
        };
        commands.push(tables.as_any().encode_to_vec());
        let schemas = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some(pattern) };
        commands.push(schemas.as_any().encode_to_vec());
    }
    commands
}

/// Each command in every place that takes one, and actions.
fn calls() -> Vec<(&'static str, Vec<u8>)> {
    let mut calls = Vec::new();
    for command in commands() {
        let descriptor = FlightDescriptor::new_cmd(command.clone());
        for method in ["GetFlightInfo", "GetSchema", "PollFlightInfo"] {
            calls.push((method, descriptor.encode_to_vec()));
        }
        for method in ["DoPut", "DoExchange"] {
            calls.push((method, FlightData::new().with_descriptor(descriptor.clone()).encode_to_vec()));
        }
        calls.push(("DoGet", Ticket::new(command.clone()).encode_to_vec()));
        for kind in ["CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", TYPED] {
            calls.push(("DoAction", Action::new(kind, command.clone()).encode_to_vec()));
        }
        for method in ["Handshake", "ListFlights", "ListActions"] {
            calls.push((method, command.clone()));
        }
    }
    let prepared = ActionCreatePreparedStatementRequest { query: TYPED.to_owned(), transaction_id: None };
    calls.push(("DoAction", Action::new("CreatePreparedStatement", prepared.as_any().encode_to_vec()).encode_to_vec()));
    calls.push(("DoPut", FlightData::new().encode_to_vec()));
    calls.push(("GetFlightInfo", FlightDescriptor::new_path(vec![TYPED.to_owned()]).encode_to_vec()));
    calls
}

#[test]
fn whatever_bytes_are_sent_the_gateway_refuses_without_repeating_them_and_goes_on() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = Client::open(&shared.federation, shared.live.address, "hostile").await?;
        let good: &[Header<'_>] = &[("firebreak-agreement", AGREEMENT), ("firebreak-purpose", PURPOSE)];
        let typed: &[Header<'_>] = &[("firebreak-agreement", TYPED), ("firebreak-purpose", TYPED)];
        let twice: &[Header<'_>] = &[good[0], good[1], ("firebreak-purpose", TYPED)];
        let calls = calls();
        assert!(calls.len() > 300, "{}", calls.len());
        let (mut refused, mut answered) = (0, 0);
        for (method, request) in &calls {
            for headers in [&[][..], good, typed, twice] {
                let heard = hear_under(&ada.channel, &format!("{SERVICE}{method}"), headers, request.clone()).await?;
                let told = String::from_utf8_lossy(&heard).into_owned();
                let codes = ["InvalidArgument ", "Unimplemented ", "PermissionDenied ", "OutOfRange ", "Internal "];
                if let Some(code) = codes.iter().find(|code| told.starts_with(**code)) {
                    // tonic says so, by itself, of what is no message at all.
                    let decoded = !told.starts_with("Internal failed to decode Protobuf message");
                    ensure!(*code != "Internal " || !decoded, "{method} fails: {told}");
                    // A list that is made names the command that it is an answer to, which is the caller's own.
                    ensure!(!told.contains(TYPED), "{method} says what was typed: {told}");
                    refused += 1;
                } else {
                    ensure!(told.contains("\"grpc-status\": \"0\"") || told.ends_with("None"), "{method}: {told}");
                    answered += 1;
                }
            }
        }
        assert!(refused > 1000 && answered > 50, "{refused} refused, {answered} answered");
        ensure!(ada.show(&ada.ticket("SELECT COUNT(*) AS n FROM health.visits").await?).await? == 1);
        Ok(())
    })
}

#[test]
fn a_ticket_that_was_changed_cut_or_made_up_is_that_of_nobody() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let eve = Client::open(&shared.federation, shared.live.address, "eve").await?;
        let whole = eve.ticket(SQL).await?;
        let Command::TicketStatementQuery(sealed) = Command::try_from(Any::decode(&*whole.ticket)?)? else {
            anyhow::bail!("another ticket than Flight SQL's")
        };
        let sealed = sealed.statement_handle.to_vec();
        ensure!(!String::from_utf8_lossy(&sealed).contains("visits"), "the question is readable in its ticket");
        let shown = async |handle: &[u8]| {
            let command = TicketStatementQuery { statement_handle: handle.to_vec().into() };
            eve.show(&Ticket::new(command.as_any().encode_to_vec())).await
        };
        let nobodys = shown(b"made up").await.err().context("answered")?;
        for at in (0..sealed.len()).step_by(7) {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            for handle in [&changed[..], &sealed[..at]] {
                let status = shown(handle).await.err().context("answered")?;
                assert_eq!((status.code(), status.message()), (nobodys.code(), nobodys.message()), "byte {at}");
            }
        }
        // Another's ticket is like one that is nobody's, to the last byte of what is said.
        let mallory = Client::open(&shared.federation, shared.live.address, "mallory").await?;
        let others = mallory.show(&whole).await.err().context("answered")?;
        assert_eq!((others.code(), others.message()), (nobodys.code(), nobodys.message()));
        assert_eq!(refusal_of_status(&others), refusal_of_status(&nobodys));
        // A question is not answered without its ticket.
        let bare = Ticket::new(question(SQL).cmd);
        assert_eq!(eve.show(&bare).await.map_err(|status| status.code()), Err(tonic::Code::Unimplemented));
        Ok(())
    })
}
