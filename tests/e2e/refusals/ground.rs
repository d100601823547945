//! A federation on which requests are refused and answered, and what is seen of each.

use super::cases::{CASES, Case, PASSED_ON, Then};
use super::facts::Fact;
use super::request::{Outcome, Request, Sent, Told, Uri, What};
use anyhow::{Context, Result, bail, ensure};
use firebreak_audit::{Leaf, LeafVerifier};
use firebreak_domain::{Clock, Pin, ReasonCode, Registry, SystemClock};
use firebreak_policy::Validity;
use firebreak_testbed::{AGENCIES, Federation};
use firebreak_tests::{Caller, Shared, files_below};
use firebreak_transport::{Credential, verify};
use firebreak_wire::export::v1::ExportKind;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A policy that permits everything to everybody.
const EVERYTHING: &str =
    "@id(\"everything\")\n@rule(\"everybody may do everything\")\npermit(principal, action, resource);\n";

/// A federation whose engines count for one test alone.
pub struct Ground {
    pub(super) shared: Shared,
    /// Every question has its own price, so that no answer is a stored one.
    rho: AtomicU64,
    /// The leaves of refusals, as text.
    leaves: Mutex<Vec<String>>,
}

/// Adds to the bundle a policy that permits everything; the bundle is to be signed anew.
pub fn permit_everything(federation: &Federation) -> Result<()> {
    Ok(fs::write(federation.layout().bundle().join("policies/zz-permissive.cedar"), EVERYTHING)?)
}

/// A change that somebody makes to a request.
type Change = fn(&mut Sent);

/// Takes the leaves that the key of one program signed.
pub struct SignedBy(pub Credential);

impl LeafVerifier for SignedBy {
    fn accepts(&self, leaf: &Leaf, text: &[u8], key: &Pin, signature: &[u8]) -> bool {
        let (identity, chain) = (self.0.identity(), self.0.chain());
        let signed = chain.first().is_some_and(|certificate| verify(certificate, text, signature).is_ok());
        signed && *key == self.0.pin() && leaf.signer_org == identity.org && identity.role == leaf.signer_role.into()
    }
}

/// The gateway.
pub const GATEWAY: Caller = Caller("federation", "gateway", "main");
/// An agency's adapter.
pub const fn adapter_of(agency: &'static str) -> Caller {
    Caller(agency, "adapter", "main")
}

impl Ground {
    /// Starts one under the sample's bundle, signed anew with a policy that permits everything or with another fact.
    pub async fn start(permissive: bool, fact: Option<Fact>) -> Result<Self> {
        let shared = Shared::own(300, |federation| {
            let bundle = federation.layout().bundle();
            if permissive {
                permit_everything(federation)?;
            }
            if let Some(fact) = fact {
                let file = bundle.join("endpoints.toml");
                let before = fs::read_to_string(&file)?;
                let mut registry: Registry = toml::from_str(&before)?;
                fact.write(&mut registry)?;
                let after = toml::to_string(&registry)?;
                ensure!(registry != toml::from_str(&before)?, "{fact:?} is so already");
                fs::write(&file, after)?;
            }
            let now = SystemClock.now();
            let validity = Validity { made: now, valid_from: now.plus_secs(-60), valid_until: now.plus_secs(86_400) };
            federation.sign_bundle(1, None, validity)
        });
        Ok(Self { shared: shared.await?, rho: AtomicU64::new(1_000_000), leaves: Mutex::default() })
    }

    pub(super) fn sign(&self, request: &Request) -> Result<Sent> {
        let rho = self.rho.fetch_add(1_000, Ordering::Relaxed);
        request.signed(&self.shared.federation, SystemClock.now(), rho)
    }

    pub(super) async fn at_gateway(&self, sent: &Sent) -> Result<Outcome> {
        sent.to_gateway(&self.shared.federation, self.shared.live.address).await
    }

