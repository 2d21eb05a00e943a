//! The flow of one fetch: lock, sweep, ask, receive, check, sync; clone anew whenever the store is not worth keeping.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::Path;

use gix::ObjectId;
use gix::objs::{Kind, TreeRefIter};
use gix::odb::pack;
use gix::remote::fetch::Shallow;
use serde::{Deserialize, Serialize};

use crate::host::memory;
use crate::model::CommitId;

use super::commit::Node;
use super::error::{Fault, FetchError, StoreError, Trouble};
use super::history::{Ancestry, ancestry, boundary};
use super::meter::Meter;
use super::network::Delivery;
use super::objects::{Objects, commit_id, damaged, object_id};
use super::url::Place;
use super::{Remote, disk, local, network};

/// So many commits of a first clone come in one pack. To index a pack takes some 130 bytes for each of its objects, and
/// the pack itself: a long history in one piece is what would make the process large.
const STRETCH: NonZeroU32 = NonZeroU32::new(4_000).unwrap();

/// How closely the store is looked at before it is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Care {
    /// The tip and its root tree; the whole tree when it is new. For every poll.
    Quick,
    /// Also the checksums of all packs. For the first fetch after a start, once a day, and after a reader met damage.
    Thorough,
}

/// A fetch that ended well: the tip is in the store, durable, complete and a descendant of the accepted commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// What the branch points to.
    pub tip: CommitId,
    /// True if that is not the commit accepted last.
    pub new: bool,
    /// HTTP requests made; for ssh and local repositories, connections.
    pub requests: u32,
    /// Bytes of the answers' bodies; for a local repository, bytes copied.
    pub bytes_received: u64,
    /// True if the whole history is in the store. If not, lines older than its end have no author.
    pub history_complete: bool,
    /// Why the store was cloned anew, if it was.
    pub cloned: Option<String>,
}

/// Fetches the branch into the folder `store` and compares it with the commit that was accepted last.
///
/// Blocks until done or until [`super::Deadlines::total`]. Only one fetch at a time uses a store; readers need no lock.
/// If it fails, the store still holds what it held, unless it was damaged.
pub fn fetch(
    store: &Path,
    remote: &Remote,
    last: Option<&CommitId>,
    care: Care,
) -> Result<Fetched, FetchError> {
    run(store, remote, last, care).map_err(|trouble| FetchError::new(remote, trouble))
}

/// Throws the store away; the next fetch clones. For a person's wish; [`fetch()`] finds damage by itself.
pub fn discard(store: &Path, remote: &Remote) -> Result<(), FetchError> {
    let remove = || {
        let locked = disk::Locked::take(store)?;
        locked.remove(&locked.current())
    };
    remove().map_err(|trouble| FetchError::new(remote, trouble))
}

fn run(store: &Path, remote: &Remote, last: Option<&CommitId>, care: Care) -> Result<Fetched, Trouble> {
    check_settings(remote)?;
    let locked = disk::Locked::take(store)?;
    let meter = Meter::start(&remote.caps, &remote.deadlines);
    let flow = Flow { locked, remote, last, meter };
    match flow.usable(care) {
        Ok(()) => flow.update(),
        Err(why) => flow.clone_anew(why),
    }
}

fn check_settings(remote: &Remote) -> Result<(), Trouble> {
    let name = format!("refs/heads/{}", remote.branch);
    if remote.branch.starts_with('-') || gix::validate::reference::name(name.as_str().into()).is_err() {
        return Err(Trouble::new(
            Fault::Settings,
            format!("`{}` can't be the name of a branch", remote.branch),
        ));
    }
    Ok(())
}

struct Flow<'a> {
    locked: disk::Locked,
    remote: &'a Remote,
    last: Option<&'a CommitId>,
    meter: Meter,
}

