//! `agentctl sync`.

use super::{ask, say, status};
use crate::cli::args::{Arguments, Sync};
use crate::cli::render::status::resource_table;
use crate::cli::render::style::Tone;
use crate::cli::render::{Look, json};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{FetchFirst, SyncOrder, SyncReply};
use crate::model::Sync as InSync;
use crate::model::escape;

/// Fetches and reconciles now.
pub fn run(common: &Arguments, options: &Sync, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let fetch = if options.no_fetch { FetchFirst::No } else { FetchFirst::Yes };
    let reply = order(common, fetch, outside)?;
    match common.json {
        true => json::write(outside, &reply)?,
        false => {
            let page = page(&reply, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(match &reply.fetch_error {
        Some(_) => Exit::Failed,
        None => status::exit_of(&reply.status),
    })
}

/// Asks for it, with progress.
pub fn order(
    common: &Arguments,
    fetch: FetchFirst,
    outside: &mut Outside<'_>,
) -> Result<SyncReply, CliError> {
    let request = Request::Sync(SyncOrder { fetch });
    ask::agent_with_progress(common, &request, outside)
}

/// What came of it, in a few lines.
pub fn page(reply: &SyncReply, look: &Look) -> String {
    let status = &reply.status;
    let mut text = String::new();
    if let Some(error) = &reply.fetch_error {
        let head = look.painter.paint(Tone::Bad, "the remote could not be asked:");
        text.push_str(&format!("{head} {}\n", escape::lines(error)));
    }
    if let Some(rejection) = &status.rejected {
        let head = look.painter.paint(Tone::Bad, &escape::line(&rejection.reason));
        text.push_str(&format!(
            "{} {head}: {}\n",
            rejection.commit.short(),
            escape::lines(&rejection.message)
        ));
        for fault in &rejection.diagnostics {
            text.push_str(&format!("{}\n", escape::lines(&fault.to_string())));
        }
    }
    let tone = match status.sync {
        InSync::Synced => Tone::Good,
        InSync::OutOfSync(_) => Tone::Warn,
        InSync::Unknown => Tone::Bad,
    };
    let revision = status.applied.as_ref().map_or("no revision", |revision| revision.commit.short());
    let sync = look.painter.paint(tone, &status.sync.to_string());
    text.push_str(&format!("{revision} {sync}, {}, mode {}\n", status.health, status.mode));
    if !reply.resources.is_empty() {
        text.push_str(&resource_table(&reply.resources, look));
    }
    text
}
