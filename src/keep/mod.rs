//! What is to be laid down and what was there before: contents by digest, and the store of what the agent
//! replaced or removed.
//!
//! Nothing is lost: whoever takes something away from the host prepares a place for it here first, and a change
//! that cannot be kept is not made. The old inode itself is moved into the store, in the very step that puts
//! the new one in its place, so that there is no moment at which a copy could miss a write. The note beside it
//! (one small JSON file an item) is durable before that step; after a crash [`Keep::recover`] reads from the
//! notes what happened and finishes or undoes it.
//!
//! May not: decide what is kept or restored; it is told. Flows in: bytes and inodes. Flows out: the same,
//! by digest or by the id under which they were kept.

mod contents;
mod error;
mod item;
mod pending;
mod recover;
mod restore;
mod store;
mod tidy;

pub use contents::Contents;
pub use error::KeepError;
pub use item::{Item, ItemId, Occasion, What};
pub use pending::{Durable, Kept, Known, Pending, Purpose};
pub use recover::Recovered;
pub use restore::Restored;
pub use store::Keep;
pub use tidy::{Limits, Tidied};

#[cfg(test)]
mod tests;
