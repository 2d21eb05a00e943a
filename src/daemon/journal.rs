//! What the journal is told: one line a pass that did something, one a change. Every line about a resource has a
//! message id that never changes and fields to search by; `docs/history.md` lists them.

use std::time::Duration;

use tracing::{info, warn};

use super::pace::Pace;
use crate::model::{ResourceStatus, Revision, Trigger, escape};
use crate::reconcile::PassReport;
use crate::record::Noted;
use crate::status::PassSummary;
use crate::status::event::{About, Found, Happening, OnHost, Turn};

// Made once by `systemd-id128 new`, numbered from there; never changed.

/// A drift that was undone: `journalctl MESSAGE_ID=…` finds them all.
pub const CORRECTED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f201";
/// A drift that was seen and not put right, or what is held, failed or does not stay.
pub const DIFFERS: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f202";
/// A resource that someone else keeps changing back.
pub const CONTESTED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f203";
/// What the declaration newly demands was done.
pub const APPLIED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f204";
/// The head of the history: what is noted here, off the record, the record can be checked against.
pub const HEAD: &str = crate::record::HEAD_MESSAGE;
/// A watcher was lost, is back, or overflowed.
pub const WATCHER: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f206";

/// How much of drift the journal may still be told: in a storm, the history alone has all of it.
#[derive(Clone, Debug)]
pub struct Lines {
    pace: Pace,
    held_back: u64,
}

/// A storm's next line says how many were held back before it; once no more come, this says it.
pub const SUMMED_AFTER: Duration = Duration::from_secs(10);

impl Default for Lines {
    fn default() -> Self {
        Lines { pace: Pace::of_lines(), held_back: 0 }
    }
}

impl Lines {
    /// Whether some were held back and that is still to be told.
    pub const fn are_held_back(&self) -> bool {
        self.held_back > 0
    }

    fn may(&mut self, now: Duration) -> bool {
        if !self.pace.take(now) {
            self.held_back += 1;
            return false;
        }
        self.sum_up();
        true
    }

    /// Says how many were held back, unless it is too early for another line. Says whether nothing is left to say.
    pub fn sum_up_in_time(&mut self, now: Duration) -> bool {
        let may = !self.are_held_back() || self.pace.take(now);
        if may {
            self.sum_up();
        }
        may
    }

    /// Says how many were held back, if any were.
    pub fn sum_up(&mut self) {
        let held_back = std::mem::take(&mut self.held_back);
        if held_back > 0 {
            info!("{held_back} more lines about drift were held back: `agentctl history` tells all of it");
        }
    }
}

/// Tells of a pass. A quiet one is told only if someone asked for it or the declaration moved. What was told already and
/// stays as it was is not told again: that is seen to where `told` is made. Of what nobody asked for only so much is
/// told in a minute.
pub fn pass(
    told: &[Happening],
    report: &PassReport,
    summary: &PassSummary,
    revision: Option<&Revision>,
    (lines, now): (&mut Lines, Duration),
) {
    let loud =
        summary.triggers.iter().any(|trigger| *trigger != Trigger::Watch && *trigger != Trigger::Interval);
    let author = revision.map_or("none", |revision| revision.author.as_str());
    let lines_of = told.iter().filter(|one| is_a_line(one));
    lines_of.filter(|_| loud || lines.may(now)).for_each(|one| line(one, author));
    let commit = revision.map_or("none", |revision| revision.commit.as_str());
    let pass = summary.id;
    if let Some(fault) = &report.record_fault {
        warn!(pass, commit, "{fault}");
    }
    let has_tried = report.findings.iter().any(|seen| seen.tried);
    if loud || has_tried && lines.may(now) {
        let triggers: Vec<String> = summary.triggers.iter().map(ToString::to_string).collect();
        info!(
            pass,
            commit,
            author,
            "pass {pass} ({}): {} differed, {} put right, {} failed, in {:.1} ms",
            triggers.join(", "),
            summary.differed,
            summary.changed,
            summary.failed,
            summary.duration_ms,
        );
    }
}

/// Notes the head of the history.
pub fn head(noted: &Noted) {
    info!(message_id = HEAD, history_head = %noted, "history at entry {}", noted.head.seq);
}

