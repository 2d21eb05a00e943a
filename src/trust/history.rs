//! What lies between the commit accepted last and the one to judge.

use std::collections::{HashMap, HashSet, VecDeque};

use gix::ObjectId;

use super::commit::{self, Commit};
use super::objects::{Kind, RawObjects};
use super::refusal::Refusal;
use crate::model::CommitId;

/// How many commits are looked at between two accepted ones.
pub const COMMITS_LIMIT: usize = 20_000;

/// Reads a commit that must be there.
pub(super) fn commit(objects: &impl RawObjects, id: ObjectId, judged: ObjectId) -> Result<Commit, Refusal> {
    match objects.object(&id) {
        None => Err(Refusal::Missing { commit: judged.to_string(), id: id.to_string() }),
        Some((Kind::Commit, bytes)) => {
            commit::read(bytes).map_err(|why| Refusal::Malformed { id: id.to_string(), why })
        }
        Some((Kind::Tree | Kind::Blob | Kind::Tag, _)) => {
            Err(Refusal::Malformed { id: id.to_string(), why: "it is no commit" })
        }
    }
}

/// Whether `tip` descends from `last`.
pub(super) fn descends(objects: &impl RawObjects, tip: ObjectId, last: ObjectId) -> Result<(), Refusal> {
    let mut missing = None;
    let mut seen = HashSet::from([tip]);
    let mut queue = VecDeque::from([tip]);
    while let Some(id) = queue.pop_front() {
        if id == last {
            return Ok(());
        }
        if seen.len() > COMMITS_LIMIT {
            return Err(Refusal::TooFar(COMMITS_LIMIT));
        }
        match commit(objects, id, tip) {
            Ok(read) => queue.extend(read.parents.into_iter().filter(|parent| seen.insert(*parent))),
            Err(refusal @ Refusal::Missing { .. }) => missing = missing.or(Some(refusal)),
            Err(refusal) => return Err(refusal),
        }
    }
    Err(match (missing, last.to_string().parse::<CommitId>()) {
        (None, Ok(last)) => Refusal::NotDescendant { commit: tip.to_string(), last },
        (Some(refusal), _) => refusal,
        (None, Err(_)) => Refusal::Malformed { id: last.to_string(), why: "it is no id of a commit" },
    })
}

/// Every commit that `tip` has and `last` has not, parents before children, over all parents of merges.
pub(super) fn between(
    objects: &impl RawObjects,
    tip: ObjectId,
    last: ObjectId,
) -> Result<Vec<(ObjectId, Commit)>, Refusal> {
    let old = ancestors(objects, last);
    let mut read: HashMap<ObjectId, Commit> = HashMap::new();
    let mut entered = HashSet::new();
    let mut order = Vec::new();
    // A commit is met twice: to go to its parents, and when they are all done.
    let mut stack = vec![(tip, Visit::Enter)];
    while let Some((id, visit)) = stack.pop() {
        match visit {
            Visit::Leave => order.extend(read.remove_entry(&id)),
            Visit::Enter if old.contains(&id) || !entered.insert(id) => {}
            Visit::Enter => {
                if entered.len() > COMMITS_LIMIT {
                    return Err(Refusal::TooFar(COMMITS_LIMIT));
                }
                let commit = commit(objects, id, tip)?;
                stack.push((id, Visit::Leave));
                stack.extend(commit.parents.iter().map(|&parent| (parent, Visit::Enter)));
                read.insert(id, commit);
            }
        }
    }
    Ok(order)
}

enum Visit {
    Enter,
    Leave,
}

/// `last` and what came before it, as far as it was handed over: where a clone is shallow, its history ends.
fn ancestors(objects: &impl RawObjects, last: ObjectId) -> HashSet<ObjectId> {
    let mut seen = HashSet::from([last]);
    let mut queue = vec![last];
    while let Some(id) = queue.pop() {
        if let Ok(read) = commit(objects, id, last) {
            queue.extend(read.parents.into_iter().filter(|parent| seen.insert(*parent)));
        }
    }
    seen
}
