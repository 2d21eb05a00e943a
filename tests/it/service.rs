//! Units: the fake keeps the contract of the real one, and passes over it do what people expect of services.

#[path = "../contract/agent.rs"]
mod agent;
#[path = "../contract/units.rs"]
mod contract;

use std::sync::Arc;
use std::time::Duration;

use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::FakeClock;
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::{FakePrograms, Finished};
use agentd::host::units::{FakeUnits, UnitAction, UnitFileAction, UnitName, Units};
use agentd::kind::Specs;
use agentd::kind::service::Spec;
use agentd::model::{ResourceId, ResourceStatus, Verdict};
use agentd::reconcile::Memory;
use agentd::reconcile::memory::Intent;

use agent::{Agent, message, statuses, unit, up};

struct Fake(FakeUnits);

impl contract::Ground for Fake {
    fn units(&self) -> &dyn Units {
        &self.0
    }

    fn lay(&self, unit: &UnitName, text: &str) {
        self.0.lay(unit, text);
    }

    fn take_away(&self, unit: &UnitName) {
        self.0.take_away(unit);
    }

    fn kill(&self, unit: &UnitName) {
        self.0.kill(unit);
    }

    fn wait(&self, turn: u32) -> bool {
        self.0.settle();
        turn < 3
    }
}

#[test]
fn the_fake_keeps_the_contract() {
    contract::hold(&Fake(FakeUnits::new()));
}

/// An agent on a host of fakes.
struct Stage {
    units: Arc<FakeUnits>,
    clock: Arc<FakeClock>,
    agent: Agent,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let units = Arc::new(FakeUnits::new());
        let clock = Arc::new(FakeClock::at(jiff::Timestamp::UNIX_EPOCH));
        let silent = FakePrograms::answering(|_| {
            Ok(Finished { code: Some(0), stdout: b"last words\n".to_vec(), stderr: Vec::new() })
        });
        let host = Host {
            root: Root::open(folder.path()).unwrap(),
            programs: Arc::new(silent),
            units: units.clone(),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::default()),
            clock: clock.clone(),
        };
        Stage { units, clock, agent: Agent::new(host), _folder: folder }
    }

    /// What was done since the last time this was asked, besides reading unit files again.
    fn done_by(&mut self, act: impl FnOnce(&mut Agent)) -> Vec<String> {
        let before = self.units.log().len();
        act(&mut self.agent);
        self.units.log().split_off(before)
    }
}

fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

/// The agent decides to change a file: written down before it is done.
fn intend(agent: &mut Agent, file: &str) {
    let intent = Intent {
        resource: file.parse().unwrap(),
        verdict: Verdict::Behind,
        fields: Vec::new(),
        action: "write".into(),
        held: None,
        creates: false,
        removes: false,
        prune: false,
        declared: None,
    };
    agent.memory.note(&[intent]).unwrap();
}

const CONF: &str = "file:/etc/nginx/nginx.conf";

fn nginx_that_reloads() -> Specs<Spec> {
    let reload_on: Vec<ResourceId> = vec![CONF.parse().unwrap()];
    Specs::from([unit("nginx.service", Spec { reload_on, ..up() })])
}

#[test]
fn a_pass_after_a_pass_does_nothing() {
    let mut stage = Stage::new();
    stage.units.lay(&name("nginx.service"), contract::DAEMON);
    stage.agent.declare(nginx_that_reloads());
    let first = stage.done_by(|agent| drop(agent.pass()));
    assert_eq!(first, ["enable nginx.service", "start nginx.service"]);
    assert_eq!(stage.done_by(|agent| assert_eq!(agent.pass().findings, [])), [] as [String; 0]);
}

#[test]
fn adopting_a_running_service_restarts_nothing() {
    let mut stage = Stage::new();
    let nginx = name("nginx.service");
    stage.units.lay(&nginx, contract::DAEMON);
    stage.units.change_files(UnitFileAction::Enable, std::slice::from_ref(&nginx)).unwrap();
    stage.units.act(UnitAction::Start, &nginx).unwrap();
    intend(&mut stage.agent, CONF);
    stage.agent.declare(nginx_that_reloads());
    assert_eq!(stage.done_by(|agent| drop(agent.pass())), [] as [String; 0]);
}

