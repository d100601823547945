use crate::client::{ClientError, Connection, Profile};
use crate::commands::{
    audit, budget, bundle, certs, choice, contract, datasets, export, join, loss, matched, matching, publication,
    query, register, release, sample,
};
use chrono::{DateTime, NaiveDate};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use firebreak_domain::{CutId, InvalidId, RequestId, Rho, Timestamp};
use firebreak_format::Format;
use firebreak_query::Decimal;
use std::path::PathBuf;

/// What `firebreak` was asked to do.
#[derive(Parser)]
#[command(
    name = "firebreak",
    version,
    about = "Asks a Firebreak federation, and keeps its contracts, policy and evidence",
    long_about = "Asks a Firebreak federation: differentially private answers for analysts, permitted matches for \
                  agencies. Keeps what it rests on: contracts, the policy bundle, and the public log, which is verified \
                  offline.\n\nExit codes: 0 done, 1 failed, 2 not given what it needs, 3 refused by the federation."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, as `--help` shows them.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the datasets that you may ask, or describes one
    Datasets(datasets::Arguments),
    /// Asks a question and shows its differentially private answer
    Query(query::Arguments),
    /// Shows what is spent and left of the privacy budgets of an agreement
    Budget(budget::Arguments),
    /// Shows what every person of each register can have lost, at most
    Loss(loss::Arguments),
    /// Gives a stored release again, or says how to cite it
    #[command(subcommand)]
    Release(release::Command),
    /// Makes releases public, and reads what is published
    #[command(subcommand)]
    Publication(publication::Command),
    /// Delivers a differentially private table as CSV
    Export(export::Arguments),
    /// Has your agency's adapter find out which of its own records another agency holds
    Match(matching::Arguments),
    /// Lists your agency's own records that were matched in a session, or writes their keys to a file
    Matched(matched::Arguments),
    /// Records whether persons take part in matches: consent and restriction
    #[command(subcommand)]
    Choice(choice::Command),
    /// Shows what your agency's adapter has handed out of matches: to whom, when, and its SHA-256
    Register(register::Arguments),
    /// Opens a random sample of the set that a match committed to, for overseers to check against the source
    Sample(sample::Arguments),
    /// Has your agency's adapter make what it sent in joins once more, for overseers
    #[command(subcommand)]
    Join(join::Command),
    /// Checks and signs dataset contracts
    #[command(subcommand)]
    Contract(contract::Command),
    /// Reads, lists and signs policy bundles
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Verifies the public log and receipts, offline
    #[command(subcommand)]
    Audit(audit::Command),
    /// Makes certificates for a demonstration or a test
    #[command(subcommand)]
    Certs(certs::Command),
}

/// Who asks, and whom they believe.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
struct Keys {
    /// A firebreak.toml that holds the other connection options; an option given here wins
    #[arg(long, value_name = "FILE", env = "FIREBREAK_PROFILE")]
    profile: Option<PathBuf>,
    /// The folder with your cert.pem and key.pem
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// The certificates of the authority that you believe, PEM
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// The trust domain [default: your certificate's]
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<String>,
}

impl Keys {
    fn profile(self) -> Result<(Profile, Profile), ClientError> {
        let file = self.profile.as_deref().map(Profile::load).transpose()?.unwrap_or_default();
        let flags = Profile {
            identity: self.identity,
            authority: self.authority,
            trust_domain: self.trust_domain,
            ..Profile::default()
        };
        Ok((flags, file))
    }
}

/// How to reach the gateway.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct GatewayOptions {
    #[command(flatten)]
    keys: Keys,
    /// The gateway
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// The identity that the gateway must show, spiffe://<domain>/org/<org>/gateway/<id>
    #[arg(long, value_name = "URI")]
    gateway_identity: Option<String>,
}

