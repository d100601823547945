//! Other programs: finding them, running them, reading what they print while a person reads it too.

use anyhow::{Context, Result, ensure};
use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// The cargo that runs this program.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // What `cargo run` says of this program is not for what it builds: build scripts of others read it, and would be
    // run anew after each change between this way and cargo by itself.
    for (name, _) in env::vars_os() {
        let of_this = |start: &str| name.to_str().is_some_and(|name| name.starts_with(start));
        if ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"].into_iter().any(of_this) {
            command.env_remove(&name);
        }
    }
    if std::io::stderr().is_terminal() {
        // Its output goes through a pipe of ours and would lose its colours.
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// Cargo's target folder: the one above the folder of this very program.
pub fn target_folder() -> Result<PathBuf> {
    let this = env::current_exe().context("this program does not know where it is")?;
    Ok(this.ancestors().nth(2).context("this program lies in no target folder")?.to_owned())
}

/// The program of that name in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a command ends well; what it prints is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a command whose output a person sees; an error if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| cannot_start(&name))?;
    ensure!(status.success(), "{} ended with {status}", shown(command));
    Ok(())
}

/// Runs a command, shows what it prints and gives each line to `read` as well, without colours.
/// True if it ended well.
pub fn run_and_read(command: &mut Command, read: &mut dyn FnMut(&str)) -> Result<bool> {
    let name = command.get_program().to_owned();
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().with_context(|| cannot_start(&name))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let copied = thread::spawn(move || copy(err, &mut std::io::stderr()));
    for line in copy(out, &mut std::io::stdout())? {
        read(&line);
    }
    let of_errors = copied.join().map_err(|_| anyhow::anyhow!("a line of {} could not be read", name.display()))?;
    for line in of_errors? {
        read(&line);
    }
    Ok(child.wait()?.success())
}

fn copy(from: Option<impl Read>, to: &mut impl Write) -> Result<Vec<String>> {
    let Some(from) = from else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    for line in BufReader::new(from).split(b'\n') {
        let line = line?;
        to.write_all(&line)?;
        to.write_all(b"\n")?;
        to.flush()?;
        lines.push(plain(&String::from_utf8_lossy(&line)));
    }
    Ok(lines)
}

/// A line without its terminal colours.
fn plain(line: &str) -> String {
    let mut rest = line.chars();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A sequence ends with its first letter.
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

fn cannot_start(name: &OsStr) -> String {
    format!("{} cannot be started", name.display())
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out_of_a_line() {
        assert_eq!(plain("\u{1b}[32;1m     Summary\u{1b}[0m [ 1s] ü"), "     Summary [ 1s] ü");
        assert_eq!(plain("as it is"), "as it is");
    }

    #[test]
    fn what_a_command_prints_on_either_stream_is_read_and_its_end_is_told() {
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; exit 3";
        let well = run_and_read(Command::new("sh").args(["-c", script]), &mut |line| lines.push(line.to_owned()));
        assert!(!well.unwrap());
        assert_eq!(lines, ["one", "two"]);
    }
}
