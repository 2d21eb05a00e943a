//! `agentctl approve`.

use super::{ask, say};
use crate::cli::args::{Approve, Arguments};
use crate::cli::render::json;
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{ApproveOrder, DoneReply};
use crate::model::escape;

/// What was held may go ahead.
pub fn run(common: &Arguments, options: &Approve, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let order = ApproveOrder { what: options.what.clone() };
    let reply: DoneReply = ask::agent(common, &Request::Approve(order))?;
    match common.json {
        true => json::write(outside, &reply)?,
        false => {
            let words = if reply.message.is_empty() { "approved" } else { reply.message.as_str() };
            let text = format!("{}\n", escape::line(words));
            say(outside, &text)?;
        }
    }
    Ok(Exit::Good)
}
