//! `firebreak publication`.

use super::query::{Bars, OutputOptions, note_again, shown};
use super::receipt;
use crate::arguments::{self, GatewayOptions};
use crate::client::{Ask, Published, get_publication, list_publications, take_step};
use crate::failure::Failure;
use crate::table::{Table, fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::{Args, Subcommand};
use firebreak_domain::{OrgId, PublicationId, PublicationStep, ReleaseName, RequestId, SeriesId, Timestamp};
use firebreak_format::{citation, stage};
use firebreak_wire::publication::v1::Publication;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Begins a publication of a stored release, as the first of a series; nobody else sees it
    Draft(Draft),
    /// The same for a series that has published: it will replace what is newest there, which stays readable
    Revise(Draft),
    /// Has a draft published by itself at a time
    Embargo(Embargo),
    /// Publishes a draft to everybody, for good
    Publish(Step),
    /// Gives up a draft, or what lies under an embargo
    Withdraw(Step),
    /// Lists what is published, and your organisation's drafts
    List(List),
    /// Reads a publication
    Get(Get),
}

#[derive(Args)]
pub(crate) struct Draft {
    /// The release's id
    #[arg(value_name = "ID")]
    release: ReleaseName,
    /// The series, in your organisation's name: a-z, 0-9 and '-'
    #[arg(long)]
    series: SeriesId,
    #[command(flatten)]
    right: Right,
}

#[derive(Args)]
pub(crate) struct Embargo {
    /// The publication's id
    #[arg(value_name = "PUBLICATION")]
    publication: PublicationId,
    /// When it is published, for instance 2026-03-31T07:30:00Z, or 2026-03-31 for its first second in UTC
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    until: Timestamp,
    #[command(flatten)]
    right: Right,
}

#[derive(Args)]
pub(crate) struct Step {
    /// The publication's id
    #[arg(value_name = "PUBLICATION")]
    publication: PublicationId,
    #[command(flatten)]
    right: Right,
}

/// By what right a step is taken.
#[derive(Args)]
struct Right {
    /// The data-sharing agreement that lets you publish
    #[arg(long)]
    agreement: String,
    /// The purpose, as the agreement names it
    #[arg(long)]
    purpose: String,
    /// Stores the receipt, of a refusal too
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Repeats an earlier request
    #[arg(long, value_name = "HEX", value_parser = arguments::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    gateway: GatewayOptions,
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    gateway: GatewayOptions,
}

#[derive(Args)]
pub(crate) struct Get {
    /// A publication's id, ORGANISATION/SERIES for the newest, or ORGANISATION/SERIES/REVISION
    #[arg(value_parser = named)]
    publication: Published,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    gateway: GatewayOptions,
}

fn named(text: &str) -> Result<Published, &'static str> {
    const FORM: &str = "give a publication id, or ORGANISATION/SERIES and perhaps /REVISION";
    let mut parts = text.split('/');
    let (first, series, revision) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(series) = series else { return first.parse().map(Published::Id).map_err(|_| FORM) };
    let organisation = OrgId::new(first).map_err(|_| FORM)?;
    let revision = revision.map(str::parse).transpose().map_err(|_| FORM)?;
    match SeriesId::new(series) {
        Ok(series) if parts.next().is_none() => Ok(Published::Revision(organisation, series, revision)),
        _ => Err(FORM),
    }
}

pub(crate) async fn run(command: Command, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let draft =
        |Draft { release, series, right }, revises| (PublicationStep::Draft { release, series, revises }, right);
    let (taken, right) = match command {
        Command::Draft(arguments) => draft(arguments, false),
        Command::Revise(arguments) => draft(arguments, true),
        Command::Embargo(Embargo { publication, until, right }) => {
            (PublicationStep::Embargo { publication, until }, right)
        }
        Command::Publish(Step { publication, right }) => (PublicationStep::Publish { publication }, right),
        Command::Withdraw(Step { publication, right }) => (PublicationStep::Withdraw { publication }, right),
        Command::List(List { gateway }) => {
            let publications = list_publications(&gateway.connect().await?).await?;
            return Ok(terminal.block(list(&publications, terminal.width))?);
        }
        Command::Get(arguments) => return get(arguments, terminal).await,
    };
    step(taken, right, terminal).await
}

async fn step(step: PublicationStep, right: Right, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut ask = Ask::without_question(&right.agreement, &right.purpose)?;
    ask.request_id = right.request_id.unwrap_or(ask.request_id);
    let connection = right.gateway.connect().await?;
    let came = take_step(&connection, &ask, step).await;
    let taken = receipt::keep(came, |taken| taken.receipt.as_str(), right.receipt.as_deref());
    note_again(&taken, &ask, terminal);
    let publication = taken?.publication.unwrap_or_default();
    Ok(terminal.block(told(&publication, terminal.width))?)
}

fn told(publication: &Publication, width: usize) -> String {
    let mut all = vec![
        ("Publication", publication.publication_id.clone()),
        ("Series", format!("{}/{}", publication.organisation, publication.series)),
        ("State", stage(publication).to_owned()),
        ("Release", publication.release_id.clone()),
    ];
    if publication.embargo_until != 0 {
        all.push(("Until", Timestamp::from_secs(publication.embargo_until).to_string()));
    }
    if publication.published != 0 {
        all.push(("Revision", publication.revision.to_string()));
        all.push(("Published", Timestamp::from_secs(publication.published).to_string()));
        all.push(("Address", publication.address.clone()));
    }
    fields(&all.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), width)
}

fn list(publications: &[Publication], width: usize) -> String {
    if publications.is_empty() {
        return "Nothing is published.\n".to_owned();
    }
    let mut table =
        Table::new().text("Series").text("Revision").text("State").text("Published").text("Title").text("Id");
    for publication in publications {
        let series = format!("{}/{}", publication.organisation, publication.series);
        let revision = if publication.revision == 0 { String::new() } else { publication.revision.to_string() };
        let time = match (publication.published, publication.embargo_until) {
            (0, 0) => String::new(),
            (0, until) => format!("at {}", Timestamp::from_secs(until)),
            (at, _) => Timestamp::from_secs(at).to_string(),
        };
        let (title, stage) = (format!("{}, {}", publication.title, publication.cut), stage(publication).to_owned());
        table.row([series, revision, stage, time, title, publication.publication_id.clone()]);
    }
    table.render(width)
}

async fn get(arguments: Get, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let destination = arguments.output.open(terminal)?;
    let connection = arguments.gateway.connect().await?;
    let published = get_publication(&connection, &arguments.publication).await?;
    if let Some((format, destination)) = destination {
        return destination.write(&format.published(&published)?, terminal);
    }
    let bars = if terminal.out_is_terminal { Bars::WhereTheyFit } else { Bars::None };
    let mut text = shown(&published.answer, terminal.width, bars);
    text += "\n";
    text += &told(&published.publication, terminal.width);
    text += "\n";
    for line in [&citation::text(&published.citation), &published.intervals] {
        text += &wrap(&printable(line), terminal.width).join("\n");
        text += "\n";
    }
    Ok(terminal.block(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_named_by_its_id_or_its_place() {
        assert!(matches!(named(&"0f".repeat(16)), Ok(Published::Id(_))));
        assert!(matches!(named("nso/visits"), Ok(Published::Revision(_, _, None))));
        assert!(matches!(named("nso/visits/2"), Ok(Published::Revision(_, _, Some(2)))));
        for text in ["", "nso", "nso/", "/visits", "nso/visits/x", "nso/visits/1/2", "nso/vis.its"] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
