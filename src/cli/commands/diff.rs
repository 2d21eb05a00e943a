//! `agentctl diff`.

use super::{ask, say};
use crate::cli::args::{Arguments, Diff};
use crate::cli::render::{Look, diff, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{DiffQuery, DiffReply};

/// Shows what differs.
pub fn run(common: &Arguments, options: &Diff, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let request = Request::Diff(DiffQuery { resources: options.resources.clone() });
    let reply: DiffReply = ask::agent(common, &request)?;
    match common.json {
        true => json::write(outside, &reply)?,
        false => {
            let page = diff::page(&reply, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(match (reply.unknown.is_empty(), reply.differences.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Differs,
        (true, true) => Exit::Good,
    })
}
