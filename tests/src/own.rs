//! A federation of a test's own, for tests that stop, change or copy things.

use anyhow::{Context, Result, ensure};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, run_query};
use firebreak_testbed::{Address, Federation, Live, Options, Program, Programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How often a question is asked again while an adapter that has just started has not yet seen the log.
const TRIES: usize = 400;

/// A running federation in a folder of its own, gone when dropped.
pub struct Own {
    /// Its folder.
    pub federation: Federation,
    /// Its programs.
    pub live: Live,
    _folder: TempDir,
}

impl Own {
    /// Makes and starts a federation of so many persons, whose adapters dial `others` too.
    ///
    /// # Errors
    /// A folder that cannot be written, or a program that does not start.
    pub async fn start(persons: u32, others: &[Address]) -> Result<Self> {
        let (federation, folder) = Self::prepare(persons)?;
        let live = federation.start(&Programs::built()?, others).await?;
        Ok(Self { federation, live, _folder: folder })
    }

    /// A federation that runs already, in a folder to be removed with it.
    #[must_use]
    pub const fn of(federation: Federation, live: Live, folder: TempDir) -> Self {
        Self { federation, live, _folder: folder }
    }

    /// Makes a federation without starting anything.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn prepare(persons: u32) -> Result<(Federation, TempDir)> {
        let folder = tempfile::tempdir()?;
        let options = Options { persons, seed: 7, tick_milliseconds: 20 };
        Ok((Federation::prepare(&folder.path().join("federation"), &options, |_| {})?, folder))
    }

    /// Kills the gateway.
    ///
    /// # Errors
    /// The system.
    pub async fn kill_gateway(&mut self) -> Result<()> {
        self.live.gateway.kill().await
    }

    /// Starts the gateway again, at the address that it had.
    ///
    /// # Errors
    /// A gateway that does not start.
    pub async fn start_gateway(&mut self) -> Result<()> {
        self.start_gateway_by(&Programs::built()?).await
    }

    /// As [`Own::start_gateway`], with programs that are started otherwise.
    ///
    /// # Errors
    /// As there.
    pub async fn start_gateway_by(&mut self, programs: &Programs) -> Result<()> {
        let configuration = self.federation.layout().gateway().join("gateway.toml");
        self.live.gateway = programs.start(Program::Gateway, &configuration)?;
        let address = self.live.gateway.address().await?;
        ensure!(address == self.live.address, "the gateway has another address than before");
        Ok(())
    }

    /// Kills an adapter.
    ///
    /// # Errors
    /// The system.
    pub async fn kill_adapter(&mut self, agency: &str) -> Result<()> {
        let adapter = self.live.adapters.iter_mut().find(|a| a.agency == agency).context("no such agency")?;
        adapter.started.kill().await
    }

    /// Starts an adapter again.
    ///
    /// # Errors
    /// An adapter that does not start.
    pub async fn start_adapter(&mut self, agency: &str) -> Result<()> {
        self.start_adapter_by(&Programs::built()?, agency).await
    }

    /// As [`Own::start_adapter`], with programs that are started otherwise.
    ///
    /// # Errors
    /// As there.
    pub async fn start_adapter_by(&mut self, programs: &Programs, agency: &str) -> Result<()> {
        let configuration = self.federation.layout().adapter(agency).join("adapter.toml");
        let adapter = self.live.adapters.iter_mut().find(|a| a.agency == agency).context("no such agency")?;
        adapter.started = programs.start(Program::Adapter, &configuration)?;
        adapter.local = adapter.started.address().await?;
        Ok(())
    }
}

/// Asks until an answer or a lasting refusal comes: programs that have just started are asked again, under the same
/// request id.
///
/// # Errors
/// The refusal or failure that lasts.
pub async fn ask_until_answered(connection: &Connection, ask: &Ask) -> Result<QueryAnswer, ClientError> {
    let mut tries = 0;
    loop {
        match run_query(connection, ask, &mut |_| {}).await {
            Err(error) if tries < TRIES && passes(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            ended => return ended,
        }
    }
}

/// Whether a refusal or failure passes once programs have started and found each other.
#[must_use]
pub fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refused) => {
            let passing = ["EVIDENCE_OUTSTANDING", "AGENCY_UNAVAILABLE", "CONNECTION_LOST", "PEER_STALLED"];
            passing.contains(&refused.refusal.reason.as_str())
        }
        ClientError::Failed { .. } | ClientError::Connect { .. } | ClientError::Answer(_) => true,
        _ => false,
    }
}

/// A built program, by its name.
///
/// # Errors
/// Programs that are not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let found = this.ancestors().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not built: run the tests with `cargo xtask test`"))
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// The system.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every file below a folder.
///
/// # Errors
/// The system.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let into = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            into.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
