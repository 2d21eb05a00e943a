//! One kind at work: its typed data stays in a lane of its own, and is erased only at a stage of the whole kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::memory::{Memory, Remembered};
use crate::host::Host;
use crate::kind::Desired;
use crate::kind::desired::Part;
use crate::kind::{
    ApplyCx, Change, DiffCx, Difference, Kind, Observed, Planned, Reaction, Reading, Want, Watch,
};
use crate::model::{
    Diagnostic, Digest, DriftMode, FieldDiff, Key, KindName, OutcomeResult, Place, ResourceId, Step,
    fingerprint,
};

/// The stages of one kind, with its types erased.
pub trait Stage: Send {
    /// Which kind.
    fn kind(&self) -> KindName;
    /// Takes up a desired state. Returns what is remembered, no longer declared, and not to be taken away.
    fn adopt(&mut self, desired: &Arc<Desired>, memory: &dyn Memory) -> Vec<Key>;
    /// Reads the host. On error nothing of the kind is known, and comparing finds nothing.
    fn observe(&mut self, host: &Host, only: Option<&BTreeSet<Key>>) -> Result<(), String>;
    /// Compares what was read last with what is desired.
    fn compare(&mut self, only: Option<&BTreeSet<Key>>, cx: &DiffCx<'_>, memory: &dyn Memory)
    -> Vec<Finding>;
    /// Makes the changes of one step for the resources that `go` lets through.
    fn apply(&mut self, step: Step, cx: &mut ApplyCx<'_>, go: &mut dyn FnMut(&Key) -> bool) -> Vec<Applied>;
    /// What could not be read, and why.
    fn unknown(&self) -> Vec<(Key, String)>;
    /// Of those in scope: declared, found as declared, and not yet remembered as such.
    fn settled(&mut self, only: Option<&BTreeSet<Key>>) -> Vec<(Key, Digest, bool)>;
    /// Pruned resources in scope that are gone now.
    fn pruned(&mut self, only: Option<&BTreeSet<Key>>) -> Vec<Key>;
    /// Faults of a desired state that root itself looks for, whoever compiled it.
    fn validate(&self, desired: &Desired) -> Vec<Diagnostic>;
    /// Faults that only this host can find in a desired state.
    fn rehearse(&mut self, host: &Host, desired: &Desired) -> Vec<Diagnostic>;
    /// How many resources are declared.
    fn declared(&self) -> usize;
    /// Every declared key.
    fn keys(&self) -> Vec<Key>;
    /// What is worth waking up for.
    fn watches(&self) -> Vec<Watch>;
    /// What the kind's resources react to.
    fn inputs(&self) -> Vec<(ResourceId, Reaction, ResourceId)>;
    /// What a person should know and no resource stands for.
    fn notes(&self) -> &[String];
    /// Digest of each observed state, by key.
    fn fingerprint(&self) -> Vec<(Key, Digest)>;
    /// The TOML that would declare what was observed of a resource.
    fn declare(&self, key: &Key) -> Option<String>;
    /// Whether whoever looks at one resource reads them all.
    fn is_read_at_once(&self) -> bool;
    /// What was read just now was for somebody to see, and no pass acts upon it: an event about it is no echo.
    fn looked_aside(&mut self);
    /// Whether a resource, or the whole kind, is provably what it was when we last read or wrote it.
    fn is_untouched(&self, host: &Host, key: Option<&Key>) -> bool;
    /// Whether somebody else provably changed a resource since we last wrote it.
    fn was_changed_by_others(&self, host: &Host, key: &Key) -> bool;
    /// Digests of the contents that are to be laid down.
    fn contents(&self) -> Vec<Digest>;
    /// Gives back the memory of the last look: the next one reads the host again anyway.
    fn rest(&mut self);
}

/// A difference, with its types erased.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which resource.
    pub resource: ResourceId,
    /// What differs.
    pub fields: Vec<FieldDiff>,
    /// What would be done, in order.
    pub actions: Vec<Action>,
    /// What must be there first.
    pub waiting: Option<String>,
    /// What is wrong with it while nothing is done about it.
    pub failing: Option<String>,
    /// Where it, or what wants it gone, is declared; none if the declaration dropped it.
    pub declared: Option<Place>,
    /// Digest of its spec; none if it is not declared.
    pub spec: Option<Digest>,
    /// What is remembered of it.
    pub remembered: Remembered,
    /// The resource's own drift mode.
    pub drift: Option<DriftMode>,
    /// `prune` as declared.
    pub prune: bool,
    /// Whether it is certainly not there now.
    pub absent: bool,
    /// Of what is not declared itself: who wants it gone.
    pub owner: Option<Owner>,
}

/// The declared resource that wants something gone: its mode and suspension hold for that, too.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// Which.
    pub resource: ResourceId,
    /// Whether it had been as declared, so that what is there now came later: the host moved.
    pub settled: bool,
}

