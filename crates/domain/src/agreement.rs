use crate::{
    AgreementId, AssessmentId, Charge, ColumnName, DatasetId, EpochTerms, JoinTerms, MatchKey, MatchKeyName, OrgId,
    PayloadTerms, PurposeId, Rho, SpecialKind, Timestamp, UnknownFormat, check_format,
};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

/// A data-sharing agreement, readable by machine and by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Format number of the file.
    pub format: u32,
    /// Its name.
    pub id: AgreementId,
    /// What it is for, in a line.
    pub title: String,
    /// Who answers for the processing in law, with a contact.
    pub controller: String,
    /// Who processes on the controller's behalf; empty if nobody does.
    #[serde(default)]
    pub processors: Vec<String>,
    /// The organisations that concluded it.
    pub parties: Vec<OrgId>,
    /// The datasets and columns that it covers.
    #[serde(rename = "dataset")]
    pub datasets: Vec<AgreementDataset>,
    /// What may be done.
    pub operations: Vec<Operation>,
    /// What it may be done for.
    pub purposes: Vec<PurposeId>,
    /// On what ground in law.
    pub legal_basis: LegalBasis,
    /// The ground for each special category of data; a kind not named here is out of reach.
    #[serde(default, rename = "special_ground")]
    pub special_grounds: Vec<SpecialGround>,
    /// The organisations that may receive.
    pub recipients: Vec<OrgId>,
    /// Days for which a recipient may keep what it got.
    pub retention_days: u32,
    /// How a person contests, in words.
    pub contest: String,
    /// The privacy loss that it may cause.
    pub budget: AgreementBudget,
    /// How noise is drawn.
    pub mechanism: Mechanism,
    /// The first day.
    pub start: NaiveDate,
    /// The last day.
    pub end: NaiveDate,
    /// The day by which it must have been reviewed; after it, it is out of force.
    pub review: NaiveDate,
    /// Its assessment. Without one it is never in force.
    #[serde(default)]
    pub assessment: Option<AssessmentId>,
    /// Whether a client that cannot sign may use it on the gateway's word alone.
    #[serde(default)]
    pub gateway_asserted: bool,
    /// The terms of a match, if it permits one.
    #[serde(default, rename = "match")]
    pub matching: Option<MatchTerms>,
    /// The terms of statistics over the join of two agencies' datasets, if it permits them.
    #[serde(default)]
    pub join: Option<JoinTerms>,
}

/// A dataset and the columns of it that an agreement covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementDataset {
    /// The dataset.
    pub id: DatasetId,
    /// Its columns. The privacy unit need not be named: it can only be counted.
    pub columns: Vec<ColumnName>,
}

/// What can be asked of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A differentially private aggregate.
    Aggregate,
    /// A permitted match.
    Match,
    /// An export.
    Export,
    /// Making a release public.
    Publish,
    /// That a match gives its receiver columns of the persons matched. Nothing asks for it by itself.
    Disclose,
}

/// The ground in law for the processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegalBasis {
    /// The person's consent.
    Consent,
    /// A legal obligation.
    LegalObligation,
    /// A vital interest.
    VitalInterest,
    /// A task in the public interest.
    PublicTask,
}

impl LegalBasis {
    /// Its name in files, policies and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::LegalObligation => "legal_obligation",
            Self::VitalInterest => "vital_interest",
            Self::PublicTask => "public_task",
        }
    }
}

/// A special category and the ground on which the agreement may touch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialGround {
    /// The kind of data.
    pub kind: SpecialKind,
    /// The provision, in words.
    pub ground: String,
}

/// The privacy loss that an agreement may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementBudget {
    /// What a question costs that names no price of its own.
    pub rho_per_query: Rho,
    /// The most that one question may cost.
    pub rho_per_query_max: Rho,
    /// All questions under it, over its whole life.
    pub rho_total: Rho,
    /// Each analyst under it, over its whole life.
    pub rho_per_analyst: Rho,
}

impl AgreementBudget {
    /// The whole budget as a limit for accounts.
    #[must_use]
    pub const fn total(&self) -> Charge {
        Charge::of_rho(self.rho_total)
    }
}

