//! Certificates that are renewed while the programs run: no program is started again, and what is under way goes on.

mod wire;

use crate::catalogue::{done, program};
use crate::matching::truth::expected;
use anyhow::{Context, Result, bail, ensure};
use firebreak::client::{Ask, ClientError, MatchAsk, list_datasets, list_matched, run_match, run_query};
use firebreak_domain::{Clock, Registry, SystemClock, Timestamp};
use firebreak_policy::Validity as BundleValidity;
use firebreak_policy::signing::cosign;
use firebreak_testbed::{Address, Federation, Programs, TRUST_DOMAIN, http_file};
use firebreak_tests::{Caller, Liar, Own, ask_until_answered, offered_digest, passes, run};
use firebreak_transport::{CertificateRequest, Credential, Validity, serial_of_cert};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use wire::Wire;

const RECEIVER: &str = "health-agency";
const SENDER: &str = "education-agency";
const DAY: i64 = 86_400;

/// A federation whose adapters also dial a gateway of the test's own, which sees what certificates they show.
async fn watched(persons: u32) -> Result<(Own, Liar)> {
    let (federation, folder) = Own::prepare(persons)?;
    let liar = Liar::listen(&federation).await?;
    let live = federation.start(&Programs::built()?, &[liar.address()]).await?;
    liar.wait_for_agencies().await?;
    Ok((Own::of(federation, live, folder), liar))
}

/// Puts another certificate for the same key, good for so many seconds from now, into a program's files.
fn renew(federation: &Federation, folder: &Path, seconds: i64) -> Result<Credential> {
    let now = SystemClock.now();
    let validity = Validity { not_before: now.plus_secs(-300), not_after: now.plus_secs(seconds) };
    let renewed = federation.authority().renew(&Credential::load(folder)?, validity)?;
    renewed.save(folder)?;
    Ok(renewed)
}

/// The same by the command, as somebody does who tries it.
fn renew_by_command(federation: &Federation, folder: &Path) -> Result<Credential> {
    let mut command = program("firebreak")?;
    command.args(["certs", "renew", "--days", "60"]);
    let renewed = done(command.arg("--ca").arg(federation.layout().authority()).arg(folder))?;
    ensure!(renewed.code == Some(0) && renewed.out.contains("for the same key"), "{}", renewed.err);
    Ok(Credential::load(folder)?)
}

fn serial(credential: &Credential) -> Result<Vec<u8>> {
    Ok(serial_of_cert(credential.chain().first().context("no certificate")?)?)
}

/// The number of the certificate that the gateway shows on a new connection.
fn shown_by_gateway(federation: &Federation, address: Address) -> Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(federation.authority().certificate()))?;
    let who = format!("spiffe://{TRUST_DOMAIN}/org/nso/analyst/watcher").parse()?;
    let (chain, key) = federation.authority().issue_raw(&CertificateRequest::new(&who))?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let mut tcp = TcpStream::connect(address)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let shown = tls.peer_certificates().and_then(<[_]>::first).context("no certificate was shown")?;
    Ok(serial_of_cert(shown)?)
}

/// When the certificate ends that a program says it holds for the federation.
async fn expires(metrics: Address) -> Result<Timestamp> {
    let page = String::from_utf8(http_file(metrics, "/metrics").await?)?;
    let name = "firebreak_certificate_expires_seconds{location=\"federation\"} ";
    let value = page.lines().find_map(|line| line.strip_prefix(name)).context("the program does not say")?;
    Ok(Timestamp::from_secs(value.parse::<f64>()? as i64))
}

/// Waits until something holds, as it does within seconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..600 {
        if holds().await? {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("it never happened: {what}")
}

fn question(number: u32) -> Result<Ask> {
    let sql = format!("SELECT COUNT(*) AS n FROM health.visits WHERE cost >= {number}");
    let mut ask = Ask::new("health-statistics", "health-planning", &sql)?;
    ask.rho = firebreak_domain::Rho::at_least(0.0001);
    Ok(ask)
}

