//! The page of `agentctl status`.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::Look;
use super::style::Tone;
use super::table::{Table, cell};
use super::times::took;
use crate::model::escape;
use crate::model::plan::Held;
use crate::model::vocabulary::SyncReason;
use crate::model::{FieldDiff, Health, ResourceStatus, Revision, Sync};
use crate::status::{ResourceLine, Snapshot, WatchHealth};

/// Labels stand in a column of this width.
const LABEL: usize = 11;

/// At most this many resources are listed; `agentctl diff` and `--json` have them all.
const LISTED: usize = 40;

/// The whole page.
pub fn page(snapshot: &Snapshot, look: &Look) -> String {
    let mut page = Page { look, text: String::new() };
    page.head(snapshot);
    page.revision(snapshot);
    page.state(snapshot);
    page.rejection(snapshot);
    page.waiting(snapshot);
    page.resources(&snapshot.resources);
    page.text.push('\n');
    page.source(snapshot);
    page.watches(&snapshot.watches);
    page.last_pass(snapshot);
    page.notes(snapshot);
    page.text
}

/// The tone of a resource's status.
pub const fn tone_of(status: ResourceStatus) -> Tone {
    match status {
        ResourceStatus::Synced | ResourceStatus::Corrected => Tone::Good,
        ResourceStatus::Drifted
        | ResourceStatus::Behind
        | ResourceStatus::Waiting
        | ResourceStatus::Suspended => Tone::Warn,
        ResourceStatus::Failed
        | ResourceStatus::NotConverging
        | ResourceStatus::Contested
        | ResourceStatus::Unknown => Tone::Bad,
    }
}

/// Rows for resources, as `status` and `sync` show them.
///
/// A reason that holds for the whole host is said in its head, not in every row.
pub fn resource_table(lines: &[ResourceLine], look: &Look) -> String {
    let mut table = Table::with_heads(&["RESOURCE", "STATUS", "SINCE", "WHAT"]);
    for line in lines.iter().take(LISTED) {
        table.row(vec![
            cell(Tone::Strong, escape::line(&line.resource.to_string())),
            cell(tone_of(line.status), line.status.to_string()),
            cell(Tone::Plain, look.ago(line.since)),
            cell(Tone::Plain, what_of(line)),
        ]);
    }
    let mut shown = table.show(look.painter, 2, look.width);
    if lines.len() > LISTED {
        let _ = writeln!(shown, "  and {} more: `agentctl diff` and `--json` show all", lines.len() - LISTED);
    }
    let is_unnamed = |line: &&ResourceLine| line.attribution.as_ref().is_some_and(|who| !who.names_someone());
    if lines.iter().take(LISTED).any(|line| is_unnamed(&line)) {
        shown.push_str("  why nobody is named: `agentctl explain RESOURCE`\n");
    }
    shown
}

/// What differs in short: `mode 0600 -> 0644, content`.
pub fn fields_in_short(fields: &[FieldDiff]) -> String {
    use crate::model::Shown;
    let one = |field: &FieldDiff| match (&field.observed, &field.desired) {
        (Shown::Value(observed), Shown::Value(desired)) => {
            format!("{} {} -> {}", field.field, short(observed), short(desired))
        }
        (Shown::Absent, Shown::Value(desired)) => format!("{} absent -> {}", field.field, short(desired)),
        (Shown::Value(observed), Shown::Absent) => format!("{} {} -> absent", field.field, short(observed)),
        (Shown::Absent, _) => format!("{} missing", field.field),
        (_, Shown::Absent) => format!("{} too many", field.field),
        (Shown::Content { .. } | Shown::Secret, _) | (_, Shown::Content { .. } | Shown::Secret) => {
            field.field.clone()
        }
    };
    escape::line(&fields.iter().map(one).collect::<Vec<_>>().join(", ")).into_owned()
}

/// Milliseconds as the wire has them; nonsense is nothing.
fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.chars().count() > LONGEST {
        true => format!("{}...", text.chars().take(LONGEST - 3).collect::<String>()),
        false => text.to_owned(),
    }
}

fn what_of(line: &ResourceLine) -> String {
    let fields = fields_in_short(&line.fields);
    let action = line.action.as_deref().filter(|action| !action.is_empty());
    let mut parts = Vec::new();
    match (line.corrected_ms, line.status) {
        (Some(ms), ResourceStatus::Corrected) => {
            parts.push(format!("put right in {}: {fields}", took(milliseconds(ms))));
        }
        (Some(ms), ResourceStatus::Synced) => {
            parts.push(format!("applied in {}: {fields}", took(milliseconds(ms))));
        }
        _ if fields.is_empty() => parts.extend(action.map(|action| escape::line(action).into_owned())),
        _ => parts.push(fields),
    }
    let everywhere = Held::Warn.to_string();
    let message = line.message.as_deref().filter(|message| *message != everywhere);
    parts.extend(message.map(|message| escape::line(message).into_owned()));
    parts.extend(line.attribution.as_ref().map(|who| escape::line(&who.in_short()).into_owned()));
    parts.extend(line.declared.as_ref().map(|place| format!("[{}]", escape::line(&place.to_string()))));
    parts.retain(|part| !part.is_empty());
    parts.join("; ").replace("; [", " [")
}

