//! A desired state is taken up while nothing can be written down; what is read beside what was changed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::host::accounts::ListedAccounts;
use crate::host::clock::SystemClock;
use crate::host::files::Root;
use crate::host::netfilter::FakeNetfilter;
use crate::host::program::{FakePrograms, Finished, SystemPrograms};
use crate::host::units::FakeUnits;
use crate::keep::{Contents, Keep, Limits};
use crate::kind::service::{Services, Wish};
use crate::kind::{Declared, Reaction, file, package, service};
use crate::model::{DriftMode, Place, Provenance};
use crate::reconcile::gate::Patience;
use crate::reconcile::lane::Lane;
use crate::reconcile::memory::{Converged, DriftId, Forgetful, Intent, Remembered, Resolution};
use crate::reconcile::pass::{Order, Purpose, Removals, World, pass};
use crate::reconcile::report::PassReport;

/// A memory on a disk that may be full.
struct OnDisk {
    memory: Forgetful,
    full: bool,
}

impl OnDisk {
    fn room(&mut self) -> Result<&mut Forgetful, MemoryError> {
        match self.full {
            true => Err(MemoryError { message: "no space left".to_owned() }),
            false => Ok(&mut self.memory),
        }
    }
}

impl Memory for OnDisk {
    fn known(&self, kind: KindName) -> Vec<(Key, Remembered)> {
        self.memory.known(kind)
    }

    fn resource(&self, id: &ResourceId) -> Remembered {
        self.memory.resource(id)
    }

    fn note(&mut self, intents: &[Intent]) -> Result<Vec<DriftId>, MemoryError> {
        self.room()?.note(intents)
    }

    fn open(&self) -> Vec<(ResourceId, DriftId)> {
        self.memory.open()
    }

    fn resolve(&mut self, resolutions: &[(DriftId, Resolution)]) -> Result<(), MemoryError> {
        self.room()?.resolve(resolutions)
    }

    fn converged(&mut self, rows: &[Converged]) -> Result<(), MemoryError> {
        self.room()?.converged(rows)
    }

    fn forget(&mut self, resources: &[ResourceId]) -> Result<(), MemoryError> {
        self.room()?.forget(resources)
    }

    fn seen(&self, service: &ResourceId, reaction: Reaction) -> Option<u64> {
        self.memory.seen(service, reaction)
    }

    fn see(&mut self, rows: &[(ResourceId, Reaction, u64)]) -> Result<(), MemoryError> {
        self.room()?.see(rows)
    }

    fn suspended(&self, resource: &ResourceId) -> Option<String> {
        self.memory.suspended(resource)
    }
}

fn host(folder: &Path) -> Host {
    Host {
        root: Root::open(folder).unwrap(),
        programs: Arc::new(SystemPrograms),
        units: Arc::new(FakeUnits::new()),
        netfilter: Arc::new(FakeNetfilter::default()),
        accounts: Arc::new(ListedAccounts::new(&[("root", 0)], &[("root", 0)])),
        clock: Arc::new(SystemClock),
    }
}

fn declared<S>(spec: S) -> Declared<S> {
    let provenance = Provenance { winner: Place::file("roles/a.toml"), below: Vec::new() };
    Declared { spec, provenance, drift: None, prune: false }
}

/// A link, and a service that is reloaded when it changes.
fn desired() -> Arc<Desired> {
    let mut desired = Desired::default();
    desired.file.insert("/link".into(), declared(file::Spec::Link { target: "/".into() }));
    let spec = service::Spec {
        state: Some(Wish::Stopped),
        reload_on: vec!["file:/link".parse().unwrap()],
        ..service::Spec::default()
    };
    desired.service.insert("shop.service".into(), declared(spec));
    Arc::new(desired)
}

