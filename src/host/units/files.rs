//! Proof that the unit files are still as they were when systemd was last asked about them.
//!
//! Asking for the state of one unit file costs milliseconds, and systemd does not signal what people do with an
//! editor or `ln -s`. The identities (device, inode, size, times) of the folders and files that decide are read
//! instead, in microseconds: while they are the same, the last answer holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::name::UnitName;

/// Where unit files, their drop-ins and their links are looked for (`systemd.unit(5)`). Folders of transient units
/// and of `set-property` are left out: what is in them takes effect without a reload, and every login moves them.
const FOLDERS: [&str; 8] = [
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator.early",
    "run/systemd/generator",
    "run/systemd/generator.late",
    "usr/local/lib/systemd/system",
    "lib/systemd/system",
    "usr/lib/systemd/system",
];

/// Timestamps move in ticks of the kernel's clock: what changed this shortly before we looked may change again
/// without a new timestamp.
const FRESH: Duration = Duration::from_millis(50);

/// What tells one version of a file or folder from another; none if it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(Option<Inode>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: (u32, u32),
    inode: u64,
    size: u64,
    modified: Duration,
    changed: Duration,
}

/// What systemd said of one unit's files, and the proof that it still holds.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The unit file state; empty if there is no file.
    pub(super) state: String,
    files: Vec<(PathBuf, Identity)>,
}

/// The memory.
#[derive(Default)]
pub(super) struct Files {
    root: PathBuf,
    folders: Vec<Folder>,
    known: HashMap<UnitName, Known>,
}

#[derive(PartialEq, Eq)]
struct Folder {
    path: PathBuf,
    identity: Identity,
    below: Vec<(PathBuf, Identity)>,
}

impl Files {
    /// Nothing known of the host whose tree is at `root`.
    pub(super) fn below(root: &Path) -> Self {
        Files { root: root.to_owned(), ..Files::default() }
    }

    /// Looks at the folders; if one of them moved, everything is forgotten. `now` is wall-clock time since 1970,
    /// the clock of the timestamps.
    pub(super) fn look(&mut self, now: Duration) {
        let folders: Vec<Folder> = FOLDERS.iter().map(|folder| self.folder(folder)).collect();
        let fresh = folders.iter().any(|folder| {
            folder.identity.is_fresh(now) || folder.below.iter().any(|(_, identity)| identity.is_fresh(now))
        });
        if fresh || folders != self.folders {
            self.known.clear();
        }
        // What is too fresh to be trusted is no proof next time.
        self.folders = if fresh { Vec::new() } else { folders };
    }

    /// What is known of a unit, if it still holds.
    pub(super) fn known(&self, unit: &UnitName) -> Option<&Known> {
        let known = self.known.get(unit)?;
        known.files.iter().all(|(path, identity)| Identity::of(path) == *identity).then_some(known)
    }

    /// Remembers what systemd said of a unit whose files are these (absolute, as on the host). Call it with the
    /// identities read before systemd was asked.
    pub(super) fn remember(
        &mut self,
        unit: &UnitName,
        state: &str,
        files: Vec<(PathBuf, Identity)>,
        now: Duration,
    ) {
        if files.iter().any(|(_, identity)| identity.is_fresh(now)) {
            self.known.remove(unit);
        } else {
            self.known.insert(unit.clone(), Known { state: state.to_owned(), files });
        }
    }

    /// The tree of the host.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The identity of a file of the host by its absolute path there.
    pub(super) fn identify(&self, path: &str) -> (PathBuf, Identity) {
        identified(self.root.join(path.trim_start_matches('/')))
    }

    /// A folder, with those of its subfolders that hold links and drop-ins. They are listed only when the folder
    /// moved: a subfolder that comes or goes moves it.
    fn folder(&self, folder: &str) -> Folder {
        let path = self.root.join(folder);
        let identity = Identity::of(&path);
        let before = self.folders.iter().find(|known| known.path == path && known.identity == identity);
        let below: Vec<PathBuf> = match before {
            Some(known) => known.below.iter().map(|(path, _)| path.clone()).collect(),
            None => subfolders(&path),
        };
        Folder { path, identity, below: below.into_iter().map(identified).collect() }
    }
}

