//! After a crash: what was under way is finished, what was on trial is undone.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::KeepError;
use super::item::{Item, ItemId, Stage, What};
use super::store::{Keep, store};
use crate::host::files::{FilesError, Folder, Root, Staged, Stat};

/// What recovery did about one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// The change had not been made: its note was taken away.
    NotMade(ItemId),
    /// The change had been made: what it displaced was brought to the store.
    Finished(ItemId),
    /// The change was on trial, and its trial was cut short: it was undone.
    Undone {
        /// The item.
        id: ItemId,
        /// Where.
        path: String,
    },
    /// This could not be put right. What was kept lies untouched.
    Stuck(String),
}

impl Keep {
    /// Brings every change that a crash cut short to one of its two ends. Run it before the first observation:
    /// what is on trial would look like what is declared.
    pub fn recover(&self, host: &Root) -> Result<Vec<Recovered>, KeepError> {
        self.folder.sweep().map_err(store("sweep"))?;
        let mut recovered = Vec::new();
        for item in self.read_all()? {
            let outcome = match item {
                Ok(item) => self.recover_item(host, item),
                Err(KeepError::BadItem { id, source }) => self.recover_unreadable(id, &source),
                Err(error) => Err(error),
            };
            recovered.extend(outcome.unwrap_or_else(|error| Some(Recovered::Stuck(error.chain()))));
        }
        self.folder.sync().map_err(store("sync"))?;
        Ok(recovered)
    }

    /// The trial of an item was passed: it is kept like any other, and what was nothing is forgotten.
    pub fn pass(&self, host: &Root, id: &ItemId) -> Result<(), KeepError> {
        let mut item = self.item(id)?;
        if item.what == What::Nothing {
            return self.forget(id);
        }
        let beside = match &mut item.stage {
            Stage::Moved { trial, beside, .. } => {
                *trial = false;
                beside.clone()
            }
            Stage::Copied { trial } => {
                *trial = false;
                None
            }
        };
        self.write_note(&item)?;
        match beside {
            Some(beside) => {
                let (folder, _) = present(host, &item)?;
                self.bring_in(&folder, beside.as_ref(), &mut item)
            }
            None => Ok(()),
        }
    }

    /// The trial of an item failed: what was there is put back.
    pub fn fail(&self, host: &Root, id: &ItemId) -> Result<(), KeepError> {
        let item = self.item(id)?;
        let (folder, name) = present(host, &item)?;
        self.undo(&folder, &name, item)
    }

    fn recover_item(&self, host: &Root, mut item: Item) -> Result<Option<Recovered>, KeepError> {
        let id = item.id.clone();
        let data = self.folder.stat(id.data().as_ref()).map_err(store("look at a kept file"))?;
        let trial = item.stage.on_trial();
        let (new, beside) = match &item.stage {
            Stage::Copied { .. } => (None, None),
            Stage::Moved { new, beside, .. } => (*new, beside.clone()),
        };
        let place = place(host, &item)?;
        let aside = match (&place, &beside) {
            (Some((folder, _)), Some(beside)) => {
                let stat = folder.stat(beside.as_ref()).map_err(|source| change(&item, source))?;
                Some((folder, OsString::from(beside), stat))
            }
            (None, _) | (_, None) => None,
        };
        let displaced = aside.as_ref().map_or(data, |(.., stat)| data.or(*stat));
        let made = displaced.as_ref().is_some_and(|stat| !is(stat, new));
        match (made, trial, &place) {
            // A trial in an empty place: whatever of it is live is taken away again.
            (_, _, Some((folder, name))) if item.what == What::Nothing => {
                self.undo(folder, name, item)?;
                Ok(Some(Recovered::NotMade(id)))
            }
            (false, ..) => {
                // What lies aside, if anything, is the new one that never became live.
                if let Some((folder, beside, Some(_))) = &aside {
                    folder.remove_tree(beside).map_err(store("take away what was staged"))?;
                }
                self.forget(&id)?;
                Ok(Some(Recovered::NotMade(id)))
            }
            (true, true, Some((folder, name))) => {
                let path = item.path.clone().unwrap_or_default();
                self.undo(folder, name, item)?;
                Ok(Some(Recovered::Undone { id, path }))
            }
            // Its folder is gone: there is no place to undo anything in. What was kept stays kept.
            (true, true, None) => {
                item.stage = Stage::Copied { trial: false };
                self.write_note(&item)?;
                Ok(Some(Recovered::Finished(id)))
            }
            (true, false, _) => match aside {
                Some((folder, beside, left)) => {
                    self.bring_in(folder, &beside, &mut item)?;
                    Ok(left.map(|_| Recovered::Finished(id)))
                }
                None => Ok(None),
            },
        }
    }

