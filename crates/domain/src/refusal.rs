use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $rule:literal;)*) => {
        /// Why a request is refused: the machine-readable half. `docs/REFUSALS.md` has a section for each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ReasonCode { $($(#[doc = $doc])* $variant,)* }

        impl ReasonCode {
            /// Every reason, in the order of `docs/REFUSALS.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it stands in errors, in the log and in the docs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The rule in words.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)* }
            }
        }
    };
}

reasons! {
    /// The recipient is enforcement.
    EnforcementRecipient = "ENFORCEMENT_RECIPIENT", "an enforcement body receives nothing but releases published to everybody";
    /// The recipient is not registered, hence enforcement.
    UnregisteredRecipient = "UNREGISTERED_RECIPIENT", "whoever is not registered in the policy bundle is treated as enforcement";
    /// The recipient passes data on to enforcement.
    OnwardTransfer = "ONWARD_TRANSFER", "whoever passes data on to an enforcement body, at any distance, is treated as one";
    /// Identifiable or pseudonymous rows were asked for.
    IdentifiableExport = "IDENTIFIABLE_EXPORT", "identifiable rows do not pass through the gateway";
    /// Biometric or genetic data.
    ForbiddenKind = "FORBIDDEN_KIND", "biometric and genetic data are never queried, matched, carried or exported";
    /// A special category without a ground.
    NoSpecialGround = "NO_SPECIAL_GROUND", "special categories of data are used only on a ground that the agreement names";
    /// The agreement does not exist, or is not the caller's.
    NoAgreement = "NO_AGREEMENT", "every request names a data-sharing agreement that its caller takes part in";
    /// Not begun, ended, or its review is overdue.
    AgreementNotInForce = "AGREEMENT_NOT_IN_FORCE", "an agreement counts from its start to its end, if it was reviewed in time";
    /// No complete, approved, unexpired assessment.
    AgreementNotAssessed = "AGREEMENT_NOT_ASSESSED", "no agreement is in force without a complete, approved and unexpired impact assessment";
    /// The purpose is not the agreement's.
    PurposeNotCovered = "PURPOSE_NOT_COVERED", "data are used only for the purposes that the agreement names";
    /// The dataset is not the agreement's.
    DatasetNotCovered = "DATASET_NOT_COVERED", "an agreement reaches only the datasets that it names";
    /// A column is not the agreement's.
    ColumnNotCovered = "COLUMN_NOT_COVERED", "an agreement reaches only the columns that it names";
    /// The operation is not the agreement's.
    OperationNotCovered = "OPERATION_NOT_COVERED", "an agreement permits only the operations that it names";
    /// The recipient is not the agreement's.
    RecipientNotCovered = "RECIPIENT_NOT_COVERED", "an agreement permits only the recipients that it names";
    /// An overseer has suspended it.
    Suspended = "SUSPENDED", "nothing is answered while overseers have suspended it";
    /// No policy bundle is in force.
    NoPolicyInForce = "NO_POLICY_IN_FORCE", "without a valid policy bundle everything is refused";
    /// Evaluating a policy failed.
    PolicyError = "POLICY_ERROR", "a policy that cannot be evaluated refuses";
    /// No policy permits it.
    NotPermitted = "NOT_PERMITTED", "what no policy permits is refused";
    /// This agency has closed the dataset or column.
    ClosedByAgency = "CLOSED_BY_AGENCY", "an agency's own deny-list wins over every bundle";
    /// The caller's role has no such right.
    RoleNotAllowed = "ROLE_NOT_ALLOWED", "each role has only the calls that its work needs";
    /// The signature does not fit the request.
    SignatureInvalid = "SIGNATURE_INVALID", "a request is signed by the key of its caller's certificate";
    /// The agreement demands a signature.
    SignatureRequired = "SIGNATURE_REQUIRED", "unsigned requests need an agreement with gateway_asserted = true";
    /// The request's expiry has passed, or lies too far ahead.
    RequestExpired = "REQUEST_EXPIRED", "a request is good until its expiry, at most an hour ahead";
    /// One id, two requests.
    RequestIdReused = "REQUEST_ID_REUSED", "a request id belongs to one request";
    /// A field is missing or malformed.
    MalformedRequest = "MALFORMED_REQUEST", "every field has its form";
    /// A budget is spent.
    BudgetExhausted = "BUDGET_EXHAUSTED", "the privacy loss of every person stays below a fixed bound";
    /// One question asks for more loss than a question may.
    LossCeiling = "LOSS_CEILING", "one question may not cost more than the ceiling";
    /// Not SQL that can be read.
    SqlSyntax = "SQL_SYNTAX", "a question is one SELECT statement";
    /// Not a SELECT.
    NotASelect = "NOT_A_SELECT", "a question reads; it never changes anything";
    /// More than one statement.
    SeveralStatements = "SEVERAL_STATEMENTS", "a question is one statement";
    /// Rows were asked for.
    RowsAsked = "ROWS_ASKED", "rows never leave an agency, only aggregates do";
    /// A join.
    JoinAsked = "JOIN_ASKED", "datasets of one agency are joined on the person, those of two only as an agreement's join says";
    /// A sub-query or a common table expression.
    SubqueryAsked = "SUBQUERY_ASKED", "a question has one level";
    /// UNION, INTERSECT, EXCEPT, VALUES.
    SetOperationAsked = "SET_OPERATION_ASKED", "a question is one SELECT without set operations";
    /// DISTINCT, TOP, INTO and the like.
    UnsupportedClause = "UNSUPPORTED_CLAUSE", "a question has SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY and LIMIT";
    /// MIN, MAX and others.
    UnsupportedAggregate = "UNSUPPORTED_AGGREGATE", "the aggregates are COUNT, SUM, AVG, QUANTILE, VARIANCE and STDDEV";
    /// An expression that is none of those known.
    UnsupportedExpression = "UNSUPPORTED_EXPRESSION", "expressions are those that docs/COOKBOOK.md shows";
    /// A dataset that does not exist or that the caller may not see.
    UnknownDataset = "UNKNOWN_DATASET", "a question reads a dataset of the caller's catalogue";
    /// A cut that is not on the calendar.
    UnknownCut = "UNKNOWN_CUT", "a dataset has the cuts of its declared calendar";
    /// A column that does not exist.
    UnknownColumn = "UNKNOWN_COLUMN", "a question names columns of the dataset's contract";
    /// An identifier was named.
    IdentifierColumn = "IDENTIFIER_COLUMN", "identifiers are never read by a question";
    /// Grouping by what is not declared value by value.
    NotGroupable = "NOT_GROUPABLE", "groups are declared categories, or follow from columns by a public rule";
    /// Measuring what has no bounds.
    NotMeasurable = "NOT_MEASURABLE", "only numbers with declared bounds are summed and averaged";
    /// A literal that does not fit its column.
    LiteralMismatch = "LITERAL_MISMATCH", "a literal has the type of its column and lies in its domain";
    /// An output that mixes rows and aggregates.
    UngroupedColumn = "UNGROUPED_COLUMN", "a column stands in the answer only if it is grouped by";
    /// Too many cells.
    TooManyGroups = "TOO_MANY_GROUPS", "one answer has at most 100,000 cells";
    /// Too large or too deep.
    QueryTooLarge = "QUERY_TOO_LARGE", "a question has a bounded length and depth";
    /// One of the sender's caps, on evaluations or on tags, for a year or for life, is spent; or as many sessions are open
    /// as may be at once.
    MatchCapExhausted = "MATCH_CAP_EXHAUSTED", "a receiver may have only so many identifiers evaluated, so many tags, and so many sessions open at once";
    /// The other side's session does not fit.
    SessionMismatch = "SESSION_MISMATCH", "both sides of a match or of a join hold the same agreement and keys, and agree which side is which";
    /// The two sides of a session write identifiers by different rules.
    NormaliserMismatch = "NORMALISER_MISMATCH", "both sides of a match or of a join write identifiers by the same version of the rule";
    /// The two sides of a session go by different policy bundles.
    BundleMismatch = "BUNDLE_MISMATCH", "both sides of a match or of a join go by the same policy bundle";
    /// A sender's proof of evaluation, or a side's of its key, does not hold.
    ProofRejected = "PROOF_REJECTED", "a sender proves for each chunk, and a side of a join for its key, that it used the one key it shows";
    /// What the other side of a session sent is no canonical encoding of what is due.
    HostileInput = "HOSTILE_INPUT", "what one side of a match or of a join sends is written in the one form that the protocol gives it";
    /// The other side of a session sent less than was stated.
    WrongCount = "WRONG_COUNT", "each side of a match or of a join sends as much as the session states";
    /// The other side of a session sent more than was stated.
    SizeExceeded = "SIZE_EXCEEDED", "nothing in a match or in a join is larger than the session states";
    /// A chunk came again with other elements.
    ChunkReplayed = "CHUNK_REPLAYED", "a chunk that comes again is the same, byte by byte";
    /// The other side of a session is silent.
    PeerStalled = "PEER_STALLED", "neither side of a match or of a join waits for the other without a bound";
    /// The tunnel ended before the session.
    ConnectionLost = "CONNECTION_LOST", "a match or a join whose tunnel ends before it does can be resumed";
    /// An agency's bindings do not serve what was asked.
    NotServed = "NOT_SERVED", "an agency answers what its own bindings serve";
    /// An agency's adapter is not connected or not ready.
    AgencyUnavailable = "AGENCY_UNAVAILABLE", "each agency answers for itself";
    /// A release that does not exist or that the caller may not have.
    UnknownRelease = "UNKNOWN_RELEASE", "a release is given again to whoever may ask the question that it answers";
    /// A roll-up of what a release does not hold.
    NotInRelease = "NOT_IN_RELEASE", "a release is added up over its own cells alone";
    /// A publication that does not exist or that the caller may not see.
    UnknownPublication = "UNKNOWN_PUBLICATION", "a publication is its organisation's own until it is everybody's";
    /// A step that a publication does not take from where it is.
    PublicationStep = "PUBLICATION_STEP", "a release is published once, from a draft or at the end of its embargo, and stays";
    /// Leaves wait for the log.
    EvidenceOutstanding = "EVIDENCE_OUTSTANDING", "nothing new is answered while evidence of earlier answers is outstanding";
    /// The ledger is older than the log.
    LedgerBehindLog = "LEDGER_BEHIND_LOG", "a ledger older than the log answers nothing new until it is reconciled";
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what a caller is told. Carries no value from the data and none that the caller typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for machines.
    pub reason: ReasonCode,
    /// The policies that decided, by their ids; empty where a rule of the program did.
    pub policies: Vec<String>,
    /// What was wrong here, in words; names come from contracts and agreements only.
    pub detail: String,
    /// What would be answered instead, or what to do.
    pub suggestion: Option<String>,
    /// How to contest, from the agreement.
    pub contest: Option<String>,
}

impl Refusal {
    /// A refusal with the rule alone.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, policies: Vec::new(), detail: String::new(), suggestion: None, contest: None }
    }

    /// Adds what was wrong here. Must not contain anything that the caller typed.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds what would be answered instead.
    #[must_use]
    pub fn instead(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Adds the policies that decided.
    #[must_use]
    pub fn decided_by(mut self, policies: Vec<String>) -> Self {
        self.policies = policies;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.rule())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; instead: {suggestion}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_code() {
        let codes: BTreeSet<_> = ReasonCode::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(codes.len(), ReasonCode::ALL.len());
    }
}