impl GatewayOptions {
    pub(crate) async fn connect(self) -> Result<Connection, ClientError> {
        let (flags, file) = self.keys.profile()?;
        let flags = Profile { gateway: self.gateway, gateway_identity: self.gateway_identity, ..flags };
        flags.or(file).connect().await
    }
}

/// How to reach the own agency's adapter.
#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct LocalOptions {
    #[command(flatten)]
    keys: Keys,
    /// The local listener of your agency's adapter
    #[arg(long, value_name = "HOST:PORT")]
    local: Option<String>,
    /// The identity that the adapter must show [default: adapter/main of your own organisation]
    #[arg(long, value_name = "URI")]
    adapter_identity: Option<String>,
}

impl LocalOptions {
    pub(crate) async fn connect(self) -> Result<Connection, ClientError> {
        let (flags, file) = self.keys.profile()?;
        let flags = Profile { local: self.local, adapter_identity: self.adapter_identity, ..flags };
        flags.or(file).connect_local().await
    }
}

pub(crate) fn cut(text: &str) -> Result<CutId, InvalidId> {
    CutId::new(text)
}

/// A price exactly as SQL's `SETTINGS rho` reads it.
pub(crate) fn rho(text: &str) -> Result<Rho, &'static str> {
    let nano = text.parse::<Decimal>().ok().and_then(|decimal| decimal.fixed_point(9));
    let nano = nano.and_then(|nano| u64::try_from(nano).ok()).filter(|nano| *nano > 0);
    nano.map(Rho::from_nano).ok_or("rho is a number above 0 with at most 9 decimals, for instance 0.005")
}

/// A moment as RFC 3339 writes it; a day alone is its first second in UTC.
pub(crate) fn time(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(Timestamp::start_of(day));
    }
    let read = DateTime::parse_from_rfc3339(text);
    read.map(|time| Timestamp::from_secs(time.timestamp()))
        .map_err(|_| "write a day as 2026-03-31, or a time with its zone as 2026-03-31T07:30:00Z")
}

/// A format by its name, with what each is for the help.
pub(crate) fn format() -> impl TypedValueParser<Value = Format> {
    let name = |format: Format| match format {
        Format::Csv => "csv",
        Format::Json => "json",
        Format::Parquet => "parquet",
        Format::SdmxCsv => "sdmx-csv",
    };
    let shown = move |format: Format| {
        PossibleValue::new(name(format)).help(match format {
            Format::Csv => "A table with a heading; for each output value, error and status",
            Format::Json => "One object with the answer and what it is an answer to",
            Format::Parquet => "A columnar table, with what it is an answer to as metadata",
            Format::SdmxCsv => "SDMX-CSV 2.0: one line for each figure, with its status and error as attributes",
        })
    };
    PossibleValuesParser::new(Format::ALL.map(shown)).try_map(move |word| {
        let named = Format::ALL.into_iter().find(|format| name(*format) == word);
        named.ok_or("choose one of the formats that --help lists")
    })
}

