//! Where a declared path really leads, and whether anything may be changed there.
//!
//! What is declared is judged by its text first: by `path`, and by the local settings' `protect` when a revision is
//! taken. But a link of root's on the way, laid by a person or by an earlier revision, leads elsewhere. So a path is
//! judged once more by where it leads: before a revision is put in force, before anything is planned, and before it is
//! changed, for a link may have been laid in between. What the agent once brought and is to take away again is judged
//! like this, too: it may have been protected since.

use std::path::{Path, PathBuf};

use super::path::{folly, real};
use super::spec::Spec;
use crate::host::files::{Folder, Root};
use crate::model::Key;

/// Whether a file resource changes a protected path, by whichever of Debian's names: it is that path or below it, or
/// it leaves nothing of a folder that the path is in.
pub(crate) fn touches(protected: &Path, path: &str, spec: &Spec) -> bool {
    let protected = protected.to_string_lossy();
    let (protected, path) = (real(&protected), real(path));
    let (protected, path) = (Path::new(protected.as_ref()), Path::new(path.as_ref()));
    let clears = match spec {
        Spec::Directory { exclusive, .. } => *exclusive,
        Spec::File { .. } | Spec::Link { .. } | Spec::Absent => true,
    };
    path.starts_with(protected) || (clears && protected.starts_with(path))
}

/// Why what is declared there may not be changed, if a link on the way leads to where it may not.
pub(super) fn declared(root: &Root, key: &Key, spec: &Spec) -> Option<String> {
    let path = Path::new(key.as_str());
    let (folder, rest) = nearest(root, path)?;
    behind_links(root, &folder, &rest, key, spec)
}

/// The same of a path whose folder was found already.
pub(super) fn in_folder(root: &Root, folder: &Folder, key: &Key, spec: &Spec) -> Option<String> {
    let name = Path::new(key.as_str()).file_name()?;
    behind_links(root, folder, Path::new(name), key, spec)
}

/// Why what the agent brought may not be taken away.
pub(super) fn brought(root: &Root, key: &Key) -> Option<String> {
    match protects(root, key.as_str(), &Spec::Absent) {
        Some(protected) => Some(format!("{key} is not taken away: {}", by_settings(&protected))),
        None => declared(root, key, &Spec::Absent),
    }
}

/// The nearest folder on the way that is there, and what is left of the path from there on.
fn nearest(root: &Root, path: &Path) -> Option<(Folder, PathBuf)> {
    path.ancestors().skip(1).find_map(|above| {
        // What can't be resolved can't be changed either; whoever tries says so.
        let folder = root.folder(above).ok()??;
        Some((folder, path.strip_prefix(above).ok()?.to_owned()))
    })
}

fn behind_links(root: &Root, folder: &Folder, rest: &Path, key: &Key, spec: &Spec) -> Option<String> {
    let leads = folder.led_to()?.join(rest);
    let leads = leads.to_string_lossy();
    let why = match protects(root, &leads, spec) {
        Some(protected) => by_settings(&protected),
        None => folly(&leads, spec).err()?.message,
    };
    Some(format!("{key} is left alone: a link on the way leads to {leads}, and {why}"))
}

fn protects(root: &Root, path: &str, spec: &Spec) -> Option<PathBuf> {
    root.protected().into_iter().find(|protected| touches(protected, path, spec))
}

fn by_settings(protected: &Path) -> String {
    format!("{} is protected on this host by `protect` of its own settings", protected.display())
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Mode, Ownership};
    use super::*;

    fn file() -> Spec {
        let ownership =
            Ownership { owner: "root".into(), group: "root".into(), mode: Mode::from_bits(0o644) };
        Spec::File { content: Some(crate::model::Content::of(b"x")), ownership, check: Vec::new() }
    }

    /// A host with folders and links, and `/etc/ssh` protected.
    fn host() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let ours = crate::host::files::Attributes::root(0o755);
        for path in ["etc/ssh", "etc/agentd", "srv/app"] {
            root.create_dirs(path, ours).unwrap();
        }
        for (link, target) in
            [("srv/ssh", "/etc/ssh"), ("srv/all", "../etc"), ("srv/set", "/etc/agentd"), ("srv/more", "app")]
        {
            root.symlink(link, target, 0, 0).unwrap();
        }
        root.protect(vec!["/etc/ssh".into()]);
        (folder, root)
    }

    #[test]
    fn a_path_is_judged_by_where_links_lead() {
        let (_folder, root) = host();
        for (path, protected) in [
            ("/srv/ssh/sshd_config", "/etc/ssh/sshd_config"),
            ("/srv/ssh/sshd_config.d/x.conf", "/etc/ssh/sshd_config.d/x.conf"),
            ("/srv/all/ssh/sshd_config", "/etc/ssh/sshd_config"),
            ("/srv/all/ssh", "/etc/ssh"),
            ("/srv/set/agent.toml.d/x.toml", "/etc/agentd/agent.toml.d/x.toml"),
            ("/srv/all/passwd", "/etc/passwd"),
        ] {
            let why = declared(&root, &Key::from(path), &file()).unwrap();
            assert!(why.contains(protected) && why.starts_with(path), "{why}");
        }
        for path in ["/srv/more/x", "/srv/all/motd", "/srv/app/x", "/srv/ssh", "/nowhere/at/all", "/x"] {
            assert_eq!(declared(&root, &Key::from(path), &file()), None, "{path}");
        }
    }

    #[test]
    fn what_was_brought_is_judged_by_its_own_name_too() {
        let (_folder, root) = host();
        for path in ["/etc/ssh/sshd_config", "/etc/ssh", "/srv/ssh/x", "/etc"] {
            assert!(brought(&root, &Key::from(path)).is_some(), "{path}");
        }
        for path in ["/etc/motd", "/srv/ssh", "/srv/app"] {
            assert_eq!(brought(&root, &Key::from(path)), None, "{path}");
        }
    }
}
