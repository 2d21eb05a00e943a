//! The store as readers see it: commits, trees, history. Read-only, without a lock; open it anew for each revision.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use gix::ObjectId;
use gix::objs::Kind;

use crate::model::CommitId;

use super::blame::{self, Blame, BlameError};
use super::commit::{self, CommitInfo, Node};
use super::error::StoreError;
use super::flat;
use super::handing::{self, Ask};
use super::history::{self, Ancestry};
use super::objects::{Objects, commit_id, object_id};
use super::tree::{Tree, TreeCaps, TreeError};
use super::{Caps, disk};

/// An open store. A fetch that swaps in a fresh clone meanwhile may leave it without its files: if a read then says that an
/// object is missing, open the store anew. If it says so again, fetch with [`super::Care::Thorough`].
pub struct Store {
    objects: Objects,
    boundary: HashSet<ObjectId>,
    tip: ObjectId,
}

impl Store {
    /// Opens the store that [`super::fetch()`] made in that folder.
    ///
    /// A store with anything in it that could bend what is read (alternates, replacements, changed configuration) is refused.
    pub fn open(store: &Path) -> Result<Store, StoreError> {
        let git_dir = disk::current(store);
        let open = |cause: String| StoreError::Open { path: store.to_owned(), cause };
        disk::check_layout(&git_dir).map_err(open)?;
        let tip = disk::read_tip(&git_dir)
            .map_err(open)?
            .ok_or_else(|| open("nothing was fetched yet".to_owned()))?;
        let objects = Objects::open(&git_dir.join("objects"), Caps::default().object_bytes)?;
        let boundary = history::boundary(&objects, &git_dir)?;
        Ok(Store { objects, boundary, tip })
    }

    /// What the branch pointed to at the last fetch. Not what is accepted: that the caller remembers elsewhere.
    pub fn tip(&self) -> Result<CommitId, StoreError> {
        commit_id(self.tip)
    }

    /// True if no history was left out.
    pub fn history_complete(&self) -> bool {
        self.boundary.is_empty()
    }

    /// Who, when and why.
    pub fn commit(&self, id: &CommitId) -> Result<CommitInfo, StoreError> {
        commit::info(&self.objects, object_id(id)?)
    }

    /// The exact bytes of a commit object, whose id was computed anew from them.
    pub fn raw_commit(&self, id: &CommitId) -> Result<Vec<u8>, StoreError> {
        self.objects.read(object_id(id)?, Kind::Commit)
    }

    /// The files of a commit, below a folder of it if one is named.
    pub fn tree(
        &self,
        commit: &CommitId,
        subfolder: Option<&str>,
        caps: &TreeCaps,
    ) -> Result<Tree<'_>, TreeError> {
        let root = Node::read(&self.objects, object_id(commit)?)?.tree;
        Tree::from_objects(&self.objects, root, subfolder, caps)
    }

    /// Hands over the objects of a commit as the flat stream that [`super::Receiver`] reads: ids are computed anew there.
    ///
    /// # Errors
    /// Nobody listens any more. What the store can't give is told in the stream.
    pub fn hand_over(&self, ask: &Ask, out: &mut dyn io::Write) -> io::Result<()> {
        handing::hand_over(&self.objects, ask, out)
    }

    /// Tells the reader of a flat stream that there is no store to read.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn complain(message: &str, out: &mut dyn io::Write) -> io::Result<()> {
        flat::send(out, flat::Tag::Trouble, message.as_bytes())?;
        out.flush()
    }

    /// How `new` stands to `old`. A commit that is not in the store is an ancestor of nothing.
    pub fn ancestry(&self, old: &CommitId, new: &CommitId) -> Result<Ancestry, StoreError> {
        history::ancestry(&self.objects, &self.boundary, object_id(old)?, object_id(new)?)
    }

    /// The commit that last changed a line (counted from 1) of a file (path from the root of the repository).
    pub fn blame(&self, commit: &CommitId, path: &str, line: u32) -> Result<Blame, BlameError> {
        blame::blame(&self.objects, &self.boundary, object_id(commit)?, path, line)
    }
}
