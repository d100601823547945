//! What overseers read beside the public log.

use super::super::files;
use super::verifier_key;
use crate::arguments::GatewayOptions;
use crate::client::list_openings;
use crate::failure::Failure;
use crate::number::count;
use crate::terminal::{Terminal, printable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use firebreak_audit::{Leaf, Opened, OpeningKey, SealedOpening, verified_leaves};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FIRST_LINE: &str = "firebreak openings format 1";

#[derive(Args)]
pub(crate) struct Fetch {
    /// The file to write; openings that an earlier run put there stay, and only newer ones are asked for
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    gateway: GatewayOptions,
}

#[derive(Args)]
pub(crate) struct Open {
    /// The folder of the log: checkpoint and tile/
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
    /// The log's public key, name+id+key, or a file that holds it
    #[arg(long)]
    key: String,
    /// What `firebreak audit fetch` wrote
    #[arg(long, value_name = "FILE")]
    openings: PathBuf,
    /// Your key, as made by `firebreak bundle opening-key`
    #[arg(long, value_name = "FILE")]
    opening_key: PathBuf,
    /// Only this leaf of the log; all are checked
    #[arg(long, value_name = "N")]
    index: Option<u64>,
}

pub(super) async fn fetch(arguments: Fetch, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut text = String::new();
    let mut from = 0_u64;
    if arguments.out.exists() {
        let kept = read(&arguments.out)?;
        from = kept.last_key_value().map_or(0, |(index, _)| index.saturating_add(1));
        for (index, sealed) in &kept {
            text += &line(*index, sealed.as_bytes());
        }
    }
    let connection = arguments.gateway.connect().await?;
    let mut came = 0_u64;
    let mut odd = None;
    let listed = list_openings(&connection, from, &mut |index, sealed| {
        // Taken as they may be: in ascending order, and of the form that is read back.
        if index < from || SealedOpening::from_bytes(sealed.to_vec()).is_err() {
            odd.get_or_insert(index);
            return;
        }
        from = index.saturating_add(1);
        text += &line(index, sealed);
        came += 1;
    })
    .await;
    // What came before a failure is kept: the next run goes on behind it.
    files::replace(&arguments.out, format!("{FIRST_LINE}\n{text}").as_bytes())?;
    let size = listed?;
    if let Some(index) = odd {
        let problem =
            format!("what came for leaf {index} is no sealed opening, or came out of order: the others are kept");
        return Err(Failure::Content { file: arguments.out, problem });
    }
    Ok(terminal.line(format!("{} new sealed openings; the log has {} leaves.", count(came), count(size)))?)
}

fn line(index: u64, sealed: &[u8]) -> String {
    format!("{index} {}\n", STANDARD.encode(sealed))
}

/// The sealed openings in a file, by the numbers of their leaves.
fn read(file: &Path) -> Result<BTreeMap<u64, SealedOpening>, Failure> {
    let wrong = |problem: String| Failure::Content { file: file.to_owned(), problem };
    let text = files::read(file)?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(wrong(format!(
            "does not begin with the line '{FIRST_LINE}': give a file of firebreak audit fetch"
        )));
    }
    let mut openings = BTreeMap::new();
    for (number, line) in (2..).zip(lines) {
        let opening = line.split_once(' ').and_then(|(index, sealed)| {
            let sealed = STANDARD.decode(sealed).ok()?;
            Some((index.parse().ok()?, SealedOpening::from_bytes(sealed).ok()?))
        });
        let (index, sealed) =
            opening.ok_or_else(|| wrong(format!("line {number} is no sealed opening: fetch anew")))?;
        openings.insert(index, sealed);
    }
    Ok(openings)
}

pub(super) fn open(arguments: &Open, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let log_key = verifier_key(&arguments.key)?;
    let secret = Zeroizing::new(files::read(&arguments.opening_key)?);
    let wrong_key = |error| Failure::Content { file: arguments.opening_key.clone(), problem: format!("{error}") };
    let key = OpeningKey::parse(&secret).map_err(wrong_key)?;
    let openings = read(&arguments.openings)?;
    let mut shown = String::new();
    let mut faults = Vec::new();
    let mut leaves: u64 = 0;
    verified_leaves(&arguments.log, &log_key, |index, signed| {
        leaves += 1;
        let leaf = signed.leaf();
        let opened = match openings.get(&index) {
            None => Err("no opening is kept: fetch anew, or ask whoever signed the leaf".to_owned()),
            Some(sealed) => sealed.open(&key, leaf).map_err(|error| error.to_string()),
        };
        let wanted = arguments.index.is_none_or(|wanted| wanted == index);
        match opened {
            Ok(opened) if wanted => shown += &of_leaf(index, leaf, &opened),
            Ok(_) => {}
            Err(fault) => {
                faults.push(format!("leaf {index}, signed by {} ({}): {fault}\n", leaf.signer_org, leaf.signer_role))
            }
        }
    })?;
    if let Some(index) = arguments.index.filter(|index| *index >= leaves) {
        return Err(Failure::Usage(format!(
            "this copy of the log has leaves 0 to {}: it has no {index}",
            leaves.saturating_sub(1)
        )));
    }
    terminal.block(shown)?;
    if faults.is_empty() {
        terminal.line(format!("All {} leaves of the log open, and commit to what was sealed.", count(leaves)))?;
        terminal.note("Who signed them is checked by firebreak audit verify --signer.");
        return Ok(());
    }
    terminal.block(faults.concat())?;
    Err(Failure::Content {
        file: arguments.openings.clone(),
        problem: format!("{} of {} leaves could not be opened", count(faults.len() as u64), count(leaves)),
    })
}

fn of_leaf(index: u64, leaf: &Leaf, opened: &Opened) -> String {
    let reason = leaf.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    let mut text = format!(
        "Leaf {index}: {}{reason}, by {} ({}), in the hour of {}\n",
        leaf.kind, leaf.signer_org, leaf.signer_role, leaf.hour
    );
    for (title, bytes) in [("Request", &opened.request), ("Commits to", &opened.opening.payload)] {
        if bytes.is_empty() {
            continue;
        }
        text += &format!("  {title}\n");
        match std::str::from_utf8(bytes) {
            Ok(lines) => lines.lines().for_each(|line| text += &format!("    {}\n", printable(line))),
            Err(_) => text += &format!("    {}\n", hex::encode(bytes)),
        }
    }
    text
}
