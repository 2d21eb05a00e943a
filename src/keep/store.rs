//! The store: a folder of notes and of what they are about.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::item::{Item, ItemId, Occasion, Stage, What};
use super::{KeepError, Limits};
use crate::host::files::{Attributes, FileType, FilesError, Folder, Root, Staged, Xattrs};
use crate::model::Content;

/// A note larger than this is none of ours.
const NOTE_LIMIT: u64 = 4 << 20;

/// The largest file that is copied (rather than moved) into the store, or given out as bytes.
pub(super) const COPY_LIMIT: u64 = 1 << 30;

/// The root-only store of what was replaced or removed. An item `ID` is a note `ID.json` and, beside it, what
/// was kept as `ID.data`. The note comes first and goes last, so that nothing lies here unnamed.
pub struct Keep {
    pub(super) folder: Folder,
    pub(super) limits: Limits,
    /// Bytes kept, as far as is known: what the last tidying counted, and what came since.
    pub(super) bytes: AtomicU64,
    mount: u64,
}

impl Keep {
    /// The store in the folder `root`, which must be readable by nobody but us.
    pub fn open(root: &Root, limits: Limits) -> Result<Self, KeepError> {
        let gone = || FilesError::NoParent { path: root.path().to_owned() };
        let folder = root.folder("/").and_then(|folder| folder.ok_or_else(gone)).map_err(store("open"))?;
        let stat = folder.own_stat().map_err(store("open"))?;
        if stat.mode & 0o077 != 0 {
            // It is going to hold other people's files: shut it before the first one comes.
            let attributes = Attributes { uid: stat.uid, gid: stat.gid, mode: 0o700 };
            folder.set_attributes(OsStr::new("."), attributes).map_err(store("shut the folder"))?;
        }
        let mount = folder.mount().map_err(store("open"))?;
        Ok(Keep { folder, limits, bytes: AtomicU64::new(0), mount })
    }

    /// Holds the place of a store whose folder can't be made or opened: it has nothing and takes nothing, so that
    /// nothing is replaced or removed.
    pub fn nowhere(path: PathBuf, limits: Limits) -> std::io::Result<Self> {
        Ok(Keep { folder: Folder::absent(path)?, limits, bytes: AtomicU64::new(0), mount: 0 })
    }

    /// Other limits from now on; what exceeds them goes with the next [`Keep::tidy`].
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Everything that is kept, newest first. Notes that cannot be read are left out; [`Keep::recover`] tells
    /// of them.
    pub fn list(&self) -> Result<Vec<Item>, KeepError> {
        let mut items: Vec<Item> = self.read_all()?.into_iter().filter_map(Result::ok).collect();
        items.retain(|item| item.what != What::Nothing);
        items.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(items)
    }

    /// What was kept of a path, newest first.
    pub fn of_path(&self, path: &str) -> Result<Vec<Item>, KeepError> {
        let mut items = self.list()?;
        items.retain(|item| item.path.as_deref() == Some(path));
        Ok(items)
    }

    /// One item by its id.
    pub fn item(&self, id: &ItemId) -> Result<Item, KeepError> {
        let note = self.folder.read(id.note().as_ref(), NOTE_LIMIT).map_err(store("read a note"))?;
        let note = note.ok_or_else(|| KeepError::NoItem { id: id.clone() })?;
        serde_json::from_slice(&note).map_err(|source| KeepError::BadItem { id: id.clone(), source })
    }

    /// The bytes of a kept file or text, verified.
    pub fn bytes(&self, id: &ItemId) -> Result<Vec<u8>, KeepError> {
        let item = self.item(id)?;
        let content = match &item.what {
            What::File { content, .. } => *content,
            What::Text { content, .. } => Some(*content),
            What::Directory { .. } | What::Link { .. } | What::Other { .. } | What::Nothing => {
                return Err(KeepError::NoFile { id: id.clone(), what: item.what.word() });
            }
        };
        let bytes = self.folder.read(id.data().as_ref(), COPY_LIMIT).map_err(store("read a kept file"))?;
        let bytes = bytes.ok_or_else(|| KeepError::NoItem { id: id.clone() })?;
        match content {
            Some(content) if content != Content::of(&bytes) => Err(KeepError::ChangedItem { id: id.clone() }),
            Some(_) | None => Ok(bytes),
        }
    }

