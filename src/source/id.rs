//! The id of a blob, as it is named outside this room.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a blob: 40 lower-case hexadecimal digits (64 in a SHA-256 repository).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(String);

impl BlobId {
    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(id: gix::ObjectId) -> BlobId {
        BlobId(id.to_string())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
