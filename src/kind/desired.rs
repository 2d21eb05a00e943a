//! The desired state: all specs of one revision, compiled for one host. Plain data: it crosses from the
//! unprivileged compiler to the root agent, and lies on disk as the last applied state.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Specs, file, firewall, package, service};
use crate::model::fingerprint::{self, Fingerprint};
use crate::model::{DriftMode, Key, KindName, Place, ResourceId, Revision};

/// What one host should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The commit it was compiled from; none for a plain directory.
    pub revision: Option<Revision>,
    /// The host it was compiled for.
    pub host: String,
    /// The host file that matched.
    pub host_file: Option<Place>,
    /// Its roles, in order.
    pub roles: Vec<String>,
    /// What holds for the host as a whole.
    pub policy: Policy,
    /// Firewall resources.
    #[serde(deserialize_with = "packed")]
    pub firewall: Specs<firewall::Spec>,
    /// Package resources.
    #[serde(deserialize_with = "packed")]
    pub package: Specs<package::Spec>,
    /// File resources.
    #[serde(deserialize_with = "packed")]
    pub file: Specs<file::Spec>,
    /// Service resources.
    #[serde(deserialize_with = "packed")]
    pub service: Specs<service::Spec>,
}

/// What the declaration says of the host as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What is done about drift, unless a resource says otherwise.
    pub drift: DriftMode,
    /// How many removals in one pass are made without asking.
    pub removal_limit: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { drift: DriftMode::Enabled, removal_limit: 10 }
    }
}

/// Where a kind finds its specs in a desired state.
pub trait Part: super::Kind {
    /// The kind's specs.
    fn part(desired: &Desired) -> &Specs<Self::Spec>;
}

impl Desired {
    /// How many resources are declared.
    pub fn len(&self) -> usize {
        self.firewall.len() + self.package.len() + self.file.len() + self.service.len()
    }

    /// The keys that are declared of a kind.
    pub fn keys(&self, kind: KindName) -> Box<dyn Iterator<Item = &Key> + '_> {
        match kind {
            KindName::Firewall => Box::new(self.firewall.keys()),
            KindName::Package => Box::new(self.package.keys()),
            KindName::File => Box::new(self.file.keys()),
            KindName::Service => Box::new(self.service.keys()),
        }
    }

    /// Whether a resource is declared.
    pub fn declares(&self, id: &ResourceId) -> bool {
        match id.kind {
            KindName::Firewall => self.firewall.contains_key(&id.key),
            KindName::Package => self.package.contains_key(&id.key),
            KindName::File => self.file.contains_key(&id.key),
            KindName::Service => self.service.contains_key(&id.key),
        }
    }

    /// Whether nothing is declared: never a wish to remove everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The declared fingerprint: over the specs alone, so that two hosts of one declaration and equal facts
    /// share it wherever the lines were written.
    pub fn fingerprint(&self) -> Fingerprint {
        fn add<S: Serialize>(into: &mut Fingerprint, kind: KindName, specs: &Specs<S>) {
            for (key, declared) in specs {
                into.insert(kind, Key::clone(key), fingerprint::of(&declared.spec));
            }
        }
        let mut into = Fingerprint::default();
        add(&mut into, KindName::Firewall, &self.firewall);
        add(&mut into, KindName::Package, &self.package);
        add(&mut into, KindName::File, &self.file);
        add(&mut into, KindName::Service, &self.service);
        into
    }
}

/// Read one by one in their order, the nodes of a map stay half empty; made anew from all at once they are full.
fn packed<'de, D, S>(deserializer: D) -> Result<Specs<S>, D::Error>
where
    D: Deserializer<'de>,
    S: Deserialize<'de>,
{
    Ok(Specs::deserialize(deserializer)?.into_iter().collect())
}
