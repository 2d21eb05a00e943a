//! `agentctl restore`.

use super::{ask, say};
use crate::cli::args::{Arguments, Restore};
use crate::cli::render::{Look, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{RestoreOrder, RestoreWhat, RestoredReply};
use crate::model::escape;

/// Puts back what was kept.
pub fn run(common: &Arguments, options: &Restore, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let order = RestoreOrder { what: what(&options.what)?, seconds: options.span.as_secs() };
    let reply: RestoredReply = ask::agent(common, &Request::Restore(order))?;
    if common.json {
        json::write(outside, &reply)?;
        return Ok(Exit::Good);
    }
    let look = Look::of(outside);
    let name = escape::line(&reply.resource.to_string()).into_owned();
    let mut text = format!("{name} is as it was\n");
    if let Some(until) = reply.suspension.as_ref().and_then(|one| one.until) {
        let until = look.when(until);
        text.push_str(&format!("it is suspended until {until}, then the declaration holds again\n"));
    }
    if let Some(kept) = &reply.kept {
        text.push_str(&format!("what it replaced was kept as {}\n", escape::line(kept)));
    }
    say(outside, &text)?;
    Ok(Exit::Good)
}

fn what(text: &str) -> Result<RestoreWhat, CliError> {
    let path = text.strip_prefix("file:").unwrap_or(text);
    if path.starts_with('/') {
        return Ok(RestoreWhat::Path(path.to_owned()));
    }
    text.parse().map(RestoreWhat::Drift).map_err(|_| {
        CliError::Usage(format!(
            "`{}` is neither the number of a drift (`agentctl history` lists them) nor an absolute path",
            text.escape_debug()
        ))
    })
}
