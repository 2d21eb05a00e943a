//! Who fights about a file, on a real file system, with the real record and a clock that moves when told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::{Clock, FakeClock};
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::FakeUnits;
use agentd::keep::{Contents, Keep, Limits};
use agentd::kind::file::{Files, Mode, Ownership, Spec};
use agentd::kind::service::Services;
use agentd::kind::{Declared, Desired};
use agentd::model::{
    Actor, Attribution, Confidence, DriftMode, Key, Place, Process, Provenance, ResourceStatus, Trigger,
    Verdict,
};
use agentd::reconcile::gate::Patience;
use agentd::reconcile::lane::Lane;
use agentd::reconcile::pass::{Removals, Stage};
use agentd::reconcile::report::Seen;
use agentd::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};
use agentd::record::{DriftFilter, DriftRecord, History, PassScope, Record};
use tempfile::TempDir;

const MOTD: &str = "/etc/motd";

/// An agent that holds files and services, with its record: one file, unless something else is declared.
pub struct Scene {
    pub units: Arc<FakeUnits>,
    pub clock: Arc<FakeClock>,
    pub engine: Engine,
    pub state: TempDir,
    pub top: TempDir,
    /// What happens to the host between the changes of a pass and its second look at them.
    pub meanwhile: fn(&Path),
    host: Host,
    contents: Contents,
    keep: Keep,
    record: Option<Record>,
    _kept: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests must run as root");
        let folder = || tempfile::tempdir_in("/tmp").unwrap();
        let (top, state, kept) = (folder(), folder(), folder());
        std::fs::create_dir(top.path().join("etc")).unwrap();
        let clock = Arc::new(FakeClock::at("2026-11-23T12:00:00Z".parse().unwrap()));
        let units = Arc::new(FakeUnits::new());
        let host = Host {
            root: Root::open(top.path()).unwrap(),
            programs: Arc::new(SystemPrograms),
            units: units.clone(),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::new(&[("root", 0)], &[("root", 0)])),
            clock: clock.clone(),
        };
        let keep = Keep::open(&Root::open(kept.path()).unwrap(), Limits::default()).unwrap();
        let mut scene = Scene {
            units,
            clock,
            engine: Engine::new(Vec::new()),
            state,
            top,
            meanwhile: |_| {},
            host,
            contents: Contents::in_memory(),
            keep,
            record: None,
            _kept: kept,
        };
        scene.restart();
        scene.declare("declared\n");
        assert_eq!(scene.pass().unwrap().status, ResourceStatus::Synced);
        scene
    }

    /// The agent ends and comes back with what its record says.
    pub fn restart(&mut self) {
        let desired = Arc::clone(self.engine.desired());
        drop(self.record.take());
        let state = Root::open(self.state.path()).unwrap();
        let (mut record, _) = Record::open(&state, self.clock.clone()).unwrap();
        self.engine =
            Engine::new(vec![Box::new(Lane::new(Files::new())), Box::new(Lane::new(Services::default()))]);
        if !desired.is_empty() {
            self.engine.adopt(desired, &mut record).unwrap();
        }
        let since = self.clock.now() - Engine::RECALL;
        let stories = History::open(&state).unwrap().unwrap().tried(since, 100).unwrap();
        self.engine.recall(&stories, (self.clock.now(), self.clock.since_boot()));
        self.record = Some(record);
    }

    fn declare(&mut self, text: &str) {
        let mut desired = Desired::default();
        self.add_file(&mut desired, MOTD, text);
        self.adopt(desired);
    }

    /// Adds a file with this text to what is to be declared.
    pub fn add_file(&self, desired: &mut Desired, path: &str, text: &str) {
        let content = Some(self.contents.put(text.as_bytes()).unwrap());
        let ownership =
            Ownership { owner: "root".into(), group: "root".into(), mode: Mode::from_bits(0o644) };
        let spec = Spec::File { content, ownership, check: Vec::new() };
        let provenance = Provenance { winner: Place::file("roles/web.toml"), below: Vec::new() };
        desired.file.insert(Key::from(path), Declared { spec, provenance, drift: None, prune: false });
    }

    /// From now on the host is held to this.
    pub fn adopt(&mut self, desired: Desired) {
        self.engine.adopt(Arc::new(desired), self.record.as_mut().unwrap()).unwrap();
    }

    pub fn path(&self) -> PathBuf {
        self.top.path().join("etc/motd")
    }

    /// Someone else writes.
    pub fn tamper(&self) {
        std::fs::write(self.path(), "foreign\n").unwrap();
    }

    pub fn is_right(&self) -> bool {
        std::fs::read_to_string(self.path()).unwrap() == "declared\n"
    }

    /// The first thing that a pass found.
    pub fn pass(&mut self) -> Option<Seen> {
        self.pass_with(Patience::Patient)
    }

    pub fn pass_with(&mut self, patience: Patience) -> Option<Seen> {
        self.report(patience).findings.into_iter().next()
    }

    /// All that a pass found and did.
    pub fn report(&mut self, patience: Patience) -> PassReport {
        let record = self.record.as_mut().unwrap();
        record.begin_pass(BTreeSet::from([Trigger::Watch]), PassScope::Full, None).unwrap();
        let (top, meanwhile) = (self.top.path(), self.meanwhile);
        let progress = |stage| match stage {
            Stage::Observed(_) => {}
            Stage::Verifying => meanwhile(top),
        };
        let world = World {
            host: &self.host,
            contents: &self.contents,
            keep: &self.keep,
            stopping: &AtomicBool::new(false),
            progress: &progress,
        };
        let order = Order {
            scope: Scope::Full,
            purpose: Purpose::Apply,
            mode: DriftMode::Enabled,
            patience,
            removals: Removals { limit: u32::MAX, ..Removals::default() },
        };
        let report = pass(&mut self.engine, &world, &order, record);
        assert_eq!(report.record_fault, None);
        report
    }

    /// Every drift that the record knows, newest first.
    pub fn drifts(&self) -> Vec<DriftRecord> {
        let history = History::open(&Root::open(self.state.path()).unwrap()).unwrap().unwrap();
        history.drifts(&DriftFilter::default()).unwrap()
    }

    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn cron() -> Attribution {
    let process = Process { pid: 4242, executable: "/usr/bin/dash".into(), ..Process::default() };
    let actor = Actor { process: Some(process), unit: Some("cron.service".into()), ..Actor::default() };
    Attribution {
        confidence: Confidence::Certain,
        actor: Some(actor),
        ..Attribution::unknown("told by the event")
    }
}

