//! A bundle as an overseer reads it.

use super::super::files;
use crate::failure::Failure;
use crate::number::{count, loss};
use crate::table::{Table, fields, wrap};
use crate::terminal::{Terminal, printable};
use clap::Args;
use firebreak_domain::{
    Agreement, Assessment, Clock, Contract, EpochTerms, JoinTerms, MATCH_CHUNK, MatchKey, MatchTerms, Operation, OrgId,
    Recipient, Registry, SystemClock, Timestamp,
};
use firebreak_policy::{Bundle, BundleError, Candidate, Overseers, TrustRoot, Watermark};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Show {
    /// The folder of the bundle
    folder: PathBuf,
    /// The overseers.toml that is trusted, to check signatures; never the one inside the bundle
    #[arg(long, value_name = "FILE")]
    trust_root: Option<PathBuf>,
    /// The folder of the bundle in force, to show what this one would loosen
    #[arg(long, value_name = "DIR", requires = "trust_root")]
    previous: Option<PathBuf>,
}

pub(super) fn run(arguments: &Show, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let now = SystemClock.now();
    let folder = &arguments.folder;
    let content = Content::read(folder)?;
    terminal.block(content.shown(now, terminal.width))?;
    let candidate = match Candidate::read(folder) {
        Ok(candidate) => candidate,
        Err(BundleError::FileMissing { file }) if file == "manifest.note" => {
            return Ok(terminal.line("\nNo manifest yet: firebreak bundle manifest")?);
        }
        Err(error) => return Err(error.into()),
    };
    terminal
        .line(format!("\nManifest, whose hashes are those of the files\n{}", manifest(&candidate, terminal.width)))?;
    let root = match &arguments.trust_root {
        Some(file) => TrustRoot::parse(&files::read(file)?).map_err(BundleError::Overseers)?,
        None => return Ok(terminal.line("Signatures were not checked: give --trust-root FILE.")?),
    };
    match &arguments.previous {
        None => {
            Bundle::first(&candidate, &root, now)?;
            Ok(terminal.line("Signed by a quorum of the trusted overseers; it holds and may be in force now.")?)
        }
        Some(previous) => succession(&Candidate::read(previous)?, &candidate, &root, now, terminal),
    }
}

/// What the candidate would loosen, and whether it would be taken up now.
fn succession(
    previous: &Candidate,
    candidate: &Candidate,
    root: &TrustRoot,
    now: Timestamp,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mark = Watermark { sequence: previous.manifest().sequence, manifest: previous.manifest().digest() };
    root.require(previous)?;
    // Named as the one in force, it is taken up even when it has expired.
    let in_force = Bundle::resume(previous, mark)?;
    let loosened = in_force.loosened_by(candidate)?;
    if loosened.is_empty() {
        terminal.line("It loosens nothing.")?;
    } else {
        terminal.line("It loosens, which takes all overseers, the agencies concerned and the waiting period:")?;
        for loosening in &loosened {
            terminal.line(format!("  {}", printable(&loosening.to_string())))?;
        }
    }
    in_force.succeed(candidate, now)?;
    Ok(terminal.line("It would be taken up now.")?)
}

fn manifest(candidate: &Candidate, width: usize) -> String {
    let manifest = candidate.manifest();
    let validity = manifest.validity;
    fields(
        &[
            ("Sequence", &manifest.sequence.to_string()),
            ("Made", &validity.made.to_string()),
            ("Valid from", &validity.valid_from.to_string()),
            ("Valid until", &validity.valid_until.to_string()),
            ("Files", &count(manifest.files.len() as u64)),
            ("Digest", &hex::encode(manifest.digest())),
        ],
        width,
    )
}

/// What the files say, taken by itself: a bundle is read before it is signed.
struct Content {
    registry: Registry,
    overseers: Overseers,
    agreements: Vec<Agreement>,
    assessments: Vec<Assessment>,
    contracts: Vec<Contract>,
    policies: Vec<String>,
}

