//! What is told of a host: what happened is found by comparing, and its form is the published one.

use std::collections::BTreeSet;
use std::time::Duration;

use agentd::model::{
    Account, Actor, Attribution, CommitId, Confidence, Evidence, FieldDiff, KindName, Place, Process,
    ResourceId, ResourceStatus, Session, Shown, Verdict,
};
use agentd::reconcile::report::Seen;
use agentd::reconcile::{PassReport, Scope};
use agentd::status::ResourceLine;
use agentd::status::event::{
    About, Event, Found, Happening, Occasion, OnHost, SCHEMA, Turn, Watching, of_pass,
};
use agentd::status::standing::{Standing, line_of};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::declaration::schema::{Validator, schemas};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn commit() -> CommitId {
    "a".repeat(40).parse().unwrap()
}

fn motd() -> ResourceId {
    "file:/etc/motd".parse().unwrap()
}

/// Everything that can be known.
pub fn culprit() -> Attribution {
    let process = Process {
        pid: 4242,
        executable: "/usr/bin/vim".into(),
        name: "vim".into(),
        command: vec!["vim".into(), "/etc/motd".into()],
    };
    let session = Session { id: Some(4), terminal: Some("pts/0".into()), ..Session::default() };
    let actor = Actor {
        ancestors: vec![process.clone()],
        process: Some(process),
        user: Some(Account { uid: 0, name: Some("root".into()) }),
        login: Some(Account { uid: 1000, name: None }),
        session: Some(session),
        unit: Some("session-4.scope".into()),
        container: None,
    };
    Attribution {
        confidence: Confidence::Certain,
        actor: Some(actor),
        evidence: vec![Evidence::Fanotify, Evidence::Proc],
        at: Some(AT),
        ..Attribution::unknown("named with the event")
    }
}

fn seen(status: ResourceStatus) -> Seen {
    let digest = agentd::model::Digest::of(b"x");
    Seen {
        missing: false,
        resource: motd(),
        status,
        verdict: Verdict::Drifted,
        fields: vec![
            FieldDiff::new("mode", "0600", "0644"),
            FieldDiff::new("content", Shown::Content { digest, size: 1 }, Shown::Secret),
            FieldDiff::new("owner", Shown::Absent, "root"),
        ],
        action: "set mode 0644".into(),
        message: None,
        contested: status == ResourceStatus::Contested,
        tried: matches!(status, ResourceStatus::Corrected | ResourceStatus::Failed),
        declared: Some(Place::file("roles/base.toml")),
        took: (status == ResourceStatus::Corrected).then_some(Duration::from_millis(12)),
        drift: Some(17),
        attribution: Some(culprit()),
    }
}

/// What each of a row of passes tells, each of which found one file so, or right.
fn told(passes: &[Option<ResourceStatus>]) -> Vec<Vec<String>> {
    let mut standing = Standing::default();
    let mut before: Vec<ResourceLine> = Vec::new();
    let mut all = Vec::new();
    for status in passes {
        let findings = status.map(seen).into_iter().collect();
        let report = PassReport { findings, ..PassReport::default() };
        standing.absorb(&report, &Scope::Full, AT);
        let after = standing.lines(AT);
        let on = Occasion { pass: 1, commit: None, at: AT };
        all.push(of_pass(&report, on, &before, &after).iter().map(word).collect());
        before = after;
    }
    all
}

fn word(happening: &Happening) -> String {
    serde_json::to_value(happening).unwrap()["event"].as_str().unwrap().to_owned()
}

#[test]
fn what_stays_as_it_was_is_told_once() {
    use ResourceStatus::{Contested, Corrected, Drifted, Failed};
    let passes = [
        Some(Corrected),
        None,
        Some(Drifted),
        Some(Drifted),
        Some(Corrected),
        Some(Contested),
        Some(Contested),
        None,
        Some(Failed),
        Some(Failed),
        None,
    ];
    let expected: [&[&str]; 11] = [
        &["drift-seen", "corrected"],
        &[],
        &["drift-seen"],
        &[],
        &["corrected"],
        &["drift-seen", "contested"],
        &[],
        &["right-again"],
        &["drift-seen", "failed"],
        &["failed"],
        &["right-again"],
    ];
    assert_eq!(told(&passes), expected, "a failure that was tried again is told again");
}