#[test]
fn a_file_that_is_rewritten_each_second_is_contested_and_the_other_writer_named() {
    let mut scene = Scene::new();
    let (mut corrections, mut contested_at, mut message) = (Vec::new(), None, None);
    for second in 0..1200 {
        scene.tamper();
        let seen = scene.pass().unwrap();
        assert_eq!(seen.verdict, Verdict::Drifted, "second {second}");
        if seen.status == ResourceStatus::Corrected {
            assert!(scene.is_right());
            corrections.push(second);
            scene.engine.changed_by(&seen.resource, &cron());
        } else if seen.status == ResourceStatus::Contested {
            contested_at.get_or_insert(second);
            message = seen.message;
        } else {
            assert_eq!((seen.status, contested_at), (ResourceStatus::Drifted, None), "second {second}");
        }
        scene.wait(1);
    }
    // 2, 6, 18, 54, 162 and then 300 seconds apart.
    assert_eq!(corrections, [0, 2, 8, 26, 80, 242, 542, 842, 1142]);
    assert_eq!(contested_at, Some(27), "the fifth change");
    let message = message.unwrap();
    for words in
        ["/usr/bin/dash [4242] in cron.service, certain", "agentctl suspend file:/etc/motd", "Declare"]
    {
        assert!(message.contains(words), "{message}");
    }
}

