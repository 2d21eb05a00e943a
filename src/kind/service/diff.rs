//! What differs between a declared unit and what is there. Pure.

use super::change::{Before, Change};
use super::spec::{Spec, Wish};
use super::state::{Activity, Boot, Load, State};
use crate::kind::{Difference, Levels, Reaction};
use crate::model::{FieldDiff, Key, KindName, ResourceId, Shown};

/// A difference while it is put together.
struct Draft {
    fields: Vec<FieldDiff>,
    changes: Vec<Change>,
    waiting: Option<String>,
    failing: Option<String>,
}

/// What differs between a declared unit and what is there; none as state if there is no such unit.
pub fn difference(
    key: &Key,
    spec: &Spec,
    state: Option<&State>,
    levels: &dyn Levels,
) -> Option<Difference<Change>> {
    let mut draft = Draft { fields: Vec::new(), changes: Vec::new(), waiting: None, failing: None };
    match state {
        None => not_there(key, spec, &mut draft),
        Some(State { load: Load::Broken(why), stale: false, .. }) => {
            draft.fields.push(FieldDiff::new("unit file", why.as_str(), "readable"));
            draft.failing =
                Some(format!("systemd can't read its unit file ({why}): `systemctl status {key}` says why"));
        }
        Some(state) => there(key, spec, state, levels, &mut draft),
    }
    draft.finish(key)
}

/// What it takes to give up a unit that is no longer declared; none as state if it is off.
pub fn pruned(key: &Key, state: Option<&State>) -> Option<Difference<Change>> {
    let state = state?;
    let mut draft = Draft { fields: Vec::new(), changes: vec![Change::Retire], waiting: None, failing: None };
    draft.fields.push(FieldDiff::new("state", state.activity.to_string(), Shown::Absent));
    draft.fields.push(FieldDiff::new("enabled", state.boot.as_str(), Shown::Absent));
    draft.finish(key)
}

impl Draft {
    fn finish(self, key: &Key) -> Option<Difference<Change>> {
        let Draft { fields, changes, waiting, failing } = self;
        let nothing = changes.is_empty() && waiting.is_none() && failing.is_none();
        (!nothing).then(|| Difference { key: key.clone(), fields, changes, waiting, failing, owner: None })
    }
}

/// What is not there runs not and does not start at boot; to be more, its file must come first. A mask is only a link.
fn not_there(key: &Key, spec: &Spec, draft: &mut Draft) {
    if spec.masked == Some(true) {
        draft.fields.push(FieldDiff::new("masked", "false", "true"));
        draft.changes.push(Change::Mask);
    }
    if spec.enabled == Some(true) {
        draft.fields.push(FieldDiff::new("enabled", Shown::Absent, "true"));
    }
    if spec.state == Some(Wish::Running) {
        draft.fields.push(FieldDiff::new("state", Shown::Absent, "running"));
    }
    if spec.enabled == Some(true) || spec.state == Some(Wish::Running) {
        draft.waiting = Some(format!("the unit {key}, which a package or a file must bring"));
    }
}

fn there(key: &Key, spec: &Spec, state: &State, levels: &dyn Levels, draft: &mut Draft) {
    if state.stale {
        draft.fields.push(FieldDiff::new("unit file", "changed since systemd read it", "read"));
        draft.changes.push(Change::ReadAgain);
    }
    mask(spec, state, draft);
    boot(key, spec, state, draft);
    match spec.state {
        Some(Wish::Running) => running(key, state, draft),
        Some(Wish::Stopped) => stopped(state, draft),
        None if state.start_owed => {
            draft.fields.push(FieldDiff::new(
                "state",
                "held back while packages changed",
                "started, as its package asked",
            ));
            draft.changes.push(Change::StartOwed);
        }
        None => {}
    }
    if state.activity == Activity::Running && spec.state != Some(Wish::Stopped) {
        reaction(key, spec, levels, draft);
    }
}

fn mask(spec: &Spec, state: &State, draft: &mut Draft) {
    let Some(wanted) = spec.masked() else { return };
    let change = match (wanted, &state.boot) {
        (true, Boot::Masked) => return,
        (
            true,
            Boot::MaskedForNow | Boot::Enabled | Boot::EnabledForNow | Boot::Disabled | Boot::Fixed(_),
        ) => Change::Mask,
        (false, Boot::Masked | Boot::MaskedForNow) => Change::Unmask,
        (false, Boot::Enabled | Boot::EnabledForNow | Boot::Disabled | Boot::Fixed(_)) => return,
    };
    draft.fields.push(FieldDiff::new("masked", state.boot.is_masked().to_string(), wanted.to_string()));
    draft.changes.push(change);
}

