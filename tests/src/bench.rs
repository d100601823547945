//! What the benches share: figures, the CPU time of other programs, and where those programs are.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use crate::Caller;
use anyhow::{Context, Result, bail};
use firebreak::client::{Ask, ClientError, Connection, QueryAnswer, run_query};
use firebreak_testbed::{Federation, Live, Options, Programs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};
use tempfile::TempDir;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::JoinHandle;

/// How long one look at how busy programs are takes.
const SAMPLE: Duration = Duration::from_millis(250);
/// Clock ticks in a second in `/proc/<pid>/stat` (proc_pid_stat(5)): 100 on every Linux that Rust knows.
const TICKS: f64 = 100.0;

/// Prints a figure: `name: value unit`.
pub fn figure(name: &str, value: f64, unit: &str) {
    println!("{}", line(name, value, unit));
}

/// What a figure aims at.
#[derive(Clone, Copy)]
pub enum Aim {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
    /// Less.
    Below(f64),
    /// More.
    Above(f64),
    /// From the one to the other.
    Within(f64, f64),
    /// What is said of another size, or in words alone: nothing misses it.
    Text(&'static str),
}

impl Aim {
    /// This aim where `holds`, and else what says for which size it is.
    #[must_use]
    pub const fn only_if(self, holds: bool, text: &'static str) -> Self {
        if holds { self } else { Self::Text(text) }
    }

