use crate::text::{Lines, first_line, hash_from_hex, integer, put, put_charge};
use crate::{Hash, TextError};
use chrono::NaiveDateTime;
use firebreak_domain::{
    AgreementId, Charge, DatasetId, IdentityRole, LegalBasis, OrgId, PurposeId, ReasonCode, RecipientClass, Timestamp,
};
use std::collections::BTreeSet;
use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of that name.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What happened.
    LeafKind {
        /// An answer was measured and left its agency.
        Release = "release",
        /// A stored release was given again, after a fresh decision.
        StoredRelease = "stored_release",
        /// A request was refused.
        Refusal = "refusal",
        /// A table was delivered.
        Export = "export",
        /// A publication was drafted, laid under an embargo or withdrawn. It names nobody and nothing: what is not
        /// public yet is to look as if it were not there.
        PublicationPrepared = "publication_prepared",
        /// A release was published to everybody.
        Published = "published",
        /// A match was authorised, before anything of it moved.
        MatchAuthorised = "match_authorised",
        /// The receiver of a match committed to its set, before any evaluation.
        MatchCommitted = "match_committed",
        /// A match came to its end.
        MatchDone = "match_done",
        /// The receiver of a match deleted what the match disclosed to it, because its days were over.
        DisclosureDeleted = "disclosure_deleted",
        /// A side of a join charged its persons and committed to its seed and its list, before its first byte.
        JoinCommitted = "join_committed",
        /// A side of a join made the list that it sends on, before the first byte of that.
        JoinSent = "join_sent",
        /// A policy bundle was taken up.
        BundleAccepted = "bundle_accepted",
        /// A policy bundle was not taken up.
        BundleRejected = "bundle_rejected",
    }
}

impl LeafKind {
    /// Whether a program signs such a leaf only after it has seen that its ledger is not behind the log: the newest of
    /// them tells how far the ledger was.
    ///
    /// SECURITY: a program whose ledger was set back still signs the others, under the head that it was set back to.
    #[must_use]
    pub const fn tells_of_ledger(self) -> bool {
        match self {
            Self::Release
            | Self::StoredRelease
            | Self::Export
            | Self::PublicationPrepared
            | Self::Published
            | Self::MatchAuthorised
            | Self::MatchCommitted
            | Self::MatchDone
            | Self::JoinCommitted
            | Self::JoinSent => true,
            // What is to be deleted does not wait for the log.
            Self::Refusal | Self::DisclosureDeleted | Self::BundleAccepted | Self::BundleRejected => false,
        }
    }
}

words! {
    /// What was asked for or delivered.
    OutputKind {
        /// A differentially private aggregate.
        DpAggregate = "dp_aggregate",
        /// A release that is published to everybody.
        PublishedRelease = "published_release",
        /// A permitted match.
        Match = "match",
        /// Identifiable rows.
        Identifiable = "identifiable",
        /// Pseudonymous rows.
        Pseudonymous = "pseudonymous",
        /// Anything else. What a caller called it is not repeated.
        Other = "other",
    }
}

words! {
    /// What signs a leaf. People never do.
    SignerRole {
        /// The gateway.
        Gateway = "gateway",
        /// An agency's adapter.
        Adapter = "adapter",
    }
}

/// An identity that signs no leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only a gateway or an adapter signs leaves")]
pub struct SignerRoleError;

impl TryFrom<IdentityRole> for SignerRole {
    type Error = SignerRoleError;

    fn try_from(role: IdentityRole) -> Result<Self, SignerRoleError> {
        match role {
            IdentityRole::Gateway => Ok(Self::Gateway),
            IdentityRole::Adapter => Ok(Self::Adapter),
            IdentityRole::Analyst
            | IdentityRole::Endpoint
            | IdentityRole::Overseer
            | IdentityRole::Authority
            | IdentityRole::Officer
            | IdentityRole::Caseworker
            | IdentityRole::Steward
            | IdentityRole::Admin => Err(SignerRoleError),
        }
    }
}

