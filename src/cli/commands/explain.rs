//! `agentctl explain`.

use super::{ask, say};
use crate::cli::args::{Arguments, Explain};
use crate::cli::render::{Look, explain, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{ExplainQuery, Explanation};

/// Tells everything about one resource.
pub fn run(common: &Arguments, options: &Explain, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let request = Request::Explain(ExplainQuery { resource: options.resource.clone() });
    let explanation: Explanation = ask::agent(common, &request)?;
    match common.json {
        true => json::write(outside, &explanation)?,
        false => {
            let page = explain::page(&explanation, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(Exit::Good)
}
