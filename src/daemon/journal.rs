//! What the journal is told: one line a pass that did something, one a change.

use tracing::{info, warn};

use crate::kind::Desired;
use crate::model::{ResourceStatus, Trigger};
use crate::reconcile::PassReport;
use crate::reconcile::report::Seen;
use crate::status::{PassSummary, ResourceLine};

/// Marks a correction or a change that was applied: `journalctl MESSAGE_ID=…` finds them all. Made once by
/// `systemd-id128 new`; never changed.
pub const CHANGED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f201";

/// Marks a drift that was seen and not put right.
pub const DIFFERS: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f202";

/// Tells of a pass. A quiet one is told only if someone asked for it or the declaration moved.
/// What was told already and stays as it was is not told again.
pub fn pass(report: &PassReport, summary: &PassSummary, desired: Option<&Desired>, before: &[ResourceLine]) {
    let revision = desired.and_then(|desired| desired.revision.as_ref());
    let commit = revision.map_or("none", |revision| revision.commit.short());
    let author = revision.map_or("none", |revision| revision.author.as_str());
    let pass = summary.id;
    for seen in &report.findings {
        let was_told = before.iter().any(|line| line.resource == seen.resource && line.status == seen.status);
        if !was_told || seen.tried {
            change(seen, pass, commit, author);
        }
    }
    for (kind, why) in &report.blind {
        warn!(pass, revision = commit, kind = kind.as_str(), "{kind} resources can't be read: {why}");
    }
    if let Some(fault) = &report.record_fault {
        warn!(pass, revision = commit, "{fault}");
    }
    let loud =
        summary.triggers.iter().any(|trigger| *trigger != Trigger::Watch && *trigger != Trigger::Interval);
    if report.findings.iter().any(|seen| seen.tried) || loud {
        let triggers: Vec<String> = summary.triggers.iter().map(ToString::to_string).collect();
        info!(
            pass,
            revision = commit,
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

fn change(seen: &Seen, pass: u64, commit: &str, author: &str) {
    let Seen { resource, verdict, action, .. } = seen;
    let place = seen.declared.as_ref().map(ToString::to_string).unwrap_or_default();
    match seen.status {
        ResourceStatus::Corrected | ResourceStatus::Synced => info!(
            message_id = CHANGED,
            pass,
            revision = commit,
            author,
            kind = resource.kind.as_str(),
            resource = %resource,
            verdict = %verdict,
            declared = place,
            "{resource} {verdict}: {action}",
        ),
        ResourceStatus::Drifted
        | ResourceStatus::Behind
        | ResourceStatus::Failed
        | ResourceStatus::NotConverging
        | ResourceStatus::Waiting
        | ResourceStatus::Suspended
        | ResourceStatus::Contested
        | ResourceStatus::Unknown => {
            let why = seen.message.as_deref().unwrap_or("");
            warn!(
                message_id = DIFFERS,
                pass,
                revision = commit,
                author,
                kind = resource.kind.as_str(),
                resource = %resource,
                verdict = %verdict,
                declared = place,
                "{resource} {}: {why}",
                seen.status,
            );
        }
    }
}
