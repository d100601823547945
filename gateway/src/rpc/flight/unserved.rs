//! What Flight SQL has and this gateway has not, each refused by its name with what to do instead.

use arrow_flight::sql::Command;
use tonic::Status;

/// `what` is not served; `instead` is a sentence.
pub(super) fn unserved(what: &str, instead: &str) -> Status {
    Status::unimplemented(format!("{what} not served here: {instead}"))
}

const UPDATES: (&str, &str) =
    ("updates are", "data change at their own agency alone. Ask a question, which is one SELECT");
const INGEST: (&str, &str) = ("ingest is", "data stay at their own agency, which reads its own files");
const SUBSTRAIT: (&str, &str) = ("Substrait plans are", "send the question as SQL");
const TRANSACTIONS: (&str, &str) = (
    "transactions are",
    "each question is decided, paid and answered by itself. Connect with autocommit=True, and name no transaction",
);
const SAVEPOINTS: (&str, &str) = ("savepoints are", "each question is decided, paid and answered by itself");
const CANCELLING: (&str, &str) =
    ("cancelling is", "what is paid is also answered. Close the reader, and show the same ticket again for the answer");
const SESSIONS: (&str, &str) = ("session options are", "agreement and purpose come with each call, in its headers");
const RENEWAL: (&str, &str) = ("renewing a ticket is", "execute again for a new one");
const PARAMETERS: (&str, &str) = ("parameters are", "write the values into the SQL");

/// Refuses a command that asks no question, by the name of what it wants.
pub(super) fn command(command: &Command) -> Status {
    let (what, instead) = match command {
        Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => UPDATES,
        Command::CommandStatementIngest(_) => INGEST,
        Command::CommandStatementSubstraitPlan(_) => SUBSTRAIT,
        Command::CommandPreparedStatementQuery(_) => PARAMETERS,
        Command::TicketStatementQuery(_) => ("a ticket as a command is", "show it to DoGet"),
        _ => ("this command is", "ask a question, or a command of the catalogue"),
    };
    unserved(what, instead)
}

/// Refuses an action by its name.
pub(super) fn action(kind: &str) -> Status {
    let (what, instead) = match kind {
        "CreatePreparedSubstraitPlan" => SUBSTRAIT,
        "BeginTransaction" | "EndTransaction" => TRANSACTIONS,
        "BeginSavepoint" | "EndSavepoint" => SAVEPOINTS,
        "CancelQuery" | "CancelFlightInfo" => CANCELLING,
        "RenewFlightEndpoint" => RENEWAL,
        "SetSessionOptions" | "GetSessionOptions" | "CloseSession" => SESSIONS,
        _ => ("this action is", "the actions are CreatePreparedStatement and ClosePreparedStatement"),
    };
    unserved(what, instead)
}

/// Refuses a statement that names a transaction.
pub(super) fn transaction() -> Status {
    unserved(TRANSACTIONS.0, TRANSACTIONS.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_without_repeating_it() {
        let any = arrow_flight::sql::Any { type_url: "made/up".to_owned(), value: Default::default() };
        for status in [action("made/up"), command(&Command::Unknown(any))] {
            assert_eq!(status.code(), tonic::Code::Unimplemented);
            assert!(!status.message().contains("made"), "{status}");
        }
    }
}
