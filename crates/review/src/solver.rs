use cedar_policy_symcc::solver::LocalSolver;
use std::env;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The solver's program, cvc5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solver {
    program: PathBuf,
}

/// There is no solver on this machine. The proof is never skipped for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no cvc5 found: install it (apt-get install cvc5), or name the program in the environment variable CVC5")]
pub struct SolverMissing;

impl Solver {
    /// Finds cvc5: the program that the environment variable `CVC5` names, else `cvc5` in `PATH`, else `.tools/cvc5`
    /// or `.tools/bin/cvc5` in the current folder or one above it.
    ///
    /// # Errors
    /// [`SolverMissing`].
    pub fn find() -> Result<Self, SolverMissing> {
        if let Some(named) = env::var_os("CVC5") {
            return Self::at(Path::new(&named));
        }
        let in_path = env::var_os("PATH").map(|p| env::split_paths(&p).collect::<Vec<_>>()).unwrap_or_default();
        let here = env::current_dir().unwrap_or_default();
        let tools = here.ancestors().flat_map(|at| [at.join(".tools"), at.join(".tools/bin")]);
        let found = in_path.into_iter().chain(tools).map(|folder| folder.join("cvc5")).find(|file| file.is_file());
        found.map(|program| Self { program }).ok_or(SolverMissing)
    }

    /// The solver at that path.
    ///
    /// # Errors
    /// [`SolverMissing`] if there is no such file.
    pub fn at(program: &Path) -> Result<Self, SolverMissing> {
        if program.is_file() { Ok(Self { program: program.to_owned() }) } else { Err(SolverMissing) }
    }

    /// Starts it. It ends with the value returned.
    pub(crate) fn start(&self) -> Result<LocalSolver, String> {
        let mut command = Command::new(&self.program);
        command.kill_on_drop(true).args(["--lang", "smt", &format!("--tlimit-per={LIMIT_MS}")]);
        LocalSolver::from_command(&mut command).map_err(|e| e.to_string())
    }
}

/// How long the solver may take for one question, in milliseconds. It answers `unknown` then, which is a failure.
pub(crate) const LIMIT_MS: u64 = 60_000;