fn log_of(own: &Own, agency: &str) -> Result<String> {
    Ok(fs::read_to_string(own.federation.layout().adapter(agency).join("adapter.log"))?)
}

#[test]
fn certificates_renewed_in_the_middle_of_a_match_are_shown_from_then_on_and_the_match_goes_on() -> Result<()> {
    run(async {
        let (mut own, liar) = watched(12_000).await?;
        let layout = own.federation.layout().clone();
        // The receiver reaches the gateway over a wire that stops the match while a chunk is on it.
        let wire = Wire::to(own.live.address).await?;
        own.kill_adapter(RECEIVER).await?;
        let file = layout.adapter(RECEIVER).join("adapter.toml");
        let text = fs::read_to_string(&file)?;
        let changed = text.replace(&own.live.address.to_string(), &wire.address().to_string());
        ensure!(changed != text, "the configuration names the gateway otherwise");
        fs::write(&file, changed)?;
        own.start_adapter(RECEIVER).await?;
        liar.wait_for_agencies().await?;

        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        list_datasets(&ada).await?;
        let mut ask = MatchAsk::new("vaccination-round", "vaccination-round")?;
        ask.selection = "birth_year <= 2018".to_owned();
        let expected = expected(own.federation.population(), 0..=2018);
        let desk = Caller::connect_local(&own.federation, RECEIVER, own.live.adapter(RECEIVER)?.local).await?;
        wire.watch();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let matching = tokio::spawn(async move {
            loop {
                match run_match(&desk, &ask, &mut |_| {}).await {
                    // Only while the programs have yet to find each other: once it runs it is not begun again.
                    Err(error) if passes(&error) && !seen.load(Ordering::SeqCst) => {
                        sleep(Duration::from_millis(100)).await;
                    }
                    ended => break ended,
                }
            }
        });
        wire.stopped().await?;
        stopped.store(true, Ordering::SeqCst);

        let gateway = renew(&own.federation, &layout.certificate("federation", "gateway", "main"), 60 * DAY)?;
        for agency in [RECEIVER, SENDER] {
            let before = serial_of_cert(&liar.shown_by(agency)?)?;
            let folder = layout.certificate(agency, "adapter", "main");
            let renewed = match agency {
                RECEIVER => renew(&own.federation, &folder, 60 * DAY)?,
                _ => renew_by_command(&own.federation, &folder)?,
            };
            ensure!(serial(&renewed)? != before, "the renewed certificate has the number of the old one");
            until("the adapter shows the new certificate", async || {
                // Between the two connections there may be none.
                let Ok(shown) = liar.shown_by(agency) else { return Ok(false) };
                Ok(serial_of_cert(&shown)? == serial(&renewed)?)
            })
            .await?;
            let metrics = own.live.adapter(agency)?.metrics;
            until("operators are told", async || Ok(expires(metrics).await? == renewed.expires())).await?;
        }
        until("the gateway shows the new certificate", async || {
            Ok(shown_by_gateway(&own.federation, own.live.address)? == serial(&gateway)?)
        })
        .await?;
        ensure!(!matching.is_finished(), "the match ended while its wire was stopped");
        list_datasets(&ada).await?;

        wire.open();
        let summary = matching.await?.context("the match did not go on")?;
        assert_eq!((summary.offered, summary.unusable), (expected.offered, expected.unusable));
        let local = own.live.adapter(RECEIVER)?.local;
        let officer = Caller::connect_officer(&own.federation, RECEIVER, local).await?;
        let listed: BTreeSet<_> = list_matched(&officer, &summary.session_id).await?.into_iter().collect();
        assert_eq!(listed, expected.matched);
        // All that begins from now on begins under the new certificates.
        let new = Caller("nso", "analyst", "bob").connect(&own.federation, own.live.address).await?;
        ask_until_answered(&new, &question(1)?).await?;
        Ok(())
    })
}

