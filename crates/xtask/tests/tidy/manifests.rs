//! The `Cargo.toml` of each member, and what all of them have in common.

use crate::{assert_tidy, files, read, root};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A member of the workspace.
pub struct Member {
    /// The package's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Table,
}

/// A dependency as a member declares it.
pub struct Dependency<'a> {
    /// Its name.
    pub name: &'a str,
    /// What stands behind the name.
    pub declared: &'a Value,
    /// Whether it is for tests, examples and benchmarks alone.
    pub for_tests: bool,
}

impl Member {
    pub fn parse(folder: &Path, text: &str) -> Self {
        let manifest: Table = toml::from_str(text).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        Self { name, folder: folder.to_owned(), manifest }
    }

    pub fn dependencies(&self) -> Vec<Dependency<'_>> {
        let targets = self.manifest.get("target").and_then(Value::as_table);
        let of_targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        let mut found = Vec::new();
        for table in std::iter::once(&self.manifest).chain(of_targets) {
            for (key, for_tests) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
            {
                let entries = table.get(key).and_then(Value::as_table).into_iter().flatten();
                found.extend(entries.map(|(name, declared)| Dependency { name, declared, for_tests }));
            }
        }
        found
    }
}

/// All members, by the root manifest's list.
pub fn members() -> Vec<Member> {
    let manifest: Table = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let mut folders = Vec::new();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        match member.as_str().unwrap().strip_suffix("/*") {
            None => folders.push(root().join(member.as_str().unwrap())),
            Some(parent) => folders.extend(root().join(parent).read_dir().unwrap().map(|entry| entry.unwrap().path())),
        }
    }
    folders.sort();
    folders.iter().map(|folder| Member::parse(folder, &read(&folder.join("Cargo.toml")))).collect()
}

/// A member that stands in the place of a crate of others, whose version it must have.
const STANDS_IN: &str = "openssl";

/// Versions stand in the root alone, and every member takes edition, licence and lints from there.
fn not_inherited(member: &Member) -> Vec<String> {
    let inherits = |value: Option<&Value>| value.and_then(|v| v.get("workspace")) == Some(&Value::Boolean(true));
    let mut faults = Vec::new();
    for dependency in member.dependencies() {
        let stray = ["version", "path", "git", "registry"].iter().any(|key| dependency.declared.get(key).is_some());
        if stray || !inherits(Some(dependency.declared)) {
            faults.push(format!("{}: {} does not take its version from the root", member.name, dependency.name));
        }
    }
    for key in ["version", "edition", "rust-version", "license", "publish"] {
        let stands_in = key == "version" && member.name == STANDS_IN;
        if !stands_in && !inherits(member.manifest["package"].get(key)) {
            faults.push(format!("{}: package.{key} is not the workspace's", member.name));
        }
    }
    if !inherits(member.manifest.get("lints")) {
        faults.push(format!("{}: [lints] workspace = true is missing", member.name));
    }
    faults
}

/// Packages outside the workspace, which cannot take anything from the root by name. They say the same, each crate that
/// the root has a version of in that version; all others are theirs alone.
fn departs(package: &Member, workspace: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    for key in ["version", "edition", "rust-version", "license", "publish"] {
        if package.manifest["package"].get(key) != workspace["package"].get(key) {
            faults.push(format!("{}: package.{key} is not the workspace's", package.name));
        }
    }
    let version = |declared: &Value| declared.as_str().or_else(|| declared.get("version")?.as_str()).map(str::to_owned);
    for dependency in package.dependencies() {
        let of_root = workspace["dependencies"].get(dependency.name).and_then(version);
        if of_root.is_some() && version(dependency.declared) != of_root {
            faults.push(format!("{}: {} has another version than in the root", package.name, dependency.name));
        }
    }
    if package.manifest.get("workspace").and_then(Value::as_table).is_none_or(|table| !table.is_empty()) {
        faults.push(format!("{}: an empty [workspace] keeps it to itself", package.name));
    }
    faults
}

