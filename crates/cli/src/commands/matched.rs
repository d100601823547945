//! `firebreak matched`.

use super::hand_out::OutOptions;
use super::matching::provisional;
use crate::arguments::LocalOptions;
use crate::client::list_matched_by;
use crate::failure::Failure;
use crate::terminal::{Terminal, printable};
use clap::Args;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, as `firebreak match` showed it
    #[arg(long, value_name = "HEX")]
    session: String,
    #[command(flatten)]
    out: OutOptions,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let session = hex::decode(&arguments.session).map_err(|_| {
        Failure::Usage("--session takes the hexadecimal digits that `firebreak match` showed".to_owned())
    })?;
    let out = arguments.out.open()?;
    let connection = arguments.local.connect().await?;
    if let Some(out) = out {
        return out.take(&connection, &session, terminal).await;
    }
    let matched = list_matched_by(&connection, &session).await?;
    if matched.provisional {
        terminal.note(provisional(&matched.key));
    }
    for person in matched.persons {
        // In a file a key stays what it is.
        let person = if terminal.out_is_terminal { printable(&person) } else { person.as_str().into() };
        terminal.line(person)?;
    }
    Ok(())
}
