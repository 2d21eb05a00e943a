//! Walks through history, on raw objects alone: no commit graph file, grafts or replacements can bend them.

use std::collections::{BinaryHeap, HashSet};

use gix::ObjectId;
use serde::{Deserialize, Serialize};

use super::commit::Node;
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

/// Walks from `new` back until `old` is met. Newest first, so that an ordinary fast-forward takes few steps.
pub(crate) fn ancestry(
    objects: &Objects,
    shallow: &HashSet<ObjectId>,
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
        if shallow.contains(&id) {
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
