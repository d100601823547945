//! Files and folders.

use crate::{assert_tidy, files, has_extension, read, root};
use std::path::Path;
use toml::Table;

/// What stands at the top, beside files and folders whose name begins with a dot.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agency-adapter",
    "clippy.toml",
    "crates",
    "deploy",
    "docs",
    "gateway",
    "proto",
    "rustfmt.toml",
    // What a build leaves.
    "target",
    "tests",
];

/// The most lines of a file; from here on it is two files.
const LINES: usize = 600;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] =
    &["common", "data", "handler", "helper", "helpers", "info", "manager", "processor", "util", "utils"];

/// Attributes and macros with which a test would be left out, or code left for later. Spelt so that this file is clean.
const LEFT_OUT: &[&str] =
    &[concat!("#[ign", "ore"), concat!("tod", "o!("), concat!("unimplem", "ented!("), concat!("FIX", "ME")];

fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LINES {
        faults.push(format!("{path}: {lines} lines; split it by topic from {LINES}"));
    }
    let stem = Path::new(path).file_stem().unwrap().to_string_lossy().into_owned();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        faults.push(format!("{path}: the name does not say what is in it"));
    }
    let left_out = LEFT_OUT.iter().filter(|marker| text.contains(**marker));
    faults.extend(left_out.map(|marker| format!("{path}: {marker} leaves something out")));
    faults
}

#[test]
fn files_are_short_and_named_for_what_is_in_them_and_leave_nothing_out() {
    let generated = root().join("crates/wire/src/gen");
    let ours = files(&root(), &|path| has_extension(path, &["rs", "proto"]) && !path.starts_with(&generated));
    assert!(ours.len() > 50, "the tree was not read");
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    assert_tidy(&ours.iter().flat_map(|path| faults(&relative(path), &read(path))).collect::<Vec<_>>());
}

#[test]
fn nothing_new_stands_at_the_top() {
    let entries = root().read_dir().unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let strays = entries.filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    assert_tidy(&strays.map(|name| format!("{name}: not a permitted entry of the root")).collect::<Vec<_>>());
}

#[test]
fn every_toml_sample_is_toml() {
    let samples = files(&root().join("deploy"), &|path| has_extension(path, &["toml"]));
    assert!(samples.len() >= 2, "deploy/ was not read");
    let broken = samples.iter().filter_map(|path| {
        let error = toml::from_str::<Table>(&read(path)).err()?;
        Some(format!("{}: {}", path.display(), error.message()))
    });
    assert_tidy(&broken.collect::<Vec<_>>());
}

#[test]
fn a_long_file_an_empty_name_and_a_test_left_out_are_found() {
    let text = format!("{}fn slow() {{}}\n{}]\n", "//\n".repeat(599), LEFT_OUT[0]);
    assert_eq!(faults("crates/a/src/helpers.rs", &text).len(), 3);
    assert!(faults("crates/a/src/tile.rs", &"//\n".repeat(600)).is_empty());
}
