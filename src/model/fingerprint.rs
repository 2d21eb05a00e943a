//! The canonical form of a value and its digest. `docs/fingerprint.md` is the specification.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::{Key, KindName};

/// The canonical form: JSON without white space, the keys of every object sorted by their bytes, numbers as
/// integers, nothing that is absent written. Two values are the same exactly if these bytes are.
pub fn canonical(value: &impl Serialize) -> Vec<u8> {
    // Through `serde_json::Value`, whose maps are sorted (its `preserve_order` feature is off). Our values are
    // plain data with text for keys: that they can be written as JSON is a property of the program, and a value
    // that could not must never pass for another one.
    #[allow(clippy::expect_used)]
    let value = serde_json::to_value(value).expect("a value of the model can be written as JSON");
    #[allow(clippy::expect_used)]
    serde_json::to_vec(&value).expect("JSON can be written to memory")
}

/// The SHA-256 of the canonical form.
pub fn of(value: &impl Serialize) -> Digest {
    Digest::of(&canonical(value))
}

/// Digests from the single resource up to the host: what `agentctl fingerprint` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    kinds: BTreeMap<KindName, BTreeMap<Key, Digest>>,
}

impl Fingerprint {
    /// Adds one resource's digest.
    pub fn insert(&mut self, kind: KindName, key: Key, digest: Digest) {
        self.kinds.entry(kind).or_default().insert(key, digest);
    }

    /// The resources of a kind, by key.
    pub fn resources(&self, kind: KindName) -> impl Iterator<Item = (&Key, &Digest)> {
        self.kinds.get(&kind).into_iter().flatten()
    }

    /// The digest of one kind: over its keys and their digests. A kind without resources has the digest of `{}`.
    pub fn kind(&self, kind: KindName) -> Digest {
        match self.kinds.get(&kind) {
            Some(resources) => of(resources),
            None => Digest::of(b"{}"),
        }
    }

    /// The root: over the digests of all kinds.
    pub fn root(&self) -> Digest {
        let kinds: BTreeMap<_, _> = KindName::ALL.into_iter().map(|kind| (kind, self.kind(kind))).collect();
        of(&kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_insertion_does_not_matter() {
        let mut a = Fingerprint::default();
        let mut b = Fingerprint::default();
        let one = Digest::of(b"1");
        let two = Digest::of(b"2");
        a.insert(KindName::File, "/a".into(), one);
        a.insert(KindName::File, "/b".into(), two);
        b.insert(KindName::File, "/b".into(), two);
        b.insert(KindName::File, "/a".into(), one);
        assert_eq!(a.root(), b.root());
        b.insert(KindName::File, "/b".into(), one);
        assert_ne!(a.root(), b.root());
    }

    /// The vectors of docs/fingerprint.md, computed there by other means.
    #[test]
    fn golden_vectors() {
        let hex = |digest: Digest| digest.to_string();
        let mut fingerprint = Fingerprint::default();
        let nothing = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert!(KindName::ALL.into_iter().all(|kind| hex(fingerprint.kind(kind)) == nothing));
        let root = "08119a91b116bd6c33b1484f0941e6a49b6040e1bd1477b1eb66206b7d7cf093";
        assert_eq!(hex(fingerprint.root()), root);

        let motd = of(&serde_json::json!({"owner": "root", "mode": "0644"}));
        assert_eq!(hex(motd), "fe3968d640d179d0cce98b957906a5c5421af95c3d0092f3fc69b8a518c3844b");
        fingerprint.insert(KindName::File, "/etc/motd".into(), motd);
        let files = "e0f7a54160ffa1ae2cf1c2281170c57b76d212e08b09ea4f874c9a3cbf9b0d2d";
        assert_eq!(hex(fingerprint.kind(KindName::File)), files);
        let root = "67647292975f3ae1d175a8f3c317fd481e0c1e5a0de46ad23406435a8927b230";
        assert_eq!(hex(fingerprint.root()), root);
    }

    #[test]
    fn canonical_form_sorts_keys_and_wastes_no_bytes() {
        let value = serde_json::json!({"b": 1, "a": [true, null, "x\n"]});
        assert_eq!(canonical(&value), br#"{"a":[true,null,"x\n"],"b":1}"#);
    }
}
