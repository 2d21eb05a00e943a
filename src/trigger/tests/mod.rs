//! The watchers on real folders, both ways of watching alike. Changes are made by other programs: what the agent does
//! itself is told apart.
#![allow(clippy::disallowed_methods)]

mod contract;
mod limits;
mod lost;
mod witnesses;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::{Inbox, Noticed, Watcher, Way};
use crate::host::clock::SystemClock;
use crate::kind::{LookAt, Watch};
use crate::model::{KindName, ResourceId};
use crate::reconcile::Scope;

const LIMIT: Duration = Duration::from_secs(60);
const WAYS: [Way; 2] = [Way::Best, Way::Portable];

/// A watcher of one file, on a folder of its own.
struct Ground {
    dir: tempfile::TempDir,
    inbox: Arc<Inbox>,
    watcher: Watcher,
}

impl Ground {
    /// After `before` was run, `paths` are watched; the first is the one that is asked about.
    fn new(way: Way, before: &str, paths: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Arc::new(Inbox::default());
        let mut watcher = Watcher::new(way, Arc::clone(&inbox), Arc::new(SystemClock)).unwrap();
        let method = if way == Way::Best { "fanotify" } else { "inotify" };
        assert_eq!(watcher.method(), (method, None), "the tests are run by root");
        sh(dir.path(), before);
        watcher.want(paths.iter().map(|path| watch(&dir.path().join(path))).collect());
        Ground { dir, inbox, watcher }
    }

    fn sh(&self, script: &str) {
        sh(self.dir.path(), script);
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Waits until `path` is to be looked at, and sees to the watches meanwhile, as the loop does.
    async fn noticed(&mut self, path: &str, why: &str) -> Noticed {
        let wanted = id(&self.at(path));
        let waited = tokio::time::timeout(LIMIT, async {
            loop {
                let mut noticed = self.inbox.take().await;
                if noticed.rearm {
                    noticed.scope.merge(self.watcher.rearm());
                }
                if noticed.scope.contains(&wanted) {
                    return noticed;
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("not noticed within {LIMIT:?}: {why}"))
    }
}

fn sh(dir: &Path, script: &str) {
    let status = Command::new("/bin/sh").args(["-euc", script]).current_dir(dir).status().unwrap();
    assert!(status.success(), "{script}");
}

fn id(path: &Path) -> ResourceId {
    ResourceId::new(KindName::File, path.to_str().unwrap())
}

fn watch(path: &Path) -> Watch {
    Watch {
        folder: path.parent().unwrap().to_owned(),
        name: Some(path.file_name().unwrap().to_str().unwrap().to_owned()),
        look_at: LookAt::Resource(id(path)),
    }
}

/// Runs a test on a loop and with mounts of its own.
pub(super) fn in_own_mounts(test: impl AsyncFn(&Mounts) + Send) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(2 * LIMIT, test(&Mounts)).await.unwrap() });
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

pub(super) struct Mounts;

impl Mounts {
    pub fn over(&self, path: &Path) {
        mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    }

    pub fn away(&self, path: &Path) {
        umount(path).unwrap();
    }
}

fn only(paths: &[PathBuf]) -> Scope {
    Scope::of(paths.iter().map(|path| id(path)))
}
