//! The agent's own pass over some work, in this process, and the least that anyone must do for the same.

use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use agentd::declaration;
use agentd::host::facts::Facts;
use agentd::host::files::Root;
use agentd::host::{Host, memory};
use agentd::keep::{Contents, Keep, Limits};
use agentd::model::{DriftMode, ResourceId};
use agentd::reconcile::gate::Patience;
use agentd::reconcile::pass::Removals;
use agentd::reconcile::{Engine, Order, PassReport, Purpose, Scope, World, pass};
use agentd::record::Record;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use sha2::{Digest, Sha256};

use crate::work::{self, CONTENTS, Files};

/// Whoever made the files made them so long before their content can be trusted by their times alone.
const BECOMES_QUIET: Duration = Duration::from_secs(120);

pub struct Site {
    pub host: Host,
    engine: Engine,
    record: Record,
    contents: Contents,
    keep: Keep,
    stopping: AtomicBool,
    base: PathBuf,
}

impl Site {
    /// Lays the files down as they are declared, and takes up their declaration; nothing was looked at yet.
    pub fn lay(files: &Files, more: Option<String>) -> Self {
        let base = PathBuf::from(files.base);
        if base.exists() {
            std::fs::remove_dir_all(&base).unwrap();
        }
        for number in 0..files.count {
            std::fs::create_dir_all(files.folder(number)).unwrap();
            let path = files.path(number);
            std::fs::write(&path, work::content(number % CONTENTS, 0)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        }
        Site::take_up(files, more)
    }

    /// An agent that was just started, with files that lie there and a record that knows them if one was made.
    pub fn take_up(files: &Files, more: Option<String>) -> Self {
        let base = PathBuf::from(files.base);
        let state = base.join(".state");
        for folder in ["kept", "contents"] {
            std::fs::create_dir_all(state.join(folder)).unwrap();
        }
        let tree = work::fleet(&[files.roles(), more.into_iter().collect()].concat());
        let facts = Facts::read(Path::new("/"), Default::default()).unwrap();
        let compiled = declaration::compile(&tree, "bench", &facts).unwrap_or_else(|faults| {
            panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        let contents = Contents::in_folder(Root::open(state.join("contents")).unwrap());
        for digest in compiled.contents.keys() {
            contents.put(&compiled.bytes(digest, &tree).unwrap()).unwrap();
        }
        let host = agentd::daemon::this_host().unwrap();
        let keep = Keep::open(&Root::open(state.join("kept")).unwrap(), Limits::default()).unwrap();
        let (mut record, _) = Record::open(&Root::open(&state).unwrap(), Arc::clone(&host.clock)).unwrap();
        let mut engine = agentd::daemon::kinds(&Arc::default(), &Arc::default());
        engine.adopt(Arc::new(compiled.desired), &mut record).unwrap();
        drop(tree);
        memory::give_back();
        Site { host, engine, record, contents, keep, stopping: AtomicBool::new(false), base }
    }

    /// Passes until nothing is left to do and everything can be trusted without being read.
    pub fn settle(&mut self) {
        let deadline = Instant::now() + BECOMES_QUIET;
        loop {
            let report = self.pass(Scope::Full);
            let work = &report.work;
            if report.findings.is_empty() && work.files_opened == 0 && work.programs_started == 0 {
                return;
            }
            let PassReport { findings, blind, record_fault, .. } = &report;
            assert!(
                Instant::now() < deadline,
                "does not become quiet: {findings:?} {blind:?} {record_fault:?} {work:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One pass over everything, which must find nothing and be blind to nothing.
    pub fn quiet_pass(&mut self) -> PassReport {
        let report = self.pass(Scope::Full);
        assert!(report.findings.is_empty() && report.blind.is_empty(), "{report:?}");
        report
    }

    pub fn pass(&mut self, scope: Scope) -> PassReport {
        let world = World {
            host: &self.host,
            contents: &self.contents,
            keep: &self.keep,
            stopping: &self.stopping,
            progress: &|_| (),
        };
        let order = Order {
            scope,
            purpose: Purpose::Apply,
            mode: DriftMode::Enabled,
            patience: Patience::Impatient,
            removals: Removals { limit: u32::MAX, ..Removals::default() },
        };
        pass(&mut self.engine, &world, &order, &mut self.record)
    }

    /// Looks at one file only, as after an event, and puts it right.
    pub fn put_right(&mut self, path: &str) {
        let file: ResourceId = format!("file:{path}").parse().unwrap();
        let report = self.pass(Scope::of([file]));
        assert_eq!(report.changed(), 1, "{report:?}");
    }

    pub fn remove(self) {
        std::fs::remove_dir_all(&self.base).unwrap();
    }
}

/// Folders, and the names in them, made ready before the clock starts.
pub struct Names(Vec<(String, Vec<CString>)>);

impl Names {
    pub fn of(files: &Files) -> Self {
        let names = |folder: usize| {
            let numbers = (folder..files.count).step_by(files.folders);
            numbers.map(|number| CString::new(format!("f{number}")).unwrap()).collect()
        };
        Names((0..files.folders).map(|folder| (files.folder(folder), names(folder))).collect())
    }

    /// The least to see whether a file is as it was: one handle a folder, one `statx` a file.
    pub fn look(&self) {
        for (folder, names) in &self.0 {
            let handle = std::fs::File::open(folder).unwrap();
            for name in names {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                std::hint::black_box(
                    rustix::fs::statx(&handle, name, flags, StatxFlags::BASIC_STATS).unwrap(),
                );
            }
        }
    }

    /// The least to know every content: opened, read, hashed, by all processors.
    pub fn hash(&self) {
        let workers = std::thread::available_parallelism().unwrap().get();
        std::thread::scope(|scope| {
            for share in self.0.chunks(self.0.len().div_ceil(workers)) {
                scope.spawn(move || share.iter().for_each(|(folder, names)| hash_all(folder, names)));
            }
        });
    }
}

fn hash_all(folder: &str, names: &[CString]) {
    let handle = std::fs::File::open(folder).unwrap();
    let mut buffer = vec![0; 128 << 10];
    for name in names {
        let file = rustix::fs::openat(&handle, name, OFlags::RDONLY, Mode::empty()).unwrap();
        let mut state = Sha256::new();
        loop {
            let count = rustix::io::read(&file, &mut buffer).unwrap();
            if count == 0 {
                break;
            }
            state.update(&buffer[..count]);
        }
        std::hint::black_box(state.finalize());
    }
}
