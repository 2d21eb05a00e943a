//! What is to be laid down and what was there before: contents by digest, and the store of what the agent
//! replaced or removed.
//!
//! May not: decide what is kept or restored; it is told. Flows in: bytes and inodes. Flows out: the same,
//! by digest or by the id under which they were kept.

use crate::host::files::Root;

/// Contents the declaration wants laid down, by digest: in memory while a plan is made from a plain
/// directory, in a root-only folder for the daemon.
pub struct Contents {}

/// The root-only store of what was replaced or removed.
pub struct Keep {
    /// Where.
    pub root: Root,
}
