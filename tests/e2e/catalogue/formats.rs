//! R5, R34: answers as other programs read them, each format by a reader that is not ours.

use super::{Done, assert_fits, firebreak, program, query};
use crate::python::script;
use anyhow::{Context, Result, bail, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use firebreak_tests::{Shared, run, shared};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const BY_REGION_AND_YEAR: &str = "SELECT region, visit_year, COUNT(*) AS visits, AVG(cost) AS mean_cost \
                                  FROM health.visits GROUP BY region, visit_year";
const OUTPUTS: [&str; 2] = ["visits", "mean_cost"];
const FIGURES: usize = super::REGIONS * 5 * OUTPUTS.len();

/// Value, standard error and ends of the interval; status.
type Figure = ([Option<f64>; 4], String);
/// By region, year and output.
type Figures = BTreeMap<[String; 3], Figure>;

/// Asks always under one request id: it is one answer, and paid once.
fn asked(shared: &Shared, more: &[&str]) -> Result<Done> {
    let again = ["--request-id", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"];
    let done = firebreak(shared, "flora", &query(BY_REGION_AND_YEAR, &[more, again.as_slice()].concat()))?;
    ensure!(done.code == Some(0), "{more:?}: {}", done.err);
    ensure!(done.err.contains("0.0005"), "the cost is not told beside the answer:\n{}", done.err);
    Ok(done)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

fn of_csv(text: &str) -> Result<Figures> {
    let mut lines = text.split_terminator("\r\n");
    let heading = "region,visit_year,visits,visits_standard_error,visits_lower,visits_upper,visits_status,\
                   mean_cost,mean_cost_standard_error,mean_cost_lower,mean_cost_upper,mean_cost_status";
    ensure!(lines.next() == Some(heading), "{text}");
    let mut figures = Figures::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [region, year, own @ ..] = fields.as_slice() else { bail!("a short line: {line}") };
        for (own, output) in own.chunks(5).zip(OUTPUTS) {
            let [numbers @ .., status] = own else { bail!("a short line: {line}") };
            let mut read = [None; 4];
            read.iter_mut().zip(numbers).for_each(|(read, number)| *read = number.parse().ok());
            figures.insert([*region, *year, output].map(str::to_owned), (read, (*status).to_owned()));
        }
    }
    Ok(figures)
}

fn of_json(text_of_all: &str) -> Result<(Value, Figures)> {
    let all: Value = serde_json::from_str(text_of_all)?;
    let mut figures = Figures::new();
    for row in at(&all, "/rows").as_array().context("no rows")? {
        for output in OUTPUTS {
            let own = |key: &str| at(row, &format!("/outputs/{output}/{key}"));
            let numbers = ["value", "standard_error", "lower_95", "upper_95"].map(|key| own(key).as_f64());
            let key = [text(at(row, "/groups/region")), text(at(row, "/groups/visit_year")), output.to_owned()];
            figures.insert(key, (numbers, text(own("status"))));
        }
    }
    Ok((all, figures))
}

fn of_parquet(file: &Path) -> Result<Figures> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()?;
    let mut figures = Figures::new();
    for batch in batches {
        let batch: RecordBatch = batch?;
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no {name}"));
        let texts = |name: &str| -> Result<Vec<String>> {
            Ok(column(name)?.as_string::<i32>().iter().map(|code| code.unwrap_or_default().to_owned()).collect())
        };
        let (regions, years) = (texts("region")?, texts("visit_year")?);
        for output in OUTPUTS {
            let statuses = texts(&format!("{output}_status"))?;
            let numbers = |suffix: &str| -> Result<Vec<Option<f64>>> {
                Ok(column(&format!("{output}{suffix}"))?.as_primitive::<Float64Type>().iter().collect())
            };
            let (values, errors) = (numbers("")?, numbers("_standard_error")?);
            let ends = numbers("_lower")?.into_iter().zip(numbers("_upper")?);
            let keys = regions.iter().zip(&years).zip(statuses);
            for ((((region, year), status), (low, high)), (value, error)) in
                keys.zip(ends).zip(values.into_iter().zip(errors))
            {
                figures.insert(
                    [region.as_str(), year.as_str(), output].map(str::to_owned),
                    ([value, error, low, high], status),
                );
            }
        }
    }
    Ok(figures)
}

/// What `tests/python/formats.py` read.
fn by_python(what: &str, file: &Path, dimensions: &[&str]) -> Result<Value> {
    let file = file.display().to_string();
    let arguments = [&[what, file.as_str()], dimensions].concat();
    Ok(serde_json::from_str(&script("formats.py", &arguments, "")?)?)
}

fn same(format: &str, found: &Figures, expected: &Figures) -> Result<()> {
    assert_eq!(found.len(), FIGURES, "{format}");
    for (key, (numbers, status)) in expected {
        let (found, its_status) = found.get(key).with_context(|| format!("{format} has no {key:?}"))?;
        assert_eq!(its_status, status, "{format} {key:?}");
        for (found, number) in found.iter().zip(numbers) {
            // The last bit may be lost where a number was read from JSON by this test.
            let near = |a: f64, b: f64| (a - b).abs() <= 4.0 * f64::EPSILON * b.abs();
            let alike = match (found, number) {
                (Some(found), Some(number)) => near(*found, *number),
                (found, number) => found == number,
            };
            assert!(alike, "{format} {key:?}: {found:?}, in CSV {number:?}");
        }
    }
    Ok(())
}

#[test]
fn every_format_tells_the_same_figures_to_readers_that_are_not_ours() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        let written = |format: &str, name: &str| -> Result<String> {
            let file = file(name).display().to_string();
            let done = asked(shared, &["--format", format, "--out", &file])?;
            ensure!(done.out.is_empty() && done.err.contains("Wrote "), "{}{}", done.out, done.err);
            Ok(done.err)
        };
        let csv = asked(shared, &["--csv"])?.out;
        assert_eq!(asked(shared, &["--format", "csv"])?.out, csv);
        let expected = of_csv(&csv)?;
        assert_eq!(expected.len(), FIGURES);
        assert!(expected.values().any(|(numbers, _)| numbers[0].is_some()));

        let (all, figures) = of_json(&asked(shared, &["--format", "json"])?.out)?;
        same("json", &figures, &expected)?;
        let told = |key: &str| text(&all[key]);
        assert_eq!((told("dataset").as_str(), told("cut").as_str()), ("health.visits", "2024-Q4"));
        assert_eq!((all["format"].as_u64(), all["cost"]["rho"].as_f64()), (Some(1), Some(0.0005)));
        assert!(told("release_id").len() > 20 && told("estimand").contains("bounded"), "{all}");

        let beside = written("parquet", "a.parquet")?;
        assert!(beside.contains(&told("release_id")), "{beside}");
        same("parquet", &of_parquet(&file("a.parquet"))?, &expected)?;
        let read = by_python("parquet", &file("a.parquet"), &[])?;
        for key in ["release_id", "dataset", "cut", "mechanism", "estimand"] {
            assert_eq!(text(&read["metadata"][key]), told(key), "{key}");
        }
        assert_eq!(text(&read["metadata"]["cost"]), "0.0005");
        let rows = read["rows"].as_array().context("no rows")?;
        let mut figures = Figures::new();
        for (row, output) in rows.iter().flat_map(|row| OUTPUTS.map(|output| (row, output))) {
            let numbers = ["", "_standard_error", "_lower", "_upper"].map(|s| row[format!("{output}{s}")].as_f64());
            let key = [text(&row["region"]), text(&row["visit_year"]), output.to_owned()];
            figures.insert(key, (numbers, text(&row[format!("{output}_status")])));
        }
        same("parquet by Python", &figures, &expected)?;
        Ok(())
    })
}

