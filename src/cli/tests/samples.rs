//! What a fake agent answers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::Exit;
use crate::control::wire::*;
use crate::control::{Refusal, Reply, Request};
use crate::host::clock::FakeClock;
use crate::host::files::Root;
use crate::model::fingerprint::Fingerprint;
use crate::model::{Digest, KindName, Trigger, Verdict};
use crate::record::*;
use crate::status::Snapshot;

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

pub fn history() -> HistoryReply {
    let drift = |id: u64, resource: &str, more: serde_json::Value| {
        let mut drift = json!({
            "id": id, "resource": resource, "verdict": "drifted",
            "fields": [{ "field": "mode", "observed": { "value": "0666" }, "desired": { "value": "0644" } }],
            "place": place("roles/base.toml", 31), "commit": COMMIT, "held": null, "pass": 1042,
            "seen": "2026-11-23T13:58:00.100Z", "attempts": [], "resolved": null, "result": null, "attribution": null,
        });
        drift.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        drift
    };
    let attempt = |result: serde_json::Value| {
        json!({
            "pass": 1042, "began": "2026-11-23T13:58:00.101Z", "action": "set mode 0644", "effect": "changes",
            "ended": "2026-11-23T13:58:00.104Z", "result": result, "kept": ["20261123-135800-1"],
        })
    };
    let failed = json!({ "result": "failed", "message": "read-only file system" });
    let corrected = json!({ "result": "corrected" });
    from(json!({
        "drifts": [
            drift(17, "file:/etc/motd", json!({
                "attempts": [attempt(failed.clone()), attempt(corrected.clone())],
                "resolved": "2026-11-23T13:58:00.104Z", "result": corrected,
            })),
            drift(16, "service:nginx.service", json!({ "attempts": [attempt(failed.clone())], "result": failed })),
            drift(15, "package:curl", json!({ "seen": "2026-11-20T01:02:03Z", "verdict": "behind", "held": { "why": "warn" } })),
        ],
        "passes": [
            { "id": 1042, "started": "2026-11-23T13:58:00.100Z", "ended": "2026-11-23T13:58:00.104Z",
              "triggers": ["watch"], "scope": { "only": ["file:/etc/motd"] }, "commit": COMMIT,
              "counts": { "observed": 1, "drifted": 1, "behind": 0, "corrected": 1, "failed": 0, "held": 0, "unknown": 0 },
              "result": "synced" },
            { "id": 1041, "started": "2026-11-23T13:45:00Z", "ended": "2026-11-23T13:45:01.5Z",
              "triggers": ["request", "interval"], "scope": "full", "commit": null,
              "counts": { "observed": 312, "drifted": 0, "behind": 2, "corrected": 0, "failed": 1, "held": 1, "unknown": 3 },
              "result": "degraded" },
        ],
    }))
}

