//! How many stored answers a gateway gives in a second, against a bare echo behind the same TLS.
//!
//! `bench-stored [CLIENTS]`. Each client sends one request, which is answered already, again and again under its own
//! request id: signed by the client, decided, recorded in the log and given a receipt every time. (Under a fresh id a
//! repeat would be charged to the one who asks.) The echo is the gRPC health service in a process of its own, behind
//! the same listener with the same certificates.

#![expect(clippy::print_stdout, reason = "the echo says where it listens")]

use anyhow::{Context, Result, bail};
use firebreak::client::Ask;
use firebreak_testbed::gateway_identity;
use firebreak_tests::Caller;
use firebreak_tests::bench::{Aim, Bench, Spent, aimed, answered, argument, conditions, figure, remark};
use firebreak_transport::{Credential, Server, ServerTls, Shutdown, TrustAnchor, connect};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const PERSONS: u32 = 2_000;
/// Clients, and over how many connections they ask.
const CLIENTS: u32 = 32;
const CONNECTIONS: usize = 4;
/// How long each side is measured.
const TIME: Duration = Duration::from_secs(10);
const SQL: &str = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
/// The first argument of the process that is the echo.
const ECHO: &str = "echo";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(ECHO) {
        let (Some(identity), Some(authority), Some(domain)) = (arguments.next(), arguments.next(), arguments.next())
        else {
            bail!("the echo needs a certificate, an authority and a trust domain")
        };
        return echo(identity.into(), authority.into(), &domain).await;
    }
    conditions();
    let clients = argument(CLIENTS)? as usize;
    let bench = Bench::start(PERSONS).await?;
    let stored = stored(&bench, clients).await?;
    let echoed = echoed(&bench, clients).await?;
    remark(&format!("{clients} clients over {CONNECTIONS} connections, on the same processors as what they ask"));
    remark(&format!("bare echo: {echoed:.0} /s"));
    figure("stored_answers", stored, "/s");
    aimed("stored_answers_over_bare_echo", stored / echoed, "ratio", Aim::AtLeast(0.3));
    bench.stop().await
}

/// Stored answers in a second.
async fn stored(bench: &Bench, clients: usize) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(bench.connect(Caller::ADA).await?);
    }
    let first = connections.first().context("no connection")?;
    let question = || Ask::new("health-statistics", "health-planning", SQL);
    let release = answered(first, &question()?).await?.released.release_id;
    let spent = Spent::by(&[bench.gateway()])?;
    let (begun, mut asking) = (Instant::now(), JoinSet::new());
    for connection in connections.iter().cycle().take(clients) {
        let (connection, release, ask) = (connection.clone(), release.clone(), question()?);
        asking.spawn(async move {
            let mut answers = 0_u32;
            while begun.elapsed() < TIME {
                let answer = answered(&connection, &ask).await?;
                anyhow::ensure!(answer.released.release_id == release, "another release than the stored one");
                answers += 1;
            }
            Ok(answers)
        });
    }
    let answers = total(asking).await?;
    let gateway: f64 = spent.each()?.iter().sum();
    remark(&format!("CPU of a stored answer in the gateway: {:.2} ms", gateway / f64::from(answers) * 1e3));
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

/// Echoes in a second.
async fn echoed(bench: &Bench, clients: usize) -> Result<f64> {
    let layout = bench.federation.layout();
    let trust = bench.federation.authority().trust_anchor()?;
    let (_echo, address) = start_echo(
        layout.certificate("federation", "gateway", "main"),
        layout.authority().join("ca.pem"),
        trust.trust_domain(),
    )
    .await?;
    let ada = bench.federation.issue("nso", "analyst", "ada")?;
    let expected = gateway_identity().parse()?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(connect(&address, &ada, &trust, &expected).await?);
    }
    let (begun, mut asking) = (Instant::now(), JoinSet::new());
    for channel in channels.iter().cycle().take(clients) {
        let mut client = HealthClient::new(channel.clone());
        asking.spawn(async move {
            let mut answers = 0_u32;
            while begun.elapsed() < TIME {
                client.check(HealthCheckRequest::default()).await?;
                answers += 1;
            }
            Ok(answers)
        });
    }
    let answers = total(asking).await?;
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

async fn total(mut asking: JoinSet<Result<u32>>) -> Result<u32> {
    let mut sum = 0;
    while let Some(answers) = asking.join_next().await {
        sum += answers??;
    }
    Ok(sum)
}

/// The echo as a process, which ends with this one, and its address.
async fn start_echo(identity: PathBuf, authority: PathBuf, domain: &str) -> Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ECHO)
        .arg(identity)
        .arg(authority)
        .arg(domain)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().context("the echo says nothing")?;
    let address = BufReader::new(out).lines().next_line().await?.context("the echo did not start")?;
    Ok((child, address))
}

/// Serves the health service until its standard input is closed, which the end of whoever started it does.
async fn echo(identity: PathBuf, authority: PathBuf, domain: &str) -> Result<()> {
    let tls = ServerTls::federation(&Credential::load(&identity)?, &TrustAnchor::load(&authority, domain)?);
    let server = Server::bind(([127, 0, 0, 1], 0).into(), tls).await?;
    println!("localhost:{}", server.local_addr().port());
    let (_, health) = tonic_health::server::health_reporter();
    let shutdown = Shutdown::new();
    let ending = shutdown.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ending.request();
    });
    Ok(server.serve(Routes::new(health), &shutdown, Duration::ZERO).await?)
}
