//! What a fake agent answers.

use serde_json::json;

use crate::control::wire::*;
use crate::control::{Refusal, Reply, Request};
use crate::model::fingerprint::Fingerprint;
use crate::model::{Digest, KindName};
use crate::record::{SuspendTarget, Suspension};
use crate::status::Snapshot;

mod hostile;
mod past;

pub use hostile::hostile;
pub use past::{events, history, record, verifications};

pub const NOW: &str = "2026-11-23T14:00:00Z";

const COMMIT: &str = "4f0c1d2a9b3e4f0c1d2a9b3e4f0c1d2a9b3e4f0c";

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn revision() -> serde_json::Value {
    json!({
        "commit": COMMIT, "author": "Anna Example <anna@example.org>",
        "time": "2026-11-23T11:58:00Z", "subject": "web: open 443 to the office",
    })
}

fn place(file: &str, line: u32) -> serde_json::Value {
    json!({ "file": file, "line": line, "column": 1, "length": 4 })
}

pub fn synced() -> Snapshot {
    from(json!({
        "schema": 1, "at": NOW,
        "agent": { "version": "0.1.0", "pid": 812, "started": "2026-11-23T09:12:00Z" },
        "host": "web-1.example.org", "host_file": place("hosts/web.toml", 1), "roles": ["base", "web"],
        "mode": "enabled", "applied": revision(), "target": null, "rejected": null,
        "sync": "Synced", "health": "Healthy", "since": "2026-11-23T12:01:00Z", "conditions": [],
        "counts": { "file": { "Synced": 280, "Corrected": 1 }, "package": { "Synced": 31 } },
        "resources": [{
            "resource": "file:/etc/ssh/sshd_config", "status": "Corrected", "verdict": "drifted",
            "fields": [
                { "field": "mode", "observed": { "value": "0666" }, "desired": { "value": "0600" } },
                { "field": "content",
                  "observed": { "content": { "digest": Digest::of(b"a"), "size": 1 } },
                  "desired": { "content": { "digest": Digest::of(b"b"), "size": 1 } } },
            ],
            "action": "replace", "message": null, "declared": place("roles/base.toml", 31),
            "since": "2026-11-23T13:58:00Z", "corrected_ms": 1.84,
        }],
        "source": {
            "url": "https://git.example.org/fleet.git", "branch": "main", "path": "",
            "last_success": "2026-11-23T13:59:37Z", "failing_since": null, "error": null,
            "next": "2026-11-23T14:00:40Z", "shallow": false,
        },
        "watches": [
            { "name": "file", "method": "inotify", "live_since": "2026-11-23T09:12:00Z", "blind_since": null,
              "watches": 104, "events": 2310, "overflows": 0, "message": null },
            { "name": "package", "method": "inotify", "live_since": "2026-11-23T09:12:00Z", "blind_since": null,
              "watches": 1, "events": 4, "overflows": 0, "message": null },
        ],
        "last_pass": {
            "id": 1042, "triggers": ["watch"], "started": "2026-11-23T13:58:00Z", "duration_ms": 2.1,
            "full": false, "differed": 1, "changed": 1, "failed": 0,
            "work": { "files_opened": 1, "files_written": 1, "programs_started": 0, "bus_calls": 0 },
        },
        "next_full_pass": "2026-11-23T14:11:30Z", "suspensions": [], "pending_confirmation": null, "notes": [],
        "declared": Digest::of(b"declared"),
    }))
}

