//! Names that are none, typed by mistake or to see what happens: refused like names of nothing, by both sides, with the
//! same evidence.

use super::ground::{GATEWAY, Ground, adapter_of};
use super::request::{Request, Sent, What};
use anyhow::{Context, Result, ensure};
use firebreak_audit::{Leaf, VerifierKey};
use firebreak_domain::{Clock, ReasonCode, SystemClock};
use firebreak_tests::{Caller, run, send, shared};
use firebreak_wire::export::v1::ExportKind;
use firebreak_wire::query::v1::{AggregateQuery, Group, Question, RequestHeader, RunQueryRequest, group, question};
use firebreak_wire::refusal_of_status;
use prost::Message;

/// What stands in the place of a name.
const TYPED: &str = "Ada Nowak, 900101-1234";

const COUNT: &str = "SELECT COUNT(*) AS n FROM health.visits";
const CLINIC: Caller = Caller("ngo-clinic", "endpoint", "clinic-desk");
const MAX: Caller = Caller("removal-office", "analyst", "max");
const DESK: Caller = Caller("removal-office", "endpoint", "removal-desk");
const HEALTH: Caller = Caller("health-agency", "adapter", "main");

/// A request that names something that does not exist, and what makes of it one that names nothing.
struct Probe {
    name: &'static str,
    unknown: Request,
    misname: fn(&mut Sent),
    reason: ReasonCode,
    article: &'static str,
    agency: &'static str,
}

fn agreement(sent: &mut Sent) {
    sent.header.agreement = TYPED.to_owned();
}

fn purpose(sent: &mut Sent) {
    sent.header.purpose = TYPED.to_owned();
}

fn endpoint(sent: &mut Sent) {
    sent.export.iter_mut().for_each(|export| export.endpoint = TYPED.to_owned());
}

const fn count(who: Caller, agreement: &'static str, purpose: &'static str) -> Request {
    Request { who, agreement, purpose, what: What::Query(COUNT) }
}

const fn table(who: Caller, agreement: &'static str, endpoint: &'static str) -> Request {
    let what = What::Export(ExportKind::Identifiable, Some(endpoint), COUNT);
    Request { who, agreement, purpose: "service-planning", what }
}

const ENFORCEMENT: &str = "enforcement-receives-only-published";

const PROBES: &[Probe] = &[
    Probe {
        name: "a question's agreement",
        unknown: count(Caller::ADA, "no-such-thing", "health-planning"),
        misname: agreement,
        reason: ReasonCode::NoAgreement,
        article: "the-caller-takes-part",
        agency: "health-agency",
    },
    Probe {
        name: "a question's purpose",
        unknown: count(Caller::ADA, "health-statistics", "no-such-thing"),
        misname: purpose,
        reason: ReasonCode::PurposeNotCovered,
        article: "purposes-are-the-agreements",
        agency: "health-agency",
    },
    Probe {
        name: "the agreement of a question by enforcement",
        unknown: count(MAX, "no-such-thing", "service-planning"),
        misname: agreement,
        reason: ReasonCode::EnforcementRecipient,
        article: ENFORCEMENT,
        agency: "health-agency",
    },
    Probe {
        name: "the endpoint of an export",
        unknown: table(CLINIC, "shared-tables", "nobodys-desk"),
        misname: endpoint,
        reason: ReasonCode::UnregisteredRecipient,
        article: ENFORCEMENT,
        agency: "health-agency",
    },
    Probe {
        name: "the endpoint of an export by enforcement",
        unknown: table(DESK, "shared-tables", "nobodys-desk"),
        misname: endpoint,
        reason: ReasonCode::EnforcementRecipient,
        article: ENFORCEMENT,
        agency: "health-agency",
    },
    Probe {
        name: "the agreement of a match",
        unknown: Request { who: HEALTH, agreement: "no-such-thing", purpose: "vaccination-round", what: What::Match },
        misname: agreement,
        reason: ReasonCode::NoAgreement,
        article: "the-caller-takes-part",
        agency: "education-agency",
    },
];

/// What a leaf says of a request: all but when, by whom and under which commitment.
fn said(leaf: &Leaf) -> Leaf {
    Leaf {
        hour: firebreak_audit::Hour::of(firebreak_domain::Timestamp::from_secs(0)),
        commitment: [0; 32],
        sealed: [0; 32],
        ..leaf.clone()
    }
}

