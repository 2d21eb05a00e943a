//! `agentctl plan`.

use super::{ask, offline, say};
use crate::cli::args::{Arguments, Plan};
use crate::cli::render::{Look, json, plan};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::PlanReply;

/// Shows what a pass would do.
pub fn run(common: &Arguments, options: &Plan, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let reply: PlanReply = match (&options.repo, &options.host) {
        (Some(repo), Some(host)) => offline::plan(common, repo, host, outside)?,
        (_, _) => ask::agent(common, &Request::Plan)?,
    };
    show(common, &reply, outside)?;
    Ok(exit_of(&reply))
}

/// Shows a plan.
pub fn show(common: &Arguments, reply: &PlanReply, outside: &mut Outside<'_>) -> Result<(), CliError> {
    match common.json {
        true => json::write(outside, reply),
        false => {
            let page = plan::page(reply, &Look::of(outside));
            say(outside, &page)
        }
    }
}

fn exit_of(reply: &PlanReply) -> Exit {
    match (reply.unknown.is_empty(), reply.plan.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Differs,
        (true, true) => Exit::Good,
    }
}
