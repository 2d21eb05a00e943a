//! Watches folders. The set of watches is itself reconciled: wanted against present, whenever the declaration, a
//! folder on the way or a mount changed, and at each full pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::eyes::{Eyes, Refused, Way};
use super::inbox::Inbox;
use super::sight::Sight;
use super::watch_map::WatchMap;
use crate::host::clock::Clock;
use crate::host::fanotify::Tell;
use crate::kind::Watch;
use crate::model::KindName;
use crate::reconcile::Scope;
use crate::status::WatchHealth;

/// Watches what the kinds want watched.
pub struct Watcher {
    pub(super) sight: Arc<Sight>,
    way: Way,
    pub(super) eyes: Eyes,
    /// Why the eyes are not better.
    blurred: Option<String>,
    /// What is watched, how, and what each was when its watch was set.
    present: BTreeMap<PathBuf, (Tell, Identity)>,
    live_since: Timestamp,
    /// When the eyes were opened again last, on the boot-time clock.
    opened_again: Option<Duration>,
    blind_since: BTreeMap<KindName, Timestamp>,
    refused: BTreeMap<PathBuf, String>,
}

/// How long eyes that were opened again, and failed again, stay shut.
const SHUT: Duration = Duration::from_secs(60);

/// Tells a folder from another one that took its place; the time of birth guards against a reused inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    birth: (i64, u32),
}

