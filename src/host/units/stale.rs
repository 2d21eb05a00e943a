//! Whether systemd should read a unit's files again. Its own word (`NeedDaemonReload`) compares the files it has read
//! with their timestamps, and misses what was not there at its last reload: a first drop-in in a new folder, a file in
//! /etc that takes the place of the one in /usr. So what it would read now is compared with what it has read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::Identity;
use super::name::UnitName;

/// Where people and packages put unit files and drop-ins, the first taking precedence (`systemd.unit(5)`).
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "lib/systemd/system",
    "usr/lib/systemd/system",
];

/// What is generated into this folder gives way to any file of [`FOLDERS`].
const LAST_RESORT: &str = "/run/systemd/generator.late/";

/// The files systemd has read for a unit, by their absolute paths on the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    /// The unit file; empty if there is none.
    pub(super) fragment: String,
    /// What it was generated from; empty if it was not.
    pub(super) source: String,
    /// Its drop-ins.
    pub(super) drop_ins: Vec<String>,
}

impl Loaded {
    /// Every file.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let main = [self.fragment.as_str(), self.source.as_str()];
        main.into_iter().filter(|path| !path.is_empty()).chain(self.drop_ins.iter().map(String::as_str))
    }
}

/// Whether systemd would read other files now than it has read.
pub(super) fn is_stale(root: &Path, unit: &UnitName, loaded: &Loaded) -> bool {
    has_other_fragment(root, unit, &loaded.fragment) || has_other_drop_ins(root, unit, loaded)
}

fn has_other_fragment(root: &Path, unit: &UnitName, loaded: &str) -> bool {
    if !is_ours(loaded) && !loaded.starts_with(LAST_RESORT) {
        return false;
    }
    let first = |name: &str| {
        let paths = FOLDERS.iter().map(|folder| root.join(folder).join(name));
        paths.map(|path| Identity::of(&path)).find(|identity| identity.exists())
    };
    let found = first(unit.as_str()).or_else(|| template(unit).and_then(|(template, _)| first(&template)));
    found.is_some_and(|found| !found.is_same_file(identity_of(root, loaded)))
}

fn has_other_drop_ins(root: &Path, unit: &UnitName, loaded: &Loaded) -> bool {
    let read: BTreeMap<&str, &str> =
        loaded.drop_ins.iter().filter_map(|path| Some((path.rsplit('/').next()?, path.as_str()))).collect();
    let mut winners: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in drop_in_folders(unit) {
        for (name, path) in drop_ins_of(&root.join(folder)) {
            winners.entry(name).or_insert(path);
        }
    }
    let nothing = Identity::of(&root.join("dev/null"));
    winners.iter().any(|(name, path)| match read.get(name.as_str()) {
        Some(read) => is_ours(read) && !Identity::of(path).is_same_file(identity_of(root, read)),
        // A drop-in that is masked may count as read or not: either way it says nothing.
        None => !Identity::of(path).is_same_file(nothing),
    })
}

fn identity_of(root: &Path, path: &str) -> Identity {
    Identity::of(&root.join(path.trim_start_matches('/')))
}

