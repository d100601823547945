//! `firebreak`: see `firebreak --help`.

use clap::Parser;
use firebreak::Arguments;
use firebreak::terminal::{Terminal, Width};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let (out_is_terminal, err_is_terminal) = (out.is_terminal(), err.is_terminal());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        width: Width::of_environment().columns(),
        out_is_terminal,
        err_is_terminal,
    };
    firebreak::run(arguments, &mut terminal).await.into()
}
