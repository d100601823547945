//! Generated code is checked in, so that a build needs no code generator and a review sees what changed.

use anyhow::{Context, Result, ensure};
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};

/// Generates into `crates/wire/src/gen`, or with `check` compares with what stands there.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let target = root.join("crates/wire/src/gen");
    let fresh = std::env::temp_dir().join(format!("firebreak-codegen-{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    let outcome =
        generate(root, &fresh).and_then(|()| if check { compare(&fresh, &target) } else { replace(&fresh, &target) });
    fs::remove_dir_all(&fresh)?;
    outcome
}

fn generate(root: &Path, out: &Path) -> Result<()> {
    let include = root.join("proto");
    let mut protos = Vec::new();
    collect(&include, &mut protos)?;
    protos.sort();
    let mut descriptors = protox::compile(&protos, [&include]).context("the files in proto/ do not compile")?;
    tonic_prost_build::configure().out_dir(out).include_file("mod.rs").compile_fds(descriptors.clone())?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}

fn collect(folder: &Path, protos: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, protos)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            protos.push(path);
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<_> =
        fs::read_dir(folder)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

fn compare(fresh: &Path, target: &Path) -> Result<()> {
    let stale = "crates/wire/src/gen is not what proto/ gives: run `cargo xtask codegen` and commit the result";
    ensure!(names(fresh)? == names(target)?, stale);
    for name in names(fresh)? {
        ensure!(fs::read(fresh.join(&name))? == fs::read(target.join(&name))?, stale);
    }
    println!("generated code is current");
    Ok(())
}

fn replace(fresh: &Path, target: &Path) -> Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::create_dir_all(target)?;
    for name in names(fresh)? {
        fs::copy(fresh.join(&name), target.join(&name))?;
    }
    println!("wrote {}", target.display());
    Ok(())
}
