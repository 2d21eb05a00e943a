//! What the local settings hold every revision to: no commit can loosen it.

use std::path::PathBuf;

use crate::kind::Desired;
use crate::kind::file::{Spec, touches};
use crate::model::{Diagnostic, Key};
use crate::record::Retention;

/// The bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How many removals one pass makes without asking; the declaration's own limit holds too.
    pub removal_limit: u32,
    /// Paths that no declaration may touch, nor anything below them.
    pub protect: Vec<PathBuf>,
    /// How much history is kept.
    pub history: Retention,
}

impl Bounds {
    /// What a revision declares beyond the bounds: each refuses it as a whole.
    pub fn faults(&self, desired: &Desired) -> Vec<Diagnostic> {
        let touches =
            |(key, spec): &(&Key, &Spec)| self.protect.iter().find(|path| touches(path, key.as_str(), spec));
        desired
            .file
            .iter()
            .filter_map(|(key, declared)| {
                let path = touches(&(key, &declared.spec))?;
                let message = format!("{key} is protected on this host by `protect` of its own settings");
                let hint = format!("leave {} out of what is declared for this host", path.display());
                Some(Diagnostic::error("protected", &declared.provenance.winner, message).hint(hint))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Declared;
    use crate::model::{Place, Provenance};

    fn directory(exclusive: bool) -> Spec {
        serde_json::from_value(serde_json::json!({
            "ensure": "directory", "exclusive": exclusive, "owner": "root", "group": "root", "mode": "0755",
        }))
        .unwrap()
    }

    fn faults(key: &str, spec: Spec) -> usize {
        let bounds =
            Bounds { protect: vec!["/etc/ssh".into(), "/usr/bin/agent-helper".into()], ..Bounds::default() };
        let provenance = Provenance { winner: Place::file("roles/a.toml"), below: Vec::new() };
        let declared = Declared { spec, provenance, drift: None, prune: false };
        let mut desired = Desired::default();
        desired.file.insert(key.into(), declared);
        bounds.faults(&desired).len()
    }

    #[test]
    fn what_is_protected_can_neither_be_declared_nor_cleared_away() {
        for (key, spec, refused) in [
            ("/etc/ssh", directory(false), 1),
            ("/etc/ssh/sshd_config", Spec::Absent, 1),
            ("/etc/ssh/sshd_config.d", directory(false), 1),
            ("/etc", directory(true), 1),
            ("/etc", Spec::Absent, 1),
            ("/etc", directory(false), 0),
            ("/etc/sshd", directory(true), 0),
            ("/etc/motd", Spec::Absent, 0),
            ("/etc", Spec::Link { target: "/srv/etc".to_owned() }, 1),
            ("/bin/agent-helper", Spec::Absent, 1),
        ] {
            assert_eq!(faults(key, spec.clone()), refused, "{key} {spec:?}");
        }
    }
}