pub fn troubled() -> Snapshot {
    let mut snapshot = serde_json::to_value(synced()).unwrap();
    let more = json!({
        "sync": { "OutOfSync": "Drifted" }, "health": "Degraded", "since": "2026-11-22T23:15:00Z",
        "target": "b".repeat(40),
        "rejected": {
            "commit": "b".repeat(40), "reason": "RevisionRejected",
            "message": "the declaration has 1 fault; the last good revision stays in force",
            "since": "2026-11-23T13:20:00Z",
            "diagnostics": [{
                "severity": "error", "code": "unknown-key", "place": place("roles/web.toml", 12),
                "message": "unknown key `moed` in a file", "hint": "did you mean `mode`?",
                "excerpt": "moed = \"0644\"",
            }],
        },
        "counts": { "file": { "Synced": 280, "Drifted": 1, "Suspended": 1 }, "service": { "Failed": 1 } },
        "resources": [
            { "resource": "service:nginx.service", "status": "Failed", "verdict": "drifted",
              "fields": [{ "field": "state", "observed": { "value": "failed" }, "desired": { "value": "running" } }],
              "action": "start", "declared": place("roles/web.toml", 20), "since": "2026-11-23T13:56:00Z",
              "message": "start failed with exit code 1: nginx: [emerg] unknown directive \"lsten\" in /etc/nginx/nginx.conf:12",
              "corrected_ms": null },
            { "resource": "file:/etc/motd", "status": "Drifted", "verdict": "drifted",
              "fields": [{ "field": "mode", "observed": { "value": "0600" }, "desired": { "value": "0644" } }],
              "action": "set mode 0644", "message": null, "declared": place("roles/base.toml", 3),
              "since": "2026-11-22T23:15:00Z", "corrected_ms": null },
            { "resource": "file:/etc/hosts", "status": "Suspended", "verdict": "drifted",
              "fields": [{ "field": "content",
                  "observed": { "content": { "digest": Digest::of(b"a"), "size": 1 } },
                  "desired": { "content": { "digest": Digest::of(b"b"), "size": 1 } } }],
              "action": "replace", "message": "suspended: night fix", "declared": null,
              "since": "2026-11-23T13:00:00Z", "corrected_ms": null },
        ],
        "source": {
            "url": "https://git.example.org/fleet.git", "branch": "main", "path": "production",
            "last_success": "2026-11-23T12:10:00Z", "failing_since": "2026-11-23T12:11:00Z",
            "error": "could not reach git.example.org: connection timed out\ncheck the network",
            "next": "2026-11-23T14:09:00Z", "shallow": true,
        },
        "watches": [
            { "name": "file", "method": "inotify", "live_since": "2026-11-23T09:12:00Z", "blind_since": "2026-11-23T13:30:00Z",
              "watches": 8192, "events": 2310, "overflows": 1,
              "message": "the limit of inotify is reached; the full pass covers 12 folders" },
            { "name": "package", "method": "inotify", "live_since": "2026-11-23T09:12:00Z", "blind_since": null,
              "watches": 1, "events": 4, "overflows": 0, "message": null },
        ],
        "suspensions": [{ "target": "file:/etc/hosts", "reason": "night fix", "owner": "anna",
            "since": "2026-11-23T13:00:00Z", "until": "2026-11-23T15:00:00Z" }],
        "pending_confirmation": { "what": "the firewall of 4f0c1d2a9b3e", "deadline": "2026-11-23T14:00:45Z" },
        "notes": ["a foreign firewall table is there: ip docker"],
    });
    snapshot.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    from(snapshot)
}

pub fn fresh() -> Snapshot {
    let mut snapshot = serde_json::to_value(synced()).unwrap();
    let none = json!({
        "host_file": null, "roles": [], "mode": "warn", "applied": null, "sync": "Unknown", "health": "Unknown",
        "counts": {}, "resources": [], "last_pass": null, "next_full_pass": null, "declared": null, "watches": [],
        "source": { "url": "", "branch": "", "path": "", "shallow": false },
    });
    snapshot.as_object_mut().unwrap().extend(none.as_object().unwrap().clone());
    from(snapshot)
}

pub fn diff() -> DiffReply {
    from(json!({
        "differences": [
            { "resource": "file:/etc/motd", "verdict": "drifted", "declared": place("roles/base.toml", 3),
              "held": "mode is warn: reported, not changed",
              "fields": [
                { "field": "mode", "observed": { "value": "0600" }, "desired": { "value": "0644" } },
                { "field": "content",
                  "observed": { "content": { "digest": Digest::of(b"a"), "size": 30 } },
                  "desired": { "content": { "digest": Digest::of(b"b"), "size": 34 } } },
              ],
              "content": {
                "observed": { "is": "text", "text": "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight" },
                "desired": { "is": "text", "text": "one\ntwo\nthree\nfour\n5\nsix\nseven\neight\n" },
              } },
            { "resource": "file:/etc/app/password", "verdict": "drifted", "declared": place("roles/app.toml", 9),
              "held": null, "fields": [{ "field": "content", "observed": "secret", "desired": "secret" }],
              "content": { "observed": { "is": "secret" }, "desired": { "is": "secret" } } },
            { "resource": "package:curl", "verdict": "behind", "declared": place("roles/base.toml", 1),
              "held": null, "fields": [{ "field": "version", "observed": "absent", "desired": { "value": "any" } }],
              "content": null },
        ],
        "unknown": [],
    }))
}

