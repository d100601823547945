//! Gateway and adapters as real processes.

use crate::{AGENCIES, Federation};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a program may take until it listens: the bounded views are made first.
const START: Duration = Duration::from_secs(180);

/// How long a killed program may take to be gone.
const KILLED: Duration = Duration::from_secs(10);

/// Runs a program for as long as somebody holds its standard input: when whoever started it is gone, for whatever
/// reason, the program is killed.
const WATCHED: &str =
    "exec 3<&0; \"$@\" </dev/null 3<&- & pid=$!; (cat <&3 >/dev/null; kill -9 $pid 2>/dev/null) & exec 3<&-; wait $pid";

/// Which program a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The gateway.
    Gateway,
    /// An adapter.
    Adapter,
}

/// How programs are started: an executable for each, and what stands before `--config`.
#[derive(Debug, Clone)]
pub struct Programs {
    gateway: (PathBuf, Vec<String>),
    adapter: (PathBuf, Vec<String>),
}

/// An address that a program has announced.
pub type Address = SocketAddr;

/// A running program. It is killed when dropped, and when this process ends.
pub struct Started {
    child: Child,
    address: watch::Receiver<Option<Address>>,
    file: PathBuf,
}

impl Programs {
    /// This very executable, told by its first argument which program to be.
    ///
    /// # Errors
    /// An executable that the system cannot name.
    pub fn of_this_executable() -> Result<Self> {
        let this = std::env::current_exe()?;
        Ok(Self {
            gateway: (this.clone(), vec!["run-gateway".to_owned()]),
            adapter: (this, vec!["run-adapter".to_owned()]),
        })
    }

    /// The built programs beside this executable's folder, as the end-to-end tests use them.
    ///
    /// # Errors
    /// Programs that are not built.
    pub fn built() -> Result<Self> {
        let this = std::env::current_exe()?;
        let folder = this.ancestors().find(|f| f.join("firebreak-gateway").is_file());
        let folder = folder.context("the programs are not built: run the tests with `cargo xtask test`")?;
        Ok(Self {
            gateway: (folder.join("firebreak-gateway"), Vec::new()),
            adapter: (folder.join("agency-adapter"), Vec::new()),
        })
    }

    /// The same programs, run by the built demonstration with their logs at a level of `error` to `trace`.
    ///
    /// # Errors
    /// A demonstration that is not built.
    pub fn at_level(level: &str) -> Result<Self> {
        let this = std::env::current_exe()?;
        let found = this.ancestors().map(|folder| folder.join("demo")).find(|file| file.is_file());
        let demo = found.context("the demonstration is not built: run the tests with `cargo xtask test`")?;
        let run = |program: &str| vec![program.to_owned(), "--log".to_owned(), level.to_owned()];
        Ok(Self { gateway: (demo.clone(), run("run-gateway")), adapter: (demo, run("run-adapter")) })
    }

    /// The same programs where no file can grow beyond so many bytes, in steps of 512: a write beyond it fails as on
    /// a full disk.
    #[must_use]
    pub fn with_files_up_to(self, bytes: u64) -> Self {
        let limited = |(executable, arguments): (PathBuf, Vec<String>)| {
            let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes.div_ceil(512));
            let mut limited = vec!["-c".to_owned(), script, executable.display().to_string()];
            limited.extend(arguments);
            (PathBuf::from("/bin/sh"), limited)
        };
        Self { gateway: limited(self.gateway), adapter: limited(self.adapter) }
    }

    /// Starts a program with a configuration; its log goes to `<configuration>.log` too.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn start(&self, program: Program, configuration: &Path) -> Result<Started> {
        let (executable, arguments) = match program {
            Program::Gateway => &self.gateway,
            Program::Adapter => &self.adapter,
        };
        let mut child = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .arg(executable)
            .args(arguments)
            .arg("--config")
            .arg(configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", executable.display()))?;
        let log = child.stderr.take().context("the program has no log")?;
        let (found, address) = watch::channel(None);
        let file = configuration.with_extension("log");
        let copy = file.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(log).lines();
            let mut out = tokio::fs::OpenOptions::new().create(true).append(true).open(copy).await.ok();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = announced(&line) {
                    found.send_replace(Some(address));
                }
                if let Some(out) = &mut out {
                    let _ = out.write_all(line.as_bytes()).await;
                    let _ = out.write_all(b"\n").await;
                    let _ = out.flush().await;
                }
            }
        });
        Ok(Started { child, address, file })
    }
}

