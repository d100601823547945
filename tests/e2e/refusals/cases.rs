//! What must not leave, each beside its twin.

use super::facts::Fact::{self, HostKeeps, ImmigrationServes, NewcomerRegistered, RemovalServes};
use super::request::{Request, What};
use firebreak_domain::ReasonCode;
use firebreak_tests::Caller;
use firebreak_wire::export::v1::ExportKind::{self, DpAggregate, Identifiable, Pseudonymous};

/// A request that is refused, and the same without what is forbidden in it.
pub struct Case {
    /// What is tried.
    pub name: &'static str,
    /// The request.
    pub asked: Request,
    /// Why it is refused.
    pub reason: ReasonCode,
    /// The article of the constitution that decides.
    pub article: &'static str,
    /// What is answered.
    pub twin: Request,
    /// The agency whose data it is after.
    pub agency: &'static str,
    /// Whether the agreement demands the caller's signature.
    pub signs: bool,
    /// The one fact of the bundle for which it is refused, and what becomes of the very same request without it.
    pub without: Option<(Fact, Then)>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// It is answered.
    Answered,
    /// It is refused for another reason.
    Refused(Ground),
}
use Then::{Answered, Refused};

const CASEWORK: Caller = Caller("immigration-agency", "endpoint", "residence-casework");
const REMOVALS: Caller = Caller("removal-office", "endpoint", "removal-desk");
const MAX: Caller = Caller("removal-office", "analyst", "max");
const CONTRACTOR: Caller = Caller("it-contractor", "endpoint", "contractor-inbox");
const NEWCOMER: Caller = Caller("relief-fund", "endpoint", "inbox");
const CLINIC: Caller = Caller("ngo-clinic", "endpoint", "clinic-desk");
const IMMIGRATION: Caller = Caller("immigration-agency", "adapter", "main");
const HEALTH: Caller = Caller("health-agency", "adapter", "main");
const EDUCATION: Caller = Caller("education-agency", "adapter", "main");
const PORTAL: Caller = Caller("school-portal", "adapter", "main");

const TABLE: &str = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";

const fn export(who: Caller, kind: ExportKind, endpoint: &'static str) -> Request {
    let what = What::Export(kind, Some(endpoint), TABLE);
    Request { who, agreement: "shared-tables", purpose: "service-planning", what }
}

const fn shared_query(who: Caller, sql: &'static str) -> Request {
    Request { who, agreement: "shared-tables", purpose: "service-planning", what: What::Query(sql) }
}

const fn statistics(agreement: &'static str, sql: &'static str) -> Request {
    Request { who: Caller::ADA, agreement, purpose: "health-planning", what: What::Query(sql) }
}

const fn permits(sql: &'static str) -> Request {
    let what = What::Query(sql);
    Request { who: Caller::ADA, agreement: "residence-statistics", purpose: "reception-planning", what }
}

const fn matching(who: Caller, agreement: &'static str, purpose: &'static str) -> Request {
    Request { who, agreement, purpose, what: What::Match }
}

