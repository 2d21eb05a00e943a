//! Watches folders through `notify` (inotify on Linux). The set of watches is itself reconciled: wanted against
//! present, whenever the declaration or a folder on the way changed and at each full pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use notify::event::{Event, EventKindMask};
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::inbox::Inbox;
use super::watch_map::{WatchMap, kind_of};
use crate::kind::{LookAt, Watch};
use crate::model::KindName;
use crate::status::WatchHealth;

/// Watches what the kinds want watched.
pub struct Watcher {
    shared: Arc<Shared>,
    /// Sees every change in the folders that hold something managed.
    contents: Branch,
    /// Sees only the coming and going of children in the folders on the way to those: writes in `/etc` or
    /// `/var` beside what is managed wake nobody.
    ways: Branch,
    live_since: Timestamp,
    blind_since: BTreeMap<KindName, Timestamp>,
    refused: BTreeMap<PathBuf, String>,
}

struct Shared {
    map: RwLock<WatchMap>,
    inbox: Arc<Inbox>,
    events: Mutex<BTreeMap<KindName, u64>>,
    overflows: AtomicU64,
}

struct Branch {
    watcher: RecommendedWatcher,
    /// The folders that are watched, and which folder each was when its watch was set.
    present: BTreeMap<PathBuf, Identity>,
}

/// Tells a folder from another one that took its place; the time of birth guards against a reused inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    birth: (i64, u32),
}

impl Watcher {
    /// A watcher that puts what it notices into `inbox`. Fails where the kernel gives no inotify instance.
    pub fn new(inbox: Arc<Inbox>, now: Timestamp) -> Result<Self, notify::Error> {
        let shared = Arc::new(Shared {
            map: RwLock::new(WatchMap::default()),
            inbox,
            events: Mutex::default(),
            overflows: AtomicU64::new(0),
        });
        let on_content = Arc::clone(&shared);
        let on_way = Arc::clone(&shared);
        // CORE leaves out OPEN and ACCESS: reading a managed file must not wake us. The end of writing is told
        // where nothing was written, too: that is how dpkg's locks are let go, and what is written through a
        // mapping shows nowhere else.
        let change = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let contents = Branch::new(change, move |event| on_content.content_changed(&event))?;
        let coming_and_going = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        let ways = Branch::new(coming_and_going, move |event| on_way.way_changed(&event))?;
        Ok(Watcher {
            shared,
            contents,
            ways,
            live_since: now,
            blind_since: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Takes up what is wanted.
    pub fn want(&mut self, watches: Vec<Watch>, now: Timestamp) {
        *self.shared.map.write().unwrap_or_else(PoisonError::into_inner) = WatchMap::new(watches);
        self.rearm(now);
    }

    /// Makes the watches that are present those that are wanted. A folder that was replaced has a watch that
    /// follows the old one: every watch below a folder that came or went is set anew.
    pub fn rearm(&mut self, now: Timestamp) {
        let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
        self.refused.clear();
        self.contents.arm(map.folders(), &mut self.refused);
        self.ways.arm(map.ways(), &mut self.refused);
        let blind: BTreeSet<KindName> =
            self.refused.keys().flat_map(|folder| map.kinds_below(folder)).collect();
        self.blind_since.retain(|kind, _| blind.contains(kind));
        for kind in blind {
            self.blind_since.entry(kind).or_insert(now);
        }
    }

    /// How it is, for each kind that has something watched.
    pub fn health(&self) -> Vec<WatchHealth> {
        let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut watches: BTreeMap<KindName, u64> = BTreeMap::new();
        for kind in map.folders().flat_map(|folder| map.kinds_in(folder)) {
            watches.entry(kind).or_default();
        }
        for kind in self.contents.present.keys().flat_map(|folder| map.kinds_in(folder)) {
            *watches.entry(kind).or_default() += 1;
        }
        watches.into_iter().map(|(kind, watches)| self.health_of(kind, watches, &map)).collect()
    }

    fn health_of(&self, kind: KindName, watches: u64, map: &WatchMap) -> WatchHealth {
        let mut refused = self.refused.iter().filter(|(folder, _)| map.kinds_below(folder).contains(&kind));
        let message = refused.next().map(|(folder, why)| {
            let count = refused.count() + 1;
            format!(
                "{count} folders can't be watched ({}: {why}); the full pass covers them",
                folder.display()
            )
        });
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        WatchHealth {
            name: kind.to_string(),
            method: "inotify".to_owned(),
            live_since: Some(self.live_since),
            blind_since: self.blind_since.get(&kind).copied(),
            watches,
            events: events.get(&kind).copied().unwrap_or(0),
            overflows: self.shared.overflows.load(Ordering::Relaxed),
            message,
        }
    }
}

impl Branch {
    fn new(kinds: EventKindMask, handle: impl Fn(Event) + Send + 'static) -> Result<Self, notify::Error> {
        let config = Config::default().with_event_kinds(kinds).with_follow_symlinks(false);
        let handler = move |event: notify::Result<Event>| match event {
            Ok(event) => handle(event),
            // Whatever it was, something may have been missed.
            Err(_) => handle(Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan)),
        };
        Ok(Branch { watcher: RecommendedWatcher::new(handler, config)?, present: BTreeMap::new() })
    }

    fn arm<'a>(&mut self, wanted: impl Iterator<Item = &'a Path>, refused: &mut BTreeMap<PathBuf, String>) {
        let wanted: BTreeSet<PathBuf> = wanted.map(Path::to_owned).collect();
        let stale: Vec<PathBuf> =
            self.present.keys().filter(|folder| !wanted.contains(*folder)).cloned().collect();
        stale.iter().for_each(|folder| self.drop_watch(folder));
        for folder in wanted {
            let identity = Identity::of(&folder);
            if identity.is_some() && self.present.get(&folder) == identity.as_ref() {
                continue;
            }
            self.drop_watch(&folder);
            let Some(identity) = identity else { continue }; // not there yet: watched for on its way
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.present.insert(folder, identity)),
                Err(error) if is_missing(&error) => {}
                Err(error) => drop(refused.insert(folder, reason(&error))),
            }
        }
    }

    fn drop_watch(&mut self, folder: &Path) {
        if self.present.remove(folder).is_some() {
            // The kernel may have dropped it already, with its folder.
            let _ = self.watcher.unwatch(folder);
        }
    }
}