impl Flow<'_> {
    /// Whether the store can be built upon, or why not.
    fn usable(&self, care: Care) -> Result<(), String> {
        let git_dir = self.locked.current();
        if !git_dir.exists() {
            return Err("there was no store".to_owned());
        }
        disk::check_layout(&git_dir)?;
        let tip = disk::read_tip(&git_dir)?.ok_or("the store had no tip")?;
        let objects = self.objects(&git_dir).map_err(|error| error.to_string())?;
        let boundary = boundary(&objects, &git_dir).map_err(|error| error.to_string())?;
        let root = |id| Node::read(&objects, id).and_then(|node| objects.read(node.tree, Kind::Tree));
        root(tip).map_err(|error| error.to_string())?;
        match care {
            Care::Quick => Ok(()),
            Care::Thorough => check_packs(&git_dir)
                .and_then(|()| check_history(&objects, &boundary, tip).map_err(|error| error.to_string())),
        }
    }

    /// The ordinary case: an incremental fetch.
    fn update(self) -> Result<Fetched, Trouble> {
        let git_dir = self.locked.current();
        let before = disk::read_tip(&git_dir).ok().flatten();
        let delivery = match self.receive(&git_dir, None) {
            Ok(delivery) => delivery,
            Err(trouble) => return self.recover(trouble),
        };
        if before == Some(delivery.tip) && delivery.files.is_empty() {
            return self.finish(&git_dir, delivery.tip, None);
        }
        if let Err(error) = self.accept(&git_dir, &delivery) {
            return match error.fault {
                Fault::Corrupt => {
                    self.meter.next_attempt();
                    self.clone_anew(error.cause)
                }
                _ => Err(error),
            };
        }
        if disk::packs(&git_dir).len() >= self.remote.caps.packs {
            return self.compact(&git_dir, delivery.tip);
        }
        self.finish(&git_dir, delivery.tip, None)
    }

    /// gix can't say whether a fetch failed for what the server sent or for what it met in our own store. So look.
    fn recover(self, trouble: Trouble) -> Result<Fetched, Trouble> {
        if !matches!(trouble.fault, Fault::Protocol | Fault::Corrupt) {
            return Err(trouble);
        }
        match self.usable(Care::Thorough) {
            Ok(()) => Err(trouble),
            Err(why) => {
                self.meter.next_attempt();
                self.clone_anew(why)
            }
        }
    }

    /// Too many packs: a fresh clone takes the store's place, if it has all that is needed. If not, what we have is good.
    fn compact(self, git_dir: &Path, tip: ObjectId) -> Result<Fetched, Trouble> {
        self.meter.next_attempt();
        let made = self.clone_into_next().and_then(|fresh| {
            let holds_last =
                matches!(self.ancestry(&self.locked.next(), fresh)?, None | Some(Ancestry::Descends));
            if fresh == tip && holds_last { self.locked.swap_in().map(|()| true) } else { Ok(false) }
        });
        match made {
            Ok(true) => self.finish(git_dir, tip, Some("the store had many packs".to_owned())),
            Ok(false) | Err(_) => {
                self.locked.remove(&self.locked.next())?;
                self.finish(git_dir, tip, None)
            }
        }
    }

    fn clone_anew(self, why: String) -> Result<Fetched, Trouble> {
        let tip = self.clone_into_next()?;
        self.locked.swap_in()?;
        self.finish(&self.locked.current(), tip, Some(why))
    }

    /// Clones with as much history as the caps allow: whole, then shorter, then the tip alone.
    fn clone_into_next(&self) -> Result<ObjectId, Trouble> {
        let most = self.remote.caps.commits.max(1);
        let mut depths = vec![most, most / 20, 1];
        depths.retain(|depth| *depth > 0);
        depths.dedup();
        let mut too_large = None;
        for depth in depths {
            let git_dir = self.locked.lay_next()?;
            let made = self
                .receive(&git_dir, Some(depth))
                .and_then(|got| self.accept(&git_dir, &got).map(|()| got.tip));
            match made {
                Err(trouble) if matches!(trouble.fault, Fault::TooLarge { .. }) => too_large = Some(trouble),
                done => {
                    if done.is_err() {
                        self.locked.remove(&git_dir)?;
                    }
                    return done;
                }
            }
            self.meter.next_attempt();
        }
        self.locked.remove(&self.locked.next())?;
        Err(too_large.unwrap_or_else(|| Trouble::bare(Fault::Protocol)))
    }

    /// Brings what is new; with a depth, a first clone of so many commits from the tip back.
    fn receive(&self, git_dir: &Path, depth: Option<u32>) -> Result<Delivery, Trouble> {
        if let Place::Local(path) = self.remote.url.place() {
            return local::receive(git_dir, path, self.remote, depth, &self.meter);
        }
        let Some(depth) = depth.and_then(NonZeroU32::new) else {
            return self.ask(git_dir, Shallow::NoChange);
        };
        let mut reached = depth.min(STRETCH);
        let mut delivery = self.ask(git_dir, Shallow::DepthAtRemote(reached))?;
        while let Some(rest) = NonZeroU32::new(depth.get() - reached.get()) {
            let stretch = rest.min(STRETCH);
            memory::give_back();
            if boundary(&self.objects(git_dir)?, git_dir)?.is_empty() {
                break;
            }
            let more = match self.ask(git_dir, Shallow::Deepen(stretch.get())) {
                // As much history as the caps allow: what we have is whole as it is.
                Err(trouble) if matches!(trouble.fault, Fault::TooLarge { .. }) => break,
                more => more?,
            };
            if more.files.is_empty() {
                break;
            }
            delivery.tip = more.tip;
            delivery.objects += more.objects;
            delivery.files.extend(more.files);
            reached = reached.saturating_add(stretch.get());
        }
        Ok(delivery)
    }

    fn ask(&self, git_dir: &Path, shallow: Shallow) -> Result<Delivery, Trouble> {
        match self.remote.url.place() {
            Place::Https => network::https(git_dir, self.remote, shallow, &self.meter),
            Place::Ssh(place) => network::ssh(git_dir, self.remote, place, shallow, &self.meter),
            Place::Local(path) => local::receive(git_dir, path, self.remote, None, &self.meter),
        }
    }

    /// Judges what came: within the caps, pointed to by our reference, readable to the last blob of its tree, and synced.
    fn accept(&self, git_dir: &Path, delivery: &Delivery) -> Result<(), Trouble> {
        let caps = &self.remote.caps;
        if delivery.objects > caps.objects as usize {
            disk::remove_files(&delivery.files);
            return Err(Trouble::bare(Fault::TooLarge {
                what: format!("{} objects in one fetch", caps.objects),
            }));
        }
        let corrupt = |cause: String| Trouble::new(Fault::Corrupt, cause);
        if disk::read_tip(git_dir).map_err(corrupt)? != Some(delivery.tip) {
            return Err(corrupt(format!("{} was not moved to {}", disk::TIP, delivery.tip)));
        }
        check_tree(&self.objects(git_dir)?, delivery.tip)?;
        disk::sync_fetch(git_dir, &delivery.files).map_err(|error| Trouble::disk(git_dir, error))
    }

    fn finish(&self, git_dir: &Path, tip: ObjectId, cloned: Option<String>) -> Result<Fetched, Trouble> {
        let id = commit_id(tip)?;
        match (self.ancestry(git_dir, tip)?, self.last) {
            (Some(Ancestry::Diverged), Some(last)) => {
                return Err(Trouble::bare(Fault::Rewritten { last: last.clone(), tip: id }));
            }
            (Some(Ancestry::Unknown), Some(last)) => {
                return Err(Trouble::bare(Fault::HistoryTooShort { last: last.clone(), tip: id }));
            }
            (Some(_) | None, _) => {}
        }
        let (requests, bytes_received) = self.meter.totals();
        let history_complete = boundary(&self.objects(git_dir)?, git_dir)?.is_empty();
        Ok(Fetched {
            new: self.last != Some(&id),
            tip: id,
            requests,
            bytes_received,
            history_complete,
            cloned,
        })
    }

    /// How the tip stands to the accepted commit; `None` without one.
    fn ancestry(&self, git_dir: &Path, tip: ObjectId) -> Result<Option<Ancestry>, Trouble> {
        let Some(last) = self.last else { return Ok(None) };
        let last = object_id(last)?;
        if last == tip {
            return Ok(Some(Ancestry::Descends));
        }
        let objects = self.objects(git_dir)?;
        let boundary = boundary(&objects, git_dir)?;
        Ok(Some(ancestry(&objects, &boundary, last, tip)?))
    }

    fn objects(&self, git_dir: &Path) -> Result<Objects, StoreError> {
        Objects::open(&git_dir.join("objects"), self.remote.caps.object_bytes)
    }
}

