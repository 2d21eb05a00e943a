//! What the kernel has now, read only when its generation moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::listing::Listing;
use super::nft::{self, Foreign};
use super::spec::{Exclusive, Hook, HookName, Policy, Spec, keys};
use super::state::{State, states};
use crate::host::Host;
use crate::kind::{Reading, Specs, Want};
use crate::model::Key;

/// What the kernel had at one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The generation; none if it moved while we looked, so that the next look is taken in full.
    pub generation: Option<u32>,
    /// Our table, if it is there.
    pub own: Option<Listing>,
    /// The same by resource.
    pub states: BTreeMap<Key, State>,
    /// All other tables.
    pub foreign: Vec<Foreign>,
}

/// Looks, unless nothing changed since the last look.
pub fn look(host: &Host, last: Option<&Arc<Seen>>) -> Result<Arc<Seen>, String> {
    let generation = || {
        host.netfilter.generation().map_err(|error| {
            format!(
                "the kernel does not tell the generation of its rules: {error}; nf_tables and root are needed"
            )
        })
    };
    let before = generation()?;
    if let Some(last) = last
        && last.generation == Some(before)
    {
        return Ok(Arc::clone(last));
    }
    let (own, foreign) = nft::list(&*host.programs)?;
    let states = own.as_ref().map(states).unwrap_or_default();
    let unchanged = generation()? == before;
    Ok(Arc::new(Seen { generation: unchanged.then_some(before), own, states, foreign }))
}

/// What a person should know of other tables: that they are there, and where they and we decide about the same.
pub fn notes(specs: &Specs<Spec>, foreign: &[Foreign]) -> Vec<String> {
    let mut notes: Vec<String> = foreign.iter().map(told).collect();
    for declared in specs.values() {
        let Spec::Hook(hook) = &declared.spec else { continue };
        for table in foreign {
            notes.extend(table.chains.iter().filter_map(|chain| {
                let both = chain.filters_at(hook.name);
                both.then(|| conflict(hook, table, &chain.name, &chain.policy)).flatten()
            }));
        }
    }
    notes
}

fn told(table: &Foreign) -> String {
    format!("table {} {} is not the agent's: left alone", table.family, table.name)
}

fn conflict(hook: &Hook, table: &Foreign, chain: &str, policy: &str) -> Option<String> {
    let (name, whose) = (hook.name, format!("chain {chain} of table {} {}", table.family, table.name));
    match hook.policy {
        Policy::Drop if hook.accept_foreign.is_none() => Some(format!(
            "firewall:{name} drops by policy what {whose} accepts: name its interfaces in \
             `{name}.accept_foreign`, or say `accept_foreign = []` if that is meant",
        )),
        Policy::Drop | Policy::Accept if policy == "drop" => {
            Some(format!("{whose} drops by policy what firewall:{name} accepts: both must accept a packet"))
        }
        Policy::Drop | Policy::Accept => None,
    }
}

/// Whether a hook of ours is meant to keep out what no rule lets in.
pub fn shuts(specs: &Specs<Spec>, name: HookName) -> Option<&Hook> {
    specs.values().find_map(|declared| match &declared.spec {
        Spec::Hook(hook) if hook.name == name && hook.policy == Policy::Drop => Some(hook),
        Spec::Hook(_)
        | Spec::Rule(_)
        | Spec::Set(_)
        | Spec::Nat(_)
        | Spec::NatHook(_)
        | Spec::Chain(_)
        | Spec::Exclusive(_) => None,
    })
}

/// Everything in scope: what is declared, what is to be taken away, and what else lies in our table or, where the
/// declaration is exclusive, beside it.
pub fn readings(want: &Want<'_, Spec>, seen: &Seen) -> BTreeMap<Key, Reading<State>> {
    let mut readings = BTreeMap::new();
    let reading = |key: &Key| match seen.states.get(key) {
        Some(state) => Reading::Present(state.clone()),
        None => Reading::Absent,
    };
    for (key, declared) in want.declared() {
        match &declared.spec {
            // Says something of other tables; it is nowhere itself.
            Spec::Exclusive(_) => drop(readings.insert(key.clone(), Reading::Present(State::default()))),
            Spec::Hook(_)
            | Spec::Rule(_)
            | Spec::Set(_)
            | Spec::Nat(_)
            | Spec::NatHook(_)
            | Spec::Chain(_) => {
                drop(readings.insert(key.clone(), reading(key)));
            }
        }
    }
    for key in want.pruned().chain(seen.states.keys().filter(|key| want.in_scope(key))) {
        if !readings.contains_key(key) {
            readings.insert(key.clone(), reading(key));
        }
    }
    for table in seen.foreign.iter().filter(|table| is_drift(want.specs, table)) {
        let key = keys::table(&table.family, &table.name);
        if want.in_scope(&key) {
            let chains: Vec<&str> = table.chains.iter().map(|chain| chain.name.as_str()).collect();
            readings.insert(key, Reading::Present(State::foreign(&table.family, &table.name, &chains)));
        }
    }
    readings
}

fn is_drift(specs: &Specs<Spec>, table: &Foreign) -> bool {
    match specs.get(keys::TABLES).map(|declared| &declared.spec) {
        Some(Spec::Exclusive(Exclusive { ignore })) => {
            !ignore.iter().any(|pattern| pattern.matches(&table.family, &table.name))
        }
        Some(_) | None => false,
    }
}

pub fn left_alone(specs: &Specs<Spec>, seen: &Seen) -> Vec<Foreign> {
    seen.foreign.iter().filter(|table| !is_drift(specs, table)).cloned().collect()
}