#[test]
fn sdmx_csv_is_read_by_sdmx1_with_its_dimensions_and_attributes() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        let expected = of_csv(&asked(shared, &["--csv"])?.out)?;
        let release = of_json(&asked(shared, &["--format", "json"])?.out)?.0;
        let file = folder.path().join("a.csv");
        asked(shared, &["--format", "sdmx-csv", "--out", &file.display().to_string()])?;
        let written = std::fs::read_to_string(&file)?;
        let id = "datastructure,FIREBREAK:HEALTH_VISITS-REGION-TIME_PERIOD(1.0.0),I,";
        assert!(written.lines().skip(1).all(|line| line.starts_with(id)), "{written}");

        // The year of the visit is the time, by the contract; nothing is left over that the structure does not have.
        let read = by_python("sdmx", &file, &["REGION", "TIME_PERIOD", "MEASURE"])?;
        assert_eq!(text(&read["action"]), "information");
        let mut figures = Figures::new();
        for observation in read["observations"].as_array().context("no observations")? {
            let (key, attributes) = (&observation["key"], &observation["attributes"]);
            let number = |value: &Value| text(value).parse().ok();
            let [value, error, low, high] =
                [&observation["value"], &attributes["STD_ERROR"], &attributes["LOWER_95"], &attributes["UPPER_95"]];
            let numbers = [value, error, low, high].map(number);
            assert_eq!(text(&attributes["CONF_STATUS"]), "N");
            assert_eq!(attributes["RELEASE_ID"], release["release_id"]);
            assert_eq!(text(&attributes["CUT"]), "2024-Q4");
            let key = ["REGION", "TIME_PERIOD", "MEASURE"].map(|dimension| text(&key[dimension]));
            assert!(figures.insert(key, (numbers, text(&attributes["OBS_STATUS"]))).is_none());
        }
        same("sdmx-csv", &figures, &expected)?;

        // The reader is no yes-man: with another structure it complains.
        let error = by_python("sdmx", &file, &["REGION", "VISIT_YEAR", "MEASURE"]).unwrap_err().to_string();
        assert!(error.contains("TIME_PERIOD") || error.contains("VISIT_YEAR"), "{error}");
        Ok(())
    })
}

