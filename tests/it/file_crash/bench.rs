//! One case of a change, tried on a host of its own, and what has to be true of it after a fault.

use std::path::Path;
use std::process::{Command, Output};

use agentd::kind::file::Spec;
use agentd::model::{Content, OutcomeResult};
use tempfile::TempDir;

use super::disk::Disk;
use crate::file::Scene;

const OLD: &str = "old\n";
const NEW: &str = "new\n";

/// What is done to `/etc/conf`.
#[derive(Clone, Copy, PartialEq)]
pub enum Case {
    Replace,
    Create,
    Remove,
    ReplaceDirectory,
    CheckPasses,
    CheckFails,
    Batch,
}

/// How many files a batch writes.
const BATCH: usize = 9;

impl Case {
    pub const ALL: [(&str, Case); 7] = [
        ("replace", Case::Replace),
        ("create", Case::Create),
        ("remove", Case::Remove),
        ("replace-directory", Case::ReplaceDirectory),
        ("check-passes", Case::CheckPasses),
        ("check-fails", Case::CheckFails),
        ("batch", Case::Batch),
    ];

    pub fn word(self) -> &'static str {
        Case::ALL.iter().find(|(_, case)| *case == self).unwrap().0
    }

    pub fn paths(self) -> Vec<String> {
        match self {
            Case::Batch => (0..BATCH).map(|number| format!("/etc/conf{number}")).collect(),
            _ => vec!["/etc/conf".to_owned()],
        }
    }

    /// The host before.
    fn prepare(self, host: &Path) {
        if self == Case::Create {
            return;
        }
        std::fs::create_dir(host.join("etc")).unwrap();
        for path in self.paths() {
            let path = host.join(path.trim_start_matches('/'));
            if self == Case::ReplaceDirectory {
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("inside"), OLD).unwrap();
            } else {
                std::fs::write(path, OLD).unwrap();
            }
        }
    }

    pub fn declare(self, scene: &mut Scene) {
        let conf = scene.path("/etc/conf").to_str().unwrap().to_owned();
        match self {
            Case::Remove => scene.declare("/etc/conf", Spec::Absent),
            Case::CheckPasses => scene.checked("/etc/conf", NEW, &["/bin/grep", "-q", "new", &conf]),
            Case::CheckFails => scene.checked("/etc/conf", NEW, &["/bin/grep", "-q", "other", &conf]),
            Case::Replace | Case::Create | Case::ReplaceDirectory | Case::Batch => {
                for path in self.paths() {
                    scene.file(&path, NEW);
                }
            }
        }
    }
}

/// What one path holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Live {
    Old,
    New,
    Nothing,
}

pub struct Bench {
    host: TempDir,
    pub store: TempDir,
    case: Case,
    // Last, so that it is unmounted when the folders on it are gone.
    pub disk: Option<Disk>,
}

impl Bench {
    pub fn new(case: Case, store: &str) -> Self {
        let host = tempfile::tempdir_in("/tmp").unwrap();
        case.prepare(host.path());
        Bench { host, store: tempfile::tempdir_in(store).unwrap(), case, disk: None }
    }

    /// Host and store on one disk.
    pub fn on_disk(case: Case) -> Self {
        let disk = Disk::new();
        let host = tempfile::tempdir_in(disk.top()).unwrap();
        case.prepare(host.path());
        let store = tempfile::tempdir_in(disk.top()).unwrap();
        rustix::fs::sync();
        Bench { host, store, case, disk: Some(disk) }
    }

    /// Runs the case in a child process under `strace` with these options.
    pub fn child(&self, options: &[&str]) -> Output {
        self.child_of(super::CHILD, options, &[])
    }

    /// The same by another test of this program, with more in its environment.
    pub fn child_of(&self, test: &str, options: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new("/usr/bin/strace")
            .args(["-f", "-qq", "-y"])
            .args(options)
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--test-threads=1"])
            .envs(environment.iter().copied())
            .env("AGENTD_TEST_CASE", self.case.word())
            .env("AGENTD_TEST_HOST", self.host.path())
            .env("AGENTD_TEST_STORE", self.store.path())
            .output()
            .expect("strace must be installed")
    }

