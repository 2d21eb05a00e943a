//! A page with everything on it, and what must hold of any page.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::family::{ALL, Sort};
use super::http::{self, Wanted};
use super::{Asked, Facts, Tallies, page};
use crate::model::{
    Actor, Attribution, Confidence, KindName, Outcome, OutcomeResult, Process, ResourceId, ResourceStatus,
    Verdict,
};
use crate::reconcile::PassReport;
use crate::reconcile::report::Phases;
use crate::record::PassResult;
use crate::status::event::{About, Happening, Turn};
use crate::status::{PassSummary, ResourceLine, Snapshot};

const HOSTILE: &str = "/srv/\"quoted\\\"\n\u{1b}[2J";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn line(resource: &str, status: ResourceStatus, verdict: Verdict, since: i64) -> ResourceLine {
    ResourceLine {
        resource: resource.parse().unwrap(),
        status,
        verdict: Some(verdict),
        missing: false,
        fields: Vec::new(),
        action: None,
        message: None,
        declared: None,
        since: at(since),
        corrected_ms: None,
        attribution: None,
    }
}

/// A host where everything happens.
fn troubled() -> Snapshot {
    let digest = "ab".repeat(32);
    let mut snapshot: Snapshot = serde_json::from_value(json!({
        "schema": 1, "at": at(0),
        "agent": { "version": "0.1.0", "pid": 812, "started": at(-100) },
        "host": "web-1", "host_file": null, "roles": [], "mode": "enabled",
        "applied": { "commit": "4f".repeat(20), "author": "Ada", "time": at(-200), "subject": "x" },
        "target": null, "rejected": null,
        "sync": { "OutOfSync": "Drifted" }, "health": "Degraded", "since": at(-10),
        "conditions": [
            { "type": "Ready", "status": false, "reason": "NotAsDeclared", "message": "", "since": at(-10) },
            { "type": "Drifted", "status": null, "reason": "Unread", "message": "", "since": at(-10) },
            { "type": "RebootRequired", "status": true, "reason": "PackageAsked", "message": "", "since": at(-10) },
        ],
        "counts": { "file": { "Synced": 280, "Drifted": 1, "Contested": 1, "Failed": 1 }, "package": { "Synced": 31 } },
        "resources": [],
        "source": { "url": "https://git.example.org/fleet.git", "branch": "main", "path": "", "last_success": at(-30),
            "failing_since": null, "error": null, "next": null, "shallow": false },
        "watches": [
            { "name": "file", "method": "fanotify", "live_since": at(-99), "blind_since": null, "watches": 104,
              "events": 2310, "overflows": 2, "message": null },
            { "name": "service", "method": "dbus", "live_since": null, "blind_since": at(-7), "watches": 0, "events": 4,
              "overflows": 0, "message": "the bus is away" },
        ],
        "last_pass": { "id": 7, "triggers": ["watch"], "started": at(-1), "duration_ms": 12.5, "full": false,
            "differed": 1, "changed": 1, "failed": 0,
            "work": { "files_opened": 1, "files_written": 1, "programs_started": 0, "bus_calls": 0 } },
        "next_full_pass": null,
        "suspensions": [
            { "target": "file:/etc/a", "reason": "r", "owner": "o", "since": at(-5), "until": at(3600) },
            { "target": "package", "reason": "r", "owner": "o", "since": at(-5), "until": null },
        ],
        "pending_confirmation": null, "notes": [], "declared": null,
        "history": { "history": 0x0123_4567_89ab_cdef_u64, "head": { "seq": 42, "digest": digest } },
    }))
    .unwrap();
    snapshot.resources = vec![
        line("file:/etc/motd", ResourceStatus::Drifted, Verdict::Drifted, -60),
        line(&format!("file:{HOSTILE}"), ResourceStatus::Contested, Verdict::Drifted, -50),
        line("file:/etc/behind", ResourceStatus::Failed, Verdict::Behind, -900),
        line("file:/etc/right", ResourceStatus::Corrected, Verdict::Drifted, -800),
    ];
    snapshot
}

fn summary(trigger: &str) -> PassSummary {
    let pass = json!({
        "id": 7, "triggers": [trigger, "interval"], "started": at(-1), "duration_ms": 12.5, "full": false, "differed": 1,
        "changed": 1, "failed": 0,
        "work": { "files_opened": 0, "files_written": 0, "programs_started": 0, "bus_calls": 0 },
    });
    serde_json::from_value(pass).unwrap()
}