impl Watcher {
    /// A watcher that puts what it notices into `inbox`. Fails where the kernel allows no way of watching at all.
    pub fn new(way: Way, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Result<Self, notify::Error> {
        let live_since = clock.now();
        let sight = Arc::new(Sight::new(inbox, clock));
        let (eyes, blurred) = Eyes::open(way, &sight)?;
        Ok(Watcher {
            sight,
            way,
            eyes,
            blurred,
            present: BTreeMap::new(),
            live_since,
            opened_again: None,
            blind_since: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// How folders are watched, and why not better.
    pub fn method(&self) -> (&'static str, Option<&str>) {
        (self.eyes.method(), self.blurred.as_deref())
    }

    /// Takes up what is wanted.
    pub fn want(&mut self, watches: Vec<Watch>) {
        self.sight.want(WatchMap::new(watches));
        self.reconcile();
    }

    /// Makes the watches that are present those that are wanted: also of files that have another name elsewhere,
    /// through which they could be written unseen. Eyes that went blind are opened again. Gives what came under watch
    /// just now.
    pub fn reconcile(&mut self) -> Scope {
        self.open_again();
        let files = linked(&self.sight.map());
        self.arm(files)
    }

    /// The same for folders alone. A folder that was replaced, or mounted over, has a watch that follows the old one:
    /// it is set anew.
    pub fn rearm(&mut self) -> Scope {
        let files = self.present.iter().filter(|(_, (tell, _))| *tell == Tell::File);
        let files = files.map(|(path, _)| path.clone()).collect();
        self.arm(files)
    }

    /// Those that fail at once, again and again, stay shut for a while: each loss is a full pass.
    fn open_again(&mut self) {
        let now = self.sight.clock.since_boot();
        let is_soon = self.opened_again.is_some_and(|last| now.saturating_sub(last) < SHUT);
        if is_soon || self.sight.lost().is_none() {
            return;
        }
        self.opened_again = Some(now);
        // Before new ones are open, which may fail at once.
        let lost = self.sight.lost().take();
        match Eyes::open(self.way, &self.sight) {
            Ok((eyes, blurred)) => {
                (self.eyes, self.blurred) = (eyes, blurred);
                self.present.clear();
                self.live_since = self.sight.clock.now();
                info!("folders are watched again, by {}", self.eyes.method());
            }
            Err(error) => {
                *self.sight.lost() = lost;
                warn!("folders can't be watched again yet; the full pass covers them: {error}");
            }
        }
    }

    fn arm(&mut self, files: BTreeSet<PathBuf>) -> Scope {
        let sight = Arc::clone(&self.sight);
        let map = sight.map();
        let wanted = wanted(&map, files);
        self.refused.clear();
        let stale: Vec<PathBuf> = self
            .present
            .iter()
            .filter(|(path, (tell, _))| wanted.get(*path) != Some(tell))
            .map(|(path, _)| path.clone())
            .collect();
        stale.iter().for_each(|path| self.drop_watch(path));
        let mut news = Scope::nothing();
        for (path, tell) in wanted {
            let identity = Identity::of(&path, tell);
            if identity.is_some() && self.present.get(&path).map(|(_, identity)| *identity) == identity {
                continue;
            }
            self.drop_watch(&path);
            let Some(identity) = identity else { continue }; // not there yet: watched for on its way
            match self.eyes.watch(&path, tell) {
                Ok(()) => {
                    match tell {
                        Tell::Changes => map.in_folder(&path).for_each(|look_at| news.add(look_at)),
                        Tell::File => map.at(&path).for_each(|look_at| news.add(look_at)),
                        Tell::Names => {}
                    }
                    self.present.insert(path, (tell, identity));
                }
                Err(Refused::Missing) => {}
                Err(Refused::For(why)) => drop(self.refused.insert(path, why)),
            }
        }
        let blind: BTreeSet<KindName> =
            self.refused.keys().flat_map(|folder| map.kinds_below(folder)).collect();
        let now = self.sight.clock.now();
        self.blind_since.retain(|kind, _| blind.contains(kind));
        for kind in blind {
            self.blind_since.entry(kind).or_insert(now);
        }
        news
    }

    fn drop_watch(&mut self, path: &Path) {
        if let Some((tell, _)) = self.present.remove(path) {
            self.eyes.unwatch(path, tell);
        }
    }

    /// How it is, for each kind that has something watched.
    pub fn health(&self) -> Vec<WatchHealth> {
        let map = self.sight.map();
        let mut watches: BTreeMap<KindName, u64> = BTreeMap::new();
        for kind in map.folders().flat_map(|folder| map.kinds_in(folder)) {
            watches.entry(kind).or_default();
        }
        let present = self.present.iter().filter(|(_, (tell, _))| *tell == Tell::Changes);
        for kind in present.flat_map(|(folder, _)| map.kinds_in(folder)) {
            *watches.entry(kind).or_default() += 1;
        }
        let events = self.sight.events();
        let lost = self.sight.lost().clone();
        let health = |(kind, watches)| {
            let live_since = lost.is_none().then_some(self.live_since);
            let lost = lost.clone().map(|(since, why)| (since, format!("{why}; the full pass covers it")));
            let blind = lost.or_else(|| Some((*self.blind_since.get(&kind)?, self.refusal(kind, &map)?)));
            WatchHealth {
                name: kind.to_string(),
                method: self.eyes.method().to_owned(),
                live_since,
                blind_since: blind.as_ref().map(|(since, _)| *since),
                watches,
                events: events.get(&kind).copied().unwrap_or(0),
                overflows: self.sight.overflows(),
                message: blind.map(|(_, why)| why).or_else(|| self.blurred.clone()),
            }
        };
        watches.into_iter().map(health).collect()
    }

    fn refusal(&self, kind: KindName, map: &WatchMap) -> Option<String> {
        let mut refused = self.refused.iter().filter(|(folder, _)| map.kinds_below(folder).contains(&kind));
        let (folder, why) = refused.next()?;
        let count = refused.count() + 1;
        Some(format!(
            "{count} folders can't be watched ({}: {why}); the full pass covers them",
            folder.display()
        ))
    }
}

/// What is to be watched, and how. A folder on the way that itself holds something needs no second watch.
fn wanted(map: &WatchMap, files: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Tell> {
    let ways = map.ways().map(|path| (path.to_owned(), Tell::Names));
    let files = files.into_iter().map(|path| (path, Tell::File));
    let folders = map.folders().map(|path| (path.to_owned(), Tell::Changes));
    files.chain(ways).chain(folders).collect()
}

/// Managed files that have more than one name.
fn linked(map: &WatchMap) -> BTreeSet<PathBuf> {
    let files = map.folders().flat_map(|folder| map.names(folder).map(|name| folder.join(name)));
    let is_linked = |path: &PathBuf| {
        use rustix::fs::{FileType, lstat};
        lstat(path).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink > 1
        })
    };
    files.filter(is_linked).collect()
}

impl Identity {
    /// A link to a folder stands for the folder; a file is taken as it is.
    fn of(path: &Path, tell: Tell) -> Option<Self> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let flags = match tell {
            Tell::File => AtFlags::SYMLINK_NOFOLLOW,
            Tell::Names | Tell::Changes => AtFlags::empty(),
        };
        let stat = statx(CWD, path, flags, StatxFlags::INO | StatxFlags::BTIME).ok()?;
        Some(Identity {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            birth: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        })
    }
}
