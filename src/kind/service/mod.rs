//! The kind `service`: systemd units, enabled or not, running or not, and what they owe to changed inputs.
//!
//! Observation is one call on the bus for all units; unit files are asked about only when they moved. Who stopped a
//! unit is told by how it ended: a stop in order is drift and is undone; a crash is left to the unit's own
//! `Restart=` until systemd gives up, and then started once, with the back-off of all corrections.
//!
//! May not: start or stop what is not declared, decide when it may be done, remember what a unit has seen of its
//! inputs (levels are the engine's).
//!
//! ```text
//! [services] ─spec─▶ Spec ─┐
//!                          ├─diff─▶ Change ─▶ apply: unit files, jobs, one look; a failure with its journal
//! systemd ─state─▶ State ──┘            ▲
//!                              levels ──┘ restart_on, reload_on
//! ```

mod apply;
mod change;
mod diff;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::host::Host;
use crate::host::units::{UnitError, UnitName, UnitStatus};
use crate::kind::desired::{Desired, Part};
use crate::kind::{
    ApplyCx, DiffCx, Difference, Kind, LookAt, ObserveError, Observed, ParseCx, Planned, Reaction, Reading,
    Specs, Want, Watch, holdback,
};
use crate::model::{Diagnostic, Key, KindName, Located, OutcomeResult, ResourceId};

pub use change::{Before, Change};
pub use spec::{Spec, Wish, unit_name};
use state::Told;
pub use state::{Activity, Boot, Load, State};

/// systemd units. Holds what systemd last said of each, so that the echo of our own start is told from news.
#[derive(Clone, Debug, Default)]
pub struct Services {
    last: BTreeMap<Key, UnitStatus>,
}

/// Where people turn units on and off by hand.
const FOLDER: &str = "/etc/systemd/system";

impl Kind for Services {
    const NAME: KindName = KindName::Service;
    const TABLE: &'static str = "services";
    type Spec = Spec;
    type State = State;
    type Change = Change;

    fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
        spec::parse(table, cx)
    }

    fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
        spec::validate(specs)
    }

    fn observe(&mut self, host: &Host, want: &Want<'_, Spec>) -> Result<Observed<State>, ObserveError> {
        let mut observed = Observed::default();
        let mut units = Vec::new();
        for key in want.declared().map(|(key, _)| key).chain(want.pruned()) {
            match key.as_str().parse::<UnitName>() {
                Ok(unit) => units.push(unit),
                Err(message) => {
                    observed.readings.insert(key.clone(), Reading::Unknown(message));
                }
            }
        }
        if want.only.is_none() {
            self.last.clear();
        }
        units.iter().for_each(|unit| drop(self.last.remove(&Key::from(unit.as_str()))));
        for status in host.units.status(&units).map_err(blind)? {
            let key = Key::from(status.name.as_str());
            let reading = match want.specs.get(&key) {
                Some(declared) => reading(host, &status, &declared.spec).map_err(blind)?,
                None => pruned_reading(&status),
            };
            observed.readings.insert(key.clone(), reading);
            self.last.insert(key, status);
        }
        Ok(observed)
    }

    fn diff(
        &self,
        want: &Want<'_, Spec>,
        observed: &Observed<State>,
        cx: &DiffCx<'_>,
    ) -> Vec<Difference<Change>> {
        let state = |key: &Key| match observed.readings.get(key)? {
            Reading::Present(state) => Some(Some(state)),
            Reading::Absent => Some(None),
            Reading::Unknown(_) => None,
        };
        let declared = want
            .declared()
            .filter_map(|(key, declared)| diff::difference(key, &declared.spec, state(key)?, cx.levels));
        let pruned = want.pruned().filter_map(|key| diff::pruned(key, state(key)?));
        declared.chain(pruned).collect()
    }

    fn apply(&mut self, cx: &mut ApplyCx<'_>, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
        apply::apply(cx.host, changes)
    }

    fn declare(key: &Key, state: &State) -> String {
        state::declare(key, state)
    }

    fn watches(specs: &Specs<Spec>) -> Vec<Watch> {
        let all = |folder: String| Watch {
            folder: folder.into(),
            name: None,
            look_at: LookAt::Kind(KindName::Service),
        };
        let mut watches = vec![all(FOLDER.to_owned())];
        // The targets that almost every unit is wanted by; what is enabled elsewhere is seen by the full pass.
        watches.extend(
            ["multi-user", "timers", "sockets"].map(|target| all(format!("{FOLDER}/{target}.target.wants"))),
        );
        watches.extend(specs.keys().map(|key| Watch {
            folder: format!("{FOLDER}/{key}.d").into(),
            name: None,
            look_at: LookAt::Resource(ResourceId::new(KindName::Service, key.clone())),
        }));
        watches
    }

    // Whether somebody else changed a unit since our own job can't be told (`was_changed_by_others` stays at its no): a
    // stop that somebody asked for and a program that ended by itself right after its start leave the same state, a new
    // time and no job behind, and systemd does not say whom it obeyed. The second would be taken for a stranger's deed,
    // and started at once, over and over.

    /// One call on the bus: systemd says the same of it, word for word, as when we last looked.
    fn is_untouched(&self, host: &Host, key: Option<&Key>) -> bool {
        let last: Vec<&UnitStatus> = match key {
            Some(key) => self.last.get(key).into_iter().collect(),
            None => self.last.values().collect(),
        };
        let units: Vec<UnitName> = last.iter().map(|status| status.name.clone()).collect();
        !last.is_empty() && host.units.status(&units).is_ok_and(|now| now.iter().eq(last))
    }

    fn inputs(spec: &Spec) -> Vec<(Reaction, ResourceId)> {
        let of = |(reaction, inputs): (Reaction, &[ResourceId])| {
            inputs.iter().map(|input| (reaction, input.clone())).collect::<Vec<_>>()
        };
        spec.reactions().into_iter().flat_map(of).collect()
    }
}

impl Part for Services {
    fn part(desired: &Desired) -> &Specs<Spec> {
        &desired.service
    }
}

fn reading(host: &Host, status: &UnitStatus, spec: &Spec) -> Result<Reading<State>, UnitError> {
    let mut state = match State::told(status) {
        Told::NotFound => return Ok(Reading::Absent),
        Told::Unclear(why) => return Ok(Reading::Unknown(why)),
        Told::State(state) => state,
    };
    // Only what is not as declared is worth the further questions.
    if spec.state == Some(Wish::Running) && state.activity == Activity::Stopped && !state.boot.is_masked() {
        let details = host.units.details(&status.name)?;
        state.passing = details.service_type == "oneshot" && !details.remain_after_exit;
    }
    // Nobody says that it is not to run, so its package may have asked for it.
    let may_run = spec.enabled != Some(false) && spec.masked != Some(true);
    if spec.state.is_none() && may_run && state.activity == Activity::Stopped && !state.boot.is_masked() {
        // What can't be told now is told by the next look.
        state.start_owed = holdback::is_owed(host, &status.name).unwrap_or_default();
    }
    Ok(Reading::Present(state))
}

/// Of what is to be given up, only what is on is still there.
fn pruned_reading(status: &UnitStatus) -> Reading<State> {
    match State::told(status) {
        Told::NotFound => Reading::Absent,
        Told::Unclear(why) => Reading::Unknown(why),
        Told::State(state) if state.is_off() => Reading::Absent,
        Told::State(state) => Reading::Present(state),
    }
}

fn blind(error: UnitError) -> ObserveError {
    ObserveError { kind: KindName::Service, message: error.to_string() }
}
