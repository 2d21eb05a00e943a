//! A host of one's own: an empty network namespace, a temporary root, real nft.

use std::collections::BTreeSet;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::{Change, Firewall, Spec, State};
use crate::host::Host;
use crate::host::accounts::ListedAccounts;
use crate::host::clock::FakeClock;
use crate::host::files::Root;
use crate::host::netfilter::SystemNetfilter;
use crate::host::program::{Files, Finished, ProgramError, Programs, Run, SystemPrograms, Work};
use crate::host::units::FakeUnits;
use crate::keep::{Contents, Keep, Limits};
use crate::kind::parse::MaterialFault;
use crate::kind::{
    ApplyCx, DiffCx, Difference, Kind, Levels, Materials, Observed, ParseCx, Planned, PruneDefaults,
    Reaction, Specs, Want,
};
use crate::model::located::Entry;
use crate::model::{Content, Diagnostic, Faults, Key, Located, OutcomeResult, Place, ResourceId, Value};

/// Runs `test` in a network namespace of its own, on a host whose systemd does nothing.
pub fn on_a_host(test: impl FnOnce(&mut TestHost) + Send) {
    let mut test = Some(test);
    SystemPrograms
        .apart(Files::All, &mut |_| {
            let test = test.take().unwrap();
            test(&mut TestHost::new());
        })
        .expect("these tests need root and network namespaces");
}

/// A host, and the kind at work on it.
pub struct TestHost {
    pub host: Host,
    pub clock: Arc<FakeClock>,
    pub programs: Arc<CountedPrograms>,
    pub kind: Firewall,
    pub prune: BTreeSet<Key>,
    pub only: Option<BTreeSet<Key>>,
    keep: Keep,
    pub folder: TempDir,
}

/// Real programs but for systemd's, each counted.
#[derive(Default)]
pub struct CountedPrograms {
    ran: std::sync::Mutex<Vec<Vec<String>>>,
    fail: std::sync::Mutex<Option<String>>,
    missing: std::sync::atomic::AtomicBool,
}

impl CountedPrograms {
    /// The runs since the last call, program first.
    pub fn taken(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }

    /// From now on programs whose command line contains `text` fail.
    pub fn fail(&self, text: &str) {
        *self.fail.lock().unwrap() = Some(text.to_owned());
    }

    /// From now on nft is not installed.
    pub fn miss(&self) {
        self.missing.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Programs for CountedPrograms {
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        let mut line = vec![run.program.display().to_string()];
        line.extend(run.args.iter().cloned());
        let fails = self.fail.lock().unwrap().as_ref().is_some_and(|text| line.join(" ").contains(text));
        self.ran.lock().unwrap().push(line);
        if fails {
            return Ok(Finished { code: Some(1), stdout: Vec::new(), stderr: b"told to fail".to_vec() });
        }
        if self.missing.load(std::sync::atomic::Ordering::SeqCst) {
            return SystemPrograms.run(&Run { program: "/usr/sbin/no-nft".into(), ..run.clone() });
        }
        if run.program.ends_with("systemd-run") || run.program.ends_with("systemctl") {
            return Ok(Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() });
        }
        SystemPrograms.run(run)
    }

    fn apart(&self, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        SystemPrograms.apart(files, &mut |_| work(self))
    }
}

