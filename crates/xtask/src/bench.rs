//! `cargo xtask bench`: the programs under `tests/bench`.

use crate::commands::{self, cargo, target_folder};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

const PREFIX: &str = "bench-";
/// With what a figure's line ends if its aim is missed.
const MISSED: &str = " MISSED";
/// The examples that measurements start: plain SQL, which one compares with, and what is killed while it charges.
const EXAMPLES: [&str; 2] = ["plain_sql", "charger"];

/// Runs the measurements named, or all, built with a profile of cargo's. Their lines, `name: value unit`, are printed
/// as they are, and at the end once more those of which an aim was missed. `arguments` are for the one measurement that
/// is named; what they mean stands at the head of its file. True if every one ended well, whatever it measured.
pub fn run(root: &Path, names: &[String], arguments: &[String], profile: &str) -> Result<bool> {
    let manifest = root.join("tests/Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let known = programs(&toml::from_str(&text)?);
    if known.is_empty() {
        println!("nothing to measure: tests/Cargo.toml has no [[bin]] whose name begins with {PREFIX}");
        return Ok(true);
    }
    let chosen = chosen(&known, names, arguments)?;
    // They start the other programs, all built by the one choice of packages and features that the tests are built by.
    let mut build = cargo(root);
    build.args(["build", "--workspace", "--bins", "--profile", profile]);
    commands::run(build.args(EXAMPLES.iter().flat_map(|example| ["--example", example])))?;
    let folder = folder_of(profile)?;
    let (mut all_went_well, mut missed) = (true, Vec::new());
    for name in chosen {
        // Not by `cargo run`, which would choose one package and build what they share once more for it.
        let mut command = Command::new(folder.join(format!("{PREFIX}{name}")));
        let mut read = |line: &str| {
            if line.ends_with(MISSED) {
                missed.push(format!("{name}: {line}"));
            }
        };
        let went_well = commands::run_and_read(command.args(arguments).current_dir(root), &mut read);
        if !went_well.unwrap_or_else(|error| {
            println!("{error}");
            false
        }) {
            println!("{name} failed");
            all_went_well = false;
        }
    }
    if !missed.is_empty() {
        println!("aims that were missed:\n  {}", missed.join("\n  "));
    }
    Ok(all_went_well)
}

/// Where cargo puts what it builds with a profile.
fn folder_of(profile: &str) -> Result<PathBuf> {
    Ok(target_folder()?.join(if profile == "dev" { "debug" } else { profile }))
}

/// The names of the measuring programs in a manifest, without their prefix, in the manifest's order.
fn programs(manifest: &Table) -> Vec<String> {
    let bins = manifest.get("bin").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = bins.iter().filter_map(|bin| bin.get("name")?.as_str()?.strip_prefix(PREFIX));
    names.map(str::to_owned).collect()
}

fn chosen<'a>(known: &'a [String], names: &'a [String], arguments: &[String]) -> Result<&'a [String]> {
    ensure!(
        arguments.is_empty() || names.len() == 1,
        "arguments mean something else to each measurement: name the one that they are for, before the --"
    );
    if names.is_empty() {
        return Ok(known);
    }
    for name in names {
        ensure!(known.contains(name), "nothing is measured under the name {name}; there are: {}", known.join(", "));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str =
        "[[bin]]\nname = \"bench-match\"\n[[bin]]\nname = \"other\"\n[[bin]]\nname = \"bench-query\"";

    #[test]
    fn only_programs_named_bench_are_measurements() {
        assert_eq!(programs(&toml::from_str(MANIFEST).unwrap()), ["match", "query"]);
        assert!(programs(&Table::new()).is_empty());
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_with_those_that_are() {
        let known = programs(&toml::from_str(MANIFEST).unwrap());
        assert_eq!(chosen(&known, &[], &[]).unwrap(), known);
        assert_eq!(chosen(&known, &["query".to_owned()], &[]).unwrap(), ["query"]);
        let refused = chosen(&known, &["speed".to_owned()], &[]).unwrap_err();
        assert!(refused.to_string().ends_with("there are: match, query"));
    }

    #[test]
    fn arguments_are_for_one_measurement_that_is_named() {
        let known = programs(&toml::from_str(MANIFEST).unwrap());
        let arguments = ["1000".to_owned()];
        assert_eq!(chosen(&known, &known[1..], &arguments).unwrap(), ["query"]);
        for several in [&[][..], &known] {
            let refused = chosen(&known, several, &arguments).unwrap_err();
            assert!(refused.to_string().contains("name the one"), "{refused}");
        }
    }
}