#[test]
fn without_a_month_or_a_year_there_is_no_time_period() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.csv");
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        let out = file.display().to_string();
        let done = firebreak(shared, "flora", &query(sql, &["--format", "sdmx-csv", "--out", &out]))?;
        assert_eq!(done.code, Some(0), "{}", done.err);
        let read = by_python("sdmx", &file, &["REGION", "MEASURE"])?;
        assert_eq!(read["observations"].as_array().map(Vec::len), Some(super::REGIONS), "{read}");
        Ok(())
    })
}

/// The same command on a terminal so wide: how it ended, and what stood there.
fn on_a_terminal(shared: &Shared, id: &str, columns: usize, words: &[&str]) -> Result<(i32, String)> {
    shared.federation.issue("nso", "analyst", id)?;
    let command = program("firebreak")?.get_program().to_string_lossy().into_owned();
    let profile = shared.federation.layout().root().join(format!("{id}.toml")).display().to_string();
    let columns = columns.to_string();
    let before = [columns.as_str(), command.as_str()];
    let words = [before.as_slice(), words, &["--profile", profile.as_str()]].concat();
    for _ in 0..60 {
        let written = script("terminal.py", &words, "")?;
        let (ended, shown) = written.split_once('\n').context("nothing was written")?;
        if !shown.contains("EVIDENCE_OUTSTANDING") {
            let code = ended.strip_prefix("ended ").context("how it ended is not told")?;
            return Ok((code.parse()?, shown.replace("\r\n", "\n")));
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    bail!("the adapter did not get to see the log")
}

#[test]
fn a_terminal_shows_bars_where_they_fit_and_is_spared_what_is_binary() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let sql = "SELECT region, COUNT(*) AS visits FROM health.visits GROUP BY region";
        // The profile is written by the first.
        let piped = firebreak(shared, "tina", &query(sql, &[]))?;
        assert_eq!(piped.code, Some(0), "{}", piped.err);
        assert!(!piped.out.contains(['●', '├']), "{}", piped.out);

        let (code, shown) = on_a_terminal(shared, "tina", 80, &query(sql, &[]))?;
        assert_eq!(code, 0, "{shown}");
        let bars = shown.lines().filter(|line| line.starts_with('R') && line.matches('●').count() == 1).count();
        assert_eq!(bars, super::REGIONS, "{shown}");
        // What a progress line, if there was one, left: everything before its end is gone.
        let left: Vec<&str> = shown.lines().map(|line| line.rsplit("\u{1b}[K").next().unwrap_or(line)).collect();
        assert_fits(&left.join("\n"));
        assert!(!left.iter().any(|line| line.contains('…') && !line.starts_with('R')), "{shown}");

        let (code, shown) = on_a_terminal(shared, "tina", 44, &query(sql, &[]))?;
        assert!(code == 0 && !shown.contains('●'), "{shown}");

        let (code, shown) = on_a_terminal(shared, "tina", 80, &query(sql, &["--format", "parquet"]))?;
        assert_eq!(code, 2, "{shown}");
        assert!(shown.contains("--out FILE") && !shown.contains("Accepted"), "{shown}");
        Ok(())
    })
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_asked() -> Result<()> {
    run(async {
        let shared = shared().await?;
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("nowhere/a.json").display().to_string();
        let done = firebreak(shared, "flora", &query(BY_REGION_AND_YEAR, &["--format", "json", "--out", &out]))?;
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains(&out) && done.err.contains("choose a file in a folder"), "{}", done.err);
        assert!(!done.err.contains("Accepted"), "{}", done.err);

        let done = firebreak(shared, "flora", &query(BY_REGION_AND_YEAR, &["--out", &out]))?;
        assert!(done.code == Some(2) && done.err.contains("--format"), "{}", done.err);

        // An export, too, is asked for only where it can be kept.
        let export = |out: &str| {
            let sql = "SELECT mode, COUNT(*) AS assignments FROM health.interpreting GROUP BY mode";
            let right = ["--agreement", "interpreting-statistics", "--purpose", "interpreting-planning"];
            let words = [&["export", sql, "--kind", "dp_aggregate", "--out", out], &right[..]].concat();
            firebreak(shared, "flora", &words)
        };
        let done = export(&out)?;
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains("choose a file in a folder") && !done.err.contains("Accepted"), "{}", done.err);
        let out = folder.path().join("a.csv").display().to_string();
        let done = export(&out)?;
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.err.contains("Wrote ") && std::fs::read_to_string(&out)?.starts_with("mode,assignments,"));

        // A refusal leaves no file.
        let out = folder.path().join("b.json");
        let sql = "SELECT national_number, COUNT(*) AS n FROM health.visits GROUP BY national_number";
        let words = ["--format", "json", "--out", &out.display().to_string()];
        let done = firebreak(shared, "flora", &query(sql, &words))?;
        assert_eq!(done.code, Some(3), "{}", done.err);
        assert!(!out.exists());
        Ok(())
    })
}