#[test]
fn an_adapter_whose_certificate_has_expired_is_asked_again_once_it_is_renewed() -> Result<()> {
    run(async {
        let own = Own::start(300, &[]).await?;
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &question(1)?).await?;
        let folder = own.federation.layout().certificate(RECEIVER, "adapter", "main");
        let metrics = own.live.adapter(RECEIVER)?.metrics;
        let short = renew(&own.federation, &folder, 10)?;
        until("the short one is taken up", async || Ok(expires(metrics).await? == short.expires())).await?;

        until("it ends", async || Ok(SystemClock.now() > short.expires().plus_secs(1))).await?;
        let mut number = 2..;
        until("the agency is cut off", async || {
            match run_query(&ada, &question(number.next().context("no numbers")?)?, &mut |_| {}).await {
                Ok(_) => Ok(false),
                Err(ClientError::Refused(refused)) => Ok(refused.refusal.reason == "AGENCY_UNAVAILABLE"),
                Err(error) if passes(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        until("the adapter says so", async || Ok(log_of(&own, RECEIVER)?.contains("certificate not renewed"))).await?;

        let long = renew(&own.federation, &folder, 30 * DAY)?;
        until("the long one is taken up", async || Ok(expires(metrics).await? == long.expires())).await?;
        ask_until_answered(&ada, &question(1_000)?).await?;
        Ok(())
    })
}

#[test]
fn an_adapters_other_key_is_kept_out_until_a_bundle_pins_it() -> Result<()> {
    run(async {
        let (federation, folder) = Own::prepare(300)?;
        let now = SystemClock.now();
        // Made long enough ago for another key to have waited.
        let made = now.plus_secs(-60 * DAY);
        let until_then = now.plus_secs(30 * DAY);
        federation.sign_bundle(1, None, BundleValidity { made, valid_from: made, valid_until: until_then })?;
        let live = federation.start(&Programs::built()?, &[]).await?;
        let own = Own::of(federation, live, folder);
        let layout = own.federation.layout();
        let ada = Caller::ADA.connect(&own.federation, own.live.address).await?;
        ask_until_answered(&ada, &question(1)?).await?;

        let name = format!("spiffe://{TRUST_DOMAIN}/org/{RECEIVER}/adapter/main").parse()?;
        let other = own.federation.authority().issue(&name, &["localhost"], Validity::days(60))?;
        other.save(&layout.certificate(RECEIVER, "adapter", "main"))?;
        let said = "certificate not renewed";
        until("the adapter says so", async || Ok(log_of(&own, RECEIVER)?.contains(said))).await?;
        // Three looks later.
        sleep(Duration::from_secs(3)).await;
        let log = log_of(&own, RECEIVER)?;
        assert_eq!(log.matches(said).count(), 1, "it is said again and again");
        ensure!(log.contains("have a bundle pin the new one first"), "it is not said what to do");
        ask_until_answered(&ada, &question(2)?).await?;
        let metrics = own.live.adapter(RECEIVER)?.metrics;
        ensure!(expires(metrics).await? != other.expires(), "another key than the pinned one was taken up");

        let previous = offered_digest(&own.federation)?;
        let file = layout.bundle().join("endpoints.toml");
        let mut registry: Registry = toml::from_str(&fs::read_to_string(&file)?)?;
        for organisation in registry.organisations.iter_mut().filter(|o| o.id.as_str() == RECEIVER) {
            organisation.pin = Some(other.pin());
        }
        fs::write(&file, toml::to_string(&registry)?)?;
        let waited = BundleValidity {
            made: now.plus_secs(-31 * DAY),
            valid_from: now.plus_secs(-3_600),
            valid_until: until_then,
        };
        own.federation.sign_bundle(2, Some(previous), waited)?;
        for signer in ["overseer-west", RECEIVER] {
            cosign(&layout.bundle(), &own.federation.signing_key(signer)?)?;
        }
        until("the pinned key is taken up", async || Ok(expires(metrics).await? == other.expires())).await?;
        ask_until_answered(&ada, &question(3)?).await?;
        Ok(())
    })
}