/// A crate that none of a member's sources names, and an entry of the root that no member takes.
fn unused(member: &Member, sources: &str) -> Vec<String> {
    let dependencies = member.dependencies().into_iter();
    let idle = dependencies.filter(|d| !sources.contains(&d.name.replace('-', "_")));
    idle.map(|d| format!("{}: no source names the dependency {}", member.name, d.name)).collect()
}

#[test]
fn versions_and_lints_stand_in_the_root_alone() {
    assert_tidy(&members().iter().flat_map(not_inherited).collect::<Vec<_>>());
}

#[test]
fn what_stands_outside_the_workspace_is_named_and_locked_and_departs_in_its_own_crates_alone() {
    let manifest: Table = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let workspace = manifest["workspace"].as_table().unwrap();
    let excluded = workspace["exclude"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    assert_eq!(excluded.clone().collect::<Vec<_>>(), ["tests/fuzz/libfuzzer", "tests/oracle"]);
    for folder in excluded.map(|path| root().join(path)) {
        let package = Member::parse(&folder, &read(&folder.join("Cargo.toml")));
        assert!(folder.join("Cargo.lock").is_file(), "{} has no Cargo.lock", package.name);
        assert_tidy(&departs(&package, workspace));
    }
}

#[test]
fn every_dependency_is_used() {
    let members = members();
    let mut faults = Vec::new();
    for member in members.iter().filter(|member| member.name != "firebreak-tests") {
        let sources = files(&member.folder, &|path| path.extension().is_some_and(|e| e == "rs"));
        faults.extend(unused(member, &sources.iter().map(|path| read(path)).collect::<String>()));
    }
    let mut taken: BTreeSet<_> = members.iter().flat_map(Member::dependencies).map(|d| d.name.to_owned()).collect();
    taken.extend(members.iter().map(|member| member.name.clone()));
    let manifest: Table = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let listed = manifest["workspace"]["dependencies"].as_table().unwrap().keys();
    let idle = listed.filter(|name| !taken.contains(*name));
    faults.extend(idle.map(|name| format!("Cargo.toml: no member takes {name}")));
    assert_tidy(&faults);
}

#[test]
fn the_workspace_forbids_unsafe_code_and_denies_panics() {
    let manifest: Table = toml::from_str(&read(&root().join("Cargo.toml"))).unwrap();
    let lints = &manifest["workspace"]["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for lint in ["unwrap_used", "expect_used", "panic", "todo", "unimplemented", "unreachable"] {
        assert_eq!(lints["clippy"][lint].as_str(), Some("deny"), "{lint}");
    }
}

#[test]
fn a_version_of_its_own_a_missing_lint_and_an_idle_dependency_are_found() {
    let planted = "[package]\nname = \"planted\"\nversion.workspace = true\nedition = \"2021\"\n\
                   rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
                   [dependencies]\nserde = \"1\"\nhex.workspace = true\n\
                   [target.'cfg(unix)'.dev-dependencies]\ntime = { workspace = true, path = \"../time\" }";
    let member = Member::parse(Path::new("planted"), planted);
    assert_eq!(
        not_inherited(&member),
        [
            "planted: serde does not take its version from the root",
            "planted: time does not take its version from the root",
            "planted: package.edition is not the workspace's",
            "planted: [lints] workspace = true is missing",
        ]
    );
    assert_eq!(unused(&member, "use serde; use time::Date;"), ["planted: no source names the dependency hex"]);
}

#[test]
fn a_package_outside_the_workspace_that_departs_from_it_is_found() {
    let workspace = "[package]\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.95\"\nlicense = \"A\"\n\
                     publish = false\n[dependencies]\nserde = \"1\"\nrand = { version = \"0.9\" }";
    let planted = "[package]\nname = \"planted\"\nversion = \"0.1.0\"\nedition = \"2021\"\nrust-version = \"1.95\"\n\
                   license = \"A\"\npublish = false\n[dependencies]\nserde = \"1\"\nrand = \"0.8\"\nvoprf = \"=0.6\"";
    let member = Member::parse(Path::new("planted"), planted);
    assert_eq!(
        departs(&member, &toml::from_str(workspace).unwrap()),
        [
            "planted: package.edition is not the workspace's",
            "planted: rand has another version than in the root",
            "planted: an empty [workspace] keeps it to itself",
        ]
    );
}
