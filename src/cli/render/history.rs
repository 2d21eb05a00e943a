//! Drifts and passes, as a list and as a story.

use std::fmt::Write;

use super::Look;
use super::diff::contents;
use super::status::{fields_in_short, revision_in_short};
use super::style::Tone;
use super::table::{Table, cell};
use super::times::took;
use crate::control::wire::{ContentPair, HistoryReply, VerifyReply};
use crate::model::escape;
use crate::model::{Attribution, LineAuthor, Revision, Verdict};
use crate::record::{
    Attempt, DriftRecord, Noted, PassRecord, PassResult, PassScope, Settlement, Verification,
};

/// What the history itself does not hold of a drift.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct More {
    /// What was there and what was to be there, from what was kept.
    pub contents: Option<ContentPair>,
    /// The revision that demanded otherwise, with its author.
    pub revision: Option<Revision>,
}

/// A list of drifts.
pub fn drifts(reply: &HistoryReply, look: &Look) -> String {
    if reply.drifts.is_empty() {
        return "no drift is known\n".to_owned();
    }
    let mut table = Table::with_heads(&["ID", "SEEN", "RESOURCE", "WHY", "OUTCOME", "AFTER", "WHAT"]);
    for drift in &reply.drifts {
        let (outcome, tone) = outcome(drift);
        table.row(vec![
            cell(Tone::Plain, drift.id.to_string()),
            cell(Tone::Plain, look.clock(drift.seen)),
            cell(Tone::Strong, escape::line(&drift.resource.to_string())),
            cell(Tone::Plain, drift.verdict.to_string()),
            cell(tone, outcome),
            cell(Tone::Plain, lasted(drift).map(took).unwrap_or_default()),
            cell(Tone::Plain, what(drift)),
        ]);
    }
    table.show(look.painter, 0, look.width)
}

/// A list of passes.
pub fn passes(reply: &HistoryReply, look: &Look) -> String {
    if reply.passes.is_empty() {
        return "no pass is known\n".to_owned();
    }
    let mut table =
        Table::with_heads(&["ID", "STARTED", "TOOK", "BY", "SCOPE", "REVISION", "RESULT", "RESOURCES"]);
    for pass in &reply.passes {
        table.row(pass_row(pass, look));
    }
    table.show(look.painter, 0, look.width)
}

/// The whole story of one drift.
pub fn story(drift: &DriftRecord, more: &More, look: &Look) -> String {
    let name = look.painter.paint(Tone::Strong, &escape::line(&drift.resource.to_string()));
    let (outcome, tone) = outcome(drift);
    let mut text = format!("drift {} of {name}: {}\n", drift.id, look.painter.paint(tone, &outcome));
    let mut line = |label: &str, value: &str| {
        let label = look.painter.paint(Tone::Dim, &format!("{label:>9}:"));
        let _ = writeln!(text, "{label} {value}");
    };
    let why = match drift.verdict {
        Verdict::Drifted => "drifted: the host moved, the declaration did not",
        Verdict::Behind => "behind: the declaration moved",
        Verdict::NotConverging => "not converging: it would not stay as the agent made it",
    };
    line("Why", why);
    line("Seen", &format!("{} in pass {}", look.exact(drift.seen), drift.pass));
    if let Some(place) = &drift.place {
        let commit = drift.commit.as_ref().map(|commit| format!(" at {}", commit.short()));
        let author = drift.author.as_ref().map(|author| format!(" by {author}"));
        let words = format!("{place}{}{}", commit.unwrap_or_default(), author.unwrap_or_default());
        line("Declared", &escape::line(&words));
    }
    if let Some(author) = &drift.line_author {
        line("Line", &written(author, look));
    }
    if let Some(revision) = &more.revision {
        line("Revision", &revision_in_short(revision, look));
        line("by", &format!("{}, {}", escape::line(&revision.author), look.when(revision.time)));
    }
    for field in &drift.fields {
        let words = format!("{}: {} -> {}", field.field, field.observed, field.desired);
        line("Differed", &escape::line(&words));
    }
    if let Some(held) = &drift.held {
        line("Held", &escape::line(&held.to_string()));
    }
    for attempt in &drift.attempts {
        line(
            "Tried",
            &format!(
                "{} in pass {}: {}",
                look.exact(attempt.began),
                attempt.pass,
                escape::line(&attempt.action)
            ),
        );
        line("Outcome", &attempt_outcome(attempt));
        for kept in &attempt.kept {
            line("Kept", &format!("{}; `agentctl restore {}` puts it back", escape::line(kept), drift.id));
        }
    }
    if let Some(attribution) = &drift.attribution {
        who(attribution, &mut line);
    }
    match drift.resolved {
        Some(when) => line("Over", &look.exact(when)),
        None => line("Over", "not yet"),
    }
    if let Some(pair) = &more.contents {
        text.push_str(&contents(pair, look));
    }
    text
}

