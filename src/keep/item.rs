//! One thing that was kept, and the note about it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::host::files::{Attributes, FileType, Xattrs};
use crate::model::{Content, ResourceId};

/// Names one kept item: the time it was kept, and eight digits that tell it from its neighbours. Sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ItemId(String);

impl ItemId {
    /// A new id for something kept now.
    pub(super) fn new(now: Timestamp) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let random = std::hash::RandomState::new().build_hasher().finish() as u32;
        ItemId(format!("{}-{random:08x}", now.strftime("%Y%m%d-%H%M%S-%3f")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its note.
    pub(super) fn note(&self) -> String {
        format!("{}.json", self.0)
    }

    /// The name of what was kept.
    pub(super) fn data(&self) -> String {
        format!("{}.data", self.0)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ItemId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // It becomes a file name: nothing but digits, dashes and lower-case hexadecimal.
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b) || b == b'-';
        if text.len() != 28 || !text.bytes().all(plain) {
            return Err(format!(
                "`{text}` is no id of something kept: they look like 20260131-235959-123-0a1b2c3d"
            ));
        }
        Ok(ItemId(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for ItemId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why and when something is about to be taken away.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The resource on whose behalf.
    pub resource: &'a ResourceId,
    /// The drift or the change that is the reason, in words or by its id.
    pub why: &'a str,
    /// When.
    pub now: Timestamp,
}

/// The note about one kept item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// On whose behalf.
    pub resource: ResourceId,
    /// Why: the drift or the change.
    pub why: String,
    /// Where it was, for what was a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it was.
    pub what: What,
    /// How many bytes it holds.
    pub bytes: u64,
    /// How far the change is whose victim it is.
    pub(super) stage: Stage,
}

/// What was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A regular file.
    File {
        /// Owner, group, mode.
        attributes: Attributes,
        /// Last change of its content, in nanoseconds since 1970.
        modified: i64,
        /// Digest and size; none if it could not be read.
        content: Option<Content>,
        /// Extended attributes and access lists.
        xattrs: Xattrs,
    },
    /// A folder with everything in it.
    Directory {
        /// Owner, group, mode.
        attributes: Attributes,
        /// How many files, links and folders, itself included.
        entries: u64,
    },
    /// A symbolic link.
    Link {
        /// Where it pointed.
        target: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A pipe, socket or device.
    Other {
        /// Which.
        found: FileType,
    },
    /// There was nothing; what is on trial there is taken away again if the trial fails.
    Nothing,
    /// Bytes of a kind whose resources are no files, such as the text of a rule set.
    Text {
        /// What they are, such as `ruleset`.
        name: String,
        /// Digest and size.
        content: Content,
    },
}

impl What {
    /// The word for it, for messages.
    pub const fn word(&self) -> &'static str {
        match self {
            What::File { .. } => "a file",
            What::Directory { .. } => "a directory",
            What::Link { .. } => "a symbolic link",
            What::Other { .. } => "a pipe, socket or device",
            What::Nothing => "nothing",
            What::Text { .. } => "a text",
        }
    }
}

/// How far the change is, whose victim the item is; read by recovery after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "kebab-case")]
pub(super) enum Stage {
    /// What was there is moved into the store, or to `beside` in its own folder while it waits to be copied
    /// because the store is on another file system.
    Moved {
        /// Device and inode of what takes its place; none if it is only taken away. What lies in the store under
        /// this item's name and is *not* this inode was moved there from the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new: Option<(u64, u64)>,
        /// Its name while it waits in its own folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beside: Option<String>,
        /// Whether what takes its place is on trial: undone, unless the trial was passed.
        trial: bool,
    },
    /// It was copied into the store.
    Copied {
        /// Whether what takes its place is on trial.
        trial: bool,
    },
}

impl Stage {
    /// Whether what took its place is on trial.
    pub(super) const fn on_trial(&self) -> bool {
        match self {
            Stage::Moved { trial, .. } | Stage::Copied { trial } => *trial,
        }
    }
}
