//! `cargo xtask fuzz`: libFuzzer on the targets of `tests/fuzz`, guided by which code an input reaches.
//!
//! The code is built once more, with the counters of LLVM's SanitizerCoverage
//! (<https://clang.llvm.org/docs/SanitizerCoverage.html>), which the stable compiler makes as well as any. Other sanitizers
//! would take an unstable one; there is no unsafe code of ours that they could watch.

use crate::commands::{self, cargo, target_folder};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = "tests/fuzz/libfuzzer/Cargo.toml";
/// What stands in `.cargo/config.toml`, which `RUSTFLAGS` replaces, and the counters.
const FLAGS: &[&str] = &[
    "--cfg=curve25519_dalek_backend=\"avx512\"",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// The longest input, in bytes: what makes a decoder slow without showing anything new is left out.
const LONGEST: u32 = 64 * 1024;

/// Runs libFuzzer for `seconds` on each of the targets named, or on all. What it finds on its way is kept under
/// `target/libfuzzer` and taken up the next time; an input that breaks something is named, and to be copied to
/// `tests/fuzz/corpus`. True if nothing was broken.
pub fn run(root: &Path, names: &[String], seconds: u32) -> Result<bool> {
    let folder = target_folder()?.join("libfuzzer");
    let program = build(root, &folder)?;
    let samples = fresh(&folder.join("samples"))?;
    commands::run(Command::new(&program).arg("-runs=0").env("FIREBREAK_FUZZ_SAMPLES", &samples))?;
    let known = folders(&samples)?;
    let mut broken = Vec::new();
    for name in chosen(&known, names)? {
        println!("\n{name}: {seconds} s");
        let [found, breaking] = ["found", "breaking"].map(|kind| folder.join(kind).join(name));
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&breaking)?;
        let mut command = Command::new(&program);
        command.env("FIREBREAK_FUZZ_TARGET", name).current_dir(root);
        command.args([format!("-max_total_time={seconds}"), format!("-max_len={LONGEST}")]);
        command.args(["-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-verbosity=1"]);
        command.arg(format!("-artifact_prefix={}/", breaking.display()));
        // What is new goes into the first of them.
        command.args([found, samples.join(name)]).args(kept(root, name));
        if let Err(error) = commands::run(&mut command) {
            println!("{name}: {error}");
            broken.push((name, breaking));
        }
    }
    for (name, breaking) in &broken {
        println!("\n{name} breaks on what lies in {}: copy it to tests/fuzz/corpus/{name}/", breaking.display());
    }
    Ok(broken.is_empty())
}

fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let host = host(root)?;
    let mut build = cargo(root);
    // Naming the target keeps the counters out of build scripts and macros.
    build.args(["build", "--release", "--manifest-path", MANIFEST, "--target", &host]);
    build.env("CARGO_TARGET_DIR", folder).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    commands::run(&mut build)?;
    Ok(folder.join(host).join("release/firebreak-libfuzzer"))
}

/// The machine that the compiler builds for if nothing is said.
fn host(root: &Path) -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(root).output().context("rustc cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say for what machine it builds")?.to_owned())
}

/// An empty folder of that name.
fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

fn folders(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The inputs that once broke the target, if there are any.
fn kept(root: &Path, name: &str) -> Option<PathBuf> {
    Some(root.join("tests/fuzz/corpus").join(name)).filter(|folder| folder.is_dir())
}

fn chosen<'a>(known: &'a [String], names: &'a [String]) -> Result<&'a [String]> {
    for name in names {
        ensure!(known.contains(name), "there is no target {name}; there are: {}", known.join(", "));
    }
    Ok(if names.is_empty() { known } else { names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_there_is_refused_with_those_that_are() {
        let known = ["leaf", "sql"].map(str::to_owned);
        assert_eq!(chosen(&known, &[]).unwrap(), known);
        assert_eq!(chosen(&known, &known[1..]).unwrap(), ["sql"]);
        let refused = chosen(&known, &["leaves".to_owned()]).unwrap_err();
        assert_eq!(refused.to_string(), "there is no target leaves; there are: leaf, sql");
    }

    /// `RUSTFLAGS` take the place of what the configuration says: whatever stands there has to stand here too.
    #[test]
    fn the_flags_of_every_build_are_among_those_of_this_one() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cargo/config.toml");
        let config: toml::Table = toml::from_str(&fs::read_to_string(config).unwrap()).unwrap();
        let flags = config["build"]["rustflags"].as_array().unwrap();
        let flags: Vec<_> = flags.iter().map(|flag| flag.as_str().unwrap()).collect();
        assert!(FLAGS.join(" ").replace("--cfg=", "--cfg ").starts_with(&flags.join(" ")), "{flags:?}");
    }
}
