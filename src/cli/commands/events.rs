//! `agentctl events`: what happened last, and what happens. As JSON it is one object a line, so that a program can read
//! it as it comes.

use super::{ask, say};
use crate::cli::args::{Arguments, Events};
use crate::cli::render::{Look, events};
use crate::cli::{CliError, Exit, Outside};
use crate::control::Request;
use crate::control::wire::{EventsQuery, EventsReply, Follow};
use crate::status::event::Event;

/// Shows what happens.
pub fn run(common: &Arguments, options: &Events, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let follow = if options.follow { Follow::Yes } else { Follow::No };
    let request = Request::Events(EventsQuery { last: options.last, follow });
    let mut expected = None;
    ask::follow(common, &request, &mut |reply: EventsReply| {
        for event in &reply.events {
            if let Some(missed) = missed(&mut expected, event) {
                say(outside, &missed_words(missed, common.json))?;
            }
            if is_wanted(event, options) {
                say(outside, &shown(event, common.json, outside)?)?;
            }
        }
        outside.out.flush().map_err(CliError::Output)
    })?;
    Ok(Exit::Good)
}

/// How many were missed between two events; the first one misses none.
fn missed(expected: &mut Option<u64>, event: &Event) -> Option<u64> {
    let before = expected.replace(event.number + 1)?;
    event.number.checked_sub(before).filter(|missed| *missed > 0)
}

fn missed_words(missed: u64, json: bool) -> String {
    match json {
        true => format!("{{\"schema\":1,\"event\":\"missed\",\"count\":{missed}}}\n"),
        false => format!("({missed} events were missed: `agentctl history` has what matters of them)\n"),
    }
}

fn is_wanted(event: &Event, options: &Events) -> bool {
    options.resources.is_empty()
        || event.what.resource().is_some_and(|resource| options.resources.contains(resource))
}

fn shown(event: &Event, json: bool, outside: &Outside<'_>) -> Result<String, CliError> {
    match json {
        true => {
            let text = serde_json::to_string(event).map_err(|error| CliError::Output(error.into()))?;
            Ok(format!("{text}\n"))
        }
        false => Ok(events::line(event, &Look::of(outside))),
    }
}