struct Page<'a> {
    look: &'a Look,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, label: &str, value: &str) {
        let label = self.look.painter.paint(Tone::Dim, &format!("{label:>LABEL$}:"));
        let lines = self.broken(value);
        let _ = writeln!(self.text, "{label} {}", lines.join(&format!("\n{}", " ".repeat(LABEL + 2))));
    }

    /// What fits into a line each. Colours would be counted, so that what has some stays whole.
    fn broken(&self, value: &str) -> Vec<String> {
        let room = self.look.width.map(|width| width.saturating_sub(LABEL + 2).max(24));
        match room {
            Some(room) if !value.contains('\u{1b}') => super::table::wrapped(value, room),
            Some(_) | None => vec![value.to_owned()],
        }
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        self.look.painter.paint(tone, text)
    }

    fn head(&mut self, snapshot: &Snapshot) {
        let tone = match (snapshot.sync, snapshot.health) {
            (Sync::Synced, Health::Healthy) => Tone::Good,
            (_, Health::Degraded | Health::Unknown | Health::Missing) | (Sync::Unknown, _) => Tone::Bad,
            (
                Sync::Synced | Sync::OutOfSync(_),
                Health::Healthy | Health::Suspended | Health::Progressing,
            ) => Tone::Warn,
        };
        let host = self.paint(Tone::Strong, &escape::line(&snapshot.host));
        let dot = self.paint(tone, "*");
        let _ =
            writeln!(self.text, "{dot} {host} - agentd {}, mode {}", snapshot.agent.version, snapshot.mode);
    }

    fn revision(&mut self, snapshot: &Snapshot) {
        match &snapshot.applied {
            Some(revision) => {
                self.line("Revision", &revision_in_short(revision, self.look));
                let by = format!("{}, {}", escape::line(&revision.author), self.look.when(revision.time));
                self.hanging(&by);
            }
            None => self.line("Revision", "none yet"),
        }
        if let Some(place) = &snapshot.host_file {
            let roles = match snapshot.roles.is_empty() {
                true => String::new(),
                false => format!(", roles {}", snapshot.roles.join(", ")),
            };
            self.line("Declared", &escape::line(&format!("{}{roles}", place.file)));
        }
        if let Some(digest) = &snapshot.declared {
            self.line("Fingerprint", &digest.short());
        }
    }

    fn state(&mut self, snapshot: &Snapshot) {
        let tone = match snapshot.sync {
            Sync::Synced => Tone::Good,
            Sync::OutOfSync(SyncReason::Drifted | SyncReason::Behind) => Tone::Warn,
            Sync::Unknown => Tone::Bad,
        };
        let since = self.look.when(snapshot.since);
        let sync = format!("{} since {since}", self.paint(tone, &snapshot.sync.to_string()));
        self.line("Sync", &sync);
        let tone = match snapshot.health {
            Health::Healthy => Tone::Good,
            Health::Suspended | Health::Progressing => Tone::Warn,
            Health::Missing | Health::Degraded | Health::Unknown => Tone::Bad,
        };
        let health = self.paint(tone, &snapshot.health.to_string());
        self.line("Health", &health);
        let mut by_status = std::collections::BTreeMap::new();
        for (status, count) in snapshot.counts.values().flatten() {
            *by_status.entry(*status).or_insert(0u32) += count;
        }
        let total: u32 = by_status.values().sum();
        let parts: Vec<String> = by_status
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(status, count)| self.paint(tone_of(*status), &format!("{count} {status}")))
            .collect();
        if total > 0 {
            self.line("Resources", &format!("{total}: {}", parts.join(", ")));
        }
    }

    fn rejection(&mut self, snapshot: &Snapshot) {
        if let Some(rejection) = &snapshot.rejected {
            let reason = self.paint(Tone::Bad, &escape::line(&rejection.reason));
            let when = self.look.ago(rejection.since);
            self.line("Rejected", &format!("{} {reason} {when}", rejection.commit.short()));
            self.hanging(&rejection.message);
            for fault in &rejection.diagnostics {
                // Never broken: its carets stand below what they are about.
                escape::lines(&fault.to_string()).lines().for_each(|line| self.below(line));
            }
        } else if let Some(target) = &snapshot.target {
            self.line("Target", &format!("{} is not in force yet", target.short()));
        }
    }

    /// Sentences below a value.
    fn hanging(&mut self, text: &str) {
        for line in escape::lines(text).lines() {
            for part in self.broken(line) {
                self.below(&part);
            }
        }
    }

    fn below(&mut self, line: &str) {
        let indent = " ".repeat(LABEL + 2);
        let _ = writeln!(self.text, "{indent}{line}");
    }

    fn waiting(&mut self, snapshot: &Snapshot) {
        if let Some(pending) = &snapshot.pending_confirmation {
            let what = self.paint(Tone::Warn, &escape::line(&pending.what));
            let when = self.look.ago(pending.deadline);
            self.line("Unconfirmed", &format!("{what}: undone {when} unless you say `agentctl confirm`"));
        }
        for suspension in &snapshot.suspensions {
            let target = self.paint(Tone::Warn, &escape::line(&suspension.target));
            let until = suspension.until.map_or_else(|| "resumed".to_owned(), |until| self.look.when(until));
            let text = format!(
                "{target} until {until} by {}: {}",
                escape::line(&suspension.owner),
                escape::line(&suspension.reason)
            );
            self.line("Suspended", &text);
        }
        let reboot = snapshot.conditions.iter().find(|one| one.kind == "RebootRequired");
        if let Some(condition) = reboot.filter(|one| one.status == Some(true)) {
            self.line(
                "Reboot",
                &escape::line(&format!("required {} {}", condition.reason, condition.message)),
            );
        }
    }

    fn resources(&mut self, lines: &[ResourceLine]) {
        if !lines.is_empty() {
            self.text.push('\n');
            self.text.push_str(&resource_table(lines, self.look));
        }
    }

    fn source(&mut self, snapshot: &Snapshot) {
        let source = &snapshot.source;
        if source.url.is_empty() {
            self.line("Source", "none: `agentctl enroll --url URL --branch NAME` names one");
            return;
        }
        let path = if source.path.is_empty() { String::new() } else { format!(", folder {}", source.path) };
        let shallow = if source.shallow { ", history cut off: older lines have no author" } else { "" };
        let text = format!("{} branch {}{path}{shallow}", source.url, source.branch);
        self.line("Source", &escape::line(&text));
        let fetched = match source.last_success {
            Some(when) => self.look.when(when),
            None => "never".to_owned(),
        };
        match (source.failing_since, &source.error) {
            (Some(since), error) => {
                let next =
                    source.next.map(|next| format!("; next {}", self.look.ago(next))).unwrap_or_default();
                let failing = format!("failing since {}{next}", self.look.when(since));
                let failing = self.paint(Tone::Bad, &failing);
                self.line("Fetched", &format!("{fetched}; {failing}"));
                self.hanging(error.as_deref().unwrap_or("the reason is not known"));
            }
            (None, _) => self.line("Fetched", &fetched),
        }
    }

    fn watches(&mut self, watches: &[WatchHealth]) {
        for watch in watches {
            let who = format!("{} by {}", watch.name, watch.method);
            let when = |time: Option<Timestamp>| {
                time.map(|time| format!(" since {}", self.look.when(time))).unwrap_or_default()
            };
            let how = match (watch.live_since, watch.blind_since) {
                (Some(_), None) => escape::line(&format!("{who}{}", when(watch.live_since))).into_owned(),
                (_, blind_since) => {
                    let blind = format!("{who} is blind{}", when(blind_since));
                    self.paint(Tone::Bad, &escape::line(&blind))
                }
            };
            let mut seen = format!("{} watched, {} events", watch.watches, watch.events);
            if watch.overflows > 0 {
                seen.push_str(&format!(", overflowed {}x", watch.overflows));
            }
            self.line("Watching", &format!("{how}: {seen}"));
            if let Some(message) = &watch.message {
                self.hanging(message);
            }
        }
    }

    fn last_pass(&mut self, snapshot: &Snapshot) {
        if let Some(pass) = &snapshot.last_pass {
            let triggers: Vec<String> = pass.triggers.iter().map(ToString::to_string).collect();
            let span = milliseconds(pass.duration_ms);
            let kind = if pass.full { "full" } else { "partial" };
            let text = format!(
                "{}, {kind}, by {}, {}: {} differed, {} changed, {} failed",
                self.look.when(pass.started),
                triggers.join(" and "),
                took(span),
                pass.differed,
                pass.changed,
                pass.failed
            );
            self.line("Last pass", &text);
        }
        if let Some(next) = snapshot.next_full_pass {
            self.line("Next full", &self.look.ago(next));
        }
    }

    fn notes(&mut self, snapshot: &Snapshot) {
        for note in &snapshot.notes {
            self.line("Note", &escape::line(note));
        }
    }
}

/// A revision in one line: its short id and what its message begins with.
pub fn revision_in_short(revision: &Revision, look: &Look) -> String {
    let id = look.painter.paint(Tone::Strong, revision.commit.short());
    format!("{id} {}", escape::line(&revision.subject))
}