#[test]
fn a_kind_that_can_not_be_read_is_told_once() {
    let mut standing = Standing::default();
    let report =
        PassReport { blind: vec![(KindName::Firewall, "nft is missing".into())], ..PassReport::default() };
    standing.absorb(&report, &Scope::Full, AT);
    let after = standing.lines(AT);
    let on = Occasion { pass: 1, commit: None, at: AT };
    let first = of_pass(&report, on, &[], &after);
    assert_eq!(first.iter().map(word).collect::<Vec<_>>(), ["unread"]);
    assert_eq!(of_pass(&report, on, &after, &after), []);
}

/// One of each.
fn samples() -> Vec<Happening> {
    let about = |status| {
        let line = line_of(&seen(status), AT);
        Box::new(About { line, drift: Some(17), pass: 1, commit: Some(commit()) })
    };
    let bare = || {
        let line = ResourceLine { attribution: None, declared: None, ..about(ResourceStatus::Drifted).line };
        Box::new(About { line, drift: None, pass: 1, commit: None })
    };
    let watching = || Watching { name: "file".into(), method: "fanotify".into(), message: None };
    let text = || "text".to_owned();
    let of_resource = |turn, about| Happening::Resource { turn, about };
    let of_host = [
        OnHost::RevisionInForce { commit: commit(), author: text(), subject: text() },
        OnHost::RevisionRefused { commit: commit(), reason: text(), message: text() },
        OnHost::SourceFailing { message: text() },
        OnHost::SourceBack,
        OnHost::WatcherLost(watching()),
        OnHost::WatcherBack(watching()),
        OnHost::WatcherOverflowed(Watching { message: Some(text()), ..watching() }),
        OnHost::Suspended { target: text(), owner: text(), reason: text() },
        OnHost::Resumed { target: text() },
    ];
    let mut samples = vec![
        of_resource(Turn::DriftSeen, bare()),
        of_resource(Turn::BehindSeen, about(ResourceStatus::Behind)),
        of_resource(Turn::Corrected, about(ResourceStatus::Corrected)),
        of_resource(Turn::Applied, about(ResourceStatus::Synced)),
        of_resource(Turn::Failed, about(ResourceStatus::Failed)),
        of_resource(Turn::NotConverging, about(ResourceStatus::NotConverging)),
        of_resource(Turn::Contested, about(ResourceStatus::Contested)),
        of_resource(Turn::Held, about(ResourceStatus::Waiting)),
        Happening::Found(Found::Unread { what: text(), message: text() }),
        Happening::Found(Found::RightAgain { resource: motd() }),
    ];
    samples.extend(of_host.map(Happening::Host));
    samples
}

fn valid(validator: &Validator, event: &Value) -> bool {
    validator.faults(&validator.schemas["event.json"], event, "event").is_empty()
}

#[test]
fn every_event_has_the_published_form() {
    let validator = Validator { schemas: schemas() };
    let mut words = BTreeSet::from(["missed".to_owned()]);
    for what in samples() {
        words.insert(word(&what));
        let event = Event { schema: SCHEMA, number: 1, at: AT, what };
        let value = serde_json::to_value(&event).unwrap();
        let faults = validator.faults(&validator.schemas["event.json"], &value, "event");
        assert!(faults.is_empty(), "{value}: {faults:?}");
        assert_eq!(serde_json::from_value::<Event>(value.clone()).unwrap(), event, "it reads back");
        for field in ["schema", "event", "number", "at"] {
            let mut lacking = value.clone();
            lacking.as_object_mut().unwrap().remove(field);
            assert!(!valid(&validator, &lacking), "{field} may not be missing");
        }
    }
    assert!(valid(&validator, &json!({ "schema": 1, "event": "missed", "count": 3 })));
    let published: BTreeSet<String> = validator.schemas["event.json"]["anyOf"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["properties"]["event"]["enum"].as_array().unwrap())
        .map(|word| word.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, published, "no event without a form, no form without an event");
}
