//! One file a command: ask, show, say how it ended.

mod approve;
mod ask;
mod check;
mod confirm;
mod diff;
mod enroll;
mod events;
mod explain;
mod fingerprint;
mod generate;
mod history;
mod offline;
mod plan;
mod restore;
mod status;
mod suspend;
mod sync;

use super::args::{Arguments, Command};
use super::{CliError, Exit, Outside};

/// Runs what was asked for.
pub fn run(arguments: &Arguments, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let common = arguments;
    match &arguments.command {
        Command::Enroll(options) => enroll::run(common, options, outside),
        Command::Status => status::run(common, outside),
        Command::Diff(options) => diff::run(common, options, outside),
        Command::Plan(options) => plan::run(common, options, outside),
        Command::Sync(options) => sync::run(common, options, outside),
        Command::Suspend(options) => suspend::suspend(common, options, outside),
        Command::Resume(options) => suspend::resume(common, options, outside),
        Command::Confirm => confirm::run(common, outside),
        Command::Approve(options) => approve::run(common, options, outside),
        Command::History(options) => history::run(common, options, outside),
        Command::Events(options) => events::run(common, options, outside),
        Command::Explain(options) => explain::run(common, options, outside),
        Command::Check(options) => check::run(common, options, outside),
        Command::Fingerprint(options) => fingerprint::run(common, options, outside),
        Command::Restore(options) => restore::run(common, options, outside),
        Command::Generate(options) => generate::run(options),
    }
}

/// Writes text to standard output.
fn say(outside: &mut Outside<'_>, text: &str) -> Result<(), CliError> {
    outside.out.write_all(text.as_bytes()).map_err(CliError::Output)
}