/// How noise is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// Discrete Gaussian under zero-concentrated DP (Canonne, Kamath and Steinke 2020).
    DiscreteGaussian,
    /// Discrete Laplace under pure DP (Ghosh, Roughgarden and Sundararajan 2009): for few questions.
    DiscreteLaplace,
    /// Dummies that both sides of a join put into their lists (`docs/JOIN_PRIVACY.md`): of joins alone, and of every
    /// one, so that no agreement names it.
    #[serde(skip)]
    MatchingDummies,
}

impl Mechanism {
    /// Its name in files, answers and canonical forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiscreteGaussian => "discrete_gaussian",
            Self::DiscreteLaplace => "discrete_laplace",
            Self::MatchingDummies => "matching_dummies",
        }
    }
}

/// The terms of a match: the receiver learns which of its own records the sender holds, what the payload names of these,
/// and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchTerms {
    /// Who learns.
    pub receiver: OrgId,
    /// Who is asked, and learns a padded size.
    pub sender: OrgId,
    /// The receiver's dataset, from whose cut its set is formed.
    pub receiver_dataset: DatasetId,
    /// The sender's dataset.
    pub sender_dataset: DatasetId,
    /// Whether the sender proves for each chunk that it used the session's one key. Without proofs a match takes less
    /// time, and what the sender evaluates is its word alone.
    #[serde(default = "default_proofs")]
    pub proofs: bool,
    /// What the receiver gets of each person matched, beside that it is matched; without it, nothing.
    #[serde(default)]
    pub payload: Option<PayloadTerms>,
    /// On what terms small sets are matched against one list for some hours; without them, each set has a list of its own.
    #[serde(default)]
    pub epoch: Option<EpochTerms>,
    /// By what both are matched, the strongest first: a key runs for those whom none before it has matched.
    #[serde(rename = "key")]
    pub keys: Vec<MatchKey>,
}

impl MatchTerms {
    /// The key of that name, and how many stronger ones there are.
    #[must_use]
    pub fn key(&self, name: &MatchKeyName) -> Option<(usize, &MatchKey)> {
        self.keys.iter().enumerate().find(|(_, key)| key.name == *name)
    }

    /// The columns of all keys, by which a person may be told.
    pub fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        self.keys.iter().flat_map(|key| &key.columns)
    }
}

const fn default_proofs() -> bool {
    true
}

impl Agreement {
    /// Whether the agreement runs on that day: begun, not ended, reviewed in time. Its assessment is another matter.
    #[must_use]
    pub fn runs(&self, now: Timestamp) -> bool {
        let today = now.date();
        self.start <= today && today <= self.end && today <= self.review
    }

    /// The calendar years in which it has a day, whatever its review.
    #[must_use]
    pub fn years(&self) -> u64 {
        u64::try_from(self.end.year() - self.start.year()).unwrap_or_default().saturating_add(1)
    }

    /// The calendar year of its last day.
    #[must_use]
    pub fn last_year(&self) -> i32 {
        self.end.year()
    }

    /// The terms of its epochs, which there are only where they are good: under consent never, nor where rows are
    /// disclosed.
    #[must_use]
    pub fn epochs(&self) -> Option<&EpochTerms> {
        let of = self.matching.as_ref()?;
        of.epoch.as_ref().filter(|terms| terms.wrong(self.legal_basis, of).is_none())
    }

    /// The columns that it covers of a dataset; `None` if it does not cover the dataset.
    #[must_use]
    pub fn columns_of(&self, dataset: &DatasetId) -> Option<&[ColumnName]> {
        self.datasets.iter().find(|d| d.id == *dataset).map(|d| d.columns.as_slice())
    }

    /// Whether it names a ground for that special category.
    #[must_use]
    pub fn has_ground_for(&self, kind: SpecialKind) -> bool {
        !kind.is_forbidden() && self.special_grounds.iter().any(|g| g.kind == kind && !g.ground.trim().is_empty())
    }

    /// Whether this program can read the file's format.
    ///
    /// # Errors
    /// [`UnknownFormat`].
    pub fn check_format(&self) -> Result<(), UnknownFormat> {
        check_format("an agreement", self.format)
    }
}
