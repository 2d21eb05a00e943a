//! One decided step for one file.

use std::fmt;

use super::path::decides_about_packages;
use crate::kind;
use crate::model::{Key, Step};

/// One decided step for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub key: Key,
    /// What.
    pub act: Act,
    /// Its line in the plan.
    pub(super) text: String,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Lay down what is declared, in place of whatever is there.
    Lay,
    /// Set owner and mode, and leave the content alone.
    Own,
    /// Take away what is there, with everything in it.
    Remove,
    /// Take away a file of ours, or a folder of ours if nobody else put anything into it.
    Prune,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl kind::Change for Change {
    fn step(&self) -> Step {
        match (self.act, decides_about_packages(self.key.as_str())) {
            (Act::Lay | Act::Own, true) => Step::AptSources,
            (Act::Lay | Act::Own, false) => Step::Files,
            (Act::Remove | Act::Prune, true) => Step::RemoveAptSources,
            (Act::Remove | Act::Prune, false) => Step::RemoveFiles,
        }
    }

    fn removes(&self) -> bool {
        match self.act {
            Act::Remove | Act::Prune => true,
            Act::Lay | Act::Own => false,
        }
    }
}
