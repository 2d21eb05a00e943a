//! The objects of a repository on this machine that is not ours: as large as it likes, and worked on by others while it
//! is read.

use std::path::PathBuf;

use gix::ObjectId;
use gix::objs::Kind;

use super::commit::Node;
use super::error::StoreError;
use super::objects::Objects;
use crate::host::memory;

/// So many objects are read before the repository is opened anew, and what was mapped of it is let go: whoever reads
/// all of a repository would have all of it in memory in the end.
const STRETCH: usize = 5_000;

/// A repository's objects, in stretches.
pub(crate) struct Foreign {
    folder: PathBuf,
    cap: usize,
    objects: Objects,
    /// How many were read since it was opened.
    read: usize,
}

impl Foreign {
    /// Opens the folder `objects` of a repository; no object is larger than `cap` bytes.
    pub fn open(folder: PathBuf, cap: usize) -> Result<Foreign, StoreError> {
        let objects = Objects::open(&folder, cap)?;
        Ok(Foreign { folder, cap, objects, read: 0 })
    }

    /// The content of an object of that kind.
    pub fn read(&mut self, id: ObjectId, kind: Kind) -> Result<Vec<u8>, StoreError> {
        if self.read == STRETCH {
            self.renew()?;
        }
        self.read += 1;
        match self.objects.read(id, kind) {
            // Who packs it anew takes the packs away that we know of. What they held lies in others by then.
            Err(StoreError::Missing { .. } | StoreError::Damaged { .. }) => {
                self.renew()?;
                self.objects.read(id, kind)
            }
            done => done,
        }
    }

    /// A commit.
    pub fn node(&mut self, id: ObjectId) -> Result<Node, StoreError> {
        let bytes = self.read(id, Kind::Commit)?;
        Node::parse(id, &bytes)
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        self.objects = Objects::open(&self.folder, self.cap)?;
        self.read = 0;
        memory::give_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[allow(clippy::disallowed_methods)] // a test that makes a repository as people do
    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(folder).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]);
        let output =
            git.args(arguments).output().expect("git is needed for these tests: apt-get install git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_repository_is_read_on_while_it_is_packed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        git(path, &["init", "-q", "-b", "main"]);
        let commit = |number: u32| {
            git(path, &["commit", "-q", "--allow-empty", "-m", &format!("commit {number}")]);
            git(path, &["rev-parse", "HEAD"]).parse::<ObjectId>().unwrap()
        };
        let ids: Vec<ObjectId> = (0..6).map(commit).collect();
        let mut foreign = Foreign::open(path.join(".git/objects"), 1 << 20).unwrap();
        // From loose objects to a pack, from that to another one, and to one that was never looked into.
        for (pair, repack) in
            ids.chunks(2).zip([&["-a", "-d"][..], &["-a", "-d", "-f", "--depth=1"], &["-a", "-d"]])
        {
            assert!(foreign.node(pair[0]).unwrap().parents.len() < 2);
            git(path, &[&["repack", "-q"], repack].concat());
            git(path, &["prune-packed"]);
            assert!(foreign.node(pair[1]).is_ok());
        }
        // What is really missing stays missing.
        let nowhere = ObjectId::from_hex(&[b'1'; 40]).unwrap();
        assert!(matches!(foreign.node(nowhere), Err(StoreError::Missing { .. })));
    }

    #[test]
    fn a_stretch_ends_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "-b", "main"]);
        git(folder.path(), &["commit", "-q", "--allow-empty", "-m", "one"]);
        let id = git(folder.path(), &["rev-parse", "HEAD"]).parse().unwrap();
        let mut foreign = Foreign::open(folder.path().join(".git/objects"), 1 << 20).unwrap();
        for _ in 0..STRETCH + 2 {
            foreign.node(id).unwrap();
        }
        assert_eq!(foreign.read, 2);
    }
}
