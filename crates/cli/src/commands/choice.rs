//! `firebreak choice`.

use super::files;
use crate::arguments::LocalOptions;
use crate::client::{list_choices, record_choice};
use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::{Terminal, printable};
use clap::{Args, Subcommand};
use firebreak_domain::{PurposeId, Timestamp};
use firebreak_wire::local::v1::{ChoiceKind, RecordedChoice};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Records that persons consent to matches for a purpose
    Consent(ForPurpose),
    /// Records that persons withdraw their consent to a purpose
    Withdraw(ForPurpose),
    /// Records that persons take part in no match for a purpose, or in none at all
    Restrict(ForAny),
    /// Records that a restriction in the same words ends
    Lift(ForAny),
    /// Lists everything that was recorded of persons
    List(Persons),
}

#[derive(Args)]
pub(crate) struct ForPurpose {
    /// The purpose, as agreements name it
    #[arg(long)]
    purpose: PurposeId,
    #[command(flatten)]
    persons: Persons,
}

#[derive(Args)]
pub(crate) struct ForAny {
    /// The purpose, as agreements name it [default: all purposes]
    #[arg(long)]
    purpose: Option<PurposeId>,
    #[command(flatten)]
    persons: Persons,
}

#[derive(Args)]
pub(crate) struct Persons {
    // Not on the command line, where other programs of the machine could read it.
    /// A file of your agency's own keys of the persons, one a line; - reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (kind, purpose, persons) = match command {
        Command::Consent(one) => (ChoiceKind::Consent, Some(one.purpose), one.persons),
        Command::Withdraw(one) => (ChoiceKind::Withdraw, Some(one.purpose), one.persons),
        Command::Restrict(any) => (ChoiceKind::Restrict, any.purpose, any.persons),
        Command::Lift(any) => (ChoiceKind::Lift, any.purpose, any.persons),
        Command::List(persons) => return list(persons, terminal).await,
    };
    let keys = keys(&persons.file)?;
    let connection = persons.local.connect().await?;
    for (done, key) in keys.iter().enumerate() {
        let recorded = record_choice(&connection, key, kind, purpose.as_ref()).await;
        if recorded.is_err() {
            terminal.note(format!("Recorded for the first {done} persons of the file, and for nobody after them."));
        }
        recorded?;
    }
    Ok(terminal.line(format!("Recorded for {} persons. It counts for whatever is sent from now on.", keys.len()))?)
}

async fn list(persons: Persons, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let keys = keys(&persons.file)?;
    let connection = persons.local.connect().await?;
    let mut table = Table::new().text("Person").text("Recorded").text("Choice").text("Purpose");
    for key in &keys {
        for choice in list_choices(&connection, key).await? {
            table.row(row(key, &choice));
        }
    }
    Ok(terminal.block(table.render(terminal.width))?)
}

fn row(key: &str, choice: &RecordedChoice) -> [String; 4] {
    let kind = match choice.kind() {
        ChoiceKind::Consent => "consent",
        ChoiceKind::Withdraw => "withdrawn",
        ChoiceKind::Restrict => "restricted",
        ChoiceKind::Lift => "lifted",
        ChoiceKind::Unspecified => "?",
    };
    let purpose = if choice.purpose.is_empty() { "all" } else { choice.purpose.as_str() };
    let time = Timestamp::from_secs(choice.recorded_at).to_string();
    [printable(key).into_owned(), time, kind.to_owned(), printable(purpose).into_owned()]
}

/// The keys in a file, of which empty lines are none.
fn keys(file: &str) -> Result<Vec<String>, Failure> {
    let text = files::text_of(file)?;
    let keys: Vec<String> = text.lines().map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(Failure::Usage(
            "the file names nobody: write your agency's own keys into it, one a line".to_owned(),
        ));
    }
    Ok(keys)
}
