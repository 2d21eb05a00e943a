//! A change that takes something away from the host: prepared with a durable note, then made in one step that
//! also moves the old inode into the store.

use std::ffi::{OsStr, OsString};
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::KeepError;
use super::item::{Item, ItemId, Occasion, Stage, What};
use super::store::{COPY_LIMIT, Keep, store};
use crate::host::files::{Attributes, FileType, FilesError, Folder, How, Identity, Staged, Stat};
use crate::model::Content;

/// What is to become of what takes the place of something kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It stays.
    Stay,
    /// It stays if [`Keep::pass`] is said; otherwise, and after a crash, it is undone.
    Trial,
}

/// When what is done must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// At the end of each call.
    Each,
    /// When the caller syncs: [`Keep::sync_all`] after preparing and before committing, and the folders after.
    Batch,
}

/// A content that was read, with the identity the file had then.
pub type Known = Option<(Identity, Content)>;

/// A change that is prepared. Dropped, nothing was changed.
#[must_use]
pub struct Pending<'a> {
    keep: &'a Keep,
    folder: &'a Folder,
    name: OsString,
    /// What takes its place; none if it is only taken away.
    staged: Option<Staged<'a>>,
    /// What is there; none on trial in an empty place.
    before: Option<Stat>,
    /// What is staged, as it lies there.
    new: Option<Identity>,
    item: Item,
    durable: Durable,
    armed: bool,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The item; none if nothing was there.
    pub id: Option<ItemId>,
    /// How the new came to its place.
    pub how: How,
    /// What came to its place, as it was on the way there; none if it was taken away.
    pub new: Option<Identity>,
}

impl Keep {
    /// Prepares to put `staged` in its place, keeping what is there. `path` is how the declaration names it.
    pub fn replacing<'a>(
        &'a self,
        occasion: Occasion<'_>,
        path: &str,
        staged: Staged<'a>,
        known: Known,
        purpose: Purpose,
        durable: Durable,
    ) -> Result<Pending<'a>, KeepError> {
        let (folder, name) = (staged.folder(), staged.target().to_owned());
        self.prepare(occasion, path, folder, name, Some(staged), known, purpose, durable)
    }

    /// Prepares to take away what lies under `name`, keeping it.
    pub fn removing<'a>(
        &'a self,
        occasion: Occasion<'_>,
        path: &str,
        folder: &'a Folder,
        name: &OsStr,
        known: Known,
        durable: Durable,
    ) -> Result<Pending<'a>, KeepError> {
        self.prepare(occasion, path, folder, name.to_owned(), None, known, Purpose::Stay, durable)
    }

    /// Keeps a copy of what lies under `name` and leaves it: for what somebody else is about to take away. None if
    /// nothing is there.
    pub fn copying(
        &self,
        occasion: Occasion<'_>,
        path: &str,
        folder: &Folder,
        name: &OsStr,
    ) -> Result<Option<ItemId>, KeepError> {
        let keep = |source| KeepError::Keep { path: path.to_owned(), source };
        let Some(stat) = folder.stat(name).map_err(keep)? else { return Ok(None) };
        let (what, bytes) = describe(folder, name, path, &stat, None)?;
        self.allow(path, bytes)?;
        let item = Item {
            id: ItemId::new(occasion.now),
            kept_at: occasion.now,
            resource: occasion.resource.clone(),
            why: occasion.why.to_owned(),
            path: Some(path.to_owned()),
            what,
            bytes,
            stage: Stage::Copied { trial: false },
        };
        let (name, before, durable) = (name.to_owned(), Some(stat), Durable::Each);
        let mut copy =
            Pending { keep: self, folder, name, staged: None, before, new: None, item, durable, armed: true };
        copy.write_down()?;
        copy.armed = false;
        Ok(Some(copy.item.id.clone()))
    }

    fn allow(&self, path: &str, bytes: u64) -> Result<(), KeepError> {
        let limit = self.limits.max_bytes;
        match bytes > limit {
            true => Err(KeepError::TooMuch { path: path.to_owned(), bytes, limit }),
            false => Ok(()),
        }
    }

    /// Makes everything prepared with [`Durable::Batch`] durable.
    pub fn sync_all(&self) -> Result<(), KeepError> {
        self.folder.sync_filesystem().map_err(store("sync"))
    }

    #[allow(clippy::too_many_arguments)] // private: the two public forms name them
    fn prepare<'a>(
        &'a self,
        occasion: Occasion<'_>,
        path: &str,
        folder: &'a Folder,
        name: OsString,
        staged: Option<Staged<'a>>,
        known: Known,
        purpose: Purpose,
        durable: Durable,
    ) -> Result<Pending<'a>, KeepError> {
        let keep = |source| KeepError::Keep { path: path.to_owned(), source };
        let before = folder.stat(&name).map_err(keep)?;
        let new = staged.as_ref().map(Staged::stat).transpose().map_err(keep)?;
        let id = ItemId::new(occasion.now);
        let (what, bytes) = match &before {
            Some(stat) => describe(folder, &name, path, stat, known)?,
            None => (What::Nothing, 0),
        };
        self.allow(path, bytes)?;
        let trial = purpose == Purpose::Trial;
        let stage = match &before {
            Some(stat) if stat.mounted || (stat.kind == FileType::File && stat.links > 1) => {
                Stage::Copied { trial }
            }
            Some(_) | None => {
                let apart = !self.is_on_mount_of(folder).map_err(keep)?;
                let beside = apart.then(|| Folder::displaced_name(&name).to_string_lossy().into_owned());
                let new = new.as_ref().map(|stat| (stat.identity.device, stat.identity.inode));
                Stage::Moved { new, beside: beside.filter(|_| before.is_some()), trial }
            }
        };
        let item = Item {
            id,
            kept_at: occasion.now,
            resource: occasion.resource.clone(),
            why: occasion.why.to_owned(),
            path: Some(path.to_owned()),
            what,
            bytes,
            stage,
        };
        let new = new.map(|stat| stat.identity);
        let pending = Pending { keep: self, folder, name, staged, before, new, item, durable, armed: true };
        pending.write_down()?;
        Ok(pending)
    }
}

