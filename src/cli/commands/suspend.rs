//! `agentctl suspend` and `agentctl resume`.

use super::{ask, say};
use crate::cli::args::{Arguments, Resume, Suspend};
use crate::cli::render::{Look, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{ResumeOrder, ResumedReply, SuspendOrder, SuspendedReply};
use crate::model::escape;
use crate::record::SuspendTarget;

/// Hands off.
pub fn suspend(common: &Arguments, options: &Suspend, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let target = target(options.target.as_ref());
    let order = SuspendOrder { target, seconds: options.span.as_secs(), reason: options.reason.clone() };
    let reply: SuspendedReply = ask::agent(common, &Request::Suspend(order))?;
    if common.json {
        json::write(outside, &reply)?;
        return Ok(Exit::Good);
    }
    let look = Look::of(outside);
    let one = &reply.suspension;
    let until = one.until.map_or_else(|| "resumed".to_owned(), |until| look.when(until));
    let (named, again) = words(&one.target);
    let text = format!("{named} is suspended until {until}; `agentctl resume {again}` ends it before\n");
    say(outside, &text)?;
    Ok(Exit::Good)
}

/// Hands on again.
pub fn resume(common: &Arguments, options: &Resume, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let target = target(options.target.as_ref());
    let (named, _) = words(&target);
    let reply: ResumedReply = ask::agent(common, &Request::Resume(ResumeOrder { target }))?;
    if common.json {
        json::write(outside, &reply)?;
        return Ok(Exit::Good);
    }
    let text = match reply.was_suspended {
        true => format!("{named} is held to its declaration again\n"),
        false => format!("{named} was not suspended; `agentctl status` lists what is\n"),
    };
    say(outside, &text)?;
    Ok(Exit::Good)
}

/// What it is called in a sentence, and on the command line.
fn words(target: &SuspendTarget) -> (String, String) {
    match target {
        SuspendTarget::All => ("everything".to_owned(), "--all".to_owned()),
        SuspendTarget::Kind(kind) => (format!("the kind {kind}"), kind.to_string()),
        SuspendTarget::Resource(resource) => {
            let name = escape::line(&resource.to_string()).into_owned();
            (name.clone(), name)
        }
    }
}

fn target(named: Option<&SuspendTarget>) -> SuspendTarget {
    named.cloned().unwrap_or(SuspendTarget::All)
}
