//! How an answer's CPU time and memory grow with rows.
//!
//! Each step at each size is a program of its own, which is this one started again, so that the most memory that it
//! ever had (VmHWM in proc_pid_status(5)) tells of that step and size alone.

#![expect(clippy::print_stdout, reason = "what a step measured goes to the program that started it")]

mod visits;

use crate::GROUPS;
use agency_adapter::bounded::PERSON;
use agency_adapter::datasets::Datasets;
use agency_adapter::engine::Engine;
use agency_adapter::views::Views;
use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Int16Array, Int64Array, RecordBatch, UInt32Array};
use firebreak_query::CheckedQuery;
use firebreak_tests::bench::{Aim, aimed, figure, peak_of, remark};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const SMALLEST: u64 = 100_000;
/// The size in the names of figures.
const NAMED: u64 = 100_000_000;
/// Rows written into a view's file at a time.
const WRITTEN: usize = 1_000_000;
/// The threads of an engine.
const THREADS: usize = 2;

/// What is measured of a size.
#[derive(Clone, Copy)]
pub enum Step {
    /// The register's file is written.
    File,
    /// The adapter makes the bounded view of that file, and asks it once.
    View,
    /// The engine is asked again and again, over rows of a view that are made in place.
    Engine,
}

/// What a step took.
struct Measured {
    seconds: f64,
    /// The most memory that its program ever had.
    kilobytes: u64,
}

impl Step {
    const ALL: [Self; 3] = [Self::File, Self::View, Self::Engine];

    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::View => "view",
            Self::Engine => "engine",
        }
    }

    /// The step as which this program was started, if it was.
    pub fn asked() -> Option<Self> {
        let first = std::env::args().nth(1)?;
        Self::ALL.into_iter().find(|step| step.name() == first)
    }

    /// Measures, as the program that was started for it, and prints what it took.
    pub async fn measure(self) -> Result<()> {
        let rows: u64 = std::env::args().nth(2).context("no number of rows")?.parse()?;
        let folder = PathBuf::from(std::env::args().nth(3).context("no folder")?);
        let seconds = match self {
            Self::File => {
                let begun = Instant::now();
                visits::write(rows, &folder)?;
                begun.elapsed().as_secs_f64()
            }
            Self::View => view(rows, &folder).await?,
            Self::Engine => engine(rows, &folder).await?,
        };
        println!("{seconds} {}", peak_of(Path::new("/proc/self"))?);
        Ok(())
    }

    /// Has a program of its own measure.
    fn run(self, rows: u64, folder: &Path) -> Result<Measured> {
        let mut program = Command::new(std::env::current_exe()?);
        let output = program.arg(self.name()).arg(rows.to_string()).arg(folder).output()?;
        ensure!(output.status.success(), "{}: {}", self.name(), String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let (seconds, kilobytes) = text.trim().split_once(' ').context("nothing was measured")?;
        Ok(Measured { seconds: seconds.parse()?, kilobytes: kilobytes.parse()? })
    }
}

impl Measured {
    fn megabytes(&self) -> f64 {
        self.kilobytes as f64 / 1024.0
    }
}

/// Measures sizes of which each is ten times the one before, and prints the figures.
pub fn measure(largest: u64) -> Result<()> {
    // On the disk and not in a folder that is kept in memory.
    let folder = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
    let primitives = visits::question(&visits::contract(SMALLEST)?)?.primitives().len() as u64;
    let sizes: Vec<u64> = std::iter::successors(Some(SMALLEST), |rows| rows.checked_mul(10))
        .take_while(|rows| *rows <= largest.max(SMALLEST))
        .collect();
    let mut measured = Vec::new();
    for rows in sizes {
        let engine = Step::Engine.run(rows, folder.path())?;
        let below = tempfile::tempdir_in(folder.path())?;
        let file = Step::File.run(rows, below.path())?;
        let view = Step::View.run(rows, below.path())?;
        // Room for the next size.
        below.close()?;
        remark(&format!(
            "{rows} rows: {:.1} ms of CPU in the engine, peak memory {:.0} MB; their view made of a file in {:.1} s, \
             peak memory {:.0} MB (the file written in {:.1} s)",
            engine.seconds * 1e3,
            engine.megabytes(),
            view.seconds,
            view.megabytes(),
            file.seconds,
        ));
        measured.push((rows, engine, view));
    }
    let points: Vec<_> = measured.iter().map(|(rows, engine, _)| ((*rows as f64).ln(), engine.seconds.ln())).collect();
    let (rows, engine, view) = measured.pop().context("nothing was measured")?;
    let each = engine.seconds * 1e9 / (rows * primitives) as f64;
    aimed("engine_per_row", each, "ns a row and figure, for which the tick is made", Aim::AtMost(5.0));
    let declared = visits::contract(rows)?;
    let declared = declared.unit_space.register_size * u64::from(declared.contribution.rows_per_person);
    let each = view.seconds * 1e9 / declared as f64;
    aimed("view_per_row", each, "ns a declared row, for which the tick is made", Aim::AtMost(2_000.0));
    aimed("growth_exponent_rows", slope(&points), "", Aim::AtMost(1.0));
    if rows == NAMED {
        aimed("peak_memory_1e8", engine.megabytes(), "MB", Aim::Text("the same as at fewer rows"));
        aimed("view_peak_memory_1e8", view.megabytes(), "MB", Aim::Text("the same as at fewer rows"));
    }
    figure("peak_memory_per_row", engine.kilobytes as f64 * 1024.0 / rows as f64, "bytes");
    Ok(())
}

