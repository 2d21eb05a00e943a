//! The command line: `commands/` (one file each) asks, `render/` shows, as text or as JSON. Help, man pages and
//! completions come from one definition ([`args`]).
//!
//! May not: decide anything about the host, or show text that others wrote (commit messages, file contents, names)
//! without escaping what a terminal would obey. Everything it sees of the world is in [`Outside`], so that a test
//! runs it in a sealed one.
//!
//! Exit codes of `status`, `diff`, `plan` and `sync`: 0 in sync, 1 differs, 2 could not tell or failed. Every other
//! command: 0 done, 1 said no (a fault found by `check`, a broken history), 2 failed.

pub mod args;
mod commands;
mod error;
mod folder;
mod heads;
pub mod outside;
mod render;
mod scratch;
mod story;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

pub use args::Arguments;
pub use error::CliError;
pub use heads::heads_in_journal;
pub use outside::{Colour, Outside, Terminal};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// In sync; done.
    Good,
    /// Differs; something was found.
    Differs,
    /// Could not tell; failed.
    Failed,
}

impl Exit {
    /// As the process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Good => 0,
            Exit::Differs => 1,
            Exit::Failed => 2,
        }
    }
}

/// Runs one command line; `arguments` begins with the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, outside: &mut Outside<'_>) -> Exit {
    let command = Arguments::command().color(outside.terminal.clap_choice());
    let parsed =
        command.try_get_matches_from(arguments).and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return told_by_clap(&error, outside),
    };
    outside.terminal.obey(arguments.color);
    match commands::run(&arguments, outside) {
        Ok(exit) => exit,
        // Someone reads only the beginning (`| head`): no fault of anybody.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Good,
        Err(error) => {
            render::error::show(&error, outside);
            Exit::Failed
        }
    }
}

/// Help and version go to standard output, complaints to standard error.
fn told_by_clap(error: &clap::Error, outside: &mut Outside<'_>) -> Exit {
    let text = error.render();
    let text = if outside.terminal.colour { text.ansi().to_string() } else { text.to_string() };
    let (to, exit) = match error.use_stderr() {
        true => (&mut outside.err, Exit::Failed),
        false => (&mut outside.out, Exit::Good),
    };
    // If even this can't be written there is nobody to tell.
    let _ = to.write_all(text.as_bytes());
    exit
}