/// A quiet pass, one in which all sorts of things happened to a file, and four fetches.
fn tallies() -> Tallies {
    let mut tallies = Tallies::default();
    let millis = Duration::from_millis;
    let quiet = PassReport {
        phases: Phases { observe: Duration::from_micros(700), ..Phases::default() },
        ..PassReport::default()
    };
    tallies.pass(&quiet, &summary("interval"), &PassResult::Synced, &[]);
    let done = |turn, status, verdict| {
        let mut line = line("file:/etc/motd", status, verdict, -1);
        if turn == Turn::DriftSeen {
            // Changed 30 ms before the look began, which took 4.
            let changed = at(-1) - millis(30);
            line.attribution = Some(Attribution { at: Some(changed), ..Attribution::unknown("gone") });
        }
        line.corrected_ms = (turn == Turn::Corrected).then_some(12.5);
        Happening::Resource { turn, about: Box::new(About { line, drift: Some(1), pass: 7, commit: None }) }
    };
    let told = [
        done(Turn::DriftSeen, ResourceStatus::Corrected, Verdict::Drifted),
        done(Turn::Corrected, ResourceStatus::Corrected, Verdict::Drifted),
        done(Turn::Failed, ResourceStatus::Failed, Verdict::Drifted),
        done(Turn::NotConverging, ResourceStatus::NotConverging, Verdict::NotConverging),
        // No drift.
        done(Turn::Failed, ResourceStatus::Failed, Verdict::Behind),
        done(Turn::Applied, ResourceStatus::Synced, Verdict::Behind),
    ];
    let busy = PassReport {
        phases: Phases { observe: millis(4), apply: millis(300), verify: millis(2) },
        outcomes: vec![Outcome { resource: "file:/etc/motd".parse().unwrap(), result: OutcomeResult::Done }],
        ..PassReport::default()
    };
    tallies.pass(&busy, &summary("watch"), &PassResult::Degraded, &told);
    for (came_to, seconds) in
        [(Asked::Brought, 2), (Asked::Nothing, 1), (Asked::Nothing, 1), (Asked::Failed, 4000)]
    {
        tallies.asked(came_to, Duration::from_secs(seconds));
    }
    tallies
}

fn full() -> String {
    let (snapshot, tallies) = (troubled(), tallies());
    let process = Process { executable: "/usr/bin/\"evil\"\n".into(), ..Process::default() };
    let actor = Actor { process: Some(process), unit: Some("rival.service".into()), ..Actor::default() };
    let writer =
        Attribution { confidence: Confidence::Certain, actor: Some(actor), ..Attribution::unknown("named") };
    let contested: ResourceId = format!("file:{HOSTILE}").parse().unwrap();
    page(&Facts {
        snapshot: &snapshot,
        tallies: &tallies,
        built_from: "4f0c1d2a9b3e",
        applied_at: Some(at(-150)),
        waits: &[(KindName::File, Duration::from_millis(53_500))].into(),
        writers: &[(contested, writer)].into(),
    })
}

/// A page of which nothing but the snapshot is known.
fn page_of(snapshot: &Snapshot) -> String {
    let (tallies, waits, writers) = Default::default();
    let (tallies, waits, writers) = (&tallies, &waits, &writers);
    page(&Facts { snapshot, tallies, built_from: "", applied_at: None, waits, writers })
}

#[test]
fn a_page_of_a_host_where_everything_happens() {
    insta::assert_snapshot!("troubled", full());
}

/// Samples of a page, by the name of their family.
fn samples(page: &str) -> BTreeMap<&'static str, Vec<&str>> {
    let mut samples = BTreeMap::<_, Vec<_>>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let is_of = |name: &str, family: &super::family::Family| match family.sort {
            Sort::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(family.name))
            }
            Sort::Gauge | Sort::Counter => name == family.name,
        };
        let family =
            ALL.iter().find(|family| is_of(name, family)).unwrap_or_else(|| panic!("unknown: {line}"));
        samples.entry(family.name).or_default().push(line);
    }
    samples
}

#[test]
fn every_family_is_on_a_full_page_once_in_the_order_of_the_list_and_no_sample_is_there_twice() {
    let page = full();
    let heads: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(heads, ALL.iter().map(|family| family.name).collect::<Vec<_>>());
    for lines in samples(&page).into_values() {
        let names: BTreeSet<&str> = lines.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(names.len(), lines.len(), "{lines:?}");
    }
    assert!(page.ends_with('\n') && !page.contains("\n\n") && !page.contains('\u{1b}'), "{page}");
}

