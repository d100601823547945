//! `firebreak register`.

use crate::arguments::LocalOptions;
use crate::client::list_handed_out;
use crate::failure::Failure;
use crate::number::count;
use crate::table::fields;
use crate::terminal::Terminal;
use clap::Args;
use firebreak_domain::Timestamp;
use firebreak_wire::local::v1::{HandOutForm, HandedOut};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let connection = arguments.local.connect().await?;
    let entries = list_handed_out(&connection).await?;
    if entries.is_empty() {
        terminal.note("Nothing was handed out of any match.");
    }
    Ok(terminal.block(shown(&entries, terminal.width))?)
}

/// Every entry as a list of fields, the oldest first, an empty line between two.
fn shown(entries: &[HandedOut], width: usize) -> String {
    let entries: Vec<_> = entries.iter().map(|entry| one(entry, width)).collect();
    entries.join("\n")
}

fn one(entry: &HandedOut, width: usize) -> String {
    let form = match entry.form() {
        HandOutForm::List => "a list",
        HandOutForm::Csv => "a CSV file",
        HandOutForm::Parquet => "a Parquet file",
        HandOutForm::Unspecified => "a form that this program does not know",
    };
    fields(
        &[
            ("Number", &count(entry.number)),
            ("Handed out", &Timestamp::from_secs(entry.at).to_string()),
            ("To", &entry.officer),
            ("Agreement", &entry.agreement),
            ("Purpose", &entry.purpose),
            ("Session", &hex::encode(&entry.session_id)),
            ("As", form),
            ("Records", &count(entry.rows)),
            ("SHA-256", &hex::encode(&entry.sha256)),
        ],
        width,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_who_took_what_and_when() {
        let entry = |number, form: HandOutForm| HandedOut {
            number,
            officer: "spiffe://d/org/health-agency/officer/jo\u{1b}".into(),
            at: 1_767_225_600,
            session_id: vec![0xab; 32],
            agreement: "vaccination-round".into(),
            purpose: "round".into(),
            form: form.into(),
            rows: 1234,
            sha256: vec![0xcd; 32],
        };
        let text = shown(&[entry(1, HandOutForm::Csv), entry(2, HandOutForm::List)], 100).replace('\u{202f}', " ");
        for part in [
            "2026-01-01T00:00:00Z",
            "spiffe://d/org/health-agency/officer/jo\u{fffd}",
            &"ab".repeat(32),
            &"cd".repeat(32),
            "a CSV file",
            "a list",
            "1 234",
            "vaccination-round",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("SHA-256").count(), 2);
        assert_eq!(shown(&[], 100), "");
    }
}