impl Identity {
    /// Whether both are the same file, in whichever version.
    pub(super) fn is_same_file(self, other: Identity) -> bool {
        match (self.0, other.0) {
            (Some(one), Some(other)) => (one.device, one.inode) == (other.device, other.inode),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether there is a file.
    pub(super) const fn exists(self) -> bool {
        self.0.is_some()
    }

    /// Of the file at `path`, links followed: a mask is a link to /dev/null, whose own inode is in a watched folder.
    pub(super) fn of(path: &Path) -> Self {
        let wanted = StatxFlags::INO | StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME;
        let Ok(stat) = rustix::fs::statx(CWD, path, AtFlags::empty(), wanted) else {
            return Identity(None);
        };
        let time = |time: rustix::fs::StatxTimestamp| {
            Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec)
        };
        Identity(Some(Inode {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            modified: time(stat.stx_mtime),
            changed: time(stat.stx_ctime),
        }))
    }

    /// Whether it changed so close to `now` that a further change might not show. Told by the time of change, which
    /// nobody can set; a clock that was set back makes it neither fresh for ever nor hide anything.
    fn is_fresh(&self, now: Duration) -> bool {
        self.0.is_some_and(|inode| inode.changed.abs_diff(now) < FRESH)
    }
}

fn identified(path: PathBuf) -> (PathBuf, Identity) {
    let identity = Identity::of(&path);
    (path, identity)
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    const SUFFIXES: [&str; 4] = [".wants", ".requires", ".upholds", ".d"];
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_str().is_some_and(|path| SUFFIXES.iter().any(|suffix| path.ends_with(suffix))))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock a minute after everything on the disk, so that nothing is too fresh to be trusted.
    fn later() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Duration::from_secs(time.tv_sec.unsigned_abs() + 60)
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a real folder is changed as people change it
    fn what_was_known_is_forgotten_when_a_file_or_folder_that_decides_moves() {
        use std::fs;
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/systemd/system");
        fs::create_dir_all(etc.join("multi-user.target.wants")).unwrap();
        fs::write(etc.join("a.service"), "1").unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let mut files = Files::below(root.path());
        let remember = |files: &mut Files| {
            files.look(later());
            let identities = vec![files.identify("/etc/systemd/system/a.service")];
            files.remember(&unit, "enabled", identities, later());
            files.look(later());
            assert_eq!(files.known(&unit).map(|known| known.state.as_str()), Some("enabled"));
        };
        let deeds: [&dyn Fn(); 6] = [
            &|| fs::write(etc.join("a.service"), "22").unwrap(),
            &|| {
                std::os::unix::fs::symlink("../a.service", etc.join("multi-user.target.wants/a.service"))
                    .unwrap()
            },
            &|| fs::create_dir(etc.join("a.service.d")).unwrap(),
            &|| fs::write(etc.join("a.service.d/x.conf"), "").unwrap(),
            &|| fs::create_dir_all(root.path().join("usr/lib/systemd/system")).unwrap(),
            &|| fs::remove_file(etc.join("a.service")).unwrap(),
        ];
        for (number, deed) in deeds.into_iter().enumerate() {
            remember(&mut files);
            deed();
            files.look(later());
            assert!(files.known(&unit).is_none(), "deed {number} went unnoticed");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a real folder is changed as people change it
    fn what_changed_a_moment_ago_is_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/systemd/system");
        std::fs::create_dir_all(&etc).unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let mut files = Files::below(root.path());
        let changed = Identity::of(&etc).0.unwrap().changed;
        for now in [changed, changed + Duration::from_millis(10)] {
            files.look(now);
            files.remember(&unit, "", Vec::new(), now);
            files.look(now);
            assert!(files.known(&unit).is_none());
        }
    }
}
