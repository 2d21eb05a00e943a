//! What happened: histories and events.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::{COMMIT, NOW, from, place};
use crate::cli::Exit;
use crate::control::wire::*;
use crate::host::clock::FakeClock;
use crate::host::files::Root;
use crate::model::{Digest, Trigger, Verdict};
use crate::record::*;

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
