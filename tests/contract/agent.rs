//! An agent that looks after units alone: the engine over the kind `service`, on whichever host it is given.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use agentd::host::Host;
use agentd::host::files::Root;
use agentd::keep::{Contents, Keep, Limits};
use agentd::kind::service::{Services, Spec, Wish};
use agentd::kind::{Declared, Desired, Specs};
use agentd::model::{DriftMode, Key, Place, Provenance, ResourceStatus};
use agentd::reconcile::gate::Patience;
use agentd::reconcile::lane::Lane;
use agentd::reconcile::memory::Forgetful;
use agentd::reconcile::pass::Removals;
use agentd::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};

/// An agent with its memory, which outlives it as the record does.
pub struct Agent {
    pub host: Host,
    pub memory: Forgetful,
    engine: Engine,
    keep: Keep,
    _folder: tempfile::TempDir,
}

impl Agent {
    pub fn new(host: Host) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::open(&Root::open(folder.path()).unwrap(), Limits::default()).unwrap();
        Agent { host, memory: Forgetful::default(), engine: engine(), keep, _folder: folder }
    }

    /// Takes up a declaration.
    pub fn declare(&mut self, specs: Specs<Spec>) {
        let desired = Desired { service: specs, ..Desired::default() };
        self.engine.adopt(Arc::new(desired), &mut self.memory).unwrap();
    }

    /// Dies at once, with all it knew but the record, and comes back.
    pub fn die_and_come_back(&mut self) {
        let desired = Arc::clone(self.engine.desired());
        self.engine = engine();
        self.engine.adopt(desired, &mut self.memory).unwrap();
    }

    /// One full pass, as a trigger starts it.
    pub fn pass(&mut self) -> PassReport {
        self.pass_with(Patience::Patient)
    }

    /// One full pass as a person asks for it: waits do not hold.
    pub fn pass_now(&mut self) -> PassReport {
        self.pass_with(Patience::Impatient)
    }

    fn pass_with(&mut self, patience: Patience) -> PassReport {
        let contents = Contents::in_memory();
        let world = World {
            host: &self.host,
            contents: &contents,
            keep: &self.keep,
            stopping: &AtomicBool::new(false),
            progress: &|_| {},
        };
        let order = Order {
            scope: Scope::Full,
            purpose: Purpose::Apply,
            mode: DriftMode::Enabled,
            patience,
            removals: Removals { limit: u32::MAX, ..Removals::default() },
        };
        let report = pass(&mut self.engine, &world, &order, &mut self.memory);
        assert_eq!(report.record_fault, None);
        report
    }
}

fn engine() -> Engine {
    Engine::new(vec![Box::new(Lane::new(Services::default()))])
}

/// A declared unit.
pub fn unit(key: &str, spec: Spec) -> (Key, Declared<Spec>) {
    let provenance = Provenance { winner: Place::file("roles/web.toml"), below: Vec::new() };
    (Key::from(key), Declared { spec, provenance, drift: None, prune: true })
}

/// Enabled and running.
pub fn up() -> Spec {
    Spec { enabled: Some(true), state: Some(Wish::Running), ..Spec::default() }
}

/// The status of everything that was not simply as declared, by key.
pub fn statuses(report: &PassReport) -> Vec<(&str, ResourceStatus)> {
    report.findings.iter().map(|seen| (seen.resource.key.as_str(), seen.status)).collect()
}

/// The message to a person about one unit.
pub fn message<'a>(report: &'a PassReport, key: &str) -> &'a str {
    let seen = report.findings.iter().find(|seen| seen.resource.key.as_str() == key);
    seen.and_then(|seen| seen.message.as_deref()).unwrap_or_default()
}
