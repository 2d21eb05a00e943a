//! Bytes by reference.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// Contents that lie in a store, by digest. The same bytes always have the same value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

impl Content {
    /// The reference to these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Content { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}
