//! Confirm-or-undo of a firewall change. The kind arms it, before each table that is not the confirmed one; see
//! `kind::firewall::undo` for how.

use jiff::Timestamp;

use crate::host::Host;

pub use crate::kind::firewall::undo::{
    Confirmation, UndoError, Window, confirm, confirmation, forgive, prove, recover,
};

/// What waits for a confirmation is called this.
pub const WHAT: &str = "the firewall change";

/// How a change stood at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// How it stood.
    pub confirmation: Confirmation,
    /// When that was read.
    pub at: Timestamp,
}

/// How a change stands, for showing: what cannot be read is told as a note, and that one was undone, which matters for
/// as long as it is the declared one.
pub fn shown(host: &Host) -> (Confirmation, Option<String>) {
    match confirmation(host) {
        Ok(Confirmation::Undone { table, by_reboot }) => {
            let how = if by_reboot {
                "by a reboot before anybody confirmed it"
            } else {
                "because nobody confirmed it in time"
            };
            let note = format!(
                "the declared firewall was loaded and undone {how}; it is not loaded again, and the one confirmed before \
                 it is held to: push a revision with another one"
            );
            (Confirmation::Undone { table, by_reboot }, Some(note))
        }
        Ok(other @ (Confirmation::Settled | Confirmation::Awaited { .. })) => (other, None),
        Err(error) => (Confirmation::Settled, Some(error.to_string())),
    }
}