impl Pending<'_> {
    /// The content on its way, under the name it has for now: for a check before it is live.
    pub fn staged(&self) -> Option<&Staged<'_>> {
        self.staged.as_ref()
    }

    /// Makes the change.
    pub fn commit(mut self) -> Result<Kept, KeepError> {
        let staged = self.staged.take();
        let how = match (&self.item.stage, staged) {
            (Stage::Copied { .. }, Some(staged)) => staged.replace().map(|written| written.how),
            (Stage::Copied { .. }, None) => self.folder.remove(&self.name).map(|_| How::Replaced),
            (Stage::Moved { .. }, Some(staged)) if self.before.is_none() => {
                staged.move_in().map(|()| How::Replaced)
            }
            (Stage::Moved { beside, .. }, staged) => {
                let beside = beside.clone();
                match self.exchange(staged, beside.as_deref()) {
                    Ok(how) => Ok(how),
                    Err(Failed::Files(error)) => Err(error),
                    Err(Failed::Keep(error)) => return Err(error),
                }
            }
        };
        let how = how.map_err(|source| self.change_error(source))?;
        self.armed = false;
        if self.durable == Durable::Each {
            self.folder.sync().map_err(|source| self.change_error(source))?;
            self.keep.folder.sync().map_err(store("sync"))?;
        }
        let id =
            (self.item.what != What::Nothing || self.item.stage.on_trial()).then(|| self.item.id.clone());
        Ok(Kept { id, how, new: self.new })
    }

    /// Writes the note, and the copy if what is there cannot be moved. A note about nothing is written only
    /// for a trial.
    fn write_down(&self) -> Result<(), KeepError> {
        if let (Some(staged), Durable::Each) = (&self.staged, self.durable) {
            staged.sync().map_err(|source| self.change_error(source))?;
        }
        if self.item.what == What::Nothing && !self.item.stage.on_trial() {
            return Ok(());
        }
        self.keep.bytes.fetch_add(self.item.bytes, Ordering::Relaxed);
        match self.durable {
            Durable::Each => self.keep.write_note(&self.item)?,
            Durable::Batch => self.keep.write_note_unsynced(&self.item)?,
        }
        match self.item.stage {
            Stage::Copied { .. } => self.copy(&self.name),
            Stage::Moved { .. } => Ok(()),
        }
    }

    /// Moves the old inode out of the way and the new one into its place, in one step where there is a new one.
    fn exchange(&mut self, staged: Option<Staged<'_>>, beside: Option<&str>) -> Result<How, Failed> {
        let (keep, folder, name) = (self.keep, self.folder, self.name.as_os_str());
        let data = self.item.id.data();
        let (aside, aside_name): (&Folder, OsString) = match beside {
            Some(beside) => (folder, beside.into()),
            None => (&keep.folder, data.into()),
        };
        let moved = match staged {
            None => folder.move_to(name, aside, &aside_name),
            Some(staged) => {
                // Not live yet: it only waits where the old one will be.
                folder.move_to(staged.name(), aside, &aside_name)?;
                let waiting = staged.release();
                let moved = aside.exchange(&aside_name, folder, name);
                if moved.is_err() {
                    aside.move_to(&aside_name, folder, &waiting)?;
                    if moved.as_ref().is_err_and(cannot_exchange) {
                        return self.copy_and_replace(Some(&waiting));
                    }
                    folder.remove_tree(&waiting)?;
                }
                moved
            }
        };
        match moved {
            Ok(()) => {
                self.armed = false;
                self.settle(aside, &aside_name, beside.is_some()).map_err(Failed::Keep)?;
            }
            Err(error) if cannot_exchange(&error) => return self.copy_and_replace(None),
            Err(error) => return Err(Failed::Files(error)),
        }
        Ok(How::Replaced)
    }

    /// For file systems and folders (of an overlay's lower layer) that cannot be moved: copies first, then
    /// takes away.
    fn copy_and_replace(&mut self, waiting: Option<&OsStr>) -> Result<How, Failed> {
        let (folder, name) = (self.folder, self.name.as_os_str());
        let made = self.copy(name).map_err(Failed::Keep).and_then(|()| {
            self.item.stage = Stage::Copied { trial: self.item.stage.on_trial() };
            self.keep.write_note(&self.item).map_err(Failed::Keep)?;
            // From here on the copy may be all there is.
            self.armed = false;
            folder.remove_tree(name)?;
            match waiting {
                Some(waiting) => Ok(folder.move_to(waiting, folder, name)?),
                None => Ok(()),
            }
        });
        if let (Err(_), Some(waiting)) = (&made, waiting) {
            let _ = folder.remove_tree(waiting);
        }
        made.map(|()| How::Replaced)
    }

    /// After the move: what is aside now is what was there in that instant. If that is not what the note says
    /// (someone wrote in between), the note is put right; if it waits beside, it is copied to the store.
    fn settle(&mut self, aside: &Folder, aside_name: &OsStr, beside: bool) -> Result<(), KeepError> {
        let same = |now: &Stat, before: &Stat| {
            let (now, before) = (&now.identity, &before.identity);
            (now.inode, now.size, now.mtime) == (before.inode, before.size, before.mtime)
        };
        let path = self.item.path.clone().unwrap_or_default();
        let now = aside.stat(aside_name).map_err(store("look at a kept file"))?;
        if let (Some(now), Some(before)) = (&now, &self.before)
            && !same(now, before)
        {
            (self.item.what, self.item.bytes) = describe(aside, aside_name, &path, now, None)?;
            self.keep.write_note(&self.item)?;
        }
        if beside && !self.item.stage.on_trial() {
            self.copy_from(aside, aside_name)?;
            // The note speaks of what is beside until it is gone, so that recovery looks for it.
            aside.remove_tree(aside_name).map_err(|source| self.change_error(source))?;
            self.item.stage = Stage::Copied { trial: false };
            self.keep.write_note(&self.item)?;
        }
        Ok(())
    }

    fn copy(&self, name: &OsStr) -> Result<(), KeepError> {
        self.copy_from(self.folder, name)
    }

    fn copy_from(&self, from: &Folder, name: &OsStr) -> Result<(), KeepError> {
        let path = self.item.path.clone().unwrap_or_default();
        let keep = |source| KeepError::Keep { path: path.clone(), source };
        if self.item.bytes > COPY_LIMIT {
            let (size, limit) = (self.item.bytes, COPY_LIMIT);
            return Err(keep(FilesError::TooLarge { path: from.path().join(name), size, limit }));
        }
        let copy = self.keep.folder.stage_copy(self.item.id.data().as_ref(), from, name).map_err(keep)?;
        copy.move_in().map_err(keep)?;
        self.keep.folder.sync().map_err(store("sync"))
    }

    fn change_error(&self, source: FilesError) -> KeepError {
        KeepError::Change { path: self.item.path.clone().unwrap_or_default(), source }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.armed && self.item.what != What::Nothing {
            // Nothing was moved: a note without what it is about. What cannot be removed now, recovery removes.
            let moved = self.keep.folder.stat(self.item.id.data().as_ref());
            let copied = matches!(self.item.stage, Stage::Copied { .. });
            if copied || moved.is_ok_and(|moved| moved.is_none()) {
                let _ = self.keep.forget(&self.item.id);
            }
        }
    }
}