fn boot(key: &Key, spec: &Spec, state: &State, draft: &mut Draft) {
    let Some(wanted) = spec.enabled else { return };
    let mut differs = |change: Option<Change>| {
        draft.fields.push(FieldDiff::new("enabled", state.boot.as_str(), wanted.to_string()));
        draft.changes.extend(change);
    };
    match (wanted, &state.boot) {
        (true, Boot::Enabled) | (false, Boot::Disabled | Boot::Masked | Boot::MaskedForNow) => {}
        (true, Boot::EnabledForNow | Boot::Disabled) => differs(Some(Change::Enable(before(state)))),
        // What a mask hid shows only when it is gone: enabling what is enabled does no harm.
        (true, Boot::Masked | Boot::MaskedForNow) => draft.changes.push(Change::Enable(Before::Partly)),
        (false, Boot::Enabled | Boot::EnabledForNow) => differs(Some(Change::Disable)),
        (_, Boot::Fixed(word)) => {
            if let Some(why) = why_fixed(key, word, wanted) {
                differs(None);
                draft.failing = Some(why);
            }
        }
    }
}

/// Why a unit can't be enabled or disabled, in words that say what to write instead; none if it is as wanted anyway.
fn why_fixed(key: &Key, word: &str, wanted: bool) -> Option<String> {
    let instead = match (word, wanted) {
        ("static" | "indirect", false) | ("without a unit file" | "transient", false) => return None,
        ("static", true) => {
            "it has no [Install] section and is started by what needs it: leave `enabled` out"
        }
        ("indirect", true) => {
            "its [Install] section only names others: declare the unit it names under Also="
        }
        ("alias", _) => "it is another name of a unit: declare that one",
        ("generated", _) => {
            "it is made at boot from something else, such as an init script: leave `enabled` out"
        }
        (_, true) => "leave `enabled` out",
        (_, false) => "leave `enabled` out, or mask it",
    };
    let verb = if wanted { "enabled" } else { "disabled" };
    Some(format!("{key} can't be {verb} ({word}): {instead}"))
}

fn running(key: &Key, state: &State, draft: &mut Draft) {
    let start = match &state.activity {
        Activity::Running => return,
        Activity::Starting => {
            draft.waiting = Some("its start, which is under way".into());
            None
        }
        Activity::Restarting(result) => {
            draft.failing = Some(format!("it ended ({result}) and is left to its own Restart="));
            None
        }
        Activity::Stopped if state.passing => {
            draft.failing = Some(format!(
                "{key} is a oneshot that is over when its program ends: it can be `enabled` or started by a timer, \
                 and stays running only with RemainAfterExit=yes"
            ));
            None
        }
        Activity::Stopped | Activity::Stopping => Some(Change::Start(before(state))),
        Activity::Failed(result) => {
            draft.failing = Some(format!("it failed ({result}): `journalctl -u {key}` says why"));
            Some(Change::Start(Before::Failed(result.clone())))
        }
    };
    draft.fields.push(FieldDiff::new("state", state.activity.to_string(), Wish::Running.to_string()));
    // A job that is under way is not disturbed by changes of other fields.
    draft.changes.extend(start);
}

fn stopped(state: &State, draft: &mut Draft) {
    match &state.activity {
        Activity::Stopped | Activity::Failed(_) => return,
        Activity::Stopping if draft.changes.is_empty() => {
            draft.waiting = Some("its stop, which is under way".into());
        }
        Activity::Stopping => {}
        Activity::Running | Activity::Starting | Activity::Restarting(_) => draft.changes.push(Change::Stop),
    }
    draft.fields.push(FieldDiff::new("state", state.activity.to_string(), Wish::Stopped.to_string()));
}

/// What a running unit owes to changed inputs. A restart covers a reload.
fn reaction(key: &Key, spec: &Spec, levels: &dyn Levels, draft: &mut Draft) {
    let id = ResourceId::new(KindName::Service, key.clone());
    for (reaction, inputs) in spec.reactions() {
        if inputs.is_empty() || !is_owed(levels.now(inputs), levels.seen(&id, reaction)) {
            continue;
        }
        let (field, desired, change) = match reaction {
            Reaction::Restart => ("restart_on", "restarted since its inputs changed", Change::Restart),
            Reaction::Reload => ("reload_on", "reloaded since its inputs changed", Change::Reload),
        };
        draft.fields.push(FieldDiff::new(field, "older than its inputs", desired));
        draft.changes.push(change);
        return;
    }
}

/// Nothing recorded and nothing about to change: the engine takes a baseline.
fn is_owed(now: Option<u64>, seen: Option<u64>) -> bool {
    match (now, seen) {
        (None, _) => true,
        (Some(now), Some(seen)) => now != seen,
        (Some(_), None) => false,
    }
}

fn before(state: &State) -> Before {
    if state.is_off() { Before::Off } else { Before::Partly }
}
