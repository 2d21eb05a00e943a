//! `agentctl confirm`.

use super::{ask, say};
use crate::cli::args::Arguments;
use crate::cli::render::json;
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::ConfirmedReply;
use crate::model::escape;

/// A guarded change is fine.
pub fn run(common: &Arguments, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let reply: ConfirmedReply = ask::agent(common, &Request::Confirm)?;
    if common.json {
        json::write(outside, &reply)?;
    } else {
        let text = match &reply.what {
            Some(what) => format!("confirmed, it stays: {}\n", escape::line(what)),
            None => "nothing waits for a confirmation\n".to_owned(),
        };
        say(outside, &text)?;
    }
    Ok(if reply.what.is_some() { Exit::Good } else { Exit::Differs })
}
