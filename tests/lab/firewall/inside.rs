//! The part that runs inside the host: the kind on the real system, told by a file, telling by a line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentd::host::Host;
use agentd::host::accounts::SystemAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::files::Root;
use agentd::host::netfilter::SystemNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::SystemUnits;
use agentd::keep::{Contents, Keep, Limits};
use agentd::kind::firewall::{Change, Firewall, Spec, undo};
use agentd::kind::parse::{MaterialFault, Materials};
use agentd::kind::{
    ApplyCx, DiffCx, Difference, Kind, Levels, ParseCx, Planned, PruneDefaults, Reaction, Specs, Want,
};
use agentd::model::located::Entry;
use agentd::model::{Content, Faults, Located, OutcomeResult, Place, ResourceId, Value};
use serde_json::{Value as Json, json};

/// How this module is started in the host.
pub const COMMAND: [&str; 6] = [
    "/srv/driver/driver",
    "firewall::inside::in_the_host",
    "--exact",
    "--ignored",
    "--nocapture",
    "--test-threads=1",
];

/// Long enough for a person to look, short enough for a test to wait for.
const WINDOW: Duration = Duration::from_secs(5);
const LONG_WINDOW: Duration = Duration::from_secs(600);

/// Follows the order in `ORDER` for `/srv/driver/declaration.toml`.
#[test]
#[ignore = "runs inside a host of the laboratory, started by the other tests"]
fn in_the_host() {
    let host = Host {
        root: Root::open("/").unwrap(),
        programs: Arc::new(SystemPrograms),
        units: Arc::new(SystemUnits::new()),
        netfilter: Arc::new(SystemNetfilter::open().unwrap()),
        accounts: Arc::new(SystemAccounts::new()),
        clock: Arc::new(SystemClock),
    };
    let report = match std::env::var("ORDER").unwrap().as_str() {
        "pass" => pass(&host, Firewall::default()),
        "guarded" => pass(&host, guarded(WINDOW)),
        "guarded-long" => pass(&host, guarded(LONG_WINDOW)),
        "confirm" => json!({ "confirmed": undo::confirm(&host).unwrap() }),
        "state" => json!({ "confirmation": undo::confirmation(&host).unwrap() }),
        other => panic!("no such order: {other}"),
    };
    println!("\nreport: {report}");
}

fn guarded(wait: Duration) -> Firewall {
    let window = Arc::new(undo::Window::default());
    window.set(Some(wait));
    Firewall::guarded(window)
}

fn pass(host: &Host, mut kind: Firewall) -> Json {
    let specs = specs(&std::fs::read_to_string("/srv/driver/declaration.toml").unwrap());
    let want = Want { specs: &specs, prune: &BTreeSet::new(), only: None };
    let observed = match kind.observe(host, &want) {
        Ok(observed) => observed,
        Err(error) => return json!({ "unknown": error.message }),
    };
    let differences = kind.diff(&want, &observed, &DiffCx { levels: &NoLevels });
    let folder = tempfile::tempdir_in("/srv/driver").unwrap();
    let keep = Keep::open(&Root::open(folder.path()).unwrap(), Limits::default()).unwrap();
    let plan = shown(&differences);
    let changes: Vec<_> = differences
        .into_iter()
        .flat_map(|difference| {
            let (key, spec) = (difference.key.clone(), specs.get(&difference.key).cloned());
            let planned = move |change| Planned { key: key.clone(), spec: spec.clone(), change };
            difference.changes.into_iter().map(planned)
        })
        .collect();
    let contents = Contents::in_memory();
    let mut cx = ApplyCx { host, contents: &contents, keep: &keep, hold_units: &[] };
    let results = if changes.is_empty() { Vec::new() } else { kind.apply(&mut cx, &changes) };
    let outcomes: Vec<String> = changes
        .iter()
        .zip(results)
        .map(|(planned, result)| format!("{}: {}", planned.key, told(result)))
        .collect();
    let observed = kind.observe(host, &want).unwrap();
    let residual = shown(&kind.diff(&want, &observed, &DiffCx { levels: &NoLevels }));
    json!({ "plan": plan, "outcomes": outcomes, "residual": residual, "notes": observed.notes })
}

fn shown(differences: &[Difference<Change>]) -> Vec<String> {
    let line = |difference: &Difference<Change>| {
        let fields = difference
            .fields
            .iter()
            .map(|field| format!("{}: {} -> {}", field.field, field.observed, field.desired));
        format!("{}: {}", difference.key, fields.collect::<Vec<_>>().join("; "))
    };
    differences.iter().map(line).collect()
}

fn told(result: OutcomeResult) -> String {
    match result {
        OutcomeResult::Done => "done".to_owned(),
        OutcomeResult::DoneNoting { note } => format!("done ({note})"),
        OutcomeResult::Waiting { message } => format!("waiting for {message}"),
        OutcomeResult::Failed { message } => format!("failed {message}"),
    }
}

fn specs(text: &str) -> Specs<Spec> {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut NoFiles, prune: &defaults };
    let specs = Firewall::parse(&located(&toml::Value::Table(table)), &mut cx);
    Firewall::validate(&specs).into_iter().for_each(|fault| faults.push(fault));
    assert!(!faults.has_errors(), "{faults:?}");
    specs
}

fn located(value: &toml::Value) -> Located {
    let place = Place::file("roles/lab.toml");
    let value = match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Boolean(truth) => Value::Boolean(*truth),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Array(values) => Value::Array(values.iter().map(located).collect()),
        toml::Value::Table(table) => {
            let entry = |value| Entry { key_place: place.clone(), value: located(value) };
            Value::Table(table.iter().map(|(key, value)| (key.clone(), entry(value))).collect())
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