enum Failed {
    Files(FilesError),
    Keep(KeepError),
}

impl From<FilesError> for Failed {
    fn from(error: FilesError) -> Self {
        Failed::Files(error)
    }
}

/// Whether the file system cannot do it at all, so that copying is the way.
fn cannot_exchange(error: &FilesError) -> bool {
    [Errno::XDEV, Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|errno| error.is(*errno))
}

/// What lies under `name`, as the note says it, and how many bytes it holds.
pub(super) fn describe(
    folder: &Folder,
    name: &OsStr,
    path: &str,
    stat: &Stat,
    known: Known,
) -> Result<(What, u64), KeepError> {
    let keep = |source| KeepError::Keep { path: path.to_owned(), source };
    let attributes = Attributes { uid: stat.uid, gid: stat.gid, mode: stat.mode };
    Ok(match stat.kind {
        FileType::File => {
            let content = match known {
                Some((identity, content)) if identity == stat.identity => Some(content),
                // What cannot be read is kept all the same: the inode is moved, not copied.
                _ if stat.size <= COPY_LIMIT => folder.content(name).ok().flatten().map(|read| read.content),
                _ => None,
            };
            let xattrs = folder.xattrs(name).map_err(keep)?;
            (What::File { attributes, modified: stat.identity.mtime, content, xattrs }, stat.size)
        }
        FileType::Directory => {
            if let Some(mount) = mount_inside(folder, name, stat).map_err(keep)? {
                return Err(KeepError::MountInside { path: path.to_owned(), mount });
            }
            let measure = folder.measure(name).map_err(keep)?;
            (What::Directory { attributes, entries: measure.entries }, measure.bytes)
        }
        FileType::Link => {
            let target = folder.read_link(name).map_err(keep)?.unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            (What::Link { target, uid: stat.uid, gid: stat.gid }, 0)
        }
        FileType::Pipe | FileType::Socket | FileType::Device => (What::Other { found: stat.kind }, 0),
    })
}

fn mount_inside(folder: &Folder, name: &OsStr, stat: &Stat) -> Result<Option<String>, FilesError> {
    if stat.mounted {
        return Ok(Some(folder.path().join(name).display().to_string()));
    }
    Ok(folder.mount_below(name)?.map(|mount| mount.display().to_string()))
}
