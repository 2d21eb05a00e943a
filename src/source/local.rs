//! A repository on this machine: its objects are read directly, so that no git has to be installed. Bare, with a work
//! tree or a linked one, packed or loose, whoever owns it: nothing of its configuration is obeyed and nothing is run.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::objs::{Kind, TreeRefIter};

use super::error::{Fault, Trouble};
use super::foreign::Foreign;
use super::meter::Meter;
use super::network::Delivery;
use super::objects::{Objects, damaged};
use super::{Remote, disk};
use crate::host::memory;

/// Copies what the branch has and `git_dir` does not; with a depth, no further back than that many commits.
pub(crate) fn receive(
    git_dir: &Path,
    path: &Path,
    remote: &Remote,
    depth: Option<u32>,
    meter: &Meter,
) -> Result<Delivery, Trouble> {
    meter.request()?;
    meter.expect_pack();
    let mut other = Other::open(path, remote)?;
    let tip = other.tip(&remote.branch)?;
    if disk::read_tip(git_dir).ok().flatten() == Some(tip) {
        return Ok(Delivery { tip, files: Vec::new(), objects: 0 });
    }
    let ours = Ours::open(git_dir, remote)?;
    let (commits, boundary) = commits(&mut other, &ours, tip, depth, meter)?;
    let wanted = closure(&mut other, &ours, commits, remote, meter)?;
    memory::give_back();
    let files = if wanted.is_empty() {
        Vec::new()
    } else {
        super::pack::copy(&mut other.objects, &wanted, git_dir, meter)?
    };
    let write = || {
        if !boundary.is_empty() {
            let known = disk::read_shallow(git_dir).unwrap_or_default();
            disk::write_shallow(git_dir, &[known, boundary.clone()].concat())?;
        }
        disk::write_tip(git_dir, tip)
    };
    write().map_err(|error| Trouble::disk(git_dir, error))?;
    Ok(Delivery { tip, files, objects: wanted.len() })
}

/// What we have. An empty store is not asked: each miss would look for a file.
struct Ours(Option<Objects>);

impl Ours {
    fn open(git_dir: &Path, remote: &Remote) -> Result<Ours, Trouble> {
        if disk::packs(git_dir).is_empty() {
            return Ok(Ours(None));
        }
        Ok(Ours(Some(Objects::open(&git_dir.join("objects"), remote.caps.object_bytes)?)))
    }

    fn contains(&self, id: ObjectId) -> bool {
        self.0.as_ref().is_some_and(|objects| objects.contains(id))
    }
}

struct Other {
    objects: Foreign,
    refs: gix::refs::file::Store,
    shallow: HashSet<ObjectId>,
}

impl Other {
    fn open(path: &Path, remote: &Remote) -> Result<Other, Trouble> {
        let missing = |cause: String| Trouble::new(Fault::RepositoryMissing, cause);
        let git_dir = git_dir(path).map_err(missing)?;
        let common = common_dir(&git_dir).map_err(missing)?;
        let config = std::fs::read_to_string(common.join("config")).unwrap_or_default().to_ascii_lowercase();
        for unsupported in ["sha256", "reftable"] {
            // Only the two formats that can't be read at all; a stray word in a comment costs nothing but this message.
            if config.lines().any(|line| line.replace([' ', '\t'], "").ends_with(&format!("={unsupported}")))
            {
                let cause =
                    format!("the repository {} uses {unsupported}, which is not supported", path.display());
                return Err(Trouble::new(Fault::Settings, cause));
            }
        }
        let objects = Foreign::open(common.join("objects"), remote.caps.object_bytes)
            .map_err(|e| missing(e.to_string()))?;
        let options = gix::refs::store::init::Options::default();
        let refs = gix::refs::file::Store::for_linked_worktree_opts(
            git_dir,
            common.clone(),
            gix::hash::Kind::Sha1,
            options,
        );
        let shallow = disk::read_shallow(&common).map_err(missing)?.into_iter().collect();
        Ok(Other { objects, refs, shallow })
    }

    fn tip(&self, branch: &str) -> Result<ObjectId, Trouble> {
        let name = format!("refs/heads/{branch}");
        let found = self.refs.try_find(name.as_str()).map_err(|error| Trouble::new(Fault::Corrupt, error))?;
        let target = found.map(|reference| reference.target);
        match target.as_ref().and_then(|target| target.try_id()) {
            Some(id) => Ok(id.to_owned()),
            None => Err(Trouble::bare(Fault::BranchMissing)),
        }
    }
}

