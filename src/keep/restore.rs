//! Putting back what was kept.

use std::ffi::OsStr;
use std::path::Path;

use super::KeepError;
use super::item::{Item, ItemId, Occasion, What};
use super::pending::{Durable, Purpose};
use super::store::{COPY_LIMIT, Keep, store};
use crate::host::files::{Folder, Root};
use crate::model::Content;

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where.
    pub path: String,
    /// Under which id that is kept, which was there before; none if nothing was.
    pub replaced: Option<ItemId>,
}

impl Keep {
    /// Puts a kept file, folder or link back where it was, with its owner, mode and attributes. What is there
    /// now is kept in turn. The kept item stays.
    pub fn restore(&self, host: &Root, id: &ItemId, occasion: Occasion<'_>) -> Result<Restored, KeepError> {
        let item = self.item(id)?;
        let no_file = || KeepError::NoFile { id: id.clone(), what: item.what.word() };
        let path = item.path.clone().ok_or_else(no_file)?;
        let change = |source| KeepError::Change { path: path.clone(), source };
        let (folder, name) = host.parent(Path::new(&path)).map_err(change)?;
        let staged = match &item.what {
            What::File { attributes, content, xattrs, .. } => {
                let bytes = self.verified(id, *content)?;
                folder.stage_file(name, &bytes, *attributes, xattrs)
            }
            What::Link { target, uid, gid } => folder.stage_link(name, OsStr::new(target), *uid, *gid),
            What::Directory { .. } => folder.stage_copy(name, &self.folder, id.data().as_ref()),
            What::Other { .. } | What::Nothing | What::Text { .. } => return Err(no_file()),
        };
        let staged = staged.map_err(change)?;
        staged.sync().map_err(change)?;
        let pending = self.replacing(occasion, &path, staged, None, Purpose::Stay, Durable::Each)?;
        let kept = pending.commit()?;
        Ok(Restored { path, replaced: kept.id })
    }

    /// Lays a copied item back without keeping what is there: the end of a failed trial.
    pub(super) fn lay_back(&self, folder: &Folder, name: &OsStr, item: &Item) -> Result<(), KeepError> {
        let path = item.path.clone().unwrap_or_default();
        let change = |source| KeepError::Change { path: path.clone(), source };
        match &item.what {
            What::File { attributes, content, xattrs, .. } => {
                let bytes = self.verified(&item.id, *content)?;
                let staged = folder.stage_file(name, &bytes, *attributes, xattrs).map_err(change)?;
                staged.sync().map_err(change)?;
                staged.replace().map_err(change)?;
            }
            What::Link { target, uid, gid } => {
                let staged = folder.stage_link(name, OsStr::new(target), *uid, *gid).map_err(change)?;
                staged.replace().map_err(change)?;
            }
            What::Directory { .. } => {
                let staged =
                    folder.stage_copy(name, &self.folder, item.id.data().as_ref()).map_err(change)?;
                folder.remove_tree(name).map_err(change)?;
                staged.move_in().map_err(change)?;
            }
            What::Other { .. } | What::Nothing | What::Text { .. } => {
                return Err(KeepError::NoFile { id: item.id.clone(), what: item.what.word() });
            }
        }
        folder.sync().map_err(change)
    }

    fn verified(&self, id: &ItemId, content: Option<Content>) -> Result<Vec<u8>, KeepError> {
        let bytes = self.folder.read(id.data().as_ref(), COPY_LIMIT).map_err(store("read a kept file"))?;
        let bytes = bytes.ok_or_else(|| KeepError::NoItem { id: id.clone() })?;
        match content {
            Some(content) if content != Content::of(&bytes) => Err(KeepError::ChangedItem { id: id.clone() }),
            Some(_) | None => Ok(bytes),
        }
    }
}
