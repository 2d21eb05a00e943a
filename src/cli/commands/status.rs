//! `agentctl status`.

use super::{ask, say};
use crate::cli::args::Arguments;
use crate::cli::render::{Look, json, status};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::StatusReply;
use crate::model::Sync;
use crate::status::Snapshot;

/// Shows what is true now.
pub fn run(common: &Arguments, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let StatusReply { status: snapshot } = ask::agent(common, &Request::Status)?;
    match common.json {
        true => json::write(outside, &snapshot)?,
        false => {
            let page = status::page(&snapshot, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(exit_of(&snapshot))
}

/// In sync, differs, or not known.
pub const fn exit_of(snapshot: &Snapshot) -> Exit {
    match snapshot.sync {
        Sync::Synced => Exit::Good,
        Sync::OutOfSync(_) => Exit::Differs,
        Sync::Unknown => Exit::Failed,
    }
}