impl Ground {
    async fn probed(&self, probe: &Probe, key: &VerifierKey) -> Result<()> {
        let unknown = self.sign(&probe.unknown)?;
        let mut misnamed = self.sign(&probe.unknown)?;
        (probe.misname)(&mut misnamed);
        for sent in [misnamed.clone(), misnamed.unsigned()] {
            let (expected, told) =
                (self.at_gateway(&unknown).await?.refused()?, self.at_gateway(&sent).await?.refused()?);
            self.check(&told, probe.reason, probe.article, GATEWAY).context("at the gateway")?;
            ensure!(told.words == expected.words, "{:?} and not {:?}", told.words, expected.words);
            let (leaf, like) = (told.leaf(key, probe.reason)?, expected.leaf(key, probe.reason)?);
            ensure!(said(leaf.leaf()) == said(like.leaf()), "{}\nand not\n{}", leaf.as_str(), like.as_str());

            let told = self.at_adapter(probe.agency, &sent).await?.refused()?;
            self.check(&told, probe.reason, probe.article, adapter_of(probe.agency)).context("at the adapter")?;
            for text in [leaf.as_str(), told.leaf(key, probe.reason)?.as_str(), told.words.as_str()] {
                ensure!(!text.contains("Nowak") && !text.contains("900101"), "repeats what was typed: {text}");
            }
        }
        Ok(())
    }
}

#[test]
fn a_name_that_nothing_can_have_leaves_the_evidence_of_one_that_nothing_has() -> Result<()> {
    run(async {
        let ground = Ground::start(false, None).await?;
        ground.settle().await?;
        let (key, before) = (ground.shared.log_key()?, ground.executions().await?);
        for probe in PROBES {
            ground.probed(probe, &key).await.context(probe.name)?;
        }
        ensure!(ground.executions().await? == before, "an engine ran");
        ground.all_in_the_log().await
    })
}

#[test]
fn what_is_no_request_at_all_leaves_no_evidence_and_says_so() -> Result<()> {
    run(async {
        let ground = Ground::start(false, None).await?;
        let mut sent = ground.sign(&count(Caller::ADA, "health-statistics", "health-planning"))?;
        sent.header.request_id = Vec::new();
        let told = ground.at_gateway(&sent).await?.refused()?;
        ensure!(told.reason == "MALFORMED_REQUEST", "{}", told.reason);
        ensure!(told.leaf(&ground.shared.log_key()?, ReasonCode::MalformedRequest).is_err(), "it has a receipt");
        Ok(())
    })
}

/// As large as a message may be, and far longer than any question.
#[test]
fn a_question_longer_than_any_leaves_the_evidence_of_its_refusal() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let ada = shared.federation.issue(Caller::ADA.0, Caller::ADA.1, Caller::ADA.2)?;
        let trust = shared.federation.authority().trust_anchor()?;
        let gateway = firebreak_testbed::gateway_identity().parse()?;
        let channel = firebreak_transport::connect(&shared.live.address.to_string(), &ada, &trust, &gateway).await?;
        let of_column = |n| {
            let category = Some(group::Category::Column(format!("c{n:x}")));
            Group { name: String::new(), category }
        };
        let query = AggregateQuery {
            dataset: "health.visits".to_owned(),
            group_by: (0..26_000).map(of_column).collect(),
            ..AggregateQuery::default()
        };
        let form = Some(question::Form::Query(query));
        let request = RunQueryRequest {
            header: Some(RequestHeader {
                format: 1,
                request_id: b"a question long!".to_vec(),
                agreement: "health-statistics".to_owned(),
                purpose: "health-planning".to_owned(),
                expires: SystemClock.now().plus_secs(600).secs(),
                ..RequestHeader::default()
            }),
            question: Some(Question { form, ..Question::default() }),
        };
        ensure!(request.encoded_len() > 200_000, "{}", request.encoded_len());
        let path = "/firebreak.query.v1.QueryService/RunQuery";
        let status = send(&channel, path, request.encode_to_vec()).await?.err().context("answered")?;
        let refusal = refusal_of_status(&status).with_context(|| format!("no refusal: {status:?}"))?;
        let receipt = refusal.metadata.get("receipt").context("a refusal without evidence")?;
        let refused = firebreak_audit::Receipt::decode(receipt.as_bytes())?.verify(&shared.log_key()?)?;
        let reason = refused.leaf.leaf().reason.context("a leaf without its reason")?;
        assert_eq!(reason.as_str(), refusal.reason);
        Ok(())
    })
}
