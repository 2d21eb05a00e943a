//! Which commit last changed a line: the line is followed back through the versions of its file, along every parent that
//! has it, until a commit is met whose parents all have it not.

use std::collections::HashSet;

use gix::ObjectId;
use gix::objs::{Kind, TreeRefIter};
use serde::{Deserialize, Serialize};

use super::commit::{self, CommitInfo, Node};
use super::error::StoreError;
use super::objects::{Objects, damaged};
use crate::model::lines::{self, DiffOp};

/// Most commits looked at for one line. A walk of that length takes seconds; beyond it the answer is "at or before".
const MOST_STEPS: usize = 50_000;

/// Longest file that is compared line by line, in bytes. Declarations are far below.
const LONGEST_FILE: usize = 1 << 20;

/// The answer for one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// The commit.
    pub commit: CommitInfo,
    /// The number the line had there, from 1.
    pub line: u32,
    /// True if the history that was kept ends here: the line may be older, and its author another.
    pub at_or_before: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BlameError {
    /// The file is not in that commit.
    #[error("there is no file `{0}` in that commit")]
    NoFile(String),
    /// The file is shorter.
    #[error("`{path}` has {lines} lines, line {line} was asked for")]
    NoLine {
        /// The file.
        path: String,
        /// How many lines it has.
        lines: usize,
        /// The line that was asked for.
        line: u32,
    },
    /// The file is too long to be compared.
    #[error("`{0}` is longer than 1 MiB, so its lines are not followed")]
    TooLong(String),
    /// The store is damaged.
    #[error("cannot read the history")]
    Store(#[from] StoreError),
}

/// Follows one line (from 1) of a file back from a commit.
pub(crate) fn blame(
    objects: &Objects,
    boundary: &HashSet<ObjectId>,
    start: ObjectId,
    path: &str,
    line: u32,
) -> Result<Blame, BlameError> {
    let mut at = start;
    let mut node = Node::read(objects, at)?;
    let mut trail = find(objects, node.tree, path, &[])?;
    let blob = blob_of(&trail).ok_or_else(|| BlameError::NoFile(path.to_owned()))?;
    let mut content = file(objects, blob, path)?;
    let lines = lines::split(&content).len();
    let mut index = match usize::try_from(line).ok().and_then(|line| line.checked_sub(1)) {
        Some(index) if index < lines => index,
        Some(_) | None => return Err(BlameError::NoLine { path: path.to_owned(), lines, line }),
    };
    let mut steps = 0;
    let at_or_before = loop {
        steps += 1;
        if boundary.contains(&at) || steps > MOST_STEPS {
            break true;
        }
        match older(objects, &node, path, &trail, &content, index)? {
            Some(Step::Same { parent, node: next, trail: same }) => (at, node, trail) = (parent, next, same),
            Some(Step::Moved { parent, node: next, trail: other, content: before, index: moved }) => {
                (at, node, trail, content, index) = (parent, next, other, before, moved);
            }
            None => break false,
        }
    };
    let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
    Ok(Blame { commit: commit::info(objects, at)?, line, at_or_before })
}

enum Step {
    /// The file is the same in that parent.
    Same { parent: ObjectId, node: Node, trail: Trail },
    /// The file differs there, the line does not.
    Moved { parent: ObjectId, node: Node, trail: Trail, content: Vec<u8>, index: usize },
}

/// The parent the line came from, if any. One with the very same file is preferred, as it needs no comparison.
fn older(
    objects: &Objects,
    node: &Node,
    path: &str,
    trail: &[ObjectId],
    content: &[u8],
    index: usize,
) -> Result<Option<Step>, BlameError> {
    let mut changed = Vec::new();
    for parent in &node.parents {
        let next = Node::read(objects, *parent)?;
        let other = find(objects, next.tree, path, trail)?;
        match blob_of(&other) {
            Some(blob) if Some(blob) == blob_of(trail) => {
                return Ok(Some(Step::Same { parent: *parent, node: next, trail: other }));
            }
            Some(blob) => changed.push((*parent, next, other, blob)),
            None => {}
        }
    }
    for (parent, next, other, blob) in changed {
        let before = file(objects, blob, path)?;
        if let Some(moved) = origin(&before, content, index) {
            return Ok(Some(Step::Moved { parent, node: next, trail: other, content: before, index: moved }));
        }
    }
    Ok(None)
}

/// Where a line of the new content was in the old one, if it was there.
fn origin(old: &[u8], new: &[u8], index: usize) -> Option<usize> {
    for op in lines::compare(&lines::split(old), &lines::split(new)) {
        if let DiffOp::Equal { old_index, new_index, len } = op
            && (new_index..new_index + len).contains(&index)
        {
            return Some(old_index + (index - new_index));
        }
    }
    None
}

fn file(objects: &Objects, blob: ObjectId, path: &str) -> Result<Vec<u8>, BlameError> {
    if objects.header(blob)?.1 > LONGEST_FILE as u64 {
        return Err(BlameError::TooLong(path.to_owned()));
    }
    Ok(objects.read(blob, Kind::Blob)?)
}

/// The trees on the way to a file, its root first, and its blob last; empty if no file is there.
type Trail = Vec<ObjectId>;

fn blob_of(trail: &[ObjectId]) -> Option<ObjectId> {
    trail.last().copied()
}

/// Walks to a path. As soon as a tree is the same as on the known trail, the rest is, too: most commits touch other folders.
fn find(objects: &Objects, root: ObjectId, path: &str, known: &[ObjectId]) -> Result<Trail, StoreError> {
    let mut trail = vec![root];
    let mut at = root;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    if names.peek().is_none() {
        return Ok(Vec::new());
    }
    while let Some(name) = names.next() {
        if known.get(trail.len() - 1) == Some(&at) {
            trail.extend_from_slice(&known[trail.len()..]);
            return Ok(trail);
        }
        let bytes = objects.read(at, Kind::Tree)?;
        let mut found = None;
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| damaged(at, error))?;
            if entry.filename == name {
                found = Some((entry.oid.to_owned(), entry.mode));
                break;
            }
        }
        match (found, names.peek().is_none()) {
            (Some((id, mode)), true) if mode.is_blob() => trail.push(id),
            (Some((id, mode)), false) if mode.is_tree() => {
                trail.push(id);
                at = id;
            }
            (Some(_) | None, _) => return Ok(Vec::new()),
        }
    }
    Ok(trail)
}