pub fn verifications() -> [(Verification, Exit, &'static str); 2] {
    let head = Head { seq: 912, digest: Digest::of(b"head") };
    let broken = Verification::Broken { seq: 77, why: "this entry is missing".into() };
    [
        (
            Verification::Whole { entries: 900, head, dropped: Some(head), noted: 12, older: 3 },
            Exit::Good,
            "verify_whole",
        ),
        (broken, Exit::Differs, "verify_broken"),
    ]
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

/// Answers in which every text that others write tries something.
pub fn events() -> EventsReply {
    let event = |number: u64, at: &str, what: serde_json::Value| {
        let mut event = json!({ "schema": 1, "number": number, "at": at });
        event.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        event
    };
    let about = |what: &str, more: serde_json::Value| {
        let mut about = json!({
            "event": what, "resource": "file:/etc/motd", "status": "Corrected", "verdict": "drifted",
            "fields": [{ "field": "mode", "observed": { "value": "0666" }, "desired": { "value": "0644" } }],
            "action": "set mode 0644", "message": null, "declared": place("roles/base.toml", 31),
            "since": "2026-11-23T13:58:00Z", "corrected_ms": 12.3, "drift": 17, "pass": 1042, "commit": COMMIT,
            "attribution": who(),
        });
        about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        about
    };
    let contested =
        "contested: changed 5 times in 27 s: /usr/bin/vim [4242] by anna. Declare what it should be, or";
    let contested = json!({ "status": "Contested", "message": contested, "corrected_ms": null });
    let watcher = json!({ "name": "file", "method": "fanotify", "message": "the mount is gone" });
    let lost = json!({ "event": "watcher-lost" }).as_object().unwrap().clone();
    let watcher =
        serde_json::Value::Object(watcher.as_object().unwrap().clone().into_iter().chain(lost).collect());
    let revision = json!({
        "event": "revision-in-force", "commit": COMMIT, "author": "Anna Example <anna@example.org>",
        "subject": "web: open 443 to the office",
    });
    let list = [
        event(40, "2026-11-23T13:57:00Z", revision),
        event(41, "2026-11-23T13:58:00Z", about("drift-seen", json!({}))),
        event(42, "2026-11-23T13:58:00Z", about("corrected", json!({}))),
        event(45, "2026-11-23T13:58:27Z", about("contested", contested)),
        event(46, "2026-11-23T13:59:00Z", watcher),
        event(47, "2026-11-23T13:59:30Z", json!({ "event": "right-again", "resource": "package:curl" })),
    ];
    from(json!({ "events": list }))
}

fn who() -> serde_json::Value {
    json!({
        "confidence": "certain", "reason": "fanotify named the process with the event", "at": "2026-11-23T13:57:59.9Z",
        "evidence": ["fanotify", "proc"],
        "actor": {
            "process": { "pid": 4242, "executable": "/usr/bin/vim", "name": "vim", "command": ["vim", "/etc/motd"] },
            "ancestors": [
                { "pid": 4200, "executable": "/usr/bin/sudo", "name": "sudo", "command": ["sudo", "vim", "/etc/motd"] },
                { "pid": 4100, "executable": "/usr/bin/bash", "name": "bash", "command": ["-bash"] },
            ],
            "user": { "uid": 0, "name": "root" }, "login": { "uid": 1000, "name": "anna" },
            "session": { "id": 4, "terminal": "pts/0", "sshFrom": "10.0.0.9 50022", "sudo": "vim /etc/motd" },
            "unit": "session-4.scope", "container": null,
        },
    })
}

pub fn hostile() -> Vec<(Vec<&'static str>, Reply)> {
    fn poison(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    let free = [
                        "author",
                        "subject",
                        "message",
                        "file",
                        "reason",
                        "owner",
                        "what",
                        "host",
                        "text",
                        "action",
                        "detail",
                        "notes",
                        "error",
                        "hint",
                        "excerpt",
                        "value",
                        "kept",
                        "field",
                        "executable",
                        "name",
                        "command",
                        "unit",
                        "container",
                        "terminal",
                        "sshFrom",
                        "sudo",
                    ];
                    match value {
                        serde_json::Value::String(text) if free.contains(&key.as_str()) => {
                            text.push_str("\u{1b}[2J\u{202e}\u{9b}1m\r");
                        }
                        serde_json::Value::Array(list) if free.contains(&key.as_str()) => {
                            for one in list {
                                if let serde_json::Value::String(text) = one {
                                    text.push_str("\u{1b}]0;x\u{7}");
                                }
                            }
                        }
                        other => poison(other),
                    }
                }
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(poison),
            _ => {}
        }
    }
    fn poisoned<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        let mut json = serde_json::to_value(value).unwrap();
        poison(&mut json);
        from(json)
    }
    let mut snapshot = poisoned(&troubled());
    snapshot.resources[0].resource = "file:/etc/\u{1b}[31m".parse().unwrap();
    vec![
        (vec!["status"], Reply::Status(Box::new(StatusReply { status: snapshot.clone() }))),
        (vec!["diff"], Reply::Diff(poisoned(&diff()))),
        (vec!["plan"], Reply::Plan(poisoned(&plan()))),
        (vec!["history"], Reply::History(poisoned(&history()))),
        (vec!["history", "--id", "17"], Reply::History(poisoned(&history()))),
        (vec!["events"], Reply::Events(poisoned(&events()))),
        (
            vec!["sync"],
            Reply::Sync(Box::new(SyncReply {
                resources: snapshot.resources.clone(),
                status: snapshot,
                fetch_error: Some("\u{1b}[31mno".into()),
            })),
        ),
        (vec!["approve", "abcdef0"], Reply::Done(DoneReply { message: "\u{1b}[31mred".into() })),
        (vec!["confirm"], Reply::Confirmed(ConfirmedReply { what: Some("\u{1b}[31mred".into()) })),
    ]
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

/// A record with one drift and one pass.
pub fn record(state: &Path) {
    let clock = Arc::new(FakeClock::at(NOW.parse().unwrap()));
    let (mut record, _) = Record::open(&Root::open(state).unwrap(), clock).unwrap();
    record.begin_pass(BTreeSet::from([Trigger::Boot]), PassScope::Full, None).unwrap();
    let sighting = Sighting {
        resource: "file:/etc/motd".parse().unwrap(),
        verdict: Verdict::Drifted,
        fields: Vec::new(),
        place: None,
        prune: false,
        next: Next::Held(None),
    };
    record.note(&[sighting]).unwrap();
    record.finish_pass(PassCounts::default(), PassResult::OutOfSync).unwrap();
}
