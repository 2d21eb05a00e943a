//! Names of managed things: `kind:key`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A class of resources. Closed on purpose: a `match` over it that forgets a kind does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// Rules of the agent's own nftables table.
    Firewall,
    /// Debian packages.
    Package,
    /// Files, directories and symbolic links.
    File,
    /// systemd units.
    Service,
}

impl KindName {
    /// Every kind, in the order in which a pass observes them.
    pub const ALL: [KindName; 4] = [KindName::Firewall, KindName::Package, KindName::File, KindName::Service];

    /// The prefix of this kind's resource ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            KindName::Firewall => "firewall",
            KindName::Package => "package",
            KindName::File => "file",
            KindName::Service => "service",
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KindName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        KindName::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no kind: use firewall, package, file or service"))
    }
}

/// What names a resource within its kind, such as `/etc/motd` or `nginx.service`. Cheap to clone: a host of
/// 10,000 files hands its keys from stage to stage without copying a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Arc::from(text))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Key(Arc::from(text))
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One managed thing, written `kind:key`: `file:/etc/motd`, `service:nginx.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// Its kind.
    pub kind: KindName,
    /// Its key within the kind.
    pub key: Key,
}

impl ResourceId {
    /// Joins a kind and a key.
    pub fn new(kind: KindName, key: impl Into<Key>) -> Self {
        ResourceId { kind, key: key.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.key)
    }
}

impl FromStr for ResourceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, key) = text.split_once(':').ok_or_else(|| {
            format!("`{text}` names no resource: write it as kind:key, such as file:/etc/motd")
        })?;
        if key.is_empty() {
            return Err(format!("`{text}` has no key after the colon"));
        }
        Ok(ResourceId::new(kind.parse()?, key))
    }
}

impl Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_id_reads_back_what_it_prints() {
        for text in ["file:/etc/a:b", "package:nginx", "firewall:input/ssh", "service:x@y.service"] {
            assert_eq!(text.parse::<ResourceId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_resource_id_without_kind_or_key_is_refused() {
        for text in ["", "file", "file:", "fiel:/etc/motd", "/etc/motd"] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