/// The slope of the line through the points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

/// Seconds until the adapter has read and bounded the file.
async fn view(rows: u64, folder: &Path) -> Result<f64> {
    let (contract, kept) = (visits::contract(rows)?, folder.join("views"));
    let views = Views::open(&kept)?;
    let declared = contract.unit_space.register_size * u64::from(contract.contribution.rows_per_person);
    let in_memory = views.has_memory_for(declared, 2);
    let datasets = Datasets::new(folder.to_owned(), vec![visits::binding()?], [7; 32], THREADS, views);
    let (begun, cut) = (Instant::now(), contract.latest_cut().context("no cut")?);
    let engine = datasets.engine(std::slice::from_ref(&contract), cut).await?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(engine.execute(&visits::question(&contract)?).await?);
    let files = fs::read_dir(kept)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(files.len() == usize::from(!in_memory), "the view is kept elsewhere");
    for file in files {
        let file = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
        let found = file.metadata().file_metadata().num_rows();
        ensure!(u64::try_from(found)? == visits::kept(rows), "{found} rows in the view");
    }
    Ok(seconds)
}

/// CPU seconds of one question in the engine over a view of so many rows, after one that is not counted.
async fn engine(rows: u64, folder: &Path) -> Result<f64> {
    let query: CheckedQuery = visits::question(&visits::contract(rows)?)?;
    let views = Views::open(&folder.join("views"))?;
    let engine = if views.has_memory_for(rows, 2) {
        Engine::over(&some(0..rows)?, THREADS)?
    } else {
        let mut writer = views.write(some(0..0)?.schema())?;
        for start in (0..rows).step_by(WRITTEN) {
            writer.append(&some(start..rows.min(start + WRITTEN as u64))?)?;
        }
        Engine::over_file(writer.finish()?, THREADS).await?
    };
    drop(engine.execute(&query).await?);
    // As often as takes a second or so: CPU time comes in steps of 10 ms.
    let (before, runs) = (cpu()?, (100_000_000 / rows).clamp(3, 400) as u32);
    for _ in 0..runs {
        drop(engine.execute(&query).await?);
    }
    Ok((cpu()? - before).max(0.01) / f64::from(runs))
}

/// Rows of a view, of which there are three of each person.
fn some(rows: Range<u64>) -> Result<RecordBatch> {
    let number = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let persons: ArrayRef = Arc::new(rows.clone().map(|row| (row / 3) as u32).collect::<UInt32Array>());
    let clinic = |row: u64| (number(row) % GROUPS as u64) as i16;
    let clinics: ArrayRef = Arc::new(rows.clone().map(clinic).collect::<Int16Array>());
    let costs: ArrayRef = Arc::new(rows.map(|row| (number(row) % 500_000) as i64).collect::<Int64Array>());
    Ok(RecordBatch::try_from_iter([(PERSON, persons), ("clinic", clinics), ("cost", costs)])?)
}

/// CPU seconds of this process, in steps of 10 ms (proc_pid_stat(5)).
fn cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("not a stat file")?;
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.map(str::parse::<u64>).sum::<Result<u64, _>>()? as f64 / 100.0)
}
