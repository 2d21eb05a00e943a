//! Git: fetch one branch, choose a commit, read its tree.
//!
//! In: a [`Remote`] (from the local settings alone, never from a repository), a directory for the store, and the
//! commit that was accepted last. Out: [`Fetched`], then a [`Store`] that gives commits, blobs by id and a read-only
//! [`Tree`]; or a typed, classed [`FetchError`].
//!
//! What this room may not do: check out files, run hooks, filters, credential helpers or anything named by a repository,
//! follow a redirect, a submodule, a symlink, an alternate or a replacement; decide what is accepted (it reports that a
//! tip does not descend from the accepted commit, the caller keeps the old one).
//!
//! The store is a disposable cache: whatever is wrong with it, [`fetch()`] throws it away and clones again. Accepted
//! state must live elsewhere. [`fetch()`] is synchronous and meant for a short-lived, unprivileged process; everything
//! that crosses that process is `Serialize`. Only https (own transport, no process) and ssh (one `ssh` process) reach the
//! network; a local repository is read directly.
//!
//! # Limits that fit the process around it
//!
//! The caps in [`Caps`] and [`Deadlines`] are enforced here. As a second fence the process that calls [`fetch()`] does
//! well with: `RLIMIT_AS` 512 MiB (packs are memory-mapped, so address space is not residency: ordinary fetches peak
//! below 24 MiB resident), `RLIMIT_FSIZE` = [`Caps::bytes`] × 4 (a pack is stored with its thin bases), `RLIMIT_CPU` 120 s,
//! `RLIMIT_NOFILE` 256, `RLIMIT_NPROC` only where no ssh is used, `RLIMIT_CORE` 0 (memory holds the credentials), and a
//! wall-clock kill somewhat above [`Deadlines::total`].

mod blame;
mod collector;
mod commit;
mod credentials;
mod directory;
mod disk;
mod error;
mod fetch;
mod flat;
mod foreign;
mod handing;
mod history;
mod http;
mod id;
mod index;
mod local;
mod meter;
mod network;
mod objects;
mod pack;
mod remote;
mod spool;
mod ssh;
mod store;
mod tree;
mod url;

pub use blame::{Blame, BlameError};
pub use commit::{CommitInfo, Person};
pub use credentials::{Credentials, CredentialsError, Secret};
pub use error::{Fault, FetchError, Retry, StoreError};
pub use fetch::{Care, Fetched, discard, fetch};
pub use flat::FlatError;
pub use handing::{Ask, History, Receiver};
pub use history::Ancestry;
pub use id::BlobId;
pub use remote::{Caps, Deadlines, Remote};
pub use spool::VerifiedTree;
pub use store::Store;
pub use tree::{Entry, EntryKind, Tree, TreeCaps, TreeError, TreeFault};
pub use url::{RemoteUrl, UrlError};
