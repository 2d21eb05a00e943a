//! What may be declared of one file.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Content, word};

/// What is wanted at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ensure", rename_all = "kebab-case")]
pub enum Spec {
    /// A regular file.
    File {
        /// Its content; none leaves the content to others (and creates an empty file where there is none).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Content>,
        /// Owner, group, mode.
        #[serde(flatten)]
        ownership: Ownership,
        /// A program and its arguments that must agree to a new content.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        check: Vec<String>,
    },
    /// A directory.
    Directory {
        /// Owner, group, mode.
        #[serde(flatten)]
        ownership: Ownership,
        /// Whether what is not declared in it is removed.
        #[serde(default)]
        exclusive: bool,
        /// What in an exclusive directory is left alone all the same: globs over names, or over paths below it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ignore: Vec<String>,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as written.
        target: String,
    },
    /// Nothing.
    Absent,
}

impl Spec {
    /// The word for what is wanted, as `ensure` would say it.
    pub const fn word(&self) -> &'static str {
        match self {
            Spec::File { .. } => "file",
            Spec::Directory { .. } => "directory",
            Spec::Link { .. } => "link",
            Spec::Absent => "absent",
        }
    }

    /// Owner, group and mode, where they are managed.
    pub const fn ownership(&self) -> Option<&Ownership> {
        match self {
            Spec::File { ownership, .. } | Spec::Directory { ownership, .. } => Some(ownership),
            Spec::Link { .. } | Spec::Absent => None,
        }
    }
}

/// Owner, group and mode as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Name of the owner, or a number.
    #[serde(deserialize_with = "word::deserialize")]
    pub owner: Arc<str>,
    /// Name of the group, or a number.
    #[serde(deserialize_with = "word::deserialize")]
    pub group: Arc<str>,
    /// The mode.
    pub mode: Mode,
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.mode, self.owner, self.group)
    }
}

/// Permission bits, set-id and sticky bits included. Written as four octal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u32);

impl Mode {
    /// The lowest twelve bits.
    pub const fn from_bits(bits: u32) -> Self {
        Mode(bits & 0o7777)
    }

    /// As a number.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octal = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let fault = || format!("`{text}` is no mode: use four octal digits, such as \"0644\"");
        match (text.len(), octal) {
            (3 | 4, true) => u32::from_str_radix(text, 8).map(Mode).map_err(|_| fault()),
            _ => Err(fault()),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