/// A fetch on top of a damaged store "succeeds" in gix. So whatever the new tip names is read once, before it is reported.
fn check_tree(objects: &Objects, tip: ObjectId) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    let mut trees = vec![Node::read(objects, tip)?.tree];
    while let Some(tree) = trees.pop() {
        if !seen.insert(tree) {
            continue;
        }
        let bytes = objects.read(tree, Kind::Tree)?;
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| damaged(tree, error))?;
            let id = entry.oid.to_owned();
            if entry.mode.is_tree() {
                trees.push(id);
            } else if !entry.mode.is_commit() && seen.insert(id) {
                objects.read(id, Kind::Blob)?;
            }
        }
    }
    Ok(())
}

/// Every commit back to the end of what was kept can be read.
fn check_history(objects: &Objects, boundary: &HashSet<ObjectId>, tip: ObjectId) -> Result<(), StoreError> {
    let mut seen = HashSet::from([tip]);
    let mut queue = vec![tip];
    while let Some(id) = queue.pop() {
        let node = Node::read(objects, id)?;
        if !boundary.contains(&id) {
            queue.extend(node.parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(())
}

fn check_packs(git_dir: &Path) -> Result<(), String> {
    let go_on = std::sync::atomic::AtomicBool::new(false);
    for path in disk::packs(git_dir) {
        let check = || {
            let bundle = pack::Bundle::at(&path, gix::hash::Kind::Sha1)?;
            bundle.pack.verify_checksum(&mut gix::progress::Discard, &go_on)?;
            bundle.index.verify_checksum(&mut gix::progress::Discard, &go_on)?;
            Ok::<bool, gix::Error>(bundle.index.pack_checksum() == bundle.pack.checksum())
        };
        match check() {
            Ok(true) => {}
            Ok(false) => return Err(format!("{} and its index don't belong together", path.display())),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(())
}
