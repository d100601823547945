use crate::constitution::ConstitutionError;
use crate::overseers::OverseersError;
use crate::ratchet::Loosening;
use firebreak_domain::{ContractError, DatasetId, OrgId, RegistryError, Timestamp, UnitSpaceId, UnknownFormat};
use std::sync::Arc;

/// Why a candidate is not taken up. The bundle in force stays.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BundleError {
    /// The folder cannot be read.
    #[error("{file} cannot be read: {problem}")]
    Unreadable {
        /// Path inside the bundle.
        file: String,
        /// What the system said.
        problem: String,
    },
    /// A file that no bundle has.
    #[error("{0} is not a file of a bundle: remove it")]
    Stray(String),
    /// The folder holds more than any bundle does.
    #[error("the bundle is larger than 16 MiB or has more than 4096 files")]
    TooLarge,
    /// Not a manifest.
    #[error("manifest.note is not a manifest: {0}")]
    Manifest(&'static str),
    /// Written for a later program.
    #[error("{file}: {source}")]
    Format {
        /// Path inside the bundle.
        file: String,
        /// The format found.
        source: UnknownFormat,
    },
    /// The manifest carries no signature at all.
    #[error("the manifest is not signed: have the overseers of the bundle in force cosign it")]
    Unsigned,
    /// Too few of the overseers who decide have signed.
    #[error("{have} of {need} signatures by overseers of the bundle in force")]
    TooFewSignatures {
        /// Distinct overseers whose signature is valid.
        have: usize,
        /// Signatures needed.
        need: usize,
    },
    /// The candidate changes who oversees, and too few of the new ones agree.
    #[error("a change of overseers needs the new ones too: {have} of {need} signatures")]
    TooFewNewSignatures {
        /// Distinct new overseers whose signature is valid.
        have: usize,
        /// Signatures needed.
        need: usize,
    },
    /// Older than one already accepted here.
    #[error("sequence {found} is not above {accepted}, which was accepted here")]
    RolledBack {
        /// The candidate's sequence.
        found: u64,
        /// The highest sequence accepted.
        accepted: u64,
    },
    /// Same sequence as the one accepted here, other content.
    #[error("another bundle of sequence {0} was accepted here: overseers have signed two histories")]
    Forked(u64),
    /// Later than the one last in force here, which a program must start from.
    #[error("sequence {found} follows on one that this program has not seen: start from the kept copy of {accepted}")]
    Skipped {
        /// The candidate's sequence.
        found: u64,
        /// The sequence last accepted here.
        accepted: u64,
    },
    /// It does not name the bundle in force as the one before it.
    #[error("the manifest does not name the bundle in force as its predecessor")]
    NotASuccessor,
    /// Its time has not come.
    #[error("not valid before {0}")]
    NotYetValid(Timestamp),
    /// Its time has passed.
    #[error("expired at {0}: have the overseers sign a successor")]
    Expired(Timestamp),
    /// A file was edited after signing.
    #[error("{file} differs from the manifest: it was edited after signing")]
    FileChanged {
        /// Path inside the bundle.
        file: String,
    },
    /// A file that the manifest lists is not there.
    #[error("{file} is listed in the manifest and missing")]
    FileMissing {
        /// Path inside the bundle.
        file: String,
    },
    /// A file that the manifest does not list.
    #[error("{file} is not listed in the manifest")]
    FileNotListed {
        /// Path inside the bundle.
        file: String,
    },
    /// A policy that does not fit the schema, or that the constitution leaves no place for.
    #[error("{file} is at odds with the constitution: {problem}")]
    AtOddsWithConstitution {
        /// Path inside the bundle.
        file: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A seal key was changed without its overseer.
    #[error("overseers.toml: {0} has another seal_key and has not signed this bundle")]
    SealKeyNotSigned(OrgId),
    /// The overseers' file.
    #[error("overseers.toml: {0}")]
    Overseers(#[from] OverseersError),
    /// The registry.
    #[error("endpoints.toml: {0}")]
    Registry(#[from] RegistryError),
    /// Not TOML of that shape.
    #[error("{file}: {problem}")]
    Syntax {
        /// Path inside the bundle.
        file: String,
        /// What the parser said.
        problem: String,
    },
    /// A contract.
    #[error("{file}: {source}")]
    Contract {
        /// Path inside the bundle.
        file: String,
        /// What is wrong.
        source: ContractError,
    },
    /// An agreement.
    #[error("{file}: {problem}")]
    Agreement {
        /// Path inside the bundle.
        file: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Two files declare one name.
    #[error("{file} declares {name}, which another file declares too")]
    Duplicate {
        /// Path inside the bundle.
        file: String,
        /// The kind and the name.
        name: String,
    },
    /// A contract without a valid signature of the agency whose dataset it is.
    #[error("{file} is not signed by {agency}: put the note of its contract key beside it")]
    ContractNotSigned {
        /// Path inside the bundle.
        file: String,
        /// The agency.
        agency: OrgId,
    },
    /// Contracts over one register of persons disagree about it.
    #[error("{file} declares unit space {unit_space} otherwise than another contract, or for another agency")]
    UnitSpacesDiffer {
        /// Path inside the bundle.
        file: String,
        /// The unit space.
        unit_space: UnitSpaceId,
    },
    /// Contracts that say to be parts of one logical dataset and are not.
    #[error("contracts/{part}.toml says that it is a part of {logical}: {problem}")]
    PartsDisagree {
        /// The dataset of the contract.
        part: DatasetId,
        /// The logical dataset.
        logical: DatasetId,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A budget above what the program allows.
    #[error("{file}: {field} is above the ceiling of {ceiling}, which is compiled in")]
    AboveCeiling {
        /// Path inside the bundle.
        file: String,
        /// The field.
        field: &'static str,
        /// The ceiling.
        ceiling: firebreak_domain::Rho,
    },
    /// Facts are loosened, and not every overseer has signed.
    #[error("{} takes all overseers: {have} of {need} signatures", first_of(.loosenings))]
    LooseningNeedsAllOverseers {
        /// What is loosened.
        loosenings: Vec<Loosening>,
        /// Overseers of the bundle in force whose signature is valid.
        have: usize,
        /// All of them.
        need: usize,
    },
    /// Facts are loosened without the agency that owns the data.
    #[error("{loosening} takes the signature of {agency} on the manifest")]
    LooseningNeedsAgency {
        /// What is loosened.
        loosening: Loosening,
        /// Whose signature is missing.
        agency: OrgId,
    },
    /// Facts are loosened without the public waiting period.
    #[error("{} takes {} days between made and valid-from", first_of(.loosenings), crate::ratchet::WAITING_DAYS)]
    LooseningTooSoon {
        /// What is loosened.
        loosenings: Vec<Loosening>,
    },
    /// The program's own constitution does not compile; nothing can be decided.
    #[error(transparent)]
    Constitution(#[from] Arc<ConstitutionError>),
}

fn first_of(loosenings: &[Loosening]) -> String {
    match loosenings {
        [] => "this".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}