impl Content {
    fn read(folder: &Path) -> Result<Self, Failure> {
        let registry: Registry = files::read_toml(&folder.join("endpoints.toml"))?;
        registry.check().map_err(BundleError::Registry)?;
        let overseers =
            Overseers::parse(&files::read(&folder.join("overseers.toml"))?).map_err(BundleError::Overseers)?;
        let policies = listed(&folder.join("policies"), "cedar")?;
        Ok(Self {
            registry,
            overseers,
            agreements: read_all(&folder.join("agreements"))?,
            assessments: read_all(&folder.join("assessments"))?,
            contracts: read_all(&folder.join("contracts"))?,
            policies: policies
                .iter()
                .map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned())
                .collect(),
        })
    }

    fn shown(&self, now: Timestamp, width: usize) -> String {
        let signers: Vec<String> = self.overseers.overseers.iter().map(|o| format!("{} ({})", o.id, o.title)).collect();
        let mut text = format!("Overseers: {} of {} sign\n", self.overseers.threshold, signers.len());
        text += &indented(&signers.join(", "), width);
        text += "\nOrganisations\n";
        text += &self.organisations(width);
        if !self.registry.endpoints.is_empty() {
            text += "\nEndpoints\n";
            text += &self.endpoints(width);
        }
        for agreement in &self.agreements {
            text += &format!("\nAgreement {}: {}\n", agreement.id, printable(&agreement.title));
            text += &self.agreement(agreement, now, width);
        }
        text += "\nContracts\n";
        text += &self.contracts(width);
        text += "\nPolicies, beside the constitution that is compiled in\n";
        text += &indented(&self.policies.join(", "), width);
        text
    }

    fn organisations(&self, width: usize) -> String {
        let mut table = Table::new().text("Organisation").text("Title").text("Class").text("Counts as").text("Key");
        for organisation in &self.registry.organisations {
            let counts = self.counts_as(&Recipient::Organisation(organisation.id.clone()));
            let pinned = if organisation.pin.is_some() { "pinned" } else { "" };
            let class = organisation.class.as_str();
            table.row([organisation.id.as_str(), &organisation.title, class, &counts, pinned]);
        }
        table.render(width)
    }

    fn endpoints(&self, width: usize) -> String {
        let mut table = Table::new().text("Endpoint").text("Organisation").text("Class").text("Counts as");
        for endpoint in &self.registry.endpoints {
            let counts = self.counts_as(&Recipient::Endpoint(endpoint.id.clone()));
            table.row([endpoint.id.as_str(), endpoint.organisation.as_str(), endpoint.class.as_str(), &counts]);
        }
        table.render(width)
    }

    /// The class after onward transfer, with the way to whoever decided.
    fn counts_as(&self, recipient: &Recipient) -> String {
        let finding = self.registry.class_of_recipient(recipient);
        if finding.path.len() > 1 {
            let way = finding.path.iter().map(OrgId::as_str).collect::<Vec<_>>().join(" → ");
            format!("{}: {way}", finding.class.as_str())
        } else {
            finding.class.as_str().to_owned()
        }
    }

    fn agreement(&self, agreement: &Agreement, now: Timestamp, width: usize) -> String {
        let runs = format!("{} to {}, review by {}", agreement.start, agreement.end, agreement.review);
        let assessment = agreement.assessment.as_ref().and_then(|id| self.assessments.iter().find(|a| a.id == *id));
        let assessed = assessment.is_some_and(|a| a.in_force(now));
        let state = match (agreement.runs(now), assessed) {
            (true, true) => "in force",
            (true, false) => "not in force: no complete, approved and unexpired assessment",
            (false, _) => "not in force: not begun, ended, or its review is overdue",
        };
        let datasets = agreement.datasets.iter().map(|d| format!("{}: {}", d.id, joined(&d.columns)));
        let grounds = agreement.special_grounds.iter().map(|g| format!("{}: {}", g.kind.as_str(), g.ground));
        let asserted = if agreement.gateway_asserted { "yes: the gateway's word is taken for the caller" } else { "" };
        fields(
            &[
                ("State", state),
                ("Runs", &runs),
                ("Parties", &joined(&agreement.parties)),
                ("Recipients", &joined(&agreement.recipients)),
                ("Purposes", &joined(&agreement.purposes)),
                ("Operations", &agreement.operations.iter().map(|o| operation(*o)).collect::<Vec<_>>().join(", ")),
                ("Legal basis", &agreement.legal_basis.as_str().replace('_', " ")),
                ("Datasets", &datasets.collect::<Vec<_>>().join("\n")),
                ("Special grounds", &grounds.collect::<Vec<_>>().join("\n")),
                ("Match", &agreement.matching.as_ref().map(match_terms).unwrap_or_default()),
                ("Join", &agreement.join.as_ref().map(join_terms).unwrap_or_default()),
                ("A question", &loss(agreement.budget.rho_per_query)),
                ("All questions", &loss(agreement.budget.rho_total)),
                ("Each analyst", &loss(agreement.budget.rho_per_analyst)),
                ("Unsigned requests", asserted),
                ("To contest", &agreement.contest),
            ],
            width,
        )
    }

    fn contracts(&self, width: usize) -> String {
        let mut table =
            Table::new().text("Dataset").text("Agency").text("Title").number("Columns").text("Cuts").number("ρ a year");
        for contract in &self.contracts {
            table.row([
                contract.id.as_str(),
                contract.agency.as_str(),
                &contract.title,
                &count(contract.columns.len() as u64),
                &joined(&contract.cuts),
                &contract.unit_space.rho_per_year.to_string(),
            ]);
        }
        table.render(width)
    }
}