fn git_dir(path: &Path) -> Result<PathBuf, String> {
    let is_repository = |dir: &Path| dir.join("HEAD").symlink_metadata().is_ok();
    if !path.is_dir() {
        return Err(format!("{} is not a folder", path.display()));
    }
    if is_repository(path) && (path.join("objects").is_dir() || path.join("commondir").is_file()) {
        return Ok(path.to_owned());
    }
    let dot_git = path.join(".git");
    if dot_git.is_dir() {
        return Ok(dot_git);
    }
    if let Ok(text) = std::fs::read_to_string(&dot_git)
        && let Some(target) = text.trim_end().strip_prefix("gitdir: ")
    {
        return Ok(path.join(target));
    }
    Err(format!("{} is no git repository", path.display()))
}

fn common_dir(git_dir: &Path) -> Result<PathBuf, String> {
    match std::fs::read_to_string(git_dir.join("commondir")) {
        Ok(text) => Ok(git_dir.join(text.trim_end())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(git_dir.to_owned()),
        Err(error) => Err(format!("{}: {error}", git_dir.join("commondir").display())),
    }
}

type Commits = (Vec<(ObjectId, ObjectId)>, Vec<ObjectId>);

/// The commits to copy with their trees, and those of them whose parents stay behind.
fn commits(
    other: &mut Other,
    ours: &Ours,
    tip: ObjectId,
    depth: Option<u32>,
    meter: &Meter,
) -> Result<Commits, Trouble> {
    let mut depths = HashMap::from([(tip, 1u32)]);
    let mut queue = VecDeque::from([tip]);
    let (mut found, mut boundary) = (Vec::new(), Vec::new());
    while let Some(id) = queue.pop_front() {
        meter.remaining()?;
        if ours.contains(id) {
            continue;
        }
        let node = other.objects.node(id)?;
        found.push((id, node.tree));
        let here = depths.get(&id).copied().unwrap_or(1);
        let cut = depth.is_some_and(|depth| here >= depth);
        if other.shallow.contains(&id) || (cut && !node.parents.is_empty()) {
            boundary.push(id);
            continue;
        }
        for parent in node.parents {
            depths.entry(parent).or_insert_with(|| {
                queue.push_back(parent);
                here + 1
            });
        }
    }
    // A commit at the cut may have been reached again by a shorter way: only missing parents make a boundary.
    boundary.retain(|id| match other.objects.node(*id) {
        Ok(node) => node.parents.iter().any(|parent| !depths.contains_key(parent) && !ours.contains(*parent)),
        Err(_) => true,
    });
    Ok((found, boundary))
}

/// Everything those commits need that we don't have. What we have is complete: each earlier fetch saw to that.
fn closure(
    other: &mut Other,
    ours: &Ours,
    commits: Vec<(ObjectId, ObjectId)>,
    remote: &Remote,
    meter: &Meter,
) -> Result<Vec<(ObjectId, Kind)>, Trouble> {
    let too_many =
        || Trouble::bare(Fault::TooLarge { what: format!("{} objects in one fetch", remote.caps.objects) });
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    let mut trees = Vec::new();
    for (commit, tree) in commits {
        wanted.push((commit, Kind::Commit));
        trees.push(tree);
    }
    while let Some(tree) = trees.pop() {
        if !seen.insert(tree) || ours.contains(tree) {
            continue;
        }
        meter.remaining()?;
        if wanted.len() > remote.caps.objects as usize {
            return Err(too_many());
        }
        let bytes = other.objects.read(tree, Kind::Tree)?;
        wanted.push((tree, Kind::Tree));
        for entry in TreeRefIter::from_bytes(&bytes, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| Trouble::from(damaged(tree, error)))?;
            let id = entry.oid.to_owned();
            if entry.mode.is_tree() {
                trees.push(id);
            } else if !entry.mode.is_commit() && !ours.contains(id) && seen.insert(id) {
                wanted.push((id, Kind::Blob));
            }
        }
    }
    if wanted.len() > remote.caps.objects as usize { Err(too_many()) } else { Ok(wanted) }
}
