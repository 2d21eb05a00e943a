//! What the tests share that run a kind of this program inside a host, beside the installed agent: they are started
//! there by name, told by files in [`FOLDER`], and tell by one line.

use std::sync::Arc;

use agentd::declaration::compile;
use agentd::host::Host as System;
use agentd::host::accounts::SystemAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::facts::Facts;
use agentd::host::files::Root;
use agentd::host::netfilter::SystemNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::SystemUnits;
use agentd::keep::{Keep, Limits};
use agentd::kind::{Desired, Levels, Reaction};
use agentd::model::{OutcomeResult, ResourceId};

use crate::harness::Host;

/// Where this program and what it is told lie, inside the host.
pub const FOLDER: &str = "/srv/driver";

/// Puts this program into a host.
pub fn bring(host: &Host) {
    let folder = host.disk().join(FOLDER.trim_start_matches('/'));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(std::env::current_exe().unwrap(), folder.join("driver")).unwrap();
}

/// How one of its ignored tests is started there.
pub const fn command(test: &str) -> [&str; 6] {
    ["/srv/driver/driver", test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]
}

/// The host this runs in.
pub fn system() -> System {
    System {
        root: Root::open("/").unwrap(),
        programs: Arc::new(SystemPrograms),
        units: Arc::new(SystemUnits::new()),
        netfilter: Arc::new(SystemNetfilter::open().unwrap()),
        accounts: Arc::new(SystemAccounts::new()),
        clock: Arc::new(SystemClock),
    }
}

/// What `declaration.toml` says, which holds one kind's table.
pub fn declared(table: &str) -> Desired {
    let text = std::fs::read_to_string(format!("{FOLDER}/declaration.toml")).unwrap();
    let document = toml::Table::from_iter([(table.to_owned(), text.parse::<toml::Table>().unwrap().into())]);
    let host = toml::to_string(&document).unwrap().into_bytes();
    let files = [("fleet.toml".to_owned(), b"schema = 1\n".to_vec()), ("hosts/lab.toml".to_owned(), host)];
    let facts = Facts {
        os: "debian".into(),
        os_version: "12".into(),
        os_codename: "bookworm".into(),
        architecture: "amd64".into(),
        cpus: 1,
        memory_bytes: 1 << 30,
        virtualisation: "systemd-nspawn".into(),
        labels: [].into(),
    };
    let compiled = compile(&std::collections::BTreeMap::from(files), "lab", &facts);
    compiled.unwrap_or_else(|faults| panic!("{faults:?}")).desired
}

/// A keep of this test alone, and the folder it goes with.
pub fn keep() -> (Keep, tempfile::TempDir) {
    let folder = tempfile::tempdir_in(FOLDER).unwrap();
    (Keep::open(&Root::open(folder.path()).unwrap(), Limits::default()).unwrap(), folder)
}

/// An outcome in a line.
pub fn told(result: OutcomeResult) -> String {
    match result {
        OutcomeResult::Done => "done".to_owned(),
        OutcomeResult::DoneNoting { note } => format!("done ({note})"),
        OutcomeResult::Waiting { message } => format!("waiting for {message}"),
        OutcomeResult::Failed { message } => format!("failed {message}"),
    }
}

/// For kinds that react to nothing.
pub struct NoLevels;

impl Levels for NoLevels {
    fn now(&self, _inputs: &[ResourceId]) -> Option<u64> {
        None
    }

    fn seen(&self, _service: &ResourceId, _reaction: Reaction) -> Option<u64> {
        None
    }
}