#[test]
fn a_reload_that_was_owed_when_the_agent_died_is_still_owed_and_made_once() {
    let mut stage = Stage::new();
    stage.units.lay(&name("nginx.service"), contract::DAEMON);
    stage.agent.declare(nginx_that_reloads());
    stage.agent.pass();
    // The file is being changed; then the power goes.
    intend(&mut stage.agent, CONF);
    stage.agent.die_and_come_back();
    assert_eq!(stage.done_by(|agent| drop(agent.pass_now())), ["reload nginx.service"]);
    assert_eq!(stage.done_by(|agent| drop(agent.pass_now())), [] as [String; 0]);
    // The same again, and it dies once more right after the reload: at worst that is one more reload.
    intend(&mut stage.agent, CONF);
    stage.agent.die_and_come_back();
    stage.agent.die_and_come_back();
    assert_eq!(stage.done_by(|agent| drop(agent.pass_now())), ["reload nginx.service"]);
    stage.agent.die_and_come_back();
    assert_eq!(stage.done_by(|agent| drop(agent.pass_now())), [] as [String; 0]);
}

#[test]
fn a_unit_that_keeps_crashing_is_started_with_growing_waits_and_shown_as_failed() {
    let mut stage = Stage::new();
    stage.units.lay(&name("worker.service"), "[Service]\nExecStart=/bin/false\n");
    let spec = Spec { enabled: None, ..up() };
    stage.agent.declare(Specs::from([unit("worker.service", spec)]));
    let starts = |log: Vec<String>| log.iter().filter(|line| line.starts_with("start ")).count();
    // Ten passes a second for ten minutes.
    let mut count = 0;
    for turn in 0..6000 {
        let mut status = Vec::new();
        count += starts(stage.done_by(|agent| {
            let report = agent.pass();
            status = statuses(&report).into_iter().map(|(_, status)| status).collect();
            if turn == 0 {
                assert!(message(&report, "worker.service").contains("last words"), "{report:?}");
            }
        }));
        assert_eq!(status, [ResourceStatus::Failed], "turn {turn}");
        stage.clock.advance(Duration::from_millis(100));
    }
    // At 0, 2, 8, 26, 80, 242 and 542 seconds.
    assert_eq!(count, 7);
}

#[test]
fn a_service_of_a_package_that_is_not_there_yet_waits() {
    let mut stage = Stage::new();
    stage.agent.declare(Specs::from([unit("nginx.service", up())]));
    let report = stage.agent.pass();
    assert_eq!(statuses(&report), [("nginx.service", ResourceStatus::Waiting)]);
    assert!(message(&report, "nginx.service").contains("a package or a file must bring"), "{report:?}");
    stage.units.lay(&name("nginx.service"), contract::DAEMON);
    assert_eq!(statuses(&stage.agent.pass()), [("nginx.service", ResourceStatus::Synced)]);
}

#[test]
fn only_what_we_turned_on_is_turned_off_when_the_declaration_drops_it() {
    let mut stage = Stage::new();
    let (ours, theirs) = (name("ours.service"), name("theirs.service"));
    stage.units.lay(&ours, contract::DAEMON);
    stage.units.lay(&theirs, contract::DAEMON);
    stage.units.change_files(UnitFileAction::Enable, std::slice::from_ref(&theirs)).unwrap();
    stage.units.act(UnitAction::Start, &theirs).unwrap();
    let kept = unit("kept.service", Spec::default());
    let all = Specs::from([unit("ours.service", up()), unit("theirs.service", up()), kept.clone()]);
    stage.agent.declare(all);
    stage.agent.pass();
    stage.agent.declare(Specs::from([kept]));
    let done = stage.done_by(|agent| drop(agent.pass()));
    assert_eq!(done, ["disable ours.service", "stop ours.service"]);
    assert_eq!(stage.done_by(|agent| drop(agent.pass_now())), [] as [String; 0]);
    assert_eq!(stage.units.status(&[theirs]).unwrap()[0].active, "active");
}

#[test]
fn while_systemd_does_not_answer_nothing_is_planned() {
    let mut stage = Stage::new();
    stage.units.lay(&name("nginx.service"), contract::DAEMON);
    stage.agent.declare(nginx_that_reloads());
    stage.units.set_reachable(false);
    let report = stage.agent.pass();
    assert!(report.plan.is_empty() && report.blind.len() == 1, "{report:?}");
    stage.units.set_reachable(true);
    assert_eq!(statuses(&stage.agent.pass()), [("nginx.service", ResourceStatus::Synced)]);
}