/// Whatever the rival's period, up to just below the quiet that forgives.
#[test]
fn however_often_the_other_writes_the_agent_writes_ever_more_seldom_and_tells_of_the_contest() {
    for period in [5, 60, 150, 300, 595] {
        let mut scene = Scene::new();
        let (mut written, mut corrected, mut contested) = (0, 0, false);
        for second in (0..1800_u64).step_by(5) {
            if second % period == 0 {
                scene.tamper();
                written += 1;
            }
            if let Some(seen) = scene.pass() {
                corrected += usize::from(seen.status == ResourceStatus::Corrected);
                contested |= seen.contested;
            }
            scene.wait(5);
        }
        // At 0, 5, 15, 35, 90, 255 and 555 seconds, and then every five minutes.
        assert!((2..=11).contains(&corrected), "{corrected} corrections, every {period} s");
        assert!(corrected <= written, "every {period} s");
        assert_eq!(contested, written >= 5, "every {period} s");
    }
}

#[test]
fn two_writers_with_a_pause_between_never_wait() {
    let mut scene = Scene::new();
    for round in 0..8 {
        scene.tamper();
        assert_eq!(scene.pass().unwrap().status, ResourceStatus::Corrected, "round {round}");
        scene.wait(600);
    }
}

#[test]
fn a_wait_and_a_contest_survive_a_restart_of_the_agent() {
    let mut scene = Scene::new();
    for wait in [2, 6, 18, 54] {
        scene.tamper();
        let seen = scene.pass().unwrap();
        assert_eq!(seen.status, ResourceStatus::Corrected);
        let drift = agentd::record::DriftId(seen.drift.unwrap());
        scene.record.as_mut().unwrap().attribute(&[(drift, cron())]).unwrap();
        scene.wait(wait - 1);
        scene.tamper();
        let held = scene.pass().unwrap().status;
        scene.restart();
        let seen = scene.pass().unwrap();
        assert_eq!(seen.status, held, "held before and after the restart");
        assert_ne!(held, ResourceStatus::Corrected);
        if held == ResourceStatus::Contested {
            assert!(seen.message.unwrap().contains("/usr/bin/dash [4242]"));
        }
        scene.wait(1);
    }
    let seen = scene.pass().unwrap();
    assert_eq!(seen.status, ResourceStatus::Corrected);
    assert!(seen.message.unwrap().starts_with("contested: changed 5 times in"));
}

#[test]
fn a_person_is_not_kept_waiting() {
    let mut scene = Scene::new();
    scene.tamper();
    scene.pass();
    scene.tamper();
    assert_eq!(scene.pass().unwrap().status, ResourceStatus::Drifted);
    assert_eq!(scene.pass_with(Patience::Impatient).unwrap().status, ResourceStatus::Corrected);
}

#[test]
fn another_declaration_of_the_file_ends_the_wait() {
    let mut scene = Scene::new();
    scene.tamper();
    scene.pass();
    scene.tamper();
    assert_eq!(scene.pass().unwrap().status, ResourceStatus::Drifted);
    scene.declare("declared anew\n");
    assert_eq!(scene.pass().unwrap().status, ResourceStatus::Synced);
}

#[test]
fn a_held_drift_is_not_written_down_again_and_again() {
    let mut scene = Scene::new();
    scene.tamper();
    scene.pass();
    scene.tamper();
    scene.pass();
    let history = History::open(&Root::open(scene.state.path()).unwrap()).unwrap().unwrap();
    let head = history.head().unwrap();
    for _ in 0..100 {
        scene.tamper();
        scene.pass();
    }
    assert_eq!(history.head().unwrap(), head);
    assert_eq!(
        history.drifts(&DriftFilter::default()).unwrap().len(),
        3,
        "what was brought, and two changes"
    );
}
