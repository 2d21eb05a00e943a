//! What is in force: taken up at the start, replaced by what was compiled, and what of that is remembered.

use std::sync::Arc;

use jiff::Timestamp;

use super::chain;
use super::errand::Basis;
use super::follow::{Accepted, Branch};
use super::workshop::Workshop;
use crate::kind::Desired;
use crate::model::CommitId;
use crate::reconcile::Engine;
use crate::record::{self, Applied, Fact, History, RecordError};
use crate::status::standing;

/// So many of the newest tries are looked at after a restart.
const RECALLED: u32 = 4096;

impl Workshop {
    /// Takes up what was last applied, so that a host is held to it without network and repository. What can't be
    /// read is no wish at all: then nothing is in force until something is compiled.
    pub fn resume(&mut self) {
        match record::load_applied(&self.state) {
            Ok(Applied::Never) => return,
            Ok(Applied::Current(desired)) => {
                let commit = desired.revision.as_ref().map(|revision| revision.commit.clone());
                let basis = self.record.fact::<Basis>(Fact::Compiled);
                self.basis = basis.filter(|basis| commit.as_ref() == Some(&basis.commit));
                self.take_up(Arc::from(desired));
            }
            Ok(Applied::Previous { desired, why }) => {
                self.note(format!(
                    "the last applied state can't be read ({why}): the one before it is in force"
                ));
                self.take_up(Arc::from(desired));
            }
            Err(error) => return self.begin_anew(&error),
        }
        self.recall();
        self.recall_standing();
    }

    /// Puts another desired state in force: durable first, so that a crash right after continues with it.
    pub fn adopt(
        &mut self,
        desired: &Arc<Desired>,
        basis: &Basis,
        accepted: &Accepted,
    ) -> Result<(), RecordError> {
        self.see_to_ground();
        if desired == self.engine.desired() {
            // Compiled once more, for what it lays down or for a host that has changed: all of it is tried anew.
            self.engine.forgive();
            return self.remember(basis, accepted);
        }
        record::store_applied(&self.state, desired)?;
        self.remember(basis, accepted)?;
        self.record.set_fact(Fact::LastApplied, &self.host.clock.now())?;
        let before = self.engine.contents();
        self.take_up(Arc::clone(desired));
        // What neither this state nor the one before it lays down is no longer wanted.
        let mut wanted = self.engine.contents();
        wanted.extend(before);
        if let Err(error) = self.contents.retain(&wanted) {
            self.note(format!("contents that are no longer wanted stay: {}", error.chain()));
        }
        Ok(())
    }

    /// What was accepted last of this branch. Where nothing was ever written down (the record was lost), it is what
    /// is in force: a host never moves back by itself.
    pub fn accepted(&self, branch: &Branch) -> Option<CommitId> {
        match self.record.fact::<Option<Accepted>>(Fact::LastAccepted) {
            Some(accepted) => {
                accepted.filter(|accepted| accepted.of == *branch).map(|accepted| accepted.commit)
            }
            None => self.engine.desired().revision.as_ref().map(|revision| revision.commit.clone()),
        }
    }

    /// A person says which branch to follow from now on: what it has is accepted as it is.
    pub fn accept_anew(&mut self) {
        if let Err(error) = self.record.set_fact(Fact::LastAccepted, &None::<Accepted>) {
            self.note(format!(
                "that any commit is accepted now could not be written down: {}",
                chain(&error)
            ));
        }
    }

    /// Nothing is in force, which is not the same as a wish to have nothing.
    fn begin_anew(&mut self, error: &RecordError) {
        let aside = match error.is_damage() {
            true => {
                record::set_applied_aside(&self.state).map(|path| format!("; it lies in {}", path.display()))
            }
            false => Ok(String::new()),
        };
        let aside = aside.unwrap_or_else(|error| format!("; it can't be moved aside: {}", chain(&error)));
        self.note(format!(
            "what was last applied can't be used ({}{aside}): nothing is in force and nothing is removed until it \
             is compiled anew",
            chain(error)
        ));
    }

    /// Waits outlive a restart: what was tried lately stands in the history.
    pub(super) fn recall(&mut self) {
        if self.record.unavailable().is_some() {
            return;
        }
        let now = self.host.clock.now();
        let since = now.checked_sub(Engine::RECALL).unwrap_or(Timestamp::MIN);
        let tried = match History::open(&self.state) {
            Ok(Some(history)) => history.tried(since, RECALLED),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match tried {
            Ok(stories) => self.engine.recall(&stories, (now, self.host.clock.since_boot())),
            Err(error) => {
                self.note(format!("waits of before the restart are forgotten: {}", chain(&error)));
            }
        }
    }

    /// What was not right when the agent ended is known, and told, already.
    fn recall_standing(&mut self) {
        let open = self.record.open_drifts().values().take(RECALLED as usize);
        let numbers: Vec<_> = open.map(|open| open.id).collect();
        let stories = match History::open(&self.state) {
            Ok(Some(history)) => numbers.iter().map(|id| history.drift(*id)).collect(),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        match stories {
            Ok::<Vec<_>, _>(stories) => {
                self.standing.recall(stories.into_iter().flatten().map(standing::line_of_story));
            }
            Err(error) => {
                self.note(format!("what differed before the restart is not known: {}", chain(&error)));
            }
        }
    }

    pub(super) fn take_up(&mut self, desired: Arc<Desired>) {
        // In force all the same; the next pass writes down what could not be, or changes nothing.
        if let Err(fault) = self.engine.adopt(desired, &mut self.record) {
            self.not_written(&fault.to_string());
        }
        self.declared = self.engine.desired().fingerprint().root();
        self.standing.adopt(self.engine.declared());
    }

    fn remember(&mut self, basis: &Basis, accepted: &Accepted) -> Result<(), RecordError> {
        self.record.set_fact(Fact::LastAccepted, &Some(accepted))?;
        self.record.set_fact(Fact::Compiled, basis)?;
        self.basis = Some(basis.clone());
        Ok(())
    }
}