    /// Whether it is met; by what is no number, never.
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Below(limit) => value < limit,
            Self::Above(limit) => value > limit,
            Self::Within(least, most) => (least..=most).contains(&value),
            Self::Text(_) => true,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::Below(limit) => write!(f, "below {limit}"),
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Within(least, most) => write!(f, "{least} to {most}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Prints a figure and, in brackets, what it aims at. A line whose aim is missed ends with `MISSED`, by which
/// `cargo xtask bench` finds it.
pub fn aimed(name: &str, value: f64, unit: &str, aim: Aim) {
    println!("{}", aimed_line(name, value, unit, aim));
}

fn aimed_line(name: &str, value: f64, unit: &str, aim: Aim) -> String {
    let missed = if aim.is_met(value) { "" } else { " MISSED" };
    format!("{} ({aim}){missed}", line(name, value, unit))
}

fn line(name: &str, value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        0.0 => 0,
        _ => 4,
    };
    format!("{name}: {value:.digits$} {unit}")
}

/// Prints what a reader of the figures must know besides: a line that begins with `#`.
pub fn remark(text: &str) {
    println!("# {text}");
}

/// Prints under which profile and on how busy a machine the figures that follow are made.
pub fn conditions() {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    remark(&format!("profile: {profile}"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(2).collect();
    remark(&format!("{cores} processors; load in the last 1 and 5 minutes: {}", load.join(" and ")));
}

/// The first argument as a number, or `default`.
///
/// # Errors
/// An argument that is no number.
pub fn argument(default: u32) -> Result<u32> {
    std::env::args().nth(1).map_or(Ok(default), |a| a.parse().with_context(|| format!("{a} is not a number")))
}

/// The value below which half of them lie.
#[must_use]
pub fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The folder below `/proc` of the program which was started with `--config <configuration>`, named by its number.
///
/// # Errors
/// No such program.
pub fn process_of(configuration: &Path) -> Result<PathBuf> {
    let wanted = configuration.as_os_str().as_encoded_bytes();
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        // Not every entry is a process, and a process may have ended by now.
        let Ok(line) = fs::read(process.join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        // The shell that watches over a program has the same words after its own name.
        if words.first() != Some(&b"sh".as_slice()) && words.contains(&wanted) {
            return Ok(process);
        }
    }
    bail!("nothing runs with {}", configuration.display())
}

/// The most memory that a program ever had resident, in kB (VmHWM in proc_pid_status(5)). `process` is its folder below
/// `/proc`.
///
/// # Errors
/// A program that has ended.
pub fn peak_of(process: &Path) -> Result<u64> {
    let status = fs::read_to_string(process.join("status")).context("the program has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// From now on, what a process has at most is counted anew: clear_refs in proc(5).
///
/// # Errors
/// A program that has ended, or a kernel that does not let it.
pub fn forget_peak(process: &Path) -> Result<()> {
    fs::write(process.join("clear_refs"), "5").context("the peak of a program cannot be counted anew")
}

/// The CPU time of one program, with all its threads.
pub struct Cpu {
    stat: PathBuf,
}

impl Cpu {
    /// That of the program which was started with `--config <configuration>`.
    ///
    /// # Errors
    /// No such program.
    pub fn of(configuration: &Path) -> Result<Self> {
        Ok(Self { stat: process_of(configuration)?.join("stat") })
    }

    /// That of this program.
    #[must_use]
    pub fn own() -> Self {
        Self { stat: PathBuf::from("/proc/self/stat") }
    }

    /// Seconds spent since it was started, in steps of 10 ms.
    ///
    /// # Errors
    /// A program that has ended.
    pub fn seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(&self.stat).context("the program has ended")?;
        // The second field is the program's name, in parentheses; user and system time are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(')').context("not a stat file")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(ticks as f64 / TICKS)
    }
}

/// The CPU time that several programs spend from one moment on.
pub struct Spent {
    programs: Vec<(Cpu, f64)>,
}

impl Spent {
    /// From now on, by the programs that were started with those configurations.
    ///
    /// # Errors
    /// No such programs.
    pub fn by(configurations: &[PathBuf]) -> Result<Self> {
        let since_now = |file: &PathBuf| {
            let cpu = Cpu::of(file)?;
            let already = cpu.seconds()?;
            Ok::<_, anyhow::Error>((cpu, already))
        };
        Ok(Self { programs: configurations.iter().map(since_now).collect::<Result<_>>()? })
    }

    /// Seconds so far, program by program.
    ///
    /// # Errors
    /// A program that has ended.
    pub fn each(&self) -> Result<Vec<f64>> {
        self.programs.iter().map(|(cpu, already)| Ok(cpu.seconds()? - already)).collect()
    }
}

/// How busy programs are while they work at all. What they wait for on purpose, their ticks, is left out.
pub struct Busy {
    stop: oneshot::Sender<()>,
    sampling: JoinHandle<Result<f64>>,
}

impl Busy {
    /// From now on, by the programs that were started with those configurations.
    ///
    /// # Errors
    /// No such programs.
    pub fn by(configurations: &[PathBuf]) -> Result<Self> {
        let spent = Spent::by(configurations)?;
        let (stop, mut stopped) = oneshot::channel();
        let sampling = tokio::spawn(async move {
            let (mut cpu, mut wall) = (0.0, 0.0);
            let (mut before, mut since) = (0.0, Instant::now());
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                tokio::time::sleep(SAMPLE).await;
                let now = spent.each()?.iter().sum::<f64>();
                let (used, took) = (now - before, since.elapsed().as_secs_f64());
                (before, since) = (now, Instant::now());
                // Less than half a processor is what it takes to wait.
                if used > took / 2.0 {
                    (cpu, wall) = (cpu + used, wall + took);
                }
            }
            Ok(cpu / wall)
        });
        Ok(Self { stop, sampling })
    }

    /// The processors that were busy until now, on the average of the time in which the programs worked.
    ///
    /// # Errors
    /// A program that has ended.
    pub async fn processors(self) -> Result<f64> {
        let _ = self.stop.send(());
        self.sampling.await?
    }
}

/// A running federation for one bench.
pub struct Bench {
    /// Its folder and keys.
    pub federation: Federation,
    /// Its programs.
    pub live: Live,
    folder: TempDir,
}

impl Bench {
    /// Makes and starts one with the tick that adapters have by default.
    ///
    /// # Errors
    /// Programs that do not start.
    pub async fn start(persons: u32) -> Result<Self> {
        Self::start_with(persons, |_| Ok(())).await
    }

    /// As [`Bench::start`], after `change` was made to the federation's folder.
    ///
    /// # Errors
    /// As there, and those of the change.
    pub async fn start_with(persons: u32, change: impl FnOnce(&Federation) -> Result<()>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { persons, seed: 1, tick_milliseconds: 50 };
        let federation = Federation::prepare(&folder.path().join("federation"), &options, |_| {})?;
        change(&federation)?;
        let live = federation.start(&Programs::built()?, &[]).await?;
        Ok(Self { federation, live, folder })
    }

    /// Ends its programs and removes its folder.
    ///
    /// # Errors
    /// The system.
    pub async fn stop(mut self) -> Result<()> {
        self.live.stop().await?;
        Ok(self.folder.close()?)
    }

    /// A connection of a caller to the gateway.
    ///
    /// # Errors
    /// A gateway that does not answer.
    pub async fn connect(&self, caller: Caller) -> Result<Connection> {
        caller.connect(&self.federation, self.live.address).await
    }

    /// The gateway's configuration, by which its process is found.
    #[must_use]
    pub fn gateway(&self) -> PathBuf {
        self.federation.layout().gateway().join("gateway.toml")
    }

    /// The configuration of an agency's adapter.
    #[must_use]
    pub fn adapter(&self, agency: &str) -> PathBuf {
        self.federation.layout().adapter(agency).join("adapter.toml")
    }
}

/// Asks, and asks again under the same id for as long as the adapter waits to see the log, as it does at first.
///
/// # Errors
/// Any other refusal or failure, and one that lasts ten seconds.
pub async fn answered(connection: &Connection, ask: &Ask) -> Result<QueryAnswer> {
    for _ in 0..100 {
        match run_query(connection, ask, &mut |_| {}).await {
            Err(ClientError::Refused(refused)) if refused.refusal.reason == "EVIDENCE_OUTSTANDING" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
    bail!("the adapter never saw the log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_marked_and_one_in_words_never_is() {
        assert_eq!(aimed_line("a", 90.0, "s", Aim::AtMost(90.0)), "a: 90.0 s (at most 90)");
        assert_eq!(aimed_line("a", 90.5, "s", Aim::AtMost(90.0)), "a: 90.5 s (at most 90) MISSED");
        assert_eq!(aimed_line("a", 0.5, "", Aim::AtLeast(0.9)), "a: 0.5000  (at least 0.9) MISSED");
        assert_eq!(aimed_line("a", 0.9, "", Aim::Within(0.9, 1.0)), "a: 0.9000  (0.9 to 1)");
        assert_eq!(aimed_line("a", 1.0, "", Aim::Below(1.0)), "a: 1.00  (below 1) MISSED");
        assert_eq!(aimed_line("a", 1.0, "", Aim::Above(1.0)), "a: 1.00  (above 1) MISSED");
        assert_eq!(aimed_line("a", f64::NAN, "", Aim::AtMost(1.0)), "a: NaN  (at most 1) MISSED");
        let elsewhere = Aim::Below(1.0).only_if(false, "below 1 at a million");
        assert_eq!(aimed_line("a", 2.0, "", elsewhere), "a: 2.00  (below 1 at a million)");
    }
}
