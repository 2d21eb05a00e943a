//! `agentctl history`. Root may also ask while the agent does not run: the record is then read directly.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::{ask, say};
use crate::cli::args::{Arguments, History as Options};
use crate::cli::render::json::Published;
use crate::cli::render::{Look, history, json};
use crate::cli::story;
use crate::cli::{CliError, Exit, Outside};
use crate::config;
use crate::control::wire::{HistoryQuery, HistoryReply, VerifyQuery, VerifyReply};
use crate::control::{ClientError, Request};
use crate::host::files::Root;
use crate::record::{DriftFilter, HISTORY_SCHEMA, History, PassFilter, RecordError, Verification};

/// Shows drifts, passes, one story, or whether the chain is whole.
pub fn run(common: &Arguments, options: &Options, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    if options.verify {
        return verify(common, options, outside);
    }
    let query = query(options, outside)?;
    let reply: HistoryReply = match ask::agent(common, &Request::History(query.clone())) {
        Err(CliError::Agent(ClientError::NotRunning { path, source })) => {
            match without_agent(common, |history| read(history, &query))? {
                Some(reply) => reply,
                None => return Err(ClientError::NotRunning { path, source }.into()),
            }
        }
        other => other?,
    };
    if let (Some(id), None) = (options.id, reply.drifts.first()) {
        return Err(CliError::Usage(format!("there is no drift {id}: `agentctl history` lists them")));
    }
    if common.json {
        json::write(outside, &Published { schema: HISTORY_SCHEMA, value: &reply })?;
        return Ok(Exit::Good);
    }
    let look = Look::of(outside);
    let page = match (options.id, options.passes) {
        (Some(_), _) => {
            let told = |drift| history::story(drift, &story::more(&common.state, drift), &look);
            reply.drifts.iter().map(told).collect()
        }
        (None, true) => history::passes(&reply, &look),
        (None, false) => history::drifts(&reply, &look),
    };
    say(outside, &page)?;
    Ok(Exit::Good)
}

/// So many heads go with a question to the agent.
const ASKED: usize = 300;

/// Checked here where the record can be read, which is root's alone; by the agent otherwise.
fn verify(common: &Arguments, options: &Options, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    // Before the record: what is noted is in it.
    let journal = (outside.heads)();
    let mut heads = journal.clone().unwrap_or_default();
    heads.extend(options.head);
    let reply = match without_agent(common, |history| history.verify(&heads)) {
        Ok(Some((verification, others))) => VerifyReply { verification, others },
        Ok(None) | Err(_) => {
            let heads = heads.split_off(heads.len().saturating_sub(ASKED));
            ask::agent(common, &Request::Verify(VerifyQuery { heads }))?
        }
    };
    match common.json {
        true => {
            let (found, error) = match &journal {
                Ok(heads) => (heads.len(), None),
                Err(error) => (0, Some(error)),
            };
            let mut value = serde_json::to_value(&reply).unwrap_or_default();
            value["journal"] = serde_json::json!({ "found": found, "error": error });
            json::write(outside, &Published { schema: HISTORY_SCHEMA, value })?;
        }
        false => {
            let page = history::verification(&reply, &journal, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(match (&reply.verification, reply.others.is_empty()) {
        (Verification::Whole { .. }, true) => Exit::Good,
        (Verification::Whole { .. }, false) | (Verification::Broken { .. }, _) => Exit::Differs,
    })
}

fn without_agent<T>(
    common: &Arguments,
    ask: impl FnOnce(&History) -> Result<T, RecordError>,
) -> Result<Option<T>, CliError> {
    let Ok(state) = Root::open(&common.state) else { return Ok(None) };
    match History::open(&state)? {
        Some(history) => Ok(Some(ask(&history)?)),
        None => Ok(None),
    }
}

fn read(history: &History, query: &HistoryQuery) -> Result<HistoryReply, RecordError> {
    let HistoryQuery { id, drifts, passes } = query;
    if let Some(id) = id {
        let drifts = history.drift(*id)?.into_iter().collect();
        return Ok(HistoryReply { drifts, passes: Vec::new() });
    }
    let drifts = drifts.as_ref().map(|filter| history.drifts(filter)).transpose()?;
    let passes = passes.as_ref().map(|filter| history.passes(filter)).transpose()?;
    Ok(HistoryReply { drifts: drifts.unwrap_or_default(), passes: passes.unwrap_or_default() })
}

fn query(options: &Options, outside: &Outside<'_>) -> Result<HistoryQuery, CliError> {
    let moment = |text: &Option<String>| {
        text.as_deref().map(|text| moment(text, outside.now(), &outside.zone)).transpose()
    };
    let (since, until) = (moment(&options.since)?, moment(&options.until)?);
    let limit = Some(options.limit);
    if let Some(id) = options.id {
        return Ok(HistoryQuery { id: Some(id), ..HistoryQuery::default() });
    }
    if options.passes {
        return Ok(HistoryQuery {
            passes: Some(PassFilter { since, until, limit }),
            ..HistoryQuery::default()
        });
    }
    let filter = DriftFilter {
        resource: options.resource.clone(),
        kind: options.kind,
        verdict: options.verdict.map(Into::into),
        user: options.user.clone(),
        since,
        until,
        limit,
    };
    Ok(HistoryQuery { drifts: Some(filter), ..HistoryQuery::default() })
}

/// A span back from now, a date (its beginning), a date with a time, or a time with its zone.
fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, CliError> {
    let fault = || {
        CliError::Usage(format!(
            "`{}` is no time: write it as 2h (ago), 2026-11-23, \"2026-11-23 14:00\" or 2026-11-23T14:00:00Z",
            text.escape_debug()
        ))
    };
    if let Ok(span) = config::duration(text) {
        return now.checked_sub(span).map_err(|_| fault());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) => DateTime::from(text.parse::<Date>().map_err(|_| fault())?),
    };
    zone.to_timestamp(civil).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2h", "2026-11-23T10:00:00Z"),
            ("1d", "2026-11-22T12:00:00Z"),
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("2026-11-23 14:00", "2026-11-23T13:00:00Z"),
            ("2026-11-23T14:00:00Z", "2026-11-23T14:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone).unwrap().to_string(), expected, "{text}");
        }
        for text in ["yesterday", "", "2026-13-01", "14:00"] {
            assert!(moment(text, now, &zone).is_err(), "{text}");
        }
    }
}