    pub fn live(&self, path: &str) -> Live {
        let path = self.host.path().join(path.trim_start_matches('/'));
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Live::Nothing,
            Err(error) => panic!("{error}"),
            Ok(meta) if meta.is_dir() => {
                assert_eq!(
                    std::fs::read_to_string(path.join("inside")).unwrap(),
                    OLD,
                    "a folder lost its content"
                );
                Live::Old
            }
            Ok(meta) => {
                let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777;
                match std::fs::read_to_string(&path).unwrap().as_str() {
                    OLD => Live::Old,
                    NEW => {
                        assert_eq!(mode, 0o644, "new content under another mode");
                        Live::New
                    }
                    other => panic!("a torn file: {other:?}"),
                }
            }
        }
    }

    /// Right after the fault: everything is wholly old or new, and nothing is there that was never asked for.
    pub fn assert_whole(&self, what: &str) {
        for path in self.case.paths() {
            let allowed = match self.case {
                Case::Create => [Live::Nothing, Live::New],
                Case::Remove => [Live::Old, Live::Nothing],
                Case::Replace
                | Case::ReplaceDirectory
                | Case::CheckPasses
                | Case::CheckFails
                | Case::Batch => [Live::Old, Live::New],
            };
            let live = self.live(&path);
            let moved_aside = self.case == Case::ReplaceDirectory && live == Live::Nothing;
            assert!(allowed.contains(&live) || moved_aside, "{what}: {path} is {live:?}");
        }
    }

    /// The next start and one pass put everything right, and the original is live or kept.
    pub fn assert_mended(&self, what: &str) {
        self.assert_mended_noting(what, Noted::WithDigest);
    }

    /// The same; what could not be read when it was put aside is kept all the same, and its note has no digest.
    pub fn assert_mended_noting(&self, what: &str, noted: Noted) {
        let mut scene = Scene::at(self.host.path(), self.store.path());
        self.case.declare(&mut scene);
        let recovered = scene.keep.recover(&scene.host.root).unwrap();
        let stuck = recovered.iter().any(|one| matches!(one, agentd::keep::Recovered::Stuck(_)));
        assert!(!stuck, "{what}: {recovered:?}");
        if self.case == Case::CheckFails {
            assert_eq!(self.live("/etc/conf"), Live::Old, "{what}: a refused content is live after recovery");
        }
        for (line, result) in scene.pass() {
            let failed = matches!(result, OutcomeResult::Failed { .. });
            assert_eq!(failed, self.case == Case::CheckFails, "{what}: {line}: {result:?}");
        }
        let expected = match self.case {
            Case::CheckFails => Live::Old,
            Case::Remove => Live::Nothing,
            _ => Live::New,
        };
        for path in self.case.paths() {
            assert_eq!(self.live(&path), expected, "{what}: {path}");
            if self.case != Case::Create && expected != Live::Old {
                assert!(is_kept(&scene, &path, noted), "{what}: the original of {path} is lost");
            }
        }
        let names = scene.names("/etc");
        let left: Vec<&String> = names.iter().filter(|name| name.starts_with(".agentd")).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        assert_eq!(scene.keep.recover(&scene.host.root).unwrap(), [], "{what}");
    }
}

/// What the note of something kept must hold.
#[derive(Clone, Copy, PartialEq)]
pub enum Noted {
    WithDigest,
    PerhapsWithout,
}

fn is_kept(scene: &Scene, path: &str, noted: Noted) -> bool {
    use agentd::keep::What;
    scene.keep.of_path(path).unwrap().iter().any(|item| match &item.what {
        What::File { content, .. } => {
            let is_told = *content == Some(Content::of(OLD.as_bytes()));
            let is_told = is_told || (content.is_none() && noted == Noted::PerhapsWithout);
            is_told && scene.keep.bytes(&item.id).is_ok_and(|bytes| bytes == OLD.as_bytes())
        }
        What::Directory { .. } => {
            let inside = scene.keep.folder().path().join(format!("{}.data/inside", item.id));
            std::fs::read_to_string(inside).is_ok_and(|text| text == OLD)
        }
        What::Link { .. } | What::Other { .. } | What::Nothing | What::Text { .. } => false,
    })
}
