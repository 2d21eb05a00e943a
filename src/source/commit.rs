//! One commit: what people ask of it, and what the walks need.

use gix::ObjectId;
use gix::objs::{CommitRef, Kind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{CommitId, Revision};

use super::error::StoreError;
use super::objects::{Objects, commit_id, damaged};

/// Longest message kept, in characters; a commit may carry megabytes.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// Who, when and why. All text is untrusted: it is valid UTF-8 (other bytes replaced), but may hold control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// The commit.
    pub id: CommitId,
    /// Who wrote it.
    pub author: Person,
    /// When it was written, as the author's clock said.
    pub authored: Timestamp,
    /// Who committed it.
    pub committer: Person,
    /// When it was committed, as the committer's clock said.
    pub committed: Timestamp,
    /// The first line of the message.
    pub subject: String,
    /// The whole message, cut after 16 Ki characters.
    pub message: String,
    /// Its parents, in order.
    pub parents: Vec<CommitId>,
}

/// A person as written in a commit. Nothing proves it unless the commit is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

impl CommitInfo {
    /// The short form that travels with everything that was compiled from this commit.
    pub fn revision(&self) -> Revision {
        Revision {
            commit: self.id.clone(),
            author: format!("{} <{}>", self.author.name, self.author.email),
            time: self.authored,
            subject: self.subject.clone(),
        }
    }
}

/// What a walk through history needs of a commit.
pub(crate) struct Node {
    pub tree: ObjectId,
    pub parents: Vec<ObjectId>,
    /// Committer's time in seconds; orders a walk, decides nothing.
    pub seconds: i64,
}

impl Node {
    pub fn read(objects: &Objects, id: ObjectId) -> Result<Node, StoreError> {
        Node::parse(id, &objects.read(id, Kind::Commit)?)
    }

    pub fn parse(id: ObjectId, bytes: &[u8]) -> Result<Node, StoreError> {
        let commit = parse(id, bytes)?;
        let seconds = commit.time().map(|time| time.seconds).unwrap_or(0);
        Ok(Node { tree: commit.tree(), parents: commit.parents().collect(), seconds })
    }
}

/// Reads a commit for people.
pub(crate) fn info(objects: &Objects, id: ObjectId) -> Result<CommitInfo, StoreError> {
    info_of(id, &objects.read(id, Kind::Commit)?)
}

/// Reads the bytes of a commit for people.
pub(crate) fn info_of(id: ObjectId, bytes: &[u8]) -> Result<CommitInfo, StoreError> {
    let commit = parse(id, bytes)?;
    let author = commit.author().map_err(|error| damaged(id, error))?;
    let committer = commit.committer().map_err(|error| damaged(id, error))?;
    let message: String = lossy(commit.message).chars().take(LONGEST_MESSAGE).collect();
    let parents = commit.parents().map(commit_id).collect::<Result<_, _>>()?;
    Ok(CommitInfo {
        id: commit_id(id)?,
        author: Person { name: lossy(author.name), email: lossy(author.email) },
        authored: when(author),
        committer: Person { name: lossy(committer.name), email: lossy(committer.email) },
        committed: when(committer),
        subject: message.lines().next().unwrap_or_default().trim_end().to_owned(),
        message,
        parents,
    })
}

fn parse(id: ObjectId, bytes: &[u8]) -> Result<CommitRef<'_>, StoreError> {
    CommitRef::from_bytes(bytes, gix::hash::Kind::Sha1).map_err(|error| damaged(id, error))
}

/// A date that can't be read or is out of range is the epoch: it is only shown.
fn when(signature: gix::actor::SignatureRef<'_>) -> Timestamp {
    let seconds = signature.time().map(|time| time.seconds).unwrap_or(0);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
