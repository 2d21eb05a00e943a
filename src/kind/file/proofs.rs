//! What makes it unnecessary to read a file again.
//!
//! A content that was read is known as long as there is an inode of that number with the same size, time of content
//! and time of change: no call sets the latter. A file that was changed so recently that a further change could
//! carry the same time is not known yet (see [`crate::host::files::Hashed::solid`]); it is read once more at the
//! next look. And since clocks can be played with, and bits rot, every file is read anew once in a while.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::time::Duration;

use crate::host::files::{Hashed, Identity};
use crate::model::{Content, Key};

/// A content that was read this long ago is read again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many are read again in one full pass for that reason alone: with a pass every 15 minutes, 10,000 files
/// in a week.
const READ_AGAIN_AT_ONCE: u32 = 16;

/// What is known of contents, by inode.
#[derive(Default)]
pub(super) struct Proofs {
    known: HashMap<Inode, Proof, BuildHasherDefault<Spread>>,
    chance: RandomState,
    /// Counts full looks, so that what none of them met any more can go.
    round: u32,
}

/// Device and number.
type Inode = (u64, u64);

/// Whether an identity alone proves a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It does: every later change shows in it.
    Solid,
    /// Not yet: it was read in the very tick of its last change.
    Fresh,
}

struct Proof {
    size: u64,
    mtime: i64,
    ctime: i64,
    content: Content,
    trust: Trust,
    /// Of the path by which it was read.
    path: u64,
    /// Seconds since boot at which it is to be read again.
    due: u32,
    /// The last full look that met it.
    round: u32,
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
    /// Whether nothing is known yet.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The content of a file of this identity, if it need not be read.
    pub(super) fn get(
        &mut self,
        identity: &Identity,
        now: Duration,
        allowance: &mut Allowance,
    ) -> Option<Content> {
        let proof = self.known.get_mut(&inode(identity)).filter(|proof| proof.is_of(identity))?;
        proof.round = self.round;
        if proof.trust == Trust::Fresh {
            return None;
        }
        if allowance.0 > 0 && now.as_secs() >= u64::from(proof.due) {
            allowance.0 -= 1;
            return None;
        }
        Some(proof.content)
    }

    /// The content of a file of this identity as it was last read: for a note about what is being moved away.
    pub(super) fn last(&self, identity: &Identity) -> Option<Content> {
        let proof = self.known.get(&inode(identity)).filter(|proof| proof.is_of(identity))?;
        (proof.trust == Trust::Solid).then_some(proof.content)
    }

    /// The content that was last read at this path, if the file has this identity still.
    pub(super) fn of(&self, key: &Key, identity: &Identity) -> Option<(Content, Trust)> {
        let proof = self.known.get(&inode(identity)).filter(|proof| proof.is_of(identity))?;
        (proof.path == self.chance.hash_one(key)).then_some((proof.content, proof.trust))
    }

    /// Remembers what was read.
    pub(super) fn put(&mut self, key: &Key, read: &Hashed, now: Duration) {
        let Hashed { content, stat, solid } = *read;
        let inode = inode(&stat.identity);
        // Between one and two periods from now, so that what was read at once is not read again at once.
        let period = READ_AGAIN_AFTER.as_secs();
        let path = self.chance.hash_one(key);
        let due = now.as_secs() + period + path % period;
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let Identity { size, mtime, ctime, .. } = stat.identity;
        let trust = if solid { Trust::Solid } else { Trust::Fresh };
        let proof = Proof { size, mtime, ctime, content, trust, path, due, round: self.round };
        self.known.insert(inode, proof);
    }

    /// Begins a full look.
    pub(super) fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Ends a full look at `count` files: forgets what it did not meet, once that is worth the walk.
    pub(super) fn end_round(&mut self, count: usize) {
        if self.known.len() > count + count / 8 {
            let round = self.round;
            self.known.retain(|_, proof| proof.round == round);
            self.known.shrink_to_fit();
        }
    }
}

impl Proof {
    fn is_of(&self, identity: &Identity) -> bool {
        (self.size, self.mtime, self.ctime) == (identity.size, identity.mtime, identity.ctime)
    }
}

const fn inode(identity: &Identity) -> Inode {
    (identity.device, identity.inode)
}

/// Spreads inode numbers over a table. The file system hands them out: nobody can choose them to collide.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Multiplication by the golden ratio, as Knuth has it; the table takes the highest bits and the lowest.
        let mixed = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