pub fn plan() -> PlanReply {
    let change = |resource: &str, step: &str, action: &str, held: serde_json::Value| {
        json!({
            "resource": resource, "step": step, "verdict": "behind", "action": action, "fields": [],
            "removes": step.starts_with("remove"), "declared": place("roles/web.toml", 12), "held": held,
        })
    };
    from(json!({
        "plan": { "commit": COMMIT, "changes": [
            change("firewall:input/web", "firewall", "load the table inet agentd", json!(null)),
            change("package:nginx", "packages", "install 1.22.1-9+deb12u3", json!(null)),
            change("file:/etc/nginx/sites-available/shop", "files", "create (812 bytes, 0644 root:root)", json!(null)),
            change("service:nginx.service", "services", "enable, start",
                json!({ "why": "suspended", "detail": "night fix" })),
            change("package:telnet", "remove-packages", "remove", json!({ "why": "removal-limit", "detail": "11 > 10" })),
            change("file:/etc/old", "remove-files", "remove", json!(null)),
        ]},
        "unknown": [],
        "notes": ["a foreign firewall table is there: ip docker"],
    }))
}

pub fn sync() -> SyncReply {
    let troubled = troubled();
    SyncReply { resources: troubled.resources.clone(), status: troubled, fetch_error: None }
}

pub fn explanation() -> Explanation {
    let troubled = troubled();
    from(json!({
        "resource": "file:/etc/motd",
        "declared": {
            "revision": revision(),
            "provenance": { "winner": place("hosts/web.toml", 7), "below": [place("roles/base.toml", 3)] },
            "spec": { "mode": "0644", "owner": "root", "content": { "digest": Digest::of(b"x"), "size": 34 }, "check": null },
            "mode": "enabled", "prune": true,
        },
        "state": troubled.resources[1],
        "last_change": history().drifts[0],
        "suspension": { "target": "file", "reason": "night fix", "owner": "anna",
            "since": "2026-11-23T13:00:00Z", "until": "2026-11-23T15:00:00Z" },
        "managed_since": "2026-10-01T08:00:00Z", "brought": true,
    }))
}

pub fn fingerprint() -> FingerprintReply {
    let mut declared = Fingerprint::default();
    declared.insert(KindName::File, "/etc/motd".into(), Digest::of(b"motd"));
    declared.insert(KindName::Package, "curl".into(), Digest::of(b"curl"));
    FingerprintReply { host: "web-1".into(), declared: (&declared).into(), observed: None }
}

pub fn answer_to_orders(request: &Request) -> Result<Reply, Refusal> {
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let suspension = |target: SuspendTarget, seconds: u64, reason: &str| Suspension {
        target,
        reason: reason.to_owned(),
        owner: "root".into(),
        since: now,
        until: now.checked_add(std::time::Duration::from_secs(seconds)).ok(),
    };
    Ok(match request {
        Request::Suspend(order) => Reply::Suspended(SuspendedReply {
            suspension: suspension(order.target.clone(), order.seconds, &order.reason),
        }),
        Request::Resume(order) => {
            Reply::Resumed(ResumedReply { was_suspended: order.target != SuspendTarget::All })
        }
        Request::Restore(order) => Reply::Restored(RestoredReply {
            resource: "file:/etc/motd".parse().unwrap(),
            kept: Some("20261123-140000-2".into()),
            suspension: Some(suspension("file:/etc/motd".parse().unwrap(), order.seconds, "restored")),
        }),
        Request::Confirm => {
            Reply::Confirmed(ConfirmedReply { what: Some("the firewall of 4f0c1d2a9b3e".into()) })
        }
        Request::Approve(_) => {
            Reply::Done(DoneReply { message: "the removals of 4f0c1d2a9b3e may be made".into() })
        }
        other => panic!("{other:?}"),
    })
}