    /// Keeps bytes under a name, for kinds whose resources are no files: a rule set, a list of versions.
    pub fn put_text(&self, occasion: Occasion<'_>, name: &str, bytes: &[u8]) -> Result<ItemId, KeepError> {
        let content = Content::of(bytes);
        let id = ItemId::new(occasion.now);
        let item = Item {
            id: id.clone(),
            kept_at: occasion.now,
            resource: occasion.resource.clone(),
            why: occasion.why.to_owned(),
            path: None,
            what: What::Text { name: name.to_owned(), content },
            bytes: content.size,
            stage: Stage::Copied { trial: false },
        };
        self.bytes.fetch_add(item.bytes, Ordering::Relaxed);
        self.write_note(&item)?;
        let data = self.folder.stage_file(id.data().as_ref(), bytes, private(0o600), &Xattrs::default());
        let put = data.and_then(|data| {
            data.sync()?;
            data.move_in()?;
            self.folder.sync()
        });
        put.map_err(store("keep a text"))?;
        Ok(id)
    }

    /// Where the store is.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether what lies in a folder can be moved into the store by a rename.
    pub(super) fn is_on_mount_of(&self, folder: &Folder) -> Result<bool, FilesError> {
        Ok(self.mount == folder.mount()?)
    }

    /// Writes or replaces a note, durably.
    pub(super) fn write_note(&self, item: &Item) -> Result<(), KeepError> {
        let staged = self.stage_note(item)?;
        staged.sync().map_err(store("sync a note"))?;
        staged.replace().map_err(store("write a note"))?;
        self.folder.sync().map_err(store("sync"))
    }

    /// Writes or replaces a note. It is durable only after the store's file system was synced.
    pub(super) fn write_note_unsynced(&self, item: &Item) -> Result<(), KeepError> {
        self.stage_note(item)?.replace().map_err(store("write a note"))?;
        Ok(())
    }

    fn stage_note(&self, item: &Item) -> Result<Staged<'_>, KeepError> {
        // A note is plain data: it always serialises.
        let note = serde_json::to_vec(item).unwrap_or_default();
        let name = item.id.note();
        let staged = self.folder.stage_file(name.as_ref(), &note, private(0o600), &Xattrs::default());
        staged.map_err(store("write a note"))
    }

    /// Forgets an item: first what was kept, then its note.
    pub(super) fn forget(&self, id: &ItemId) -> Result<(), KeepError> {
        self.folder.remove_tree(id.data().as_ref()).map_err(store("take away a kept file"))?;
        self.folder.remove(id.note().as_ref()).map_err(store("take away a note"))?;
        Ok(())
    }

    /// Every note, read or not readable, oldest first.
    pub(super) fn read_all(&self) -> Result<Vec<Result<Item, KeepError>>, KeepError> {
        let entries = self.folder.list().map_err(store("list"))?;
        let notes = entries.iter().filter(|entry| entry.kind == FileType::File);
        let ids =
            notes.filter_map(|entry| entry.name.to_str()?.strip_suffix(".json")?.parse::<ItemId>().ok());
        Ok(ids.map(|id| self.item(&id)).collect())
    }
}

/// Owned by whoever runs (root, but in tests), open to nobody else.
pub(super) fn private(mode: u32) -> Attributes {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    Attributes { uid, gid, mode }
}

pub(super) fn store(operation: &'static str) -> impl FnOnce(FilesError) -> KeepError {
    move |source| KeepError::Store { operation, source }
}
