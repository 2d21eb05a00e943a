//! What makes it unnecessary to read a file again.
//!
//! A content that was read is known as long as the file is the same inode with the same size, time of content and
//! time of change: no call sets the latter. A file that was changed so recently that a further change could
//! carry the same time is not known yet (see [`crate::host::files::Hashed::solid`]); it is read once more at the
//! next look. And since clocks can be played with, and bits rot, every file is read anew once in a while.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::host::files::{Hashed, Identity};
use crate::model::{Content, Key};

/// A content that was read this long ago is read again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many are read again in one full pass for that reason alone: with a pass every 15 minutes, 10,000 files
/// in a week.
const READ_AGAIN_AT_ONCE: u32 = 16;

/// What is known of contents, by file.
#[derive(Default)]
pub(super) struct Proofs {
    known: HashMap<Key, Proof>,
    spread: RandomState,
}

struct Proof {
    identity: Identity,
    content: Content,
    solid: bool,
    /// Seconds since boot at which it is to be read again.
    due: u32,
}

/// How many files may still be read again in this look although nothing speaks against what is known of them.
pub(super) struct Allowance(u32);

impl Allowance {
    /// Of a full pass.
    pub(super) const fn full() -> Self {
        Allowance(READ_AGAIN_AT_ONCE)
    }

    /// Of a look at single files.
    pub(super) const fn none() -> Self {
        Allowance(0)
    }
}

impl Proofs {
    /// The content of a file of this identity, if it need not be read.
    pub(super) fn get(
        &self,
        key: &Key,
        identity: &Identity,
        now: Duration,
        allowance: &mut Allowance,
    ) -> Option<Content> {
        let proof = self.known.get(key).filter(|proof| proof.solid && proof.identity == *identity)?;
        if allowance.0 > 0 && now.as_secs() >= u64::from(proof.due) {
            allowance.0 -= 1;
            return None;
        }
        Some(proof.content)
    }

    /// The last known content of a file, with the identity it had: solid or not, it is only compared.
    pub(super) fn last(&self, key: &Key) -> Option<(Identity, Content)> {
        self.known.get(key).map(|proof| (proof.identity, proof.content))
    }

    /// Whether its identity alone proves a content: it was old enough when it was read.
    pub(super) fn is_solid(&self, key: &Key) -> bool {
        self.known.get(key).is_some_and(|proof| proof.solid)
    }

    /// Remembers what was read.
    pub(super) fn put(&mut self, key: &Key, read: &Hashed, now: Duration) {
        // Between one and two periods from now, so that what was read at once is not read again at once.
        let period = READ_AGAIN_AFTER.as_secs();
        let due = now.as_secs() + period + self.spread.hash_one(key) % period;
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let proof = Proof { identity: read.stat.identity, content: read.content, solid: read.solid, due };
        self.known.insert(key.clone(), proof);
    }

    /// Forgets what is known of one file.
    pub(super) fn forget(&mut self, key: &Key) {
        self.known.remove(key);
    }

    /// Forgets files that nobody asks for any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Key) -> bool, count: usize) {
        if self.known.len() > count {
            self.known.retain(|key, _| wanted(key));
            self.known.shrink_to_fit();
        }
    }
}