impl From<SignerRole> for IdentityRole {
    fn from(role: SignerRole) -> Self {
        match role {
            SignerRole::Gateway => Self::Gateway,
            SignerRole::Adapter => Self::Adapter,
        }
    }
}

/// A full hour of UTC: the only time that a leaf carries.
///
/// PRIVACY: the constructor truncates, so that no leaf says when within an hour somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(Timestamp);

impl Hour {
    /// The last second of the year 9999, the last that has four digits.
    const LAST: i64 = 253_402_300_799;

    /// The hour that holds `time`; the first or last that can be written if it lies outside 1970 to 9999.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        let secs = time.secs().clamp(0, Self::LAST);
        Self(Timestamp::from_secs(secs - secs % 3600))
    }

    /// Its first second.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?;
        let hour = Self::of(Timestamp::from_secs(time.and_utc().timestamp()));
        (hour.to_string() == text).then_some(hour)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One act, as the log tells it.
///
/// Its text is the line `firebreak leaf format 1`, then `key value` lines in the order of the fields, `organisation`
/// once for each in ascending order, absent values left out. One leaf has one text and the reverse.
///
/// PRIVACY: every field is a number, a hash, a word of a closed list or a name that the policy bundle defines. No text
/// of a caller, no person, no analyst, no exact size or count, no constant of a query has a place here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// When.
    pub hour: Hour,
    /// What happened.
    pub kind: LeafKind,
    /// The organisation that acted and signs.
    pub signer_org: OrgId,
    /// What of it signs.
    pub signer_role: SignerRole,
    /// The organisations concerned: who asked, whose data, who receives. Never a person.
    pub organisations: BTreeSet<OrgId>,
    /// The agreement, if a known one was invoked.
    pub agreement: Option<AgreementId>,
    /// The purpose, if a known one was stated.
    pub purpose: Option<PurposeId>,
    /// The agreement's ground in law.
    pub legal_basis: Option<LegalBasis>,
    /// The class by which the recipient was judged.
    pub recipient_class: Option<RecipientClass>,
    /// What was asked for or delivered.
    pub output_kind: Option<OutputKind>,
    /// The dataset, if a known one was asked.
    pub dataset: Option<DatasetId>,
    /// Why it was refused or not taken up.
    pub reason: Option<ReasonCode>,
    /// Sequence number of the policy bundle in force.
    pub bundle_sequence: u64,
    /// What this act cost.
    pub charge: Charge,
    /// Head of the signer's ledger chain after the act.
    pub ledger_head: Hash,
    /// Sum of all charges in that ledger.
    pub ledger_total: Charge,
    /// Commitment to the rest, which its [`Opening`](crate::Opening) opens.
    pub commitment: Hash,
    /// SHA-256 of the [`SealedOpening`](crate::SealedOpening) that the signer made for the overseers.
    pub sealed: Hash,
}

const WHAT: &str = "leaf";
const CHARGE: [&str; 3] = ["charge_nano_rho", "charge_atto_delta", "charge_nano_epsilon"];
const TOTAL: [&str; 3] = ["ledger_nano_rho", "ledger_atto_delta", "ledger_nano_epsilon"];
const LEGAL_BASES: [LegalBasis; 4] =
    [LegalBasis::Consent, LegalBasis::LegalObligation, LegalBasis::VitalInterest, LegalBasis::PublicTask];
const CLASSES: [RecipientClass; 4] =
    [RecipientClass::Oversight, RecipientClass::Statistics, RecipientClass::Service, RecipientClass::Enforcement];