fn one_pass(engine: &mut Engine, host: &Host, memory: &mut OnDisk) -> PassReport {
    let (contents, kept) = (Contents::in_memory(), tempfile::tempdir().unwrap());
    let keep = Keep::open(&Root::open(kept.path()).unwrap(), Limits::default()).unwrap();
    let stopping = AtomicBool::new(false);
    let world = World { host, contents: &contents, keep: &keep, stopping: &stopping, progress: &|_| {} };
    let order = Order {
        scope: Scope::Full,
        purpose: Purpose::Apply,
        mode: DriftMode::Enabled,
        patience: Patience::Patient,
        removals: Removals { limit: 10, ..Removals::default() },
    };
    pass(engine, &world, &order, memory)
}

#[test]
fn on_a_full_disk_it_is_in_force_and_nothing_is_changed_until_its_baseline_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path());
    let lanes: Vec<Box<dyn Stage>> =
        vec![Box::new(Lane::new(file::Files::default())), Box::new(Lane::new(Services::default()))];
    let mut engine = Engine::new(lanes);
    let mut memory = OnDisk { memory: Forgetful::default(), full: true };
    assert!(engine.adopt(desired(), &mut memory).is_err(), "it is told");
    assert_eq!(*engine.desired(), desired(), "and in force");

    let link = folder.path().join("link");
    let report = one_pass(&mut engine, &host, &mut memory);
    assert!(report.record_fault.is_some() && !link.exists(), "{report:?}");
    assert!(!report.findings.is_empty(), "the host is looked at");

    memory.full = false;
    let report = one_pass(&mut engine, &host, &mut memory);
    assert_eq!(report.record_fault, None);
    assert!(link.exists());
    let shop: ResourceId = "service:shop.service".parse().unwrap();
    assert_eq!(memory.seen(&shop, Reaction::Reload), Some(0), "what it had seen before the link came");
}

/// What dpkg knows of two packages.
#[allow(clippy::disallowed_methods)] // what dpkg itself does
fn write_database(file: &Path, pinned: &str, taken: &str) {
    let one = |name: &str, status: &str| {
        format!("Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: 1.0\n\n")
    };
    let all = [one("dpkg", "install ok installed"), one("pinned", pinned), one("taken", taken)];
    std::fs::create_dir_all(file.with_file_name("updates")).unwrap();
    std::fs::write(file, all.concat()).unwrap();
}

/// One reading of dpkg's database tells of all packages; only one of them was ours to change.
#[test]
fn a_package_that_somebody_removes_while_we_change_another_is_seen_by_the_pass_after() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("var/lib/dpkg/status");
    let installed = "install ok installed";
    write_database(&database, installed, installed);
    let file = database.clone();
    let dpkg = FakePrograms::answering(move |run| {
        assert_eq!(run.stdin, b"pinned:amd64 hold\n");
        write_database(&file, "hold ok installed", "deinstall ok config-files");
        Ok(Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() })
    });
    let host = Host { programs: Arc::new(dpkg), ..host(folder.path()) };
    let mut engine = Engine::new(vec![Box::new(Lane::new(package::Packages::default()))]);
    let mut memory = OnDisk { memory: Forgetful::default(), full: false };
    let mut desired = Desired::default();
    let any = |hold| package::Spec { want: package::Wish::Any, hold };
    desired.package.insert("pinned".into(), declared(any(Some(true))));
    let taken = Declared { drift: Some(DriftMode::Warn), ..declared(any(None)) };
    desired.package.insert("taken".into(), taken);
    engine.adopt(Arc::new(desired), &mut memory).unwrap();

    let report = one_pass(&mut engine, &host, &mut memory);
    let told: Vec<&str> = report.findings.iter().map(|seen| seen.resource.key.as_str()).collect();
    assert_eq!(told, ["pinned"], "{report:?}");
    assert!(report.again, "the event of the other one is the echo of what was read here");
    let report = one_pass(&mut engine, &host, &mut memory);
    let told: Vec<&str> = report.findings.iter().map(|seen| seen.resource.key.as_str()).collect();
    assert_eq!(told, ["taken"]);
    assert!(!report.again, "it is known by now");
}