impl Finding {
    /// Whether all that would be done is to reload or restart what is older than its inputs.
    pub fn only_reacts(&self) -> bool {
        !self.actions.is_empty() && self.actions.iter().all(|action| action.step == Step::Reactions)
    }
}

/// One change, with its type erased.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// When.
    pub step: Step,
    /// What, in words.
    pub text: String,
    /// Whether something is taken away.
    pub removes: bool,
    /// Whether it brings about what was there in some form.
    pub brings: bool,
}

/// What came of one change.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Which resource.
    pub key: Key,
    /// How it went.
    pub result: OutcomeResult,
    /// What it settles, if it went well.
    pub settles: Vec<Reaction>,
}

/// A kind with its data.
pub struct Lane<K: Kind> {
    kind: K,
    desired: Arc<Desired>,
    prune: BTreeSet<Key>,
    observed: Observed<K::State>,
    differences: Vec<Difference<K::Change>>,
    /// Declared, and not remembered as converged under this spec.
    unsettled: BTreeMap<Key, Digest>,
    /// Undeclared things that were there when the declaration first wanted them gone: that they are in the way is its
    /// doing, and nobody's else.
    foretold: BTreeSet<Key>,
    /// Something was read that no pass acted upon.
    aside: bool,
}

impl<K: Kind + Part> Lane<K> {
    /// A lane with nothing desired yet.
    pub fn new(kind: K) -> Self {
        Lane {
            kind,
            desired: Arc::default(),
            prune: BTreeSet::new(),
            observed: Observed::default(),
            differences: Vec::new(),
            unsettled: BTreeMap::new(),
            foretold: BTreeSet::new(),
            aside: false,
        }
    }

    fn want<'a>(&'a self, only: Option<&'a BTreeSet<Key>>) -> Want<'a, K::Spec> {
        Want { specs: K::part(&self.desired), prune: &self.prune, only }
    }

    fn finding(&self, difference: &Difference<K::Change>, memory: &dyn Memory) -> Finding {
        let resource = ResourceId::new(K::NAME, difference.key.clone());
        let Difference { key, fields, changes, waiting, failing, owner } = difference;
        let own = K::part(&self.desired).get(key);
        let declared = own.or_else(|| K::part(&self.desired).get(owner.as_ref()?));
        let action = |change: &K::Change| Action {
            step: change.step(),
            text: change.to_string(),
            removes: change.removes(),
            brings: change.brings(),
        };
        Finding {
            remembered: memory.resource(&resource),
            resource,
            fields: fields.clone(),
            actions: changes.iter().map(action).collect(),
            waiting: waiting.clone(),
            failing: failing.clone(),
            declared: declared.map(|declared| declared.provenance.winner.clone()),
            spec: own.map(|declared| fingerprint::of(&declared.spec)),
            drift: declared.and_then(|declared| declared.drift),
            prune: own.is_some_and(|declared| declared.prune),
            absent: matches!(self.observed.readings.get(key), Some(Reading::Absent)),
            owner: owner.as_ref().map(|owner| Owner {
                resource: ResourceId::new(K::NAME, owner.clone()),
                settled: !self.foretold.contains(key),
            }),
        }
    }

