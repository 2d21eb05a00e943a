//! The command line: look at the terminal, run, map the end to an exit code.
//!
//! Built by itself for those who work on it. Installed, it is an entry of the one program (`agentd.rs`), reached by
//! the name `agentctl`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use agentd::cli::{self, Outside, Terminal};
use agentd::daemon;
use agentd::host::clock::SystemClock;
use agentd::worker::{Means, Worker};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Built by itself it is its own worker, too; installed, the daemon's entry is called.
    if let Some(worker) = Worker::asked_for(std::env::args_os()) {
        return ended(worker.main());
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut err = io::stderr().lock();
    let mut outside = Outside {
        out: &mut out,
        err: &mut err,
        terminal: terminal(),
        clock: Arc::new(SystemClock),
        zone: jiff::tz::TimeZone::system(),
        here: std::env::current_dir().unwrap_or_default(),
        host: daemon::this_host,
        heads: cli::heads_in_journal,
        // Nothing is changed through it: no window for a confirmation is needed.
        engine: || daemon::kinds(&Arc::default(), &Arc::default()),
        workers: &Means::of_command(),
    };
    let exit = cli::run(std::env::args_os(), &mut outside);
    match out.flush() {
        Ok(()) => ExitCode::from(exit.code()),
        // Someone reads only the beginning (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(exit.code()),
        Err(_) => ExitCode::from(cli::Exit::Failed.code()),
    }
}

#[allow(clippy::print_stderr)] // the edge: here errors are printed
fn ended(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentctl: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)] // the edge: here the environment is read
fn terminal() -> Terminal {
    let out = io::stdout();
    let is_terminal = out.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let colours_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col));
    Terminal {
        colour: is_terminal && !colours_refused,
        interactive: io::stderr().is_terminal(),
        width: width.filter(|width| is_terminal && *width >= 40),
    }
}