fn match_terms(terms: &MatchTerms) -> String {
    let payload = terms.payload.as_ref().map_or_else(String::new, |payload| {
        format!("; gets {} of those matched, for {} days", joined(&payload.columns), payload.retention_days)
    });
    let epoch = terms.epoch.as_ref().map(epoch_terms).unwrap_or_default();
    let who = format!(
        "{} learns which records of {} {} holds in {}, {}{payload}{epoch}",
        terms.receiver,
        terms.receiver_dataset,
        terms.sender,
        terms.sender_dataset,
        if terms.proofs { "with a proof of each evaluation" } else { "without proofs of the evaluations" },
    );
    std::iter::once(who).chain(terms.keys.iter().enumerate().map(match_key)).collect::<Vec<_>>().join("\n")
}

fn match_key((stronger, key): (usize, &MatchKey)) -> String {
    let in_all =
        |permille: Option<u32>| permille.map_or("as much in every year".to_owned(), |p| format!("{p} ‰ in all"));
    let lists = key.tags_permille.map_or_else(
        || format!("a whole list for each {} evaluations", count(u64::from(MATCH_CHUNK))),
        |permille| format!("{permille} ‰ of a whole list"),
    );
    let left = if stronger > 0 { ", for whoever is left, provisionally" } else { "" };
    format!(
        "key {}: by {} (rule {}){left}; at most {} ‰ of its register evaluated a year, {}; tags: {lists} a year, {}",
        key.name,
        joined(&key.columns),
        key.normaliser,
        key.cap_permille,
        in_all(key.life_cap_permille),
        in_all(key.life_tags_permille),
    )
}

fn join_terms(terms: &JoinTerms) -> String {
    format!(
        "counts of the persons of both {} and {}, joined by {} (rule {}) so that nobody learns a match; each costs the \
         persons of either register an ε of {}, from agencies that answer for following the protocol",
        terms.left, terms.right, terms.field, terms.normaliser, terms.epsilon,
    )
}

fn epoch_terms(terms: &EpochTerms) -> String {
    format!(
        "; sets of at most {} against one list of tags for {} h, held by the receiver for {} h at most",
        count(u64::from(terms.elements)),
        terms.hours,
        terms.hold_hours,
    )
}

const fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Aggregate => "aggregate",
        Operation::Match => "match",
        Operation::Export => "export",
        Operation::Publish => "publish",
        Operation::Disclose => "disclose",
    }
}

fn joined<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn indented(text: &str, width: usize) -> String {
    wrap(&printable(text), width.saturating_sub(2)).iter().map(|line| format!("  {line}\n")).collect()
}

fn read_all<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<Vec<T>, Failure> {
    listed(folder, "toml")?.iter().map(|file| files::read_toml(file)).collect()
}

/// The files of a folder with that extension, sorted; a folder that is not there has none.
fn listed(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |source| Failure::File { file: folder.to_owned(), what: "cannot be read: check the path", source };
    let entries = fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    Ok(paths)
}
