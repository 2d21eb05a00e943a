//! What the agent stands on while it runs: the folders below the state folder, and the record. A disk that is full, and
//! folders that somebody takes away, keep no host from being looked at; nothing is changed that can't be written down.

use std::sync::Arc;
use std::time::Duration;

use super::chain;
use super::opening::{begun_anew, open_keep};
use super::workshop::{PassRequest, Workshop};
use crate::host::files::Attributes;
use crate::model::{Health, Sync};
use crate::reconcile::Scope;
use crate::record::{self, OpenState, Record, RecordError};

/// The first wait for a record that can't be written; three times as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// ... and at most.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The state folder may be passed through, not read: what lies in it has rights of its own.
const STATE: u32 = 0o711;

/// What is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// Why what was found could not be written down, how often in a row, and when it is tried again on the boot-time
    /// clock.
    unwritten: Option<(String, u32, Duration)>,
    /// What could not be made anew.
    missing: Option<String>,
}

impl Ground {
    /// What a person should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let unwritten = self.unwritten.as_ref().map(|(why, ..)| {
            format!(
                "{why}; until then the host is looked at and nothing on it is changed; it is tried again by itself"
            )
        });
        unwritten.into_iter().chain(self.missing.clone()).collect()
    }

    /// How the host stands, given how the agent does.
    pub(super) fn judge(&self, (sync, health): (Sync, Health)) -> (Sync, Health) {
        match (&self.unwritten, &self.missing) {
            (None, None) => (sync, health),
            (Some(_), _) | (_, Some(_)) => (sync, health.max(Health::Degraded)),
        }
    }
}

impl Workshop {
    /// A pass that is asked for, once what it stands on is seen to. A record that was opened meanwhile knows nothing of
    /// what the agent saw without it: everything is looked at.
    pub(super) fn on_firm_ground(&mut self, request: PassRequest) -> PassRequest {
        match self.see_to_ground() {
            true => PassRequest { scope: Scope::Full, ..request },
            false => request,
        }
    }

    /// When something is to be looked at again, and what.
    pub(super) fn next_look(&self) -> Option<(Duration, Scope)> {
        let waiting = self.engine.next_look();
        match (&self.ground.unwritten, waiting) {
            (Some((.., due)), Some((first, _))) if first <= *due => self.engine.next_look(),
            (Some((.., due)), _) => Some((*due, Scope::Full)),
            (None, waiting) => waiting,
        }
    }

    /// Something could not be written down: it is tried again, less and less often.
    pub(super) fn not_written(&mut self, why: &str) {
        let times = self.ground.unwritten.as_ref().map_or(0, |(_, times, _)| *times);
        let wait = FIRST_WAIT.saturating_mul(3u32.saturating_pow(times)).min(LONGEST_WAIT);
        self.ground.unwritten = Some((why.to_owned(), times + 1, self.host.clock.since_boot() + wait));
    }

    /// What a pass found and did was written down, or not. A look at a part may have had nothing to write.
    pub(super) fn wrote_down(&mut self, scope: &Scope, fault: Option<&str>) {
        match (fault, scope) {
            (Some(why), _) => self.not_written(why),
            (None, Scope::Full) => self.ground.unwritten = None,
            (None, Scope::Some(_)) => {}
        }
    }

    /// Makes anew what of the state folder is gone, and opens the record if that could not be done. Says whether the
    /// record is another one now.
    pub(super) fn see_to_ground(&mut self) -> bool {
        let folders = self.make_folders_anew().and_then(|()| self.keep_applied());
        self.ground.missing =
            folders.err().map(|why| format!("the agent's own files can't be made anew: {why}"));
        if self.record.unavailable().is_none() && self.record.is_in_place(&self.state) {
            return false;
        }
        // While nothing can be kept nothing is changed, and the stand-in of the record sees to that.
        if !self.kept.is_in_place() {
            return false;
        }
        // That it can't be is said by whatever is to be written to it.
        self.open_record_anew().is_ok()
    }

    fn make_folders_anew(&mut self) -> Result<(), String> {
        if !self.state.is_in_place() {
            self.state = self.state.anew(Attributes::root(STATE)).map_err(|error| chain(&error))?;
            self.note(format!(
                "{} was removed by somebody: it was made anew, and what was kept and written down in it is lost",
                self.state.path().display()
            ));
        }
        if !self.kept.is_in_place() {
            let opened = open_keep(&self.state, self.keep.limits(), &self.host);
            let (kept, keep, told) = opened.map_err(|error| chain(&error))?;
            (self.kept, self.keep) = (kept, keep);
            told.into_iter().for_each(|note| self.note(note));
        }
        Ok(())
    }

    /// What is in force is on disk, whatever became of the file.
    fn keep_applied(&self) -> Result<(), String> {
        let desired = self.engine.desired();
        match desired.is_empty() || record::is_applied_there(&self.state) {
            true => Ok(()),
            false => record::store_applied(&self.state, desired).map_err(|error| chain(&error)),
        }
    }

    fn open_record_anew(&mut self) -> Result<(), RecordError> {
        let clock = Arc::clone(&self.host.clock);
        if self.record.unavailable().is_none() {
            let gone = RecordError::Damaged { what: "somebody removed its file".to_owned() };
            // The old one is closed before the new one is opened: there is one at a time.
            self.record = Record::stand_in(Arc::clone(&clock), &gone)?;
            self.note(
                "the record was removed by somebody and is begun anew: nothing is pruned until the agent brings it \
                 again, and what was suspended is not"
                    .to_owned(),
            );
        }
        let (record, opened) = Record::open(&self.state, clock)?;
        self.record = record;
        match opened.state {
            OpenState::New | OpenState::Fine => {}
            state @ OpenState::Rebuilt { .. } => {
                begun_anew(state).into_iter().for_each(|note| self.note(note))
            }
        }
        self.ground.unwritten = None;
        let desired = Arc::clone(self.engine.desired());
        if !desired.is_empty() {
            self.take_up(desired);
            self.recall();
        }
        Ok(())
    }
}
