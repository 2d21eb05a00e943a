//! The part that runs inside the host: the kind on the real system, told by a file, telling by a line.

use std::collections::BTreeSet;
use std::time::Duration;

use agentd::host::counters::{COUNTERS, Counts};
use agentd::keep::{Contents, Keep, Limits, What};
use agentd::kind::holdback::{Afterwards, HoldUnit};
use agentd::kind::package::{Packages, Settings};
use agentd::kind::{ApplyCx, DiffCx, Kind, Planned, Want};
use agentd::model::Step;
use serde_json::json;

use crate::inside::{NoLevels, command, declared, keep, system, told};

/// How this module is started in the host.
pub const COMMAND: [&str; 6] = command("package::inside::in_the_host");

/// Works on the declaration; a name that starts with `-` in `/srv/driver/prune` is no longer
/// declared and to be taken away.
#[test]
#[ignore = "runs inside a host of the laboratory, started by the other tests"]
fn in_the_host() {
    let specs = declared("packages").package;
    let prune = std::fs::read_to_string("/srv/driver/prune").unwrap_or_default();
    let prune: BTreeSet<_> = prune.lines().map(Into::into).collect();
    let hold: Vec<HoldUnit> = std::env::var("HOLD_UNITS")
        .unwrap_or_default()
        .split_whitespace()
        .map(|unit| HoldUnit { name: unit.parse().unwrap(), afterwards: Afterwards::AsDeclared })
        .collect();
    let host = system();
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
    let (mut keep, _folder) = keep();
    if let Some(most) = std::env::var("KEEP_BYTES").ok().and_then(|text| text.parse().ok()) {
        keep.limit(Limits { max_bytes: most, ..Limits::default() });
    }
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
        let told = |(planned, result): (&Planned<_, _>, _)| format!("{}: {}", planned.key, told(result));
        outcomes.extend(changes.iter().zip(results).map(told));
    }
    let observed = kind.observe(&host, &want).unwrap();
    let residual = shown(&kind.diff(&want, &observed, &DiffCx { levels: &NoLevels }));
    let before = COUNTERS.read();
    kind.observe(&host, &want).unwrap();
    let quiet = COUNTERS.read().since(before) == Counts::default();
    let report = json!({
        "plan": plan, "outcomes": outcomes, "residual": residual, "notes": notes, "quiet": quiet,
        "kept": kept(&keep)
    });
    println!("\nreport: {report}");
}

/// What was kept, as `path mode first line`, in the order of the paths.
fn kept(keep: &Keep) -> Vec<String> {
    let mut kept: Vec<String> = keep
        .list()
        .unwrap()
        .iter()
        .map(|item| {
            let What::File { attributes, .. } = &item.what else { panic!("{item:?}") };
            let text = String::from_utf8(keep.bytes(&item.id).unwrap()).unwrap();
            let path = item.path.as_deref().unwrap();
            format!("{path} {:04o} {}", attributes.mode, text.lines().next().unwrap_or_default())
        })
        .collect();
    kept.sort();
    kept
}
