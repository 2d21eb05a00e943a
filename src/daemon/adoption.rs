//! Putting a compiled desired state in force, on the thread that touches the host: root's own checks first.

use super::chain;
use super::errand::Compiled;
use super::follow::Accepted;
use super::workshop::{View, Workshop};
use crate::kind::Watch;
use crate::model::{Diagnostic, Severity};
use crate::reconcile::perils::Task;

/// What is to be put in force.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The desired state, and what it was compiled from.
    pub compiled: Compiled,
    /// What is accepted by it.
    pub accepted: Accepted,
}

/// What came of it.
#[derive(Debug)]
pub enum Adopted {
    /// It is in force.
    InForce {
        /// What is worth waking up for under it.
        watches: Vec<Watch>,
        /// How everything stands.
        view: Box<View>,
    },
    /// Root's own checks refuse it, and always will.
    Refused {
        /// Why, in a sentence.
        message: String,
        /// Each fault.
        diagnostics: Vec<Diagnostic>,
    },
    /// It could not be written down (a full disk): not the declaration's fault.
    Failed {
        /// What happened.
        message: String,
    },
}

impl Adoption {
    /// Does it.
    pub fn run(&self, workshop: &mut Workshop) -> Adopted {
        let Compiled { basis, desired } = &self.compiled;
        let refused =
            |message: &str, diagnostics| Adopted::Refused { message: message.to_owned(), diagnostics };
        if desired.is_empty() {
            let message = "the declaration of this host is empty: that is never a wish to remove everything";
            return refused(message, Vec::new());
        }
        if desired.revision.as_ref().is_none_or(|revision| revision.commit != basis.commit) {
            let message = "what was compiled is not the commit that was to be compiled".to_owned();
            return Adopted::Failed { message };
        }
        let task = Task::Adoption(basis.commit.clone());
        if let Some(message) = workshop.engine.perils.shuns(&task, workshop.host.clock.now()) {
            return Adopted::Failed { message };
        }
        workshop.engine.perils.begin(&task);
        let adopted = self.put_in_force(workshop);
        workshop.engine.perils.rest();
        workshop.engine.perils.survived(&task);
        adopted
    }

    fn put_in_force(&self, workshop: &mut Workshop) -> Adopted {
        let Adoption { compiled: Compiled { basis, desired }, accepted } = self;
        let refused =
            |message: &str, diagnostics| Adopted::Refused { message: message.to_owned(), diagnostics };
        let mut diagnostics = workshop.engine.validate(desired);
        diagnostics.extend(workshop.bounds.faults(desired));
        if diagnostics.iter().any(|one| one.severity == Severity::Error) {
            return refused("refused by the agent", diagnostics);
        }
        let faults = workshop.engine.rehearse(&workshop.host, desired);
        if !faults.is_empty() {
            return refused("it can't be put in force on this host", faults);
        }
        match workshop.adopt(desired, basis, accepted) {
            Ok(()) => {
                Adopted::InForce { watches: workshop.engine.watches(), view: Box::new(workshop.view()) }
            }
            Err(error) => Adopted::Failed { message: chain(&error) },
        }
    }
}
