//! `agentctl fingerprint`.

use super::{ask, say};
use crate::cli::args::{Arguments, Fingerprint};
use crate::cli::render::fingerprint::{Depth, page};
use crate::cli::render::{Look, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::FingerprintReply;

/// Prints the tree of digests.
pub fn run(common: &Arguments, options: &Fingerprint, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let reply: FingerprintReply = ask::agent(common, &Request::Fingerprint)?;
    match common.json {
        true => json::write(outside, &reply)?,
        false => {
            let depth = if options.all { Depth::Resources } else { Depth::Kinds };
            let page = page(&reply, depth, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(Exit::Good)
}
