//! The part that runs inside the host: the kind on the real system, told by a file, telling by a line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentd::host::Host;
use agentd::host::accounts::SystemAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::counters::{COUNTERS, Counts};
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::{SystemUnits, UnitName};
use agentd::keep::{Contents, Keep, Limits};
use agentd::kind::package::{Packages, Settings};
use agentd::kind::parse::{MaterialFault, Materials};
use agentd::kind::{ApplyCx, DiffCx, Kind, Levels, ParseCx, Planned, PruneDefaults, Reaction, Specs, Want};
use agentd::model::located::Entry;
use agentd::model::{Content, Faults, Located, OutcomeResult, Place, ResourceId, Step, Value};
use serde_json::json;

/// How this module is started in the host.
pub const COMMAND: [&str; 6] = [
    "/srv/driver/driver",
    "package::inside::in_the_host",
    "--exact",
    "--ignored",
    "--nocapture",
    "--test-threads=1",
];

/// Works on `/srv/driver/declaration.toml`; a name that starts with `-` in `/srv/driver/prune` is no longer
/// declared and to be taken away.
#[test]
#[ignore = "runs inside a host of the laboratory, started by the other tests"]
fn in_the_host() {
    let specs = specs(&std::fs::read_to_string("/srv/driver/declaration.toml").unwrap());
    let prune = std::fs::read_to_string("/srv/driver/prune").unwrap_or_default();
    let prune: BTreeSet<_> = prune.lines().map(Into::into).collect();
    let hold: Vec<UnitName> = std::env::var("HOLD_UNITS")
        .unwrap_or_default()
        .split_whitespace()
        .map(|unit| unit.parse().unwrap())
        .collect();
    let host = Host {
        root: Root::open("/").unwrap(),
        programs: Arc::new(SystemPrograms),
        units: Arc::new(SystemUnits::new()),
        netfilter: Arc::new(FakeNetfilter::default()),
        accounts: Arc::new(SystemAccounts::new()),
        clock: Arc::new(SystemClock),
    };
    let want = Want { specs: &specs, prune: &prune, only: None };
    let settings = Settings { lock_tries: 3, ..Settings::default() };
    let seconds = std::env::var("TIME_LIMIT").ok().and_then(|text| text.parse().ok());
    let time_limit = seconds.map_or(settings.time_limit, Duration::from_secs);
    let mut kind = Packages::new(Settings { time_limit, ..settings });
    let observed = kind.observe(&host, &want).unwrap();
    let notes = observed.notes.clone();
    let differences = kind.diff(&want, &observed, &DiffCx { levels: &NoLevels });
    let shown = |differences: &[agentd::kind::Difference<_>]| -> Vec<String> {
        let lines = differences.iter().flat_map(|difference| {
            difference.changes.iter().map(move |change: &agentd::kind::package::Change| {
                let waiting = difference.waiting.as_ref().map(|what| format!(" (waiting for {what})"));
                format!("{}: {change}{}", difference.key, waiting.unwrap_or_default())
            })
        });
        lines.collect()
    };
    let plan = shown(&differences);
    let folder = tempfile::tempdir_in("/srv/driver").unwrap();
    let keep = Keep::open(&Root::open(folder.path()).unwrap(), Limits::default()).unwrap();
    let contents = Contents::in_memory();
    let mut outcomes = Vec::new();
    for step in [Step::Packages, Step::RemovePackages] {
        let changes: Vec<_> = differences
            .iter()
            .filter(|difference| difference.waiting.is_none())
            .flat_map(|difference| {
                difference.changes.iter().map(|change| Planned {
                    key: difference.key.clone(),
                    spec: specs.get(&difference.key).cloned(),
                    change: change.clone(),
                })
            })
            .filter(|planned| agentd::kind::Change::step(&planned.change) == step)
            .collect();
        if changes.is_empty() {
            continue;
        }
        let mut cx = ApplyCx { host: &host, contents: &contents, keep: &keep, hold_units: &hold };
        let results = kind.apply(&mut cx, &changes);
        assert_eq!(results.len(), changes.len());
        outcomes.extend(changes.iter().zip(results).map(|(planned, result)| {
            let told = match result {
                OutcomeResult::Done => "done".to_owned(),
                OutcomeResult::DoneNoting { note } => format!("done ({note})"),
                OutcomeResult::Waiting { message } => format!("waiting for {message}"),
                OutcomeResult::Failed { message } => format!("failed {message}"),
            };
            format!("{}: {told}", planned.key)
        }));
    }
    let observed = kind.observe(&host, &want).unwrap();
    let residual = shown(&kind.diff(&want, &observed, &DiffCx { levels: &NoLevels }));
    let before = COUNTERS.read();
    kind.observe(&host, &want).unwrap();
    let quiet = COUNTERS.read().since(before) == Counts::default();
    let report = json!({
        "plan": plan, "outcomes": outcomes, "residual": residual, "notes": notes, "quiet": quiet
    });
    println!("\nreport: {report}");
}

fn specs(text: &str) -> Specs<agentd::kind::package::Spec> {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut NoFiles, prune: &defaults };
    let specs = Packages::parse(&located(&toml::Value::Table(table)), &mut cx);
    assert!(!faults.has_errors(), "{faults:?}");
    specs
}

fn located(value: &toml::Value) -> Located {
    let place = Place::file("roles/lab.toml");
    let value = match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Boolean(truth) => Value::Boolean(*truth),
        toml::Value::Table(table) => {
            let entry = |value| Entry { key_place: place.clone(), value: located(value) };
            let entries: BTreeMap<_, _> =
                table.iter().map(|(key, value)| (key.clone(), entry(value))).collect();
            Value::Table(entries)
        }
        other => panic!("not in these tests: {other}"),
    };
    Located { value, place, below: Vec::new() }
}

struct NoFiles;

impl Materials for NoFiles {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        unreachable!("{path}")
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        unreachable!("{path}")
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}

struct NoLevels;

impl Levels for NoLevels {
    fn now(&self, _inputs: &[ResourceId]) -> Option<u64> {
        None
    }

    fn seen(&self, _service: &ResourceId, _reaction: Reaction) -> Option<u64> {
        None
    }
}
