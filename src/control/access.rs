//! Who may do what: by the integers the kernel gives for the peer, never by anything the peer says.

use super::verb::{Right, Verb};
use crate::host::peer::Peer;

/// Which groups may do what; root may do everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Members may look.
    pub readers: Option<u32>,
    /// Members may look and change.
    pub changers: Option<u32>,
}

impl Access {
    /// Whether a peer may use a verb.
    pub fn allows(&self, peer: &Peer, verb: Verb) -> bool {
        let in_group = |group: Option<u32>| group.is_some_and(|group| peer.is_in(group));
        let changer = peer.uid == 0 || in_group(self.changers);
        match verb.right() {
            Right::Change => changer,
            Right::Read => changer || in_group(self.readers),
        }
    }
}