/// Who wrote the line that demanded otherwise.
fn written(author: &LineAuthor, look: &Look) -> String {
    let by = |revision: &Revision| {
        let author = escape::line(&revision.author);
        format!("{} by {author}, {}", revision_in_short(revision, look), look.when(revision.time))
    };
    match author {
        LineAuthor::Written { revision, line: _ } => by(revision),
        LineAuthor::Older { revision } => format!(
            "{}, or an older commit by somebody else: the history that was fetched ends there",
            by(revision)
        ),
        LineAuthor::Unknown { why } => format!("its author is not known: {}", escape::line(why)),
    }
}

/// Who made the change, what that rests on, and by what way they came.
fn who(attribution: &Attribution, line: &mut impl FnMut(&str, &str)) {
    line("Who", &escape::line(&attribution.to_string()));
    let evidence: Vec<String> = attribution.evidence.iter().map(ToString::to_string).collect();
    if attribution.actor.is_some() {
        line("Evidence", &escape::line(&format!("{}: {}", evidence.join(", "), attribution.reason)));
    }
    let Some(actor) = &attribution.actor else { return };
    if let Some(process) = &actor.process {
        line("Command", &escape::line(&process.command.join(" ")));
    }
    let session = actor.session.as_ref();
    let terminal = session.and_then(|session| session.terminal.as_ref()).map(|name| format!("on {name}"));
    let id = session.and_then(|session| session.id).map(|id| format!("session {id}"));
    let login: Vec<String> = id.into_iter().chain(terminal).collect();
    if !login.is_empty() {
        line("Login", &escape::line(&login.join(", ")));
    }
    for up in &actor.ancestors {
        let command =
            if up.command.is_empty() { String::new() } else { format!(": {}", up.command.join(" ")) };
        line("Under", &escape::line(&format!("{up}{command}")));
    }
}

/// What checking the chain found, also against the heads that the journal has.
pub fn verification(reply: &VerifyReply, journal: &Result<Vec<Noted>, String>, look: &Look) -> String {
    let VerifyReply { verification, others } = reply;
    let mut text = match verification {
        Verification::Whole { entries, head, dropped, noted, older } => {
            let whole = look.painter.paint(Tone::Good, "whole");
            let mut text = format!(
                "{whole}: {entries} entries follow from each other, up to {}:{}\n",
                head.seq, head.digest
            );
            if let Some(dropped) = dropped {
                let _ = writeln!(text, "entries up to {} were dropped by age or size", dropped.seq);
            }
            let _ = writeln!(
                text,
                "it goes through {noted} heads that were noted elsewhere; {older} are older than it"
            );
            text
        }
        Verification::Broken { seq, why } => format!(
            "{} at entry {seq}: {}\neverything before it is as it was written; what follows is not to be trusted\n",
            look.painter.paint(Tone::Bad, "broken"),
            escape::line(why)
        ),
    };
    match journal {
        Ok(heads) => {
            let range = heads.first().zip(heads.last());
            let range =
                range.map(|(first, last)| format!(", from entry {} to {}", first.head.seq, last.head.seq));
            let _ = writeln!(text, "the journal has {} heads{}", heads.len(), range.unwrap_or_default());
        }
        Err(why) => {
            let bad = look.painter.paint(Tone::Warn, "the journal could not be asked for heads");
            let _ = writeln!(text, "{bad}: {}", escape::lines(why));
        }
    }
    if let Some(last) = others.last() {
        let bad = look.painter.paint(Tone::Bad, "another history");
        let _ = writeln!(
            text,
            "{bad}: {} heads, up to entry {}, are not of this one: the record was begun anew or replaced since they were \
             noted; one that could not be used lies beside it as record.set-aside-…",
            others.len(),
            last.head.seq
        );
    }
    text.push_str("to check against a head noted elsewhere: `agentctl history --verify --head SEQ:DIGEST`\n");
    text
}