    /// Copies what waits beside its old place into the store, unless that was done already, and takes it away
    /// there. A copy appears whole or not at all.
    fn bring_in(&self, folder: &Folder, beside: &OsStr, item: &mut Item) -> Result<(), KeepError> {
        let data = item.id.data();
        let copied = self.folder.stat(data.as_ref()).map_err(store("look at a kept file"))?;
        if copied.is_none() {
            let copy = self.folder.stage_copy(data.as_ref(), folder, beside).and_then(Staged::move_in);
            copy.and_then(|()| self.folder.sync()).map_err(store("copy what was displaced"))?;
        }
        folder.remove_tree(beside).map_err(store("take away what was displaced"))?;
        folder.sync().map_err(store("sync"))?;
        item.stage = Stage::Copied { trial: false };
        self.write_note(item)
    }

    /// A note that cannot be read and is about nothing is one that a power cut left half written.
    fn recover_unreadable(
        &self,
        id: ItemId,
        error: &serde_json::Error,
    ) -> Result<Option<Recovered>, KeepError> {
        let data = self.folder.stat(id.data().as_ref()).map_err(store("look at a kept file"))?;
        if data.is_some() {
            return Ok(Some(Recovered::Stuck(format!("the note of kept item {id} cannot be read: {error}"))));
        }
        self.forget(&id)?;
        Ok(Some(Recovered::NotMade(id)))
    }

    /// Puts back what was there and takes away what took its place.
    fn undo(&self, folder: &Folder, name: &OsStr, mut item: Item) -> Result<(), KeepError> {
        let path = item.path.clone().unwrap_or_default();
        let change = |source| KeepError::Change { path: path.clone(), source };
        let data = item.id.data();
        let (new, beside) = match &item.stage {
            Stage::Copied { .. } => {
                return self.put_back_copy(folder, name, &item);
            }
            Stage::Moved { new, beside, .. } => (*new, beside.clone()),
        };
        if item.what == What::Nothing {
            let stat = folder.stat(name).map_err(change)?;
            if stat.is_some_and(|stat| is(&stat, new)) {
                folder.remove_tree(name).map_err(change)?;
                folder.sync().map_err(change)?;
            }
            return self.forget(&item.id);
        }
        let (aside, aside_name) = match &beside {
            Some(beside) => (folder, beside.as_str()),
            None => (&self.folder, data.as_str()),
        };
        let there = folder.stat(name).map_err(change)?.is_some();
        let moved = if there {
            aside.exchange(aside_name.as_ref(), folder, name)
        } else {
            aside.move_to(aside_name.as_ref(), folder, name)
        };
        moved.map_err(change)?;
        folder.sync().map_err(change)?;
        // If someone else wrote there meanwhile, that is what is aside now, and it is kept.
        let left = aside.stat(aside_name.as_ref()).map_err(change)?;
        match left {
            Some(left) if !is(&left, new) => {
                item.stage = Stage::Moved { new, beside: beside.clone(), trial: false };
                (item.what, item.bytes) =
                    super::pending::describe(aside, aside_name.as_ref(), &path, &left, None)?;
                self.write_note(&item)
            }
            Some(_) | None => {
                aside.remove_tree(aside_name.as_ref()).map_err(change)?;
                self.forget(&item.id)
            }
        }
    }

    fn put_back_copy(&self, folder: &Folder, name: &OsStr, item: &Item) -> Result<(), KeepError> {
        self.lay_back(folder, name, item)?;
        self.forget(&item.id)
    }
}

/// Whether this is that inode.
fn is(stat: &Stat, inode: Option<(u64, u64)>) -> bool {
    inode == Some((stat.identity.device, stat.identity.inode))
}

/// The folder an item was in and its name there; none if there is no such folder any more.
fn place(host: &Root, item: &Item) -> Result<Option<(Folder, OsString)>, KeepError> {
    match host.parent(Path::new(item.path.as_deref().unwrap_or_default())) {
        Ok((folder, name)) => Ok(Some((folder, name.to_owned()))),
        // What was no file has no place.
        Err(FilesError::NoParent { .. } | FilesError::NoName { .. }) => Ok(None),
        Err(source) => Err(change(item, source)),
    }
}

fn present(host: &Root, item: &Item) -> Result<(Folder, OsString), KeepError> {
    let gone = || FilesError::NoParent { path: item.path.clone().unwrap_or_default().into() };
    place(host, item)?.ok_or_else(|| change(item, gone()))
}

fn change(item: &Item, source: FilesError) -> KeepError {
    KeepError::Change { path: item.path.clone().unwrap_or_default(), source }
}