impl Identity {
    fn of(folder: &Path) -> Option<Self> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
        Some(Identity {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            birth: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        })
    }
}

impl Shared {
    fn content_changed(&self, event: &Event) {
        if self.overflowed(event) {
            return;
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        for path in &event.paths {
            let targets: Vec<&LookAt> = map.at(path).collect();
            if !targets.is_empty() {
                self.count(&targets);
                self.inbox.look_at(targets.into_iter());
            }
            if map.folders().any(|folder| folder == path) {
                self.inbox.rearm(map.below(path));
            }
        }
    }

    fn way_changed(&self, event: &Event) {
        if self.overflowed(event) {
            return;
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        for path in event.paths.iter().filter(|path| map.is_on_the_way(path)) {
            let targets: Vec<&LookAt> = map.below(path).collect();
            self.count(&targets);
            self.inbox.rearm(targets.into_iter());
        }
    }

    /// One event for each kind that it is about.
    fn count(&self, targets: &[&LookAt]) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in targets.iter().map(|target| kind_of(target)).collect::<BTreeSet<_>>() {
            *events.entry(kind).or_default() += 1;
        }
    }

    /// An overflow comes without a path: that is what makes it easy to miss.
    fn overflowed(&self, event: &Event) -> bool {
        if event.need_rescan() {
            self.overflows.fetch_add(1, Ordering::Relaxed);
            self.inbox.overflowed();
        }
        event.need_rescan()
    }
}

/// A folder that is not there yet is watched for on its way.
fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(io) => io.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn reason(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the kernel's limit is reached: raise fs.inotify.max_user_watches".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests change files the way other programs do
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::ResourceId;
    use crate::reconcile::Scope;

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

    async fn noticed(inbox: &Inbox, what: &Path, watcher: &mut Watcher) {
        let wanted = Scope::of([id(what)]);
        let deadline = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let noticed = inbox.take().await;
                if noticed.rearm {
                    watcher.rearm(Timestamp::UNIX_EPOCH);
                }
                if noticed.scope == wanted {
                    return;
                }
            }
        });
        deadline.await.unwrap();
    }

    #[tokio::test]
    async fn writes_and_renames_are_noticed_and_reads_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("motd");
        let beside = dir.path().join("beside");
        std::fs::write(&file, "a").unwrap();
        let inbox = Arc::new(Inbox::default());
        let mut watcher = Watcher::new(Arc::clone(&inbox), Timestamp::UNIX_EPOCH).unwrap();
        watcher.want(vec![watch(&file)], Timestamp::UNIX_EPOCH);

        std::fs::read(&file).unwrap();
        std::fs::write(&beside, "b").unwrap();
        std::fs::write(&file, "b").unwrap();
        noticed(&inbox, &file, &mut watcher).await;
        std::fs::rename(&beside, &file).unwrap();
        noticed(&inbox, &file, &mut watcher).await;
    }

    #[tokio::test]
    async fn a_lock_that_is_let_go_is_noticed_though_nothing_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        std::fs::write(&lock, "").unwrap();
        let inbox = Arc::new(Inbox::default());
        let mut watcher = Watcher::new(Arc::clone(&inbox), Timestamp::UNIX_EPOCH).unwrap();
        watcher.want(vec![watch(&lock)], Timestamp::UNIX_EPOCH);
        let held = std::fs::File::options().read(true).write(true).open(&lock).unwrap();
        drop(held);
        noticed(&inbox, &lock, &mut watcher).await;
        assert_eq!(watcher.health()[0].events, 1);
    }

    #[tokio::test]
    async fn a_folder_that_comes_late_or_is_replaced_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/conf");
        let inbox = Arc::new(Inbox::default());
        let mut watcher = Watcher::new(Arc::clone(&inbox), Timestamp::UNIX_EPOCH).unwrap();
        watcher.want(vec![watch(&file)], Timestamp::UNIX_EPOCH);
        let health = watcher.health();
        assert_eq!((health.len(), &health[0].name, &health[0].message), (1, &"file".to_owned(), &None));

        std::fs::create_dir(dir.path().join("a")).unwrap();
        noticed(&inbox, &file, &mut watcher).await;
        std::fs::create_dir(dir.path().join("a/b")).unwrap();
        noticed(&inbox, &file, &mut watcher).await;
        std::fs::write(&file, "x").unwrap();
        noticed(&inbox, &file, &mut watcher).await;

        std::fs::rename(dir.path().join("a"), dir.path().join("old")).unwrap();
        noticed(&inbox, &file, &mut watcher).await;
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        noticed(&inbox, &file, &mut watcher).await;
        std::fs::write(&file, "y").unwrap();
        noticed(&inbox, &file, &mut watcher).await;
    }
}