    /// Remembers what was there before what wants it gone was first as declared, for as long as it is there.
    fn foretell(&mut self, only: Option<&BTreeSet<Key>>) {
        let unwanted = |difference: &&Difference<K::Change>| difference.owner.is_some();
        let there: BTreeSet<&Key> =
            self.differences.iter().filter(unwanted).map(|difference| &difference.key).collect();
        self.foretold.retain(|key| there.contains(key) || only.is_some_and(|only| !only.contains(key)));
        for Difference { key, owner, .. } in &self.differences {
            if owner.as_ref().is_some_and(|owner| self.unsettled.contains_key(owner)) {
                self.foretold.insert(key.clone());
            }
        }
    }

    fn was_read(&self, key: &Key) -> bool {
        !matches!(self.observed.readings.get(key), None | Some(Reading::Unknown(_)))
    }
}

impl<K: Kind + Part> Stage for Lane<K> {
    fn kind(&self) -> KindName {
        K::NAME
    }

    fn adopt(&mut self, desired: &Arc<Desired>, memory: &dyn Memory) -> Vec<Key> {
        self.desired = Arc::clone(desired);
        let specs = K::part(&self.desired);
        let known = memory.known(K::NAME).into_iter();
        let dropped = known.filter(|(key, _)| !specs.contains_key(key));
        let (prune, give_up): (Vec<_>, Vec<_>) = dropped.partition(|(_, known)| known.prune && known.brought);
        self.prune = prune.into_iter().map(|(key, _)| key).collect();
        let give_up: Vec<Key> = give_up.into_iter().map(|(key, _)| key).collect();
        self.foretold = give_up.iter().cloned().collect();
        let converged = |key: &Key| memory.resource(&ResourceId::new(K::NAME, key.clone())).converged;
        self.unsettled = specs
            .iter()
            .map(|(key, declared)| (key, fingerprint::of(&declared.spec)))
            .filter(|(key, digest)| converged(key) != Some(*digest))
            .map(|(key, digest)| (key.clone(), digest))
            .collect();
        self.rest();
        give_up
    }

    fn observe(&mut self, host: &Host, only: Option<&BTreeSet<Key>>) -> Result<(), String> {
        let want = Want { specs: K::part(&self.desired), prune: &self.prune, only };
        match self.kind.observe(host, &want) {
            Ok(observed) => {
                self.observed = observed;
                self.aside &= only.is_some();
                Ok(())
            }
            Err(error) => {
                self.observed = Observed::default();
                Err(error.message)
            }
        }
    }

    fn compare(
        &mut self,
        only: Option<&BTreeSet<Key>>,
        cx: &DiffCx<'_>,
        memory: &dyn Memory,
    ) -> Vec<Finding> {
        self.differences = self.kind.diff(&self.want(only), &self.observed, cx);
        self.foretell(only);
        self.differences.iter().map(|difference| self.finding(difference, memory)).collect()
    }

    fn apply(&mut self, step: Step, cx: &mut ApplyCx<'_>, go: &mut dyn FnMut(&Key) -> bool) -> Vec<Applied> {
        let specs = K::part(&self.desired);
        let mut batch = Vec::new();
        for difference in &self.differences {
            if !difference.changes.iter().any(|change| change.step() == step) || !go(&difference.key) {
                continue;
            }
            let of_step = difference.changes.iter().filter(|change| change.step() == step);
            batch.extend(of_step.map(|change| Planned {
                key: difference.key.clone(),
                spec: specs.get(&difference.key).cloned(),
                change: change.clone(),
            }));
        }
        if batch.is_empty() {
            return Vec::new();
        }
        let results = self.kind.apply(cx, &batch);
        debug_assert_eq!(results.len(), batch.len(), "{} owes one result a change", K::NAME);
        // A kind that answers too little has failed the rest, and says so.
        let missing =
            OutcomeResult::Failed { message: format!("{} gave no outcome for this change", K::NAME) };
        let results = results.into_iter().chain(std::iter::repeat(missing));
        batch
            .into_iter()
            .zip(results)
            .map(|(planned, result)| Applied {
                key: planned.key,
                result,
                settles: planned.change.settles().to_vec(),
            })
            .collect()
    }