    pub(super) async fn at_adapter(&self, agency: &str, sent: &Sent) -> Result<Outcome> {
        sent.to_adapter(self.shared.liar.agency(agency)?).await
    }

    /// How often any agency's engine was asked.
    pub(super) async fn executions(&self) -> Result<u64> {
        let mut all = 0;
        for (agency, _, _) in AGENCIES {
            all += self.shared.engine_executions(agency).await?;
        }
        Ok(all)
    }

    /// Waits until every agency has seen the log and the gateway has every agency.
    pub(super) async fn settle(&self) -> Result<()> {
        let count = |agreement, purpose, sql| Request { who: Caller::ADA, agreement, purpose, what: What::Query(sql) };
        for request in [
            count("health-statistics", "health-planning", "SELECT COUNT(*) AS n FROM health.visits"),
            count("education-statistics", "school-planning", "SELECT COUNT(*) AS n FROM education.enrolments"),
            count("residence-statistics", "reception-planning", "SELECT COUNT(*) AS n FROM immigration.permits"),
        ] {
            let mut last = None;
            for _ in 0..100 {
                last = Some(self.at_gateway(&self.sign(&request)?).await?.answered());
                match &last {
                    Some(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                    _ => break,
                }
            }
            last.context("never asked")??;
        }
        Ok(())
    }

    /// That it was refused for this reason, by this article, with a leaf that this program signed.
    pub(super) fn check(&self, told: &Told, reason: ReasonCode, article: &str, signer: Caller) -> Result<()> {
        ensure!(told.reason == reason.as_str(), "refused for {} and not {reason}: {}", told.reason, told.words);
        let decided: Vec<_> = if article.is_empty() { vec![] } else { vec![format!("constitution/{article}")] };
        ensure!(told.policies == decided, "decided by {:?}", told.policies);
        let signed = told.leaf(&self.shared.log_key()?, reason)?;
        let Caller(org, role, id) = signer;
        ensure!(signed.is_signed(&SignedBy(self.shared.federation.issue(org, role, id)?)), "signed by somebody else");
        let leaf = signed.leaf();
        ensure!(leaf.bundle_sequence == 1 && leaf.charge.rho.nano() == 0, "a leaf of another bundle, or charged");
        self.leaves.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(signed.as_str().to_owned());
        Ok(())
    }

    /// Waits until every leaf of a refusal, those of the adapters included, is in the public log.
    pub async fn all_in_the_log(&self) -> Result<()> {
        let leaves = self.leaves.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.clone();
        let mut missing = leaves.len();
        for _ in 0..100 {
            let mut log = String::new();
            for file in files_below(&self.shared.federation.layout().log().join("tile/entries"))? {
                log.push_str(&String::from_utf8_lossy(&std::fs::read(file)?));
            }
            missing = leaves.iter().filter(|leaf| !log.contains(leaf.as_str())).count();
            if missing == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{missing} of {} leaves are not in the log", leaves.len())
    }

    async fn refused_by_the_gateway(&self, case: &Case) -> Result<()> {
        let asked = self.sign(&case.asked)?;
        let asked = if case.signs { asked } else { asked.unsigned() };
        let told = self.at_gateway(&asked).await?.refused()?;
        self.check(&told, case.reason, case.article, GATEWAY)
    }

    /// The gateway passes the request on as it came; tells the twin's story under the caller's signature; tells it
    /// under none.
    async fn refused_by_the_adapter(&self, case: &Case) -> Result<()> {
        let (asked, twin) = (self.sign(&case.asked)?, self.sign(&case.twin)?);
        let signer = adapter_of(case.agency);
        let passed_on = if case.signs { asked.clone() } else { asked.unsigned() };
        let told = self.at_adapter(case.agency, &passed_on).await?.refused().context("passed on")?;
        self.check(&told, case.reason, case.article, signer).context("passed on")?;

        let told = self.at_adapter(case.agency, &twin.under_signature_of(&asked)).await?.refused().context("a lie")?;
        self.check(&told, ReasonCode::SignatureInvalid, "", signer).context("a lie")?;

        if case.signs {
            let told = self.at_adapter(case.agency, &twin.unsigned()).await?.refused().context("an unsigned lie")?;
            self.check(&told, ReasonCode::SignatureRequired, "the-caller-signs", signer).context("an unsigned lie")?;
        }
        Ok(())
    }

    async fn twin_answered(&self, case: &Case) -> Result<()> {
        self.answered(&case.twin, case).await
    }

    /// A request is answered by gateway and adapter, each of which runs the engine for it.
    pub(super) async fn answered(&self, request: &Request, case: &Case) -> Result<()> {
        let sent = || self.sign(request).map(|s| if case.signs { s } else { s.unsigned() });
        let before = self.executions().await?;
        let by_gateway = self.at_gateway(&sent()?).await?.answered().context("by the gateway")?;
        let by_adapter = self.at_adapter(case.agency, &sent()?).await?.answered().context("by the adapter")?;
        let ran = self.executions().await? - before;
        match (&by_gateway, &by_adapter) {
            // That the counter counts here is what its standing still at a refusal means something by.
            (Outcome::Rows(rows), Outcome::Rows(_)) => ensure!(*rows > 0 && ran == 2, "{rows} rows, {ran} executions"),
            (Outcome::File(file), Outcome::Rows(_)) => ensure!(!file.is_empty() && ran == 2, "{ran} executions"),
            (Outcome::Tunnel, Outcome::Tunnel) => ensure!(ran == 0, "a match ran an engine"),
            _ => bail!("answered in another form"),
        }
        Ok(())
    }

    /// Whatever is refused meanwhile, no engine is asked.
    async fn quietly<T>(&self, refused: impl Future<Output = Result<T>>) -> Result<T> {
        let before = self.executions().await?;
        let outcome = refused.await;
        let ran = self.executions().await? - before;
        match outcome {
            Ok(told) if ran == 0 => Ok(told),
            Ok(_) => bail!("an engine ran {ran} times"),
            Err(error) => Err(error),
        }
    }

    /// A case is refused by both, and no engine runs.
    pub(super) async fn refused(&self, case: &Case) -> Result<()> {
        self.quietly(async {
            let by_gateway = self.refused_by_the_gateway(case).await.context("at the gateway");
            let by_adapter = self.refused_by_the_adapter(case).await.context("at the adapter");
            by_gateway.and(by_adapter)
        })
        .await
    }

    /// Every case, both sides; all that went wrong is told together.
    pub async fn stands(&self) -> Result<()> {
        self.settle().await?;
        let mut wrong = Vec::new();
        for case in CASES {
            let refused = self.refused(case).await;
            let twin = self.twin_answered(case).await.context("its twin");
            wrong.extend(
                [refused, twin]
                    .into_iter()
                    .filter_map(|outcome| outcome.err().map(|error| format!("{}: {error:#}", case.name))),
            );
        }
        ensure!(wrong.is_empty(), "{} faults in {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
        Ok(())
    }

    /// What is refused for one fact of the bundle alone is answered, or refused for its next reason, without that fact.
    pub async fn stands_without(&self, fact: Fact) -> Result<usize> {
        self.settle().await?;
        let mut tried = 0;
        for case in CASES {
            let Some((_, then)) = case.without.filter(|(decisive, _)| *decisive == fact) else { continue };
            tried += 1;
            let came = match then {
                Then::Answered => self.answered(&case.asked, case).await,
                Then::Refused((reason, article)) => {
                    ensure!(reason != case.reason, "{}: the reason is the same", case.name);
                    self.refused(&Case { reason, article, ..*case }).await
                }
            };
            came.with_context(|| format!("{} under {fact:?}", case.name))?;
        }
        Ok(tried)
    }

    /// A match is refused whose receiver has a desk that passes data on.
    pub async fn refuses_what_would_be_passed_on(&self) -> Result<()> {
        self.settle().await?;
        self.refused(&PASSED_ON).await
    }

    /// Rows are refused to a service as well, in words that say what to use instead; its table is delivered.
    pub async fn rows_are_refused_to_a_service_and_its_table_is_delivered(&self) -> Result<()> {
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        let ask = |kind| Request {
            who: Caller("ngo-clinic", "endpoint", "clinic-desk"),
            agreement: "clinic-tables",
            purpose: "service-planning",
            what: What::Export(kind, Some("clinic-desk"), sql),
        };
        for kind in [ExportKind::Identifiable, ExportKind::Pseudonymous, ExportKind::Unspecified] {
            let sent = self.sign(&ask(kind))?;
            let (by_gateway, by_adapter) = self
                .quietly(async {
                    Ok((
                        self.at_gateway(&sent).await?.refused().context("by the gateway")?,
                        self.at_adapter("health-agency", &sent).await?.refused().context("by the adapter")?,
                    ))
                })
                .await?;
            for (told, signer) in [(by_gateway, GATEWAY), (by_adapter, adapter_of("health-agency"))] {
                self.check(&told, ReasonCode::IdentifiableExport, "rows-do-not-leave", signer)?;
                for said in ["identifiable rows do not pass through the gateway", "dp_aggregate", "match"] {
                    ensure!(told.words.contains(said), "{signer:?}: {:?} says nothing of {said}", told.words);
                }
            }
        }
        let Outcome::File(file) = self.at_gateway(&self.sign(&ask(ExportKind::DpAggregate))?).await?.answered()? else {
            bail!("no file");
        };
        let file = String::from_utf8(file)?;
        let mut lines = file.lines();
        let head = lines.next().context("an empty file")?;
        ensure!(head == "region,visits,visits_standard_error,visits_lower,visits_upper,visits_status", "{head}");
        let lines: Vec<_> = lines.collect();
        ensure!(lines.len() == 17 && lines.iter().all(|l| l.split(',').count() == 6), "{} lines", lines.len());
        Ok(())
    }

    /// A request that a gateway changed in one place only, under its caller's own signature, is refused by the adapter.
    pub async fn no_change_passes_an_adapter(&self) -> Result<()> {
        let agency = "health-agency";
        let clinic = Caller("ngo-clinic", "endpoint", "clinic-desk");
        let sql = "SELECT COUNT(*) AS n FROM health.visits";
        let what = What::Export(ExportKind::DpAggregate, Some("clinic-desk"), sql);
        let request = Request { who: clinic, agreement: "shared-tables", purpose: "service-planning", what };
        let sent = self.sign(&request)?;
        let changes: [(&str, Change); 8] = [
            ("principal", |s| s.claim = Caller("health-agency", "endpoint", "health-portal").uri()),
            ("principal of the same organisation", |s| s.claim = Caller("ngo-clinic", "endpoint", "other").uri()),
            ("purpose", |s| s.header.purpose = "health-planning".to_owned()),
            ("recipient", |s| s.export.iter_mut().for_each(|e| e.endpoint = "health-portal".to_owned())),
            ("recipient left out", |s| s.export.iter_mut().for_each(|e| e.endpoint = String::new())),
            ("agreement", |s| s.header.agreement = "clinic-tables".to_owned()),
            ("price", |s| s.question.iter_mut().for_each(|q| q.rho_nano = 5_000_000)),
            ("expiry", |s| s.header.expires += 1),
        ];
        for (what, change) in changes {
            let mut changed = sent.clone();
            change(&mut changed);
            let told =
                self.quietly(async { self.at_adapter(agency, &changed).await?.refused() }).await.context(what)?;
            self.check(&told, ReasonCode::SignatureInvalid, "", adapter_of(agency)).context(what)?;
        }
        // The twin: the same request as its caller sent it.
        let before = self.executions().await?;
        self.at_adapter(agency, &sent).await?.answered().context("as it was signed")?;
        ensure!(self.executions().await? == before + 1, "answered without its engine");
        Ok(())
    }
}
