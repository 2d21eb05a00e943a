//! What a pass looks at.

use std::collections::{BTreeMap, BTreeSet};

use crate::kind::LookAt;
use crate::model::{Key, KindName, ResourceId};

/// What a pass looks at: everything, or what a watch pointed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is declared.
    Full,
    /// Only this.
    Some(BTreeMap<KindName, KindScope>),
}

/// What a pass looks at within one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindScope {
    /// All of the kind.
    All,
    /// These resources.
    Keys(BTreeSet<Key>),
}

impl Scope {
    /// A scope that looks at nothing yet.
    pub fn nothing() -> Self {
        Scope::Some(BTreeMap::new())
    }

    /// Exactly these resources.
    pub fn of(resources: impl IntoIterator<Item = ResourceId>) -> Self {
        let mut scope = Scope::nothing();
        resources.into_iter().for_each(|resource| scope.add(&LookAt::Resource(resource)));
        scope
    }

    /// Widens it.
    pub fn add(&mut self, look_at: &LookAt) {
        let Scope::Some(kinds) = self else { return };
        match look_at {
            LookAt::Kind(kind) => {
                kinds.insert(*kind, KindScope::All);
            }
            LookAt::Resource(id) => {
                let entry = kinds.entry(id.kind).or_insert_with(|| KindScope::Keys(BTreeSet::new()));
                if let KindScope::Keys(keys) = entry {
                    keys.insert(id.key.clone());
                }
            }
        }
    }

    /// The union of both.
    pub fn merge(&mut self, other: Scope) {
        match other {
            Scope::Full => *self = Scope::Full,
            Scope::Some(kinds) => {
                for (kind, scope) in kinds {
                    match scope {
                        KindScope::All => self.add(&LookAt::Kind(kind)),
                        KindScope::Keys(keys) => keys
                            .into_iter()
                            .for_each(|key| self.add(&LookAt::Resource(ResourceId::new(kind, key)))),
                    }
                }
            }
        }
    }

    /// What it says of one kind; none if it does not look at it.
    pub fn of_kind(&self, kind: KindName) -> Option<Option<&BTreeSet<Key>>> {
        match self {
            Scope::Full => Some(None),
            Scope::Some(kinds) => kinds.get(&kind).map(|scope| match scope {
                KindScope::All => None,
                KindScope::Keys(keys) => Some(keys),
            }),
        }
    }

    /// Whether it looks at a resource.
    pub fn contains(&self, id: &ResourceId) -> bool {
        self.of_kind(id.kind).is_some_and(|keys| keys.is_none_or(|keys| keys.contains(&id.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_kind_swallows_its_resources_and_full_swallows_all() {
        let motd: ResourceId = "file:/etc/motd".parse().unwrap();
        let mut scope = Scope::of([motd.clone()]);
        assert!(scope.contains(&motd) && !scope.contains(&"file:/etc/issue".parse().unwrap()));
        scope.add(&LookAt::Kind(KindName::File));
        scope.add(&LookAt::Resource(motd.clone()));
        assert_eq!(scope.of_kind(KindName::File), Some(None));
        assert_eq!(scope.of_kind(KindName::Package), None);
        scope.merge(Scope::Full);
        assert!(scope.contains(&"package:nginx".parse().unwrap()));
    }
}