/// Tells of what happens besides passes, as far as it is not told where it is decided.
pub fn host(told: &[OnHost]) {
    for one in told {
        match one {
            OnHost::WatcherLost(watching) => warn!(
                message_id = WATCHER,
                watcher = watching.name,
                method = watching.method,
                "{} is not watched by {} any more: {}",
                watching.name,
                watching.method,
                escape::line(watching.message.as_deref().unwrap_or("the full pass covers it")),
            ),
            OnHost::WatcherBack(watching) => info!(
                message_id = WATCHER,
                watcher = watching.name,
                method = watching.method,
                "{} is watched by {} again",
                watching.name,
                watching.method,
            ),
            // An overflow is told where the full pass is asked for; people and the source where they are heard.
            OnHost::WatcherOverflowed(_)
            | OnHost::RevisionInForce { .. }
            | OnHost::RevisionRefused { .. }
            | OnHost::SourceFailing { .. }
            | OnHost::SourceBack
            | OnHost::Suspended { .. }
            | OnHost::Resumed { .. } => {}
        }
    }
}

/// Whether a pass has a line in the journal for it.
fn is_a_line(told: &Happening) -> bool {
    match told {
        // What was put right, failed or is fought about in the same pass has a line of its own.
        Happening::Resource { turn: Turn::DriftSeen, about } => about.line.status == ResourceStatus::Drifted,
        Happening::Resource { .. } | Happening::Found(_) => true,
        Happening::Host(_) => false,
    }
}

fn line(told: &Happening, author: &str) {
    match told {
        Happening::Resource { turn, about } => match turn {
            Turn::Corrected => change(CORRECTED, about, author),
            Turn::Applied => change(APPLIED, about, author),
            Turn::Contested => differs(CONTESTED, about, author),
            Turn::DriftSeen | Turn::BehindSeen | Turn::Failed | Turn::NotConverging | Turn::Held => {
                differs(DIFFERS, about, author);
            }
        },
        Happening::Found(Found::Unread { what, message }) => {
            warn!("{what} can't be read: {}", escape::line(message));
        }
        Happening::Found(Found::RightAgain { resource }) => {
            info!(resource = %resource, kind = resource.kind.as_str(), "{} is right again", shown(resource));
        }
        Happening::Host(_) => {}
    }
}

/// The fields that every line about a resource has. Those of the culprit are there if he is known.
macro_rules! about_resource {
    ($level:ident, $id:expr, $about:expr, $author:expr, $($text:tt)+) => {{
        let About { line, drift, pass, commit } = $about;
        let known = line.attribution.as_ref();
        let actor = known.and_then(|known| known.actor.as_ref());
        let process = actor.and_then(|actor| actor.process.as_ref());
        let name = |account: Option<&crate::model::Account>| account.map(ToString::to_string);
        $level!(
            message_id = $id,
            pass,
            drift = drift,
            commit = commit.as_ref().map(|commit| commit.as_str()),
            author = $author,
            kind = line.resource.kind.as_str(),
            resource = %line.resource,
            status = %line.status,
            verdict = line.verdict.map(|verdict| verdict.to_string()),
            declared = line.declared.as_ref().map(ToString::to_string),
            confidence = known.map(|known| known.confidence.to_string()),
            user = name(actor.and_then(|actor| actor.user.as_ref())),
            login = name(actor.and_then(|actor| actor.login.as_ref())),
            exe = process.map(|process| process.executable.as_str()),
            by_pid = process.map(|process| process.pid),
            by_unit = actor.and_then(|actor| actor.unit.as_deref()),
            $($text)+
        )
    }};
}

fn change(id: &str, about: &About, author: &str) {
    let line = &about.line;
    let (resource, action) = (shown(&line.resource), escape::line(line.action.as_deref().unwrap_or("")));
    let verdict = line.verdict.map(|verdict| format!(" {verdict}")).unwrap_or_default();
    match &line.attribution {
        Some(who) => {
            let who = who.to_string();
            about_resource!(info, id, about, author, "{resource}{verdict}: {action}; {}", escape::line(&who));
        }
        None => about_resource!(info, id, about, author, "{resource}{verdict}: {action}"),
    }
}

fn differs(id: &str, about: &About, author: &str) {
    let (resource, status) = (shown(&about.line.resource), about.line.status);
    let why = escape::line(about.line.message.as_deref().unwrap_or(""));
    about_resource!(warn, id, about, author, "{resource} {status}: {why}");
}

fn shown(resource: &crate::model::ResourceId) -> String {
    escape::line(&resource.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_and_said_once_there_is_time_for_it() {
        let (mut lines, storm) = (Lines::default(), Duration::from_secs(1000));
        let told = (0..1000).filter(|_| lines.may(storm)).count();
        assert!((1..60).contains(&told), "{told}");
        assert_eq!(lines.held_back, 1000 - told as u64);
        assert!(!lines.sum_up_in_time(storm) && lines.are_held_back(), "no line to spare");
        assert!(lines.sum_up_in_time(storm + SUMMED_AFTER) && !lines.are_held_back());
        assert!(lines.sum_up_in_time(storm), "nothing is left to say");
    }
}
