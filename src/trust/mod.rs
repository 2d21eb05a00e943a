//! Whose word the host takes: from the raw bytes of a commit to [`Accepted`], or to a [`Refusal`] that says why not.
//!
//! In: a [`Policy`] (local settings alone), the [`Memory`] of earlier verdicts, the time, a tip, and raw objects whose ids
//! were computed here ([`Objects`]). Out: who signed and what to remember, or a typed, classed refusal.
//!
//! May not: read the clock, files, or the network; start a process; look at a ref, a replacement, a graft or an
//! alternate; believe a date, a key or a name because a commit holds it. Pure: the same values give the same verdict.
//!
//! # The rules
//!
//! - **Exactly one signature**, in a `gpgsig` header, over the commit's bytes without it, for the namespace `git`.
//! - **By a listed key.** The key inside a signature is a claim, looked up among the signers; a key revoked, expired, not
//!   valid yet, or listed for others or for other purposes has no word.
//! - **At the time of receipt.** A floor (the time of the build, the latest time an accepted commit proved) stands below the
//!   clock. While the clock is behind it, keys with an end have no word: nobody can say whether it has come.
//! - **Forwards only.** A tip descends from the commit accepted last; with [`Strict::All`], each commit between is signed.
//! - **Delegated signers** are governed by the commit before: a list in a commit says nothing of that commit itself. Only
//!   local keys may change the list, its version rises with each change, and what the local file says of a key holds.
//!
//! SSH's formats are read here, in three short files, and verified by `ring`, which TLS brings along anyway: the crate
//! `ssh-key` would bring second versions of hashes that are in the program already.

mod certificate;
mod clock;
mod commit;
mod history;
mod judge;
mod key;
mod objects;
mod pattern;
mod policy;
mod refusal;
mod revoked;
mod signature;
mod signers;
mod sshsig;
mod wire;

pub use history::COMMITS_LIMIT;
pub use judge::{judge, stands};
pub use key::{KeyFault, SshKey};
pub use objects::{Collision, Kind, ObjectFault, Objects, RawObjects, id_of};
pub use policy::{Accepted, Format, Listed, Memory, Policy, Signer, Strict};
pub use refusal::{Lasting, Refusal};
pub use revoked::Revoked;
pub use signers::{FILE_LIMIT, Role, SignerLine, Signers};