impl Leaf {
    /// The leaf's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = first_line(WHAT);
        put(&mut text, "hour", self.hour);
        put(&mut text, "kind", self.kind);
        put(&mut text, "signer_org", &self.signer_org);
        put(&mut text, "signer_role", self.signer_role);
        for organisation in &self.organisations {
            put(&mut text, "organisation", organisation);
        }
        let names = [
            ("agreement", self.agreement.as_ref().map(AgreementId::as_str)),
            ("purpose", self.purpose.as_ref().map(PurposeId::as_str)),
            ("legal_basis", self.legal_basis.map(LegalBasis::as_str)),
            ("recipient_class", self.recipient_class.map(RecipientClass::as_str)),
            ("output_kind", self.output_kind.map(OutputKind::as_str)),
            ("dataset", self.dataset.as_ref().map(DatasetId::as_str)),
            ("reason", self.reason.map(ReasonCode::as_str)),
        ];
        for (key, name) in names {
            if let Some(name) = name {
                put(&mut text, key, name);
            }
        }
        put(&mut text, "bundle_sequence", self.bundle_sequence);
        put_charge(&mut text, CHARGE, &self.charge);
        put(&mut text, "ledger_head", hex::encode(self.ledger_head));
        put_charge(&mut text, TOTAL, &self.ledger_total);
        put(&mut text, "commitment", hex::encode(self.commitment));
        put(&mut text, "sealed", hex::encode(self.sealed));
        text
    }

    /// The leaf of a text that [`Leaf::encode`] could have written; no other text is read.
    ///
    /// # Errors
    /// [`TextError`], which names the line.
    pub fn decode(text: &[u8]) -> Result<Self, TextError> {
        let mut lines = Lines::begin(text, WHAT)?;
        let leaf = Self::read(&mut lines)?;
        lines.end()?;
        Ok(leaf)
    }

    /// Reads the lines of a leaf and leaves what follows them.
    pub(crate) fn read(lines: &mut Lines<'_>) -> Result<Self, TextError> {
        Ok(Self {
            hour: lines.parsed("hour", Hour::parse)?,
            kind: lines.parsed("kind", LeafKind::parse)?,
            signer_org: lines.parsed("signer_org", |text| OrgId::new(text).ok())?,
            signer_role: lines.parsed("signer_role", SignerRole::parse)?,
            organisations: organisations(lines)?,
            agreement: lines.parsed_optional("agreement", |text| AgreementId::new(text).ok())?,
            purpose: lines.parsed_optional("purpose", |text| PurposeId::new(text).ok())?,
            legal_basis: lines
                .parsed_optional("legal_basis", |text| LEGAL_BASES.into_iter().find(|b| b.as_str() == text))?,
            recipient_class: lines
                .parsed_optional("recipient_class", |text| CLASSES.into_iter().find(|c| c.as_str() == text))?,
            output_kind: lines.parsed_optional("output_kind", OutputKind::parse)?,
            dataset: lines.parsed_optional("dataset", |text| DatasetId::new(text).ok())?,
            reason: lines
                .parsed_optional("reason", |text| ReasonCode::ALL.iter().copied().find(|r| r.as_str() == text))?,
            bundle_sequence: lines.parsed("bundle_sequence", integer)?,
            charge: lines.charge(CHARGE)?,
            ledger_head: lines.parsed("ledger_head", hash_from_hex)?,
            ledger_total: lines.charge(TOTAL)?,
            commitment: lines.parsed("commitment", hash_from_hex)?,
            sealed: lines.parsed("sealed", hash_from_hex)?,
        })
    }
}

fn organisations(lines: &mut Lines<'_>) -> Result<BTreeSet<OrgId>, TextError> {
    let mut set = BTreeSet::new();
    while let Some(organisation) = lines.parsed_optional("organisation", |text| OrgId::new(text).ok())? {
        // Ascending without repetition: the one order in which the set is written.
        if set.last().is_some_and(|last| *last >= organisation) {
            return Err(TextError::Value("organisation"));
        }
        set.insert(organisation);
    }
    Ok(set)
}

#[cfg(test)]
pub(crate) mod tests;