fn attempt_outcome(attempt: &Attempt) -> String {
    let after = attempt.ended.map(|ended| ended.duration_since(attempt.began).unsigned_abs());
    let after = after.map(|span| format!(" after {}", took(span))).unwrap_or_default();
    match &attempt.result {
        Some(result) => match settlement(result).split_once(": ") {
            Some((word, detail)) => format!("{word}{after}: {detail}"),
            None => format!("{}{after}", settlement(result)),
        },
        None => "under way".to_owned(),
    }
}

fn settlement(result: &Settlement) -> String {
    match result {
        Settlement::Corrected => "corrected".to_owned(),
        Settlement::Gone => "right again without the agent".to_owned(),
        Settlement::GivenUp => "no longer declared".to_owned(),
        Settlement::Failed(message) => format!("failed: {}", escape::line(message)),
        Settlement::Waiting(message) => format!("waiting for {}", escape::line(message)),
        Settlement::NotConverging => "changed, and it differs again".to_owned(),
        Settlement::Interrupted => "the agent ended before it was done".to_owned(),
    }
}

fn outcome(drift: &DriftRecord) -> (String, Tone) {
    match (&drift.result, drift.attempts.last().is_some_and(|attempt| attempt.result.is_none())) {
        (_, true) => ("under way".to_owned(), Tone::Warn),
        (None, false) => ("reported".to_owned(), Tone::Warn),
        (Some(Settlement::Corrected), _) => ("corrected".to_owned(), Tone::Good),
        (Some(Settlement::Gone), _) => ("gone".to_owned(), Tone::Good),
        (Some(Settlement::GivenUp), _) => ("given up".to_owned(), Tone::Plain),
        (Some(Settlement::Failed(_)), _) => ("failed".to_owned(), Tone::Bad),
        (Some(Settlement::Waiting(_)), _) => ("waiting".to_owned(), Tone::Warn),
        (Some(Settlement::NotConverging), _) => ("not converging".to_owned(), Tone::Bad),
        (Some(Settlement::Interrupted), _) => ("interrupted".to_owned(), Tone::Bad),
    }
}

fn lasted(drift: &DriftRecord) -> Option<std::time::Duration> {
    drift.resolved.map(|resolved| resolved.duration_since(drift.seen).unsigned_abs())
}

fn what(drift: &DriftRecord) -> String {
    let fields = fields_in_short(&drift.fields);
    let last = drift.attempts.last();
    match (fields.is_empty(), last) {
        (true, Some(attempt)) => escape::line(&attempt.action).into_owned(),
        (_, _) => fields,
    }
}

fn pass_row(pass: &PassRecord, look: &Look) -> Vec<super::table::Cell> {
    let triggers: Vec<String> = pass.triggers.iter().map(ToString::to_string).collect();
    let scope = match &pass.scope {
        PassScope::Full => "full".to_owned(),
        PassScope::Only(resources) => match resources.iter().next() {
            Some(only) if resources.len() == 1 => escape::line(&only.to_string()).into_owned(),
            Some(_) | None => format!("{} resources", resources.len()),
        },
    };
    let (result, tone) = match &pass.result {
        PassResult::Synced => ("synced".to_owned(), Tone::Good),
        PassResult::OutOfSync => ("out of sync".to_owned(), Tone::Warn),
        PassResult::Degraded => ("degraded".to_owned(), Tone::Bad),
        PassResult::Failed(why) => (format!("failed: {}", escape::line(why)), Tone::Bad),
    };
    let counts = &pass.counts;
    let parts = [
        (counts.drifted, "drifted"),
        (counts.behind, "behind"),
        (counts.corrected, "put right"),
        (counts.failed, "failed"),
        (counts.held, "held"),
        (counts.unknown, "unknown"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}"));
    let resources = format!("{} looked at{}", counts.observed, parts.collect::<String>());
    vec![
        cell(Tone::Plain, pass.id.to_string()),
        cell(Tone::Plain, look.clock(pass.started)),
        cell(Tone::Plain, took(pass.ended.duration_since(pass.started).unsigned_abs())),
        cell(Tone::Plain, triggers.join(",")),
        cell(Tone::Plain, scope),
        cell(Tone::Plain, pass.commit.as_ref().map(|commit| commit.short()).unwrap_or("-")),
        cell(tone, result),
        cell(Tone::Plain, resources),
    ]
}