    fn unknown(&self) -> Vec<(Key, String)> {
        let readings = self.observed.readings.iter();
        readings
            .filter_map(|(key, reading)| match reading {
                Reading::Unknown(why) => Some((key.clone(), why.clone())),
                Reading::Present(_) | Reading::Absent => None,
            })
            .collect()
    }

    fn settled(&mut self, only: Option<&BTreeSet<Key>>) -> Vec<(Key, Digest, bool)> {
        let specs = K::part(&self.desired);
        let in_scope = |key: &Key| only.is_none_or(|only| only.contains(key));
        let different: BTreeSet<&Key> = self.differences.iter().map(|difference| &difference.key).collect();
        let settled: Vec<_> = self
            .unsettled
            .iter()
            .filter(|(key, _)| in_scope(key) && self.was_read(key) && !different.contains(key))
            .map(|(key, digest)| {
                (key.clone(), *digest, specs.get(key).is_some_and(|declared| declared.prune))
            })
            .collect();
        for (key, ..) in &settled {
            self.unsettled.remove(key);
        }
        settled
    }

    fn pruned(&mut self, only: Option<&BTreeSet<Key>>) -> Vec<Key> {
        let in_scope = |key: &Key| only.is_none_or(|only| only.contains(key));
        let absent = |key: &Key| matches!(self.observed.readings.get(key), Some(Reading::Absent));
        let gone: Vec<Key> = self.prune.iter().filter(|key| in_scope(key) && absent(key)).cloned().collect();
        for key in &gone {
            self.prune.remove(key);
        }
        gone
    }

    fn validate(&self, desired: &Desired) -> Vec<Diagnostic> {
        K::validate(K::part(desired))
    }

    fn rehearse(&mut self, host: &Host, desired: &Desired) -> Vec<Diagnostic> {
        self.kind.rehearse(host, K::part(desired))
    }

    fn declared(&self) -> usize {
        K::part(&self.desired).len()
    }

    fn keys(&self) -> Vec<Key> {
        K::part(&self.desired).keys().cloned().collect()
    }

    fn watches(&self) -> Vec<Watch> {
        if K::part(&self.desired).is_empty() {
            return Vec::new();
        }
        K::watches(K::part(&self.desired))
    }

    fn inputs(&self) -> Vec<(ResourceId, Reaction, ResourceId)> {
        let of_one = |(key, declared): (&Key, &crate::kind::Declared<K::Spec>)| {
            let service = ResourceId::new(K::NAME, key.clone());
            K::inputs(&declared.spec)
                .into_iter()
                .map(move |(reaction, input)| (service.clone(), reaction, input))
        };
        K::part(&self.desired).iter().flat_map(of_one).collect()
    }

    fn notes(&self) -> &[String] {
        &self.observed.notes
    }

    fn fingerprint(&self) -> Vec<(Key, Digest)> {
        let readings = self.observed.readings.iter();
        readings
            .filter_map(|(key, reading)| match reading {
                Reading::Present(state) => Some((key.clone(), fingerprint::of(state))),
                Reading::Absent | Reading::Unknown(_) => None,
            })
            .collect()
    }

    fn declare(&self, key: &Key) -> Option<String> {
        match self.observed.readings.get(key)? {
            Reading::Present(state) => Some(K::declare(key, state)),
            Reading::Absent | Reading::Unknown(_) => None,
        }
    }

    fn is_read_at_once(&self) -> bool {
        K::READ_AT_ONCE
    }

    fn looked_aside(&mut self) {
        self.aside = true;
    }

    fn is_untouched(&self, host: &Host, key: Option<&Key>) -> bool {
        !self.aside && self.kind.is_untouched(host, key)
    }

    fn was_changed_by_others(&self, host: &Host, key: &Key) -> bool {
        self.kind.was_changed_by_others(host, key)
    }

    fn contents(&self) -> Vec<Digest> {
        let specs = K::part(&self.desired).values();
        specs.flat_map(|declared| K::contents(&declared.spec)).map(|content| content.digest).collect()
    }

    fn rest(&mut self) {
        self.observed = Observed::default();
        self.differences = Vec::new();
    }
}