pub(crate) fn request_id(text: &str) -> Result<RequestId, &'static str> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "a request id is 32 hexadecimal digits")?;
    Ok(RequestId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_price_on_the_command_line_is_the_price_in_sql() {
        for text in ["0.07", "0.005", "1", "0.000000001", "0.3"] {
            let sql = format!("SELECT COUNT(*) AS n FROM health.visits SETTINGS rho = {text}");
            assert_eq!(Some(rho(text).unwrap()), firebreak_query::parse_sql(&sql).unwrap().rho, "{text}");
        }
        for text in ["0", "-1", "0.0000000001", "a", "", "NaN"] {
            assert!(rho(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_days_or_seconds_with_their_zone() {
        assert_eq!(time("1970-01-02"), Ok(Timestamp::from_secs(86_400)));
        assert_eq!(time("1970-01-01T00:01:00Z"), Ok(Timestamp::from_secs(60)));
        assert_eq!(time("1970-01-01T01:01:00+01:00"), Ok(Timestamp::from_secs(60)));
        for wrong in ["tomorrow", "1970-01-01T00:01:00", "1970-13-01", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_command_of_the_guide_is_understood() {
        for line in [
            "certs new-ca ca --trust-domain firebreak.example --name demo",
            "certs issue --ca ca --identity spiffe://d/org/o/analyst/a --out ada --dns localhost --dns 127.0.0.1 --days 7",
            "certs renew ada --ca ca --days 7",
            "contract check c.toml",
            "contract check c.toml --binding b.toml --data .",
            "contract sign c.toml --key k",
            "datasets",
            "datasets health.visits --profile p.toml",
            "query --agreement a --purpose p --cut 2024-Q4 --rho 0.01 --csv --receipt r SQL",
            "query --agreement a --purpose p --format sdmx-csv --out f SQL",
            "query --agreement a --purpose p --csv --out f SQL",
            "query --agreement a --purpose p --dry-run --gateway g:1 --gateway-identity u --identity d --authority f SQL",
            "budget --agreement a",
            "release get 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --agreement a --purpose p --format parquet --out f",
            "publication draft 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --series s --agreement a --purpose p --receipt f",
            "publication revise 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --series s --agreement a --purpose p",
            "publication embargo 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --until 2026-03-31T07:30:00Z --agreement a --purpose p",
            "publication embargo 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --until 2026-03-31 --agreement a --purpose p",
            "publication publish 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --agreement a --purpose p",
            "publication withdraw 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --agreement a --purpose p",
            "publication list",
            "publication get nso/visits --format json --out f",
            "release cite 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --agreement a --purpose p --bibtex",
            "release roll-up 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f SQL --agreement a --purpose p --format sdmx-csv",
            "release roll-up 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f - --agreement a --purpose p",
            "release change 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --since 0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e --agreement a \
             --purpose p --receipt f",
            "loss",
            "query --agreement a --purpose p --dry-run --half-width 40 -",
            "export --agreement a --purpose p --kind identifiable --endpoint e --dataset d",
            "export --agreement a --purpose p --kind dp_aggregate --out f.csv SQL",
            "match --local l:1 --agreement a --purpose p --selection WHERE",
            "match --agreement a --purpose p --out f.parquet",
            "matched --session 00ff",
            "choice consent --purpose p -",
            "choice withdraw --purpose p keys",
            "choice restrict keys",
            "choice lift --purpose p keys --local l:1",
            "choice list -",
            "matched --session 00ff --out f --format parquet",
            "register --local l:1",
            "sample --session 00ff --seed 00ff --places 300 --out f",
            "audit verify --log d --key k --receipt r --receipt s",
            "audit key firebreak.example/log --out f",
            "audit fetch --out f --gateway g:1",
            "audit open --log d --key k --openings f --opening-key o --index 3",
            "bundle opening-key --out f",
            "bundle show d",
            "bundle sign d --key f",
            "bundle manifest d --sequence 2 --previous e --valid-from 2025-01-01 --valid-until 2026-01-01T00:00:00+01:00",
            "bundle key name --out f",
        ] {
            let words = std::iter::once("firebreak").chain(line.split(' '));
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("{line}\n{error}");
            }
        }
        for line in [
            "query SQL",
            "query --agreement a --purpose p --format xlsx SQL",
            "release get 0F --agreement a --purpose p",
            "query --agreement a --purpose p --format json --csv SQL",
            "query --agreement a --purpose p --format json --dry-run SQL",
            "contract check c.toml --binding b.toml",
            "export --agreement a --purpose p --kind raw",
            "matched --session 00ff --format csv",
            "sample --session 00ff --seed 00ff --places 0 --out f",
            "sample --session 00ff --seed 00ff --places 5",
            "match --agreement a --purpose p --out f --format json",
        ] {
            assert!(Arguments::try_parse_from(std::iter::once("firebreak").chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