#[test]
fn what_is_not_known_or_not_so_has_no_sample() {
    let mut snapshot = troubled();
    snapshot.resources.clear();
    (snapshot.history, snapshot.last_pass, snapshot.source.last_success) = (None, None, None);
    snapshot.suspensions.clear();
    let page = page_of(&snapshot);
    let there = samples(&page);
    for gone in [
        "agentd_contested_info",
        "agentd_drift_since_timestamp_seconds",
        "agentd_history_head_info",
        "agentd_last_reconcile_timestamp_seconds",
        "agentd_last_applied_timestamp_seconds",
        "agentd_last_fetch_success_timestamp_seconds",
        "agentd_suspended_until_timestamp_seconds",
        "agentd_sync_total",
    ] {
        assert!(!there.contains_key(gone) && !page.contains(gone), "{gone} in {page}");
    }
    assert_eq!(
        there["agentd_drifted_resources"],
        ["agentd_drifted_resources{kind=\"package\"} 0", "agentd_drifted_resources{kind=\"file\"} 0"]
    );
    assert_eq!(there["agentd_suspended"], ["agentd_suspended 0"]);
}

#[test]
fn of_many_contested_resources_so_many_are_named_and_all_are_counted() {
    let mut snapshot = troubled();
    let fought = |n| line(&format!("file:/srv/{n}"), ResourceStatus::Contested, Verdict::Drifted, 0);
    snapshot.resources = (0..10_000).map(fought).collect();
    let page = page_of(&snapshot);
    let there = samples(&page);
    assert_eq!(there["agentd_contested_info"].len(), 50);
    assert!(there["agentd_contested_info"][0].contains("program=\"unknown\",unit=\"\""), "nobody is known");
    assert_eq!(there["agentd_contested_resources"][1], "agentd_contested_resources{kind=\"file\"} 10000");
}

#[test]
fn the_document_lists_every_metric_as_it_is_and_no_other() {
    let document = include_str!("../../docs/metrics.md");
    let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| `agentd_")).collect();
    let expected: Vec<String> = ALL
        .iter()
        .map(|family| {
            let labels = family.labels.join("`, `");
            let labels = if labels.is_empty() { String::new() } else { format!("`{labels}`") };
            format!("| `{}` | {} | {labels} | {} |", family.name, family.sort.word(), family.help)
        })
        .collect();
    assert_eq!(listed, expected, "docs/metrics.md should have:\n{}", expected.join("\n"));
}

#[test]
fn requests_are_answered_by_what_they_ask_for() {
    for (head, expected) in [
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", Wanted::Page),
        ("GET /metrics?x=y HTTP/1.0\r\n\r\n", Wanted::Page),
        ("GET / HTTP/1.1\r\n\r\n", Wanted::Page),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", Wanted::Head),
        ("GET /../etc/shadow HTTP/1.1\r\n\r\n", Wanted::Missing),
        ("POST /metrics HTTP/1.1\r\n\r\n", Wanted::Refused),
        ("GET /metrics HTTP/2\r\n\r\n", Wanted::Nonsense),
        ("GET /metrics\r\n\r\n", Wanted::Nonsense),
        ("{\"method\":\"org.agentd.Status\"}\0\r\n\r\n", Wanted::Nonsense),
        ("\r\n\r\n", Wanted::Nonsense),
    ] {
        assert!(http::is_whole(head.as_bytes()));
        assert_eq!(http::wanted(head.as_bytes()), expected, "{head}");
    }
    assert!(!http::is_whole(b"GET /metrics HTTP/1.1\r\n"));
    let whole = http::answer(Wanted::Page, "a 1\n");
    let head = http::answer(Wanted::Head, "a 1\n");
    assert_eq!(whole.strip_suffix("a 1\n"), Some(head.as_str()));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nContent-Length: 4\r\n"), "{head}");
    assert!(http::answer(Wanted::Refused, "").contains("405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
}

#[test]
fn a_time_beyond_all_steps_counts_in_the_last_and_steps_add_up() {
    let page = full();
    let there = samples(&page);
    let of = |name: &str, label: &str| -> Vec<f64> {
        let lines = there[name].iter().filter(|line| line.contains(label));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
    };
    let failed = of("agentd_git_request_duration_seconds", "failure");
    assert_eq!(failed, [&[0.0; 12][..], &[1.0, 4000.0, 1.0]].concat());
    let polls = of("agentd_git_request_duration_seconds", "ls-remote");
    assert_eq!(polls, [&[0.0; 6][..], &[2.0; 6], &[2.0, 2.0, 2.0]].concat(), "a bound belongs to its step");
    let detect = of("agentd_drift_detect_seconds", "watch");
    assert_eq!(detect[13], 0.034, "from the change to the end of the look");
}