fn announced(line: &str) -> Option<Address> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let said = event.to_string();
    if !said.contains("listening") {
        return None;
    }
    find_address(&event)
}

fn find_address(value: &serde_json::Value) -> Option<Address> {
    match value {
        serde_json::Value::Object(fields) => fields
            .get("address")
            .and_then(|a| a.as_str()?.parse().ok())
            .or_else(|| fields.values().find_map(find_address)),
        _ => None,
    }
}

impl Started {
    /// The address on which it listens, once it does.
    ///
    /// # Errors
    /// A program that ended instead, or did not listen in time.
    pub async fn address(&mut self) -> Result<Address> {
        let mut address = self.address.clone();
        let listening = timeout(START, address.wait_for(Option::is_some)).await;
        if let Ok(Ok(found)) = listening {
            return found.context("no address");
        }
        let log = std::fs::read_to_string(&self.file).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        bail!("the program did not start; the end of {}:\n{}", self.file.display(), last.join("\n"));
    }

    /// Kills it at once, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// The system.
    pub async fn kill(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        timeout(KILLED, self.child.wait()).await.context("the program could not be killed")??;
        Ok(())
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// The system.
    pub async fn wait(&mut self) -> Result<std::process::ExitStatus> {
        // Not `Child::wait` with its input open: that would close it, which is to kill.
        let held = self.child.stdin.take();
        let ended = self.child.wait().await;
        drop(held);
        Ok(ended?)
    }
}

/// A running federation: a gateway and an adapter for each agency.
pub struct Live {
    /// The gateway.
    pub gateway: Started,
    /// Where it listens.
    pub address: Address,
    /// Where it shows its figures.
    pub gateway_metrics: Address,
    /// Where it shows the public log.
    pub public_log: Address,
    /// The adapters.
    pub adapters: Vec<LiveAdapter>,
}

/// A running adapter.
pub struct LiveAdapter {
    /// Its agency.
    pub agency: String,
    /// The process.
    pub started: Started,
    /// Where it listens for staff.
    pub local: Address,
    /// Where it shows its figures.
    pub metrics: Address,
}

impl Live {
    /// The adapter of an agency.
    ///
    /// # Errors
    /// An agency that is none of ours.
    pub fn adapter(&self, agency: &str) -> Result<&LiveAdapter> {
        self.adapters.iter().find(|a| a.agency == agency).context("no such agency")
    }

    /// Kills everything.
    ///
    /// # Errors
    /// The system.
    pub async fn stop(&mut self) -> Result<()> {
        for adapter in &mut self.adapters {
            adapter.started.kill().await?;
        }
        self.gateway.kill().await
    }
}

/// A port of loopback that nobody listens on, another at each call.
///
/// It lies below those that the system gives to whoever connects: until a program listens on it, nobody has it by
/// chance.
fn free_address() -> Result<Address> {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other processes of the same tests begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..PORTS {
        let turn = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + turn % PORTS)?;
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port of loopback is free")
}

impl Federation {
    /// Starts the gateway on a free port of loopback and an adapter for each agency, which dials `others` too.
    ///
    /// # Errors
    /// A program that does not start.
    pub async fn start(&self, programs: &Programs, others: &[Address]) -> Result<Live> {
        let (gateway_metrics, public_log) = (free_address()?, free_address()?);
        // The address is fixed before anything starts, so that a gateway started again is found again.
        let configuration = self.configure_gateway(free_address()?, Some(gateway_metrics), Some(public_log))?;
        let mut gateway = programs.start(Program::Gateway, &configuration)?;
        let address = gateway.address().await?;
        let gateways: Vec<Address> = std::iter::once(address).chain(others.iter().copied()).collect();
        let mut starting = Vec::new();
        for (agency, _, _) in AGENCIES {
            let metrics = free_address()?;
            let configuration = self.configure_adapter(agency, &gateways, Some(metrics))?;
            starting.push((agency.to_owned(), programs.start(Program::Adapter, &configuration)?, metrics));
        }
        let mut adapters = Vec::new();
        for (agency, mut started, metrics) in starting {
            let local = started.address().await?;
            adapters.push(LiveAdapter { agency, started, local, metrics });
        }
        Ok(Live { gateway, address, gateway_metrics, public_log, adapters })
    }
}
