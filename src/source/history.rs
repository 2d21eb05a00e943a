//! Walks through history, on raw objects alone: no commit graph file, grafts or replacements can bend them.

use std::collections::{BinaryHeap, HashSet};
use std::path::Path;

use gix::ObjectId;
use serde::{Deserialize, Serialize};

use super::commit::Node;
use super::disk;
use super::error::StoreError;
use super::objects::Objects;

/// How a newer commit stands to an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ancestry {
    /// It is the same or descends from it: a fast-forward.
    Descends,
    /// It does not: the branch was rewritten, rolled back or replaced.
    Diverged,
    /// The history that was kept ends before it could be told.
    Unknown,
}

/// Where the history that was kept ends: the commits whose parents were left out. Empty if it is whole.
///
/// A server that was asked for exactly as many commits as there are lists the very first one, too; it has no parents.
pub(crate) fn boundary(objects: &Objects, git_dir: &Path) -> Result<HashSet<ObjectId>, StoreError> {
    let listed =
        disk::read_shallow(git_dir).map_err(|cause| StoreError::Open { path: git_dir.to_owned(), cause })?;
    let mut cut = HashSet::new();
    for id in listed {
        if !Node::read(objects, id)?.parents.is_empty() {
            cut.insert(id);
        }
    }
    Ok(cut)
}

/// Walks from `new` back until `old` is met. Newest first, so that an ordinary fast-forward takes few steps.
pub(crate) fn ancestry(
    objects: &Objects,
    boundary: &HashSet<ObjectId>,
    old: ObjectId,
    new: ObjectId,
) -> Result<Ancestry, StoreError> {
    let mut seen = HashSet::from([new]);
    let mut queue = BinaryHeap::from([(i64::MAX, new)]);
    let mut cut = false;
    while let Some((_, id)) = queue.pop() {
        if id == old {
            return Ok(Ancestry::Descends);
        }
        let node = Node::read(objects, id)?;
        if boundary.contains(&id) {
            cut = true;
            continue;
        }
        for parent in node.parents {
            if parent == old {
                return Ok(Ancestry::Descends);
            }
            if seen.insert(parent) {
                queue.push((node.seconds, parent));
            }
        }
    }
    Ok(if cut { Ancestry::Unknown } else { Ancestry::Diverged })
}
