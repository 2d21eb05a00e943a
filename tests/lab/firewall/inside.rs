//! The part that runs inside the host: the kind on the real system, told by a file, telling by a line.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentd::host::Host;
use agentd::keep::Contents;
use agentd::kind::firewall::{Change, Firewall, undo};
use agentd::kind::{ApplyCx, DiffCx, Difference, Kind, Planned, Want};
use serde_json::{Value as Json, json};

use crate::inside::{NoLevels, command, declared, keep, system, told};

/// How this module is started in the host.
pub const COMMAND: [&str; 6] = command("firewall::inside::in_the_host");

/// Long enough for a person to look, short enough for a test to wait for.
const WINDOW: Duration = Duration::from_secs(5);
const LONG_WINDOW: Duration = Duration::from_secs(600);

/// Follows the order in `ORDER` for the declaration.
#[test]
#[ignore = "runs inside a host of the laboratory, started by the other tests"]
fn in_the_host() {
    let host = system();
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
    let specs = declared("firewall").firewall;
    let want = Want { specs: &specs, prune: &BTreeSet::new(), only: None };
    let observed = match kind.observe(host, &want) {
        Ok(observed) => observed,
        Err(error) => return json!({ "unknown": error.message }),
    };
    let differences = kind.diff(&want, &observed, &DiffCx { levels: &NoLevels });
    let (keep, _folder) = keep();
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