const fn case(
    name: &'static str,
    asked: Request,
    (reason, article): (ReasonCode, &'static str),
    twin: Request,
) -> Case {
    Case { name, asked, reason, article, twin, agency: "health-agency", signs: true, without: None }
}

/// The case where the bundle differs in one fact.
const fn without(fact: Fact, then: Then, case: Case) -> Case {
    Case { without: Some((fact, then)), ..case }
}

const fn at(agency: &'static str, case: Case) -> Case {
    Case { agency, ..case }
}

const fn without_signature(case: Case) -> Case {
    Case { signs: false, ..case }
}

/// A reason, and the article of the constitution that gives it.
pub type Ground = (ReasonCode, &'static str);
const ENFORCEMENT: Ground = (ReasonCode::EnforcementRecipient, "enforcement-receives-only-published");
const ONWARD: Ground = (ReasonCode::OnwardTransfer, "enforcement-receives-only-published");
const UNREGISTERED: Ground = (ReasonCode::UnregisteredRecipient, "enforcement-receives-only-published");
const ROWS: Ground = (ReasonCode::IdentifiableExport, "rows-do-not-leave");
const STRANGER: Ground = (ReasonCode::NoAgreement, "the-caller-takes-part");
const NOT_RECEIVER: Ground = (ReasonCode::RecipientNotCovered, "a-match-is-its-receivers-to-ask");
const IDENTIFIER: Ground = (ReasonCode::IdentifierColumn, "identifiers-are-not-read");
const BIOMETRIC: Ground = (ReasonCode::ForbiddenKind, "biometric-and-genetic-never");
const NO_GROUND: Ground = (ReasonCode::NoSpecialGround, "special-kinds-on-a-named-ground");
const ENDED: Ground = (ReasonCode::AgreementNotInForce, "the-agreement-is-in-force");
const UNASSESSED: Ground = (ReasonCode::AgreementNotAssessed, "the-agreement-is-assessed");
const PURPOSE: Ground = (ReasonCode::PurposeNotCovered, "purposes-are-the-agreements");
const NO_SERVICE: Ground = (ReasonCode::RecipientNotCovered, "disclosures-are-for-services");
const COLUMN: Ground = (ReasonCode::ColumnNotCovered, "columns-are-the-agreements");

const BY_NUMBER: &str = "SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number";
const FINGERPRINTS: &str = "SELECT region, COUNT(fingerprint) AS n FROM health.visits GROUP BY region";
const COSTS: &str = "SELECT region, COUNT(cost) AS n FROM health.visits GROUP BY region";
const BORN: &str = "SELECT COUNT(*) AS n FROM health.visits WHERE birth_year = 1990";
const UNTIL: &str = "SELECT COUNT(*) AS n FROM immigration.permits WHERE valid_until < '2024-06-01'";
const VISITED: &str = "SELECT COUNT(*) AS n FROM health.visits WHERE visit_year = 2023";

/// Every case. Rows have no twin with rows: to whomever they would go, they are refused, so their twin is the table.
pub const CASES: &[Case] = &[
    without(
        ImmigrationServes,
        Refused(ROWS),
        case(
            "rows for enforcement",
            export(CASEWORK, Identifiable, "residence-casework"),
            ENFORCEMENT,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        HostKeeps,
        Refused(ROWS),
        case(
            "rows for a contractor from whom they go to enforcement in two steps",
            export(CONTRACTOR, Identifiable, "contractor-inbox"),
            ONWARD,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        NewcomerRegistered,
        Refused(ROWS),
        case(
            "rows for an endpoint of an organisation that nobody registered",
            export(NEWCOMER, Identifiable, "relief-fund-inbox"),
            UNREGISTERED,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        RemovalServes,
        Refused(ROWS),
        case(
            "rows without names for enforcement",
            export(REMOVALS, Pseudonymous, "removal-desk"),
            ENFORCEMENT,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        RemovalServes,
        Refused(ROWS),
        case(
            "a clinic has rows sent to enforcement",
            export(CLINIC, Identifiable, "removal-desk"),
            ENFORCEMENT,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        RemovalServes,
        Answered,
        case(
            "a clinic has a table sent to enforcement",
            export(CLINIC, DpAggregate, "removal-desk"),
            ENFORCEMENT,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        HostKeeps,
        Answered,
        case(
            "a clinic has a table sent to a contractor from whom it goes on in two steps",
            export(CLINIC, DpAggregate, "contractor-inbox"),
            ONWARD,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    without(
        NewcomerRegistered,
        Answered,
        case(
            "a clinic has a table sent to an endpoint that nobody registered",
            export(CLINIC, DpAggregate, "relief-fund-inbox"),
            UNREGISTERED,
            export(CLINIC, DpAggregate, "clinic-desk"),
        ),
    ),
    case(
        "rows for a service",
        export(CLINIC, Identifiable, "clinic-desk"),
        ROWS,
        export(CLINIC, DpAggregate, "clinic-desk"),
    ),
    case(
        "rows without names for a service",
        export(CLINIC, Pseudonymous, "clinic-desk"),
        ROWS,
        export(CLINIC, DpAggregate, "clinic-desk"),
    ),
    without(
        RemovalServes,
        Answered,
        case("an aggregate for enforcement", shared_query(MAX, TABLE), ENFORCEMENT, shared_query(Caller::ADA, TABLE)),
    ),
    without(
        HostKeeps,
        Answered,
        case(
            "an aggregate for a contractor from whom it goes on in two steps",
            shared_query(Caller("it-contractor", "analyst", "kim"), TABLE),
            ONWARD,
            shared_query(Caller::ADA, TABLE),
        ),
    ),
    without(
        NewcomerRegistered,
        Answered,
        case(
            "an aggregate for an organisation that nobody registered",
            shared_query(Caller("relief-fund", "analyst", "lee"), TABLE),
            UNREGISTERED,
            shared_query(Caller::ADA, TABLE),
        ),
    ),
    at(
        "education-agency",
        without(
            ImmigrationServes,
            Answered,
            case(
                "a match whose receiver is the immigration agency",
                matching(IMMIGRATION, "residence-check", "vaccination-round"),
                ENFORCEMENT,
                matching(HEALTH, "vaccination-round", "vaccination-round"),
            ),
        ),
    ),
    at(
        "immigration-agency",
        without(
            HostKeeps,
            Refused(NOT_RECEIVER),
            case(
                "a match asked by a school portal, from which it goes on to the immigration agency",
                matching(PORTAL, "language-support", "language-support"),
                ONWARD,
                matching(EDUCATION, "language-support", "language-support"),
            ),
        ),
    ),
    case(
        "groups by national number",
        statistics("health-statistics", BY_NUMBER),
        IDENTIFIER,
        statistics("health-statistics", TABLE),
    ),
    case(
        "a biometric column",
        statistics("health-statistics", FINGERPRINTS),
        BIOMETRIC,
        statistics("health-statistics", COSTS),
    ),
    case(
        "health data without a ground",
        statistics("health-costs", COSTS),
        NO_GROUND,
        statistics("health-statistics", COSTS),
    ),
    case(
        "an agreement that ended",
        statistics("health-statistics-2023", TABLE),
        ENDED,
        statistics("health-statistics", TABLE),
    ),
    case(
        "an agreement that nobody assessed",
        statistics("health-waiting-times", TABLE),
        UNASSESSED,
        statistics("health-statistics", TABLE),
    ),
    case(
        "an agreement whose assessment is a draft",
        statistics("health-pilot", TABLE),
        UNASSESSED,
        statistics("health-statistics", TABLE),
    ),
    case(
        "another purpose",
        Request { purpose: "service-planning", ..statistics("health-statistics", TABLE) },
        PURPOSE,
        statistics("health-statistics", TABLE),
    ),
    at(
        "immigration-agency",
        case(
            "a column outside the agreement",
            permits(UNTIL),
            COLUMN,
            permits("SELECT COUNT(*) AS n FROM immigration.permits"),
        ),
    ),
    without_signature(case(
        "a column outside the agreement, on the gateway's word",
        statistics("health-statistics-unsigned", BORN),
        COLUMN,
        statistics("health-statistics-unsigned", VISITED),
    )),
    without_signature(without(
        RemovalServes,
        Refused(STRANGER),
        case(
            "an aggregate for enforcement, on the gateway's word",
            Request { who: MAX, ..statistics("health-statistics-unsigned", VISITED) },
            ENFORCEMENT,
            statistics("health-statistics-unsigned", VISITED),
        ),
    )),
    without_signature(case(
        "another purpose, on the gateway's word",
        Request { purpose: "service-planning", ..statistics("health-statistics-unsigned", VISITED) },
        PURPOSE,
        statistics("health-statistics-unsigned", VISITED),
    )),
    without_signature(case(
        "groups by national number, on the gateway's word",
        statistics("health-statistics-unsigned", BY_NUMBER),
        IDENTIFIER,
        statistics("health-statistics-unsigned", TABLE),
    )),
    without_signature(case(
        "a biometric column, on the gateway's word",
        statistics("health-statistics-unsigned", FINGERPRINTS),
        BIOMETRIC,
        statistics("health-statistics-unsigned", COSTS),
    )),
];

/// Refused where a desk of the receiver's own passes on what it gets; without that it is the twin of the portal's case.
pub const PASSED_ON: Case = at(
    "immigration-agency",
    case(
        "a match whose receiver has a desk from which it goes on to enforcement in three steps",
        matching(EDUCATION, "language-support", "language-support"),
        ONWARD,
        matching(HEALTH, "vaccination-round", "vaccination-round"),
    ),
);

/// Refused where the receiver is enforcement; without that it is let in.
pub const DISCLOSED: Case = at(
    "education-agency",
    case(
        "a match with a payload whose receiver is enforcement",
        matching(HEALTH, "vaccination-letters", "vaccination-round"),
        ENFORCEMENT,
        matching(EDUCATION, "language-support", "language-support"),
    ),
);

/// Refused where the receiver is a statistics office, to which a match without a payload would go.
pub const DISCLOSED_BEYOND: Case = at(
    "education-agency",
    case(
        "a match with a payload whose receiver is a statistics office",
        matching(HEALTH, "vaccination-letters", "vaccination-round"),
        NO_SERVICE,
        matching(HEALTH, "vaccination-round", "vaccination-round"),
    ),
);