impl TestHost {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["root", "keep"] {
            std::fs::DirBuilder::new().create(folder.path().join(name)).unwrap();
        }
        let clock = Arc::new(FakeClock::at("2026-01-31T12:00:00Z".parse().unwrap()));
        let programs = Arc::new(CountedPrograms::default());
        let host = Host {
            root: Root::open(folder.path().join("root")).unwrap(),
            programs: programs.clone(),
            units: Arc::new(FakeUnits::default()),
            netfilter: Arc::new(SystemNetfilter::open().unwrap()),
            accounts: Arc::new(ListedAccounts::default()),
            clock: clock.clone(),
        };
        let keep = Keep::open(&Root::open(folder.path().join("keep")).unwrap(), Limits::default()).unwrap();
        TestHost {
            host,
            clock,
            programs,
            kind: Firewall::default(),
            prune: BTreeSet::new(),
            only: None,
            keep,
            folder,
        }
    }

    /// Runs nft as a person would; fails the test if nft does.
    pub fn nft(&self, args: &[&str]) -> String {
        let done = SystemPrograms.run(&Run::new("/usr/sbin/nft", args)).unwrap();
        assert!(done.succeeded(), "nft {args:?}: {}", done.complaint());
        String::from_utf8(done.stdout).unwrap()
    }

    /// Loads text as a person would.
    pub fn load(&self, text: &str) {
        let mut run = Run::new("/usr/sbin/nft", &["-f", "-"]);
        run.stdin = text.as_bytes().to_vec();
        let done = SystemPrograms.run(&run).unwrap();
        assert!(done.succeeded(), "{}", done.complaint());
    }

    pub fn observe(&mut self, specs: &Specs<Spec>) -> Result<Observed<State>, String> {
        let want = Want { specs, prune: &self.prune, only: self.only.as_ref() };
        self.kind.observe(&self.host, &want).map_err(|error| error.message)
    }

    /// What differs.
    pub fn differences(&mut self, specs: &Specs<Spec>) -> Vec<Difference<Change>> {
        let observed = self.observe(specs).unwrap();
        let want = Want { specs, prune: &self.prune, only: self.only.as_ref() };
        self.kind.diff(&want, &observed, &DiffCx { levels: &NoLevels })
    }

    /// The keys of what differs.
    pub fn drift(&mut self, specs: &Specs<Spec>) -> Vec<String> {
        self.differences(specs).iter().map(|difference| difference.key.to_string()).collect()
    }

    /// Applies the changes of all differences but those of the keys in `held`.
    pub fn correct_but(&mut self, specs: &Specs<Spec>, held: &[&str]) -> Vec<OutcomeResult> {
        let differences = self.differences(specs);
        let cleared = differences.into_iter().filter(|difference| !held.contains(&difference.key.as_str()));
        let changes: Vec<_> = cleared
            .flat_map(|difference| {
                let (key, spec) = (difference.key.clone(), specs.get(&difference.key).cloned());
                let planned = move |change| Planned { key: key.clone(), spec: spec.clone(), change };
                difference.changes.into_iter().map(planned).collect::<Vec<_>>()
            })
            .collect();
        let mut cx =
            ApplyCx { host: &self.host, contents: &Contents::in_memory(), keep: &self.keep, hold_units: &[] };
        self.kind.apply(&mut cx, &changes)
    }

    /// Applies everything that differs and fails the test if that fails or something still differs.
    pub fn correct(&mut self, specs: &Specs<Spec>) {
        for result in self.correct_but(specs, &[]) {
            assert_eq!(result, OutcomeResult::Done);
        }
        assert_eq!(self.drift(specs), [""; 0], "a second look finds nothing to do");
    }

    /// What was kept, newest first.
    pub fn kept(&self) -> Vec<String> {
        let items = self.keep.list().unwrap();
        items.iter().map(|item| String::from_utf8(self.keep.bytes(&item.id).unwrap()).unwrap()).collect()
    }

    /// A file below the host's root.
    pub fn file(&self, path: &str) -> Option<String> {
        let bytes = self.host.root.read(path, 1 << 20).unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
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

/// Compiles a `[firewall]` table; fails the test if it has faults.
pub fn declared(text: &str) -> Specs<Spec> {
    let (specs, faults) = parse(text);
    assert!(faults.is_empty(), "{faults:?}");
    specs
}

/// Compiles a `[firewall]` table, with all its errors (warnings are told by [`warnings`]).
pub fn parse(text: &str) -> (Specs<Spec>, Vec<String>) {
    let (specs, faults) = diagnose(text);
    let errors = faults.into_iter().filter(|fault| fault.severity == crate::model::Severity::Error);
    (specs, errors.map(|fault| format!("{}: {}", fault.code, fault.message)).collect())
}

/// The warnings of a `[firewall]` table.
pub fn warnings(text: &str) -> Vec<String> {
    let (_, faults) = diagnose(text);
    let warnings = faults.into_iter().filter(|fault| fault.severity == crate::model::Severity::Warning);
    warnings.map(|fault| fault.code).collect()
}

fn diagnose(text: &str) -> (Specs<Spec>, Vec<Diagnostic>) {
    let table: toml::Table = text.parse().unwrap();
    let (mut faults, defaults) = (Faults::default(), PruneDefaults::default());
    let mut cx = ParseCx { faults: &mut faults, materials: &mut NoFiles, prune: &defaults };
    let specs = Firewall::parse(&located(&toml::Value::Table(table)), &mut cx);
    Firewall::validate(&specs).into_iter().for_each(|fault| faults.push(fault));
    // As they cross to the root agent.
    let text = serde_json::to_string(&specs).unwrap();
    assert_eq!(serde_json::from_str::<Specs<Spec>>(&text).unwrap(), specs);
    (specs, faults.into_sorted())
}

fn located(value: &toml::Value) -> Located {
    let place = Place::file("roles/web.toml");
    let value = match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Integer(*number),
        toml::Value::Float(number) => Value::Float(*number),
        toml::Value::Boolean(truth) => Value::Boolean(*truth),
        toml::Value::Datetime(time) => Value::Datetime(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(located).collect()),
        toml::Value::Table(table) => {
            let entry = |value| Entry { key_place: place.clone(), value: located(value) };
            Value::Table(table.iter().map(|(key, value)| (key.clone(), entry(value))).collect())
        }
    };
    Located { value, place, below: Vec::new() }
}

/// The kind takes no file of the repository.
struct NoFiles;

impl Materials for NoFiles {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        panic!("the firewall asked for {path}")
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        panic!("the firewall asked for {path}")
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}