fn is_ours(path: &str) -> bool {
    FOLDERS.iter().any(|folder| {
        path.trim_start_matches('/').strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The folders of a unit's drop-ins, the first taking precedence: for each place its own, those of its prefixes and of
/// its template; after all of these, those of its type.
fn drop_in_folders(unit: &UnitName) -> Vec<String> {
    let name = unit.as_str();
    let suffix = name.rsplit_once('.').map_or("service", |(_, suffix)| suffix);
    let mut names = with_prefixes(name, suffix);
    if let Some((template, _)) = template(unit) {
        names.extend(with_prefixes(&template, suffix));
    }
    let own = FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| format!("{folder}/{name}.d")));
    let of_type = FOLDERS.iter().map(|folder| format!("{folder}/{suffix}.d"));
    own.chain(of_type).collect()
}

/// `a-b.service` shares the drop-ins of `a-.service`.
fn with_prefixes(name: &str, suffix: &str) -> Vec<String> {
    let stem = name.strip_suffix(suffix).unwrap_or(name).trim_end_matches('.');
    let stem = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    let dashes = stem.match_indices('-').map(|(at, _)| format!("{}.{suffix}", &stem[..=at]));
    let mut names = vec![name.to_owned()];
    names.extend(dashes.collect::<Vec<_>>().into_iter().rev());
    names
}

/// `x@y.service` is an instance of `x@.service`: the template's name and the instance's.
fn template(unit: &UnitName) -> Option<(String, &str)> {
    let (prefix, rest) = unit.as_str().split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    Some((format!("{prefix}@.{suffix}"), instance))
}

fn drop_ins_of(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        (name.ends_with(".conf") && !name.starts_with('.')).then(|| (name, entry.path()))
    });
    named.collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // real folders are changed as people change them
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folders_of_drop_ins_are_those_of_the_manual() {
        let folders = drop_in_folders(&"a-b@x.timer".parse().unwrap());
        let names: Vec<&str> =
            folders.iter().filter_map(|folder| folder.strip_prefix("etc/systemd/system/")).collect();
        assert_eq!(names, ["a-b@x.timer.d", "a-.timer.d", "a-b@.timer.d", "a-.timer.d", "timer.d"]);
    }

    /// A host where `web.service` with one drop-in was read from /usr.
    struct Ground(tempfile::TempDir, Loaded);

    impl Ground {
        fn new() -> Self {
            let ground = Ground(
                tempfile::tempdir().unwrap(),
                Loaded {
                    fragment: "/usr/lib/systemd/system/web.service".into(),
                    source: String::new(),
                    drop_ins: vec!["/usr/lib/systemd/system/web.service.d/a.conf".into()],
                },
            );
            ground.lay("usr/lib/systemd/system/web.service");
            ground.lay("usr/lib/systemd/system/web.service.d/a.conf");
            ground.lay("dev/null");
            assert!(!ground.is_stale());
            ground
        }

        fn path(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn lay(&self, path: &str) {
            fs::write(self.path(path), path).unwrap();
        }

        fn is_stale(&self) -> bool {
            is_stale(self.0.path(), &"web.service".parse().unwrap(), &self.1)
        }
    }

    #[test]
    fn what_takes_precedence_over_what_was_read_makes_a_unit_stale() {
        let files = [
            "etc/systemd/system/web.service",
            "run/systemd/system/web.service",
            "etc/systemd/system/web.service.d/new.conf",
            "etc/systemd/system/web.service.d/a.conf",
            "run/systemd/system/service.d/all.conf",
            "usr/lib/systemd/system/web.service.d/b.conf",
        ];
        for file in files {
            let ground = Ground::new();
            ground.lay(file);
            assert!(ground.is_stale(), "{file}");
        }
        let masked = Ground::new();
        symlink(masked.path("dev/null"), masked.path("etc/systemd/system/web.service.d/a.conf")).unwrap();
        assert!(masked.is_stale(), "a drop-in that was read is masked now");
    }

    #[test]
    fn what_systemd_would_not_read_makes_no_unit_stale() {
        let files = [
            "usr/lib/systemd/system/service.d/a.conf",
            "etc/systemd/system/web.service.d/readme.txt",
            "etc/systemd/system/web.service.d/.hidden.conf",
            "etc/systemd/system/other.service.d/x.conf",
            "etc/systemd/system/web.socket",
        ];
        for file in files {
            let ground = Ground::new();
            ground.lay(file);
            assert!(!ground.is_stale(), "{file}");
        }
        let masked = Ground::new();
        symlink(masked.path("dev/null"), masked.path("etc/systemd/system/web.service.d/b.conf")).unwrap();
        assert!(!masked.is_stale(), "nothing is masked that was never there");
        let mut generated = Ground::new();
        generated.1.fragment = "/run/systemd/generator/web.service".into();
        assert!(!generated.is_stale());
        generated.1.fragment = "/run/systemd/generator.late/web.service".into();
        assert!(generated.is_stale(), "what a package brings takes the place of an init script");
    }
}
