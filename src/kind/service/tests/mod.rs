//! Declared against observed as data, and changes against a systemd with semantics.

mod applied;
mod compared;
mod declared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Change, Services, Spec, State, spec};
use crate::host::Host;
use crate::host::accounts::ListedAccounts;
use crate::host::clock::FakeClock;
use crate::host::files::Root;
use crate::host::netfilter::FakeNetfilter;
use crate::host::program::{FakePrograms, Finished};
use crate::host::units::{FakeUnits, UnitName};
use crate::kind::parse::MaterialFault;
use crate::kind::{
    Declared, DiffCx, Difference, Kind, Levels, Materials, ParseCx, Planned, PruneDefaults, Reaction,
    Reading, Specs, Want,
};
use crate::model::located::Entry;
use crate::model::{Content, Faults, Key, Located, OutcomeResult, Place, Provenance, ResourceId, Value};

fn at(line: u32) -> Place {
    Place { line, ..Place::file("roles/web.toml") }
}

fn located(value: &toml::Value) -> Located {
    let value = match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(truth) => Value::Boolean(*truth),
        toml::Value::Datetime(time) => Value::Datetime(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(located).collect()),
        toml::Value::Table(table) => {
            let entry = |value| Entry { key_place: at(1), value: located(value) };
            Value::Table(table.iter().map(|(key, value)| (key.clone(), entry(value))).collect())
        }
    };
    Located { value, place: at(1), below: Vec::new() }
}

struct NoFiles;

impl Materials for NoFiles {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        Err(MaterialFault { code: "no-such-file", message: path.to_owned(), hint: None, inside: None })
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        self.source(path)
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}

/// Reads a `[services]` table; faults as `code: message`.
fn parse(text: &str) -> (Specs<Spec>, Vec<String>) {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut NoFiles, prune: &defaults };
    let specs = spec::parse(&located(&toml::Value::Table(table)), &mut cx);
    let mut told = faults.into_sorted();
    told.extend(Services::validate(&specs));
    (specs, told.into_iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect())
}

fn specs(text: &str) -> Specs<Spec> {
    let (specs, faults) = parse(text);
    assert_eq!(faults, [] as [String; 0]);
    specs
}

/// Levels by hand.
#[derive(Default)]
struct Hand {
    changing: bool,
    now: u64,
    seen: BTreeMap<Reaction, u64>,
}

impl Levels for Hand {
    fn now(&self, _inputs: &[ResourceId]) -> Option<u64> {
        (!self.changing).then_some(self.now)
    }

    fn seen(&self, _service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.seen.get(&reaction).copied()
    }
}

/// A host whose systemd is a fake and whose journal has two lines for every unit.
struct Ground {
    units: Arc<FakeUnits>,
    host: Host,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let units = Arc::new(FakeUnits::new());
        let journal = FakePrograms::answering(|run| {
            assert_eq!(run.program.to_str(), Some("/usr/bin/journalctl"));
            let stdout = b"first words\n\x1b[31mlast words\n".to_vec();
            Ok(Finished { code: Some(0), stdout, stderr: Vec::new() })
        });
        let host = Host {
            root: Root::open(folder.path()).unwrap(),
            programs: Arc::new(journal),
            units: units.clone(),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::default()),
            clock: Arc::new(FakeClock::at(jiff::Timestamp::UNIX_EPOCH)),
        };
        Ground { units, host, _folder: folder }
    }

    fn lay(&self, unit: &str, text: &str) {
        self.units.lay(&name(unit), text);
    }

    /// Observes and compares.
    fn differences(
        &self,
        specs: &Specs<Spec>,
        prune: &[&str],
        levels: &dyn Levels,
    ) -> Vec<Difference<Change>> {
        let prune: BTreeSet<Key> = prune.iter().map(|key| Key::from(*key)).collect();
        let want = Want { specs, prune: &prune, only: None };
        let mut kind = Services::default();
        let observed = kind.observe(&self.host, &want).unwrap();
        kind.diff(&want, &observed, &DiffCx { levels })
    }

    /// Makes all changes of these differences, as one step.
    fn apply(&self, specs: &Specs<Spec>, differences: &[Difference<Change>]) -> Vec<OutcomeResult> {
        let planned = |difference: &Difference<Change>| {
            let spec: Option<Declared<Spec>> = specs.get(&difference.key).cloned();
            let key = difference.key.clone();
            difference.changes.clone().into_iter().map(move |change| Planned {
                key: key.clone(),
                spec: spec.clone(),
                change,
            })
        };
        let changes: Vec<_> = differences.iter().flat_map(planned).collect();
        super::apply::apply(&self.host, &changes)
    }

    /// One correction: what was done, in systemd's words. Everything must have gone well and nothing differ after.
    fn converges(&self, specs: &Specs<Spec>) -> Vec<String> {
        let before = self.units.log().len();
        let results = self.apply(specs, &self.differences(specs, &[], &Hand::default()));
        assert!(results.iter().all(|result| *result == OutcomeResult::Done), "{results:?}");
        assert_eq!(self.differences(specs, &[], &Hand::default()), []);
        self.units.log().split_off(before)
    }

    fn reading(&self, specs: &Specs<Spec>, unit: &str) -> Reading<State> {
        let want = Want { specs, prune: &BTreeSet::new(), only: None };
        Services::default().observe(&self.host, &want).unwrap().readings.remove(unit).unwrap()
    }
}

fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

const DAEMON: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
