//! A decided step for the firewall, and how it is made: one transaction for all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::compile::Compiled;
use super::compose::compose;
use super::look::Seen;
use super::render::REPLACE;
use crate::kind;
use crate::model::{Key, Step};

/// One decided step for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Load our table anew, so that this resource is as declared.
    Load {
        /// What that means for the resource.
        action: Action,
        /// What is loaded; shared by all resources that differ.
        plan: Arc<LoadPlan>,
    },
    /// Load the table that was confirmed last: the declared one was undone.
    Restore {
        /// What is loaded at boot.
        text: Arc<str>,
        /// What is there instead, if anything is.
        instead: Option<Arc<str>>,
    },
    /// Make the table that is in force the one that is loaded at boot again.
    Boot {
        /// The table.
        desired: Arc<Compiled>,
    },
    /// Take our whole table away: nothing of it is declared any more.
    RemoveOwn,
    /// Take a table away that is not ours, because the declaration says `exclusive`.
    RemoveForeign {
        /// Its family.
        family: String,
        /// Its name.
        name: String,
    },
}

/// What loading the table means for one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is there afterwards.
    Load,
    /// It is as declared afterwards.
    Correct,
    /// It is gone afterwards.
    Remove,
}

/// What is needed to load our table.
#[derive(Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// As declared.
    pub desired: Arc<Compiled>,
    /// As it was when the plan was made.
    pub observed: Arc<Seen>,
    /// Everything that differs. What is not among the cleared changes stays as it is.
    pub differing: BTreeSet<Key>,
}

impl LoadPlan {
    /// The text to load when only `cleared` may change.
    pub fn text(&self, cleared: &BTreeSet<Key>) -> String {
        let held = self.differing.difference(cleared).cloned().collect();
        let nothing = super::listing::Listing::default();
        let observed = self.observed.own.as_ref().unwrap_or(&nothing);
        compose(&self.desired.listing, observed, &held).loadable()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Load { action: Action::Load, .. } => f.write_str("load"),
            Change::Load { action: Action::Correct, .. } => f.write_str("correct"),
            Change::Load { action: Action::Remove, .. } => f.write_str("remove from table inet agentd"),
            Change::Restore { .. } => f.write_str("put the table back that was confirmed last"),
            Change::Boot { .. } => f.write_str("write what is loaded at boot again"),
            Change::RemoveOwn => f.write_str("remove table inet agentd"),
            Change::RemoveForeign { family, name } => write!(f, "remove table {family} {name}"),
        }
    }
}

impl kind::Change for Change {
    fn step(&self) -> Step {
        match self {
            Change::Load { .. } | Change::Restore { .. } | Change::Boot { .. } => Step::Firewall,
            Change::RemoveOwn | Change::RemoveForeign { .. } => Step::RemoveFirewall,
        }
    }

    fn removes(&self) -> bool {
        match self {
            Change::Load { action: Action::Load | Action::Correct, .. }
            | Change::Restore { .. }
            | Change::Boot { .. } => false,
            Change::Load { action: Action::Remove, .. }
            | Change::RemoveOwn
            | Change::RemoveForeign { .. } => true,
        }
    }
}

/// The text that brings back what was there before, whatever is there then.
pub fn undo_text(observed: &Seen) -> String {
    match &observed.own {
        Some(listing) => listing.loadable(),
        None => REPLACE.to_owned(),
    }
}
