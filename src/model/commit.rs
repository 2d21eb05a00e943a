//! Git object ids and revisions.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A git object id of a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CommitId(String);

impl CommitId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as shown to people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match (text.len(), hex) {
            (40 | 64, true) => Ok(CommitId(text.to_owned())),
            _ => Err("a commit id has 40 or 64 lower-case hexadecimal digits".into()),
        }
    }
}

impl<'de> Deserialize<'de> for CommitId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A commit that was chosen, verified and compiled, with what people ask of it: who, when, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit.
    pub commit: CommitId,
    /// Author as written in the commit: `Name <email>`. Untrusted text: escape it before a terminal.
    pub author: String,
    /// Author time.
    pub time: Timestamp,
    /// First line of the message. Untrusted text.
    pub subject: String,
}
