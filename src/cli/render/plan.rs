//! What a pass would do, in order.

use std::fmt::Write;

use super::Look;
use super::diff::unread;
use super::style::Tone;
use super::table::{Table, cell};
use crate::control::wire::PlanReply;
use crate::model::escape;
use crate::model::plan::Held;
use crate::model::{PlannedChange, Step};

/// The whole plan.
pub fn page(reply: &PlanReply, look: &Look) -> String {
    let mut text = String::new();
    let plan = &reply.plan;
    let target = plan.commit.as_ref().map(|commit| format!(" to {}", commit.short())).unwrap_or_default();
    match plan.changes.len() {
        0 if reply.unknown.is_empty() => text.push_str("nothing to do: the host is as declared\n"),
        0 => text.push_str("nothing to do as far as could be told\n"),
        count => {
            let removals = plan.changes.iter().filter(|change| change.removes).count();
            let held = plan.changes.iter().filter(|change| change.held.is_some()).count();
            let _ = writeln!(
                text,
                "{}{target}{}{}",
                counted(count, "change"),
                of(removals, "removes"),
                of(held, "held")
            );
            let mut table = Table::with_heads(&["", "STEP", "RESOURCE", "WHY", "ACTION"]);
            for change in &plan.changes {
                table.row(row(change));
            }
            text.push_str(&table.show(look.painter, 0, look.width));
            text.push_str(&reasons_held(&plan.changes, look));
        }
    }
    text.push_str(&unread(&reply.unknown, look));
    for note in &reply.notes {
        let _ = writeln!(text, "{} {}", look.painter.paint(Tone::Dim, "note:"), escape::line(note));
    }
    text
}

fn row(change: &PlannedChange) -> Vec<super::table::Cell> {
    let (sign, tone) = match (change.removes, &change.held) {
        (_, Some(_)) => ("=", Tone::Dim),
        (true, None) => ("-", Tone::Bad),
        (false, None) => ("~", Tone::Good),
    };
    let place = change.declared.as_ref().map(|place| format!(" [{place}]")).unwrap_or_default();
    vec![
        cell(tone, sign),
        cell(Tone::Plain, step(change.step)),
        cell(Tone::Strong, escape::line(&change.resource.to_string())),
        cell(Tone::Warn, change.verdict.to_string()),
        cell(Tone::Plain, escape::line(&format!("{}{place}", change.action))),
    ]
}

/// Each reason once, with how many changes it holds.
fn reasons_held(changes: &[PlannedChange], look: &Look) -> String {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for held in changes.iter().filter_map(|change| change.held.as_ref()) {
        let words = match held {
            Held::Warn => "the mode is warn: drift is reported and nothing is changed".to_owned(),
            Held::Suspended(_)
            | Held::Waiting(_)
            | Held::Failing(_)
            | Held::BackOff(_)
            | Held::Contested(_)
            | Held::RemovalLimit(_) => held.to_string(),
        };
        match reasons.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => reasons.push((words, 1)),
        }
    }
    let mut text = String::new();
    for (words, count) in reasons {
        let head = look.painter.paint(Tone::Warn, &format!("{} held:", counted(count, "change")));
        let _ = writeln!(text, "{head} {}", escape::line(&words));
    }
    text
}

const fn step(step: Step) -> &'static str {
    match step {
        Step::Firewall => "firewall",
        Step::AptSources => "apt sources",
        Step::Packages => "packages",
        Step::Files => "files",
        Step::Services => "services",
        Step::RemoveServices => "remove services",
        Step::RemoveFiles => "remove files",
        Step::RemovePackages => "remove packages",
        Step::RemoveAptSources => "remove apt sources",
        Step::RemoveFirewall => "remove firewall",
        Step::Reactions => "reactions",
    }
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn of(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        count => format!(", {count} {}", what.trim_end_matches('s')),
    }
}
