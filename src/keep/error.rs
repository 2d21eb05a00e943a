//! Why something could not be kept or found.

use crate::host::files::FilesError;
use crate::model::Digest;

use super::item::ItemId;

/// Why something could not be kept, found or put back.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The change was not made, because what it would take away could not be kept first.
    #[error("could not keep what is at {path}, so it was left as it is")]
    Keep {
        /// What was to be changed.
        path: String,
        /// Why.
        #[source]
        source: FilesError,
    },
    /// Something is mounted inside the folder that was to be moved away.
    #[error("{path} was left as it is: {mount} is mounted inside it")]
    MountInside {
        /// What was to be changed.
        path: String,
        /// The mount point.
        mount: String,
    },
    /// It holds more than may be kept.
    #[error(
        "{path} was left as it is: it holds {bytes} bytes, and at most {limit} are kept; move it away by hand, \
         or let the agent keep more"
    )]
    TooMuch {
        /// What was to be changed.
        path: String,
        /// How much it holds.
        bytes: u64,
        /// How much is kept at most.
        limit: u64,
    },
    /// The new content could not be put in place; the old is still there.
    #[error("could not change {path}")]
    Change {
        /// What was to be changed.
        path: String,
        /// Why.
        #[source]
        source: FilesError,
    },
    /// The store itself could not be read or written.
    #[error("could not {operation} in the store of kept files")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: FilesError,
    },
    /// No such content.
    #[error("the content {digest} is not in the store: it will be laid in again from the repository")]
    NoContent {
        /// Which.
        digest: Digest,
    },
    /// The bytes are not what their name says.
    #[error("the content {digest} is damaged in the store: it will be laid in again from the repository")]
    DamagedContent {
        /// Which.
        digest: Digest,
    },
    /// No such item.
    #[error("nothing is kept under {id}: `agentctl history` lists what is")]
    NoItem {
        /// Which.
        id: ItemId,
    },
    /// The note of an item cannot be read (damaged, or of a newer version).
    #[error("the note of kept item {id} cannot be read; its content lies untouched beside it")]
    BadItem {
        /// Which.
        id: ItemId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The kept content is no longer what it was when it was kept.
    #[error("the content kept under {id} was changed since (by a process that still had it open)")]
    ChangedItem {
        /// Which.
        id: ItemId,
    },
    /// This item is no file.
    #[error("{id} was kept as {what}, which cannot be put back as a file")]
    NoFile {
        /// Which.
        id: ItemId,
        /// What it is.
        what: &'static str,
    },
}

impl KeepError {
    /// The message with its causes, for a person.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}
