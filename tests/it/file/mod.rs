//! Files on real file systems, a file a question that may be asked of them. As root.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::FakeUnits;
use agentd::keep::{Contents, Item, Keep, Limits};
use agentd::kind::file::{Change, Files, Mode, Ownership, Spec, State};
use agentd::kind::{
    ApplyCx, Change as _, Declared, DiffCx, Difference, Kind, Levels, Observed, Planned, Reaction, Specs,
    Want,
};
use agentd::model::{Key, OutcomeResult, Place, Provenance, ResourceId, Step};
use tempfile::TempDir;

mod by_hand;
mod checks;
mod laid_down;
mod protected;
mod removed;
mod swapped;
mod work;

/// A host in a folder, with its store, and the files that are declared of it.
pub struct Scene {
    pub host: Host,
    pub keep: Keep,
    pub contents: Contents,
    pub files: Files,
    pub specs: Specs<Spec>,
    pub prune: BTreeSet<Key>,
    top: PathBuf,
    _folders: Vec<TempDir>,
}

struct NoLevels;

impl Levels for NoLevels {
    fn now(&self, _: &[ResourceId]) -> Option<u64> {
        None
    }

    fn seen(&self, _: &ResourceId, _: Reaction) -> Option<u64> {
        None
    }
}

fn assert_root() {
    assert!(rustix::process::geteuid().is_root(), "these tests must run as root");
}

fn root_owned(mode: u32) -> Ownership {
    Ownership { owner: "root".into(), group: "root".into(), mode: Mode::from_bits(mode) }
}

impl Scene {
    pub fn new() -> Self {
        let host = tempfile::tempdir_in("/tmp").unwrap();
        let store = tempfile::tempdir_in("/tmp").unwrap();
        let mut scene = Scene::at(host.path(), store.path());
        scene._folders = vec![host, store];
        scene
    }

    pub fn at(host: &Path, store: &Path) -> Self {
        assert_root();
        let keep = Keep::open(&Root::open(store).unwrap(), Limits::default()).unwrap();
        let host_of = Host {
            root: Root::open(host).unwrap(),
            programs: Arc::new(SystemPrograms),
            units: Arc::new(FakeUnits::new()),
            netfilter: Arc::new(FakeNetfilter::default()),
            accounts: Arc::new(ListedAccounts::new(
                &[("root", 0), ("shop", 2001)],
                &[("root", 0), ("www", 2002)],
            )),
            clock: Arc::new(SystemClock),
        };
        Scene {
            host: host_of,
            keep,
            contents: Contents::in_memory(),
            files: Files::new(),
            specs: Specs::new(),
            prune: BTreeSet::new(),
            top: host.to_owned(),
            _folders: Vec::new(),
        }
    }

    pub fn declare(&mut self, path: &str, spec: Spec) {
        let place = Place::file("roles/web.toml");
        let provenance = Provenance { winner: place, below: Vec::new() };
        let declared = Declared { spec, provenance, drift: None, prune: false };
        self.specs.insert(Key::from(path), declared);
    }

    pub fn file(&mut self, path: &str, text: &str) {
        self.owned(path, text, root_owned(0o644), &[]);
    }

    pub fn checked(&mut self, path: &str, text: &str, check: &[&str]) {
        self.owned(path, text, root_owned(0o644), check);
    }

    fn owned(&mut self, path: &str, text: &str, ownership: Ownership, check: &[&str]) {
        let content = Some(self.contents.put(text.as_bytes()).unwrap());
        let check = check.iter().map(|word| (*word).to_owned()).collect();
        self.declare(path, Spec::File { content, ownership, check });
    }

    fn directory(&mut self, path: &str, exclusive: bool, ignore: &[&str]) {
        let ignore = ignore.iter().map(|glob| (*glob).to_owned()).collect();
        self.declare(path, Spec::Directory { ownership: root_owned(0o755), exclusive, ignore });
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.top.join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn observe(&mut self) -> Observed<State> {
        let want = Want { specs: &self.specs, prune: &self.prune, only: None };
        self.files.observe(&self.host, &want).unwrap()
    }

    pub fn look(&mut self) -> Vec<Difference<Change>> {
        let observed = self.observe();
        let want = Want { specs: &self.specs, prune: &self.prune, only: None };
        self.files.diff(&want, &observed, &DiffCx { levels: &NoLevels })
    }

    /// The fields that differ, by path.
    fn fields(&mut self) -> Vec<String> {
        let fields = |difference: Difference<Change>| {
            let fields: Vec<&str> = difference.fields.iter().map(|field| field.field.as_str()).collect();
            format!("{} {}", difference.key, fields.join(","))
        };
        self.look().into_iter().map(fields).collect()
    }

    /// Observes, compares, applies step by step. Returns the plan lines with what came of each.
    pub fn pass(&mut self) -> Vec<(String, OutcomeResult)> {
        let changes: Vec<Change> = self
            .look()
            .into_iter()
            .filter(|difference| difference.waiting.is_none())
            .flat_map(|difference| difference.changes)
            .collect();
        let mut results = Vec::new();
        for step in Step::ALL {
            let planned: Vec<Planned<Spec, Change>> = changes
                .iter()
                .filter(|change| change.step() == step)
                .map(|change| Planned {
                    key: change.key.clone(),
                    spec: self.specs.get(&change.key).cloned(),
                    change: change.clone(),
                })
                .collect();
            if planned.is_empty() {
                continue;
            }
            let mut cx =
                ApplyCx { host: &self.host, contents: &self.contents, keep: &self.keep, hold_units: &[] };
            let done = self.files.apply(&mut cx, &planned);
            results.extend(planned.iter().map(|planned| planned.change.to_string()).zip(done));
        }
        results
    }

    /// A pass that must succeed in everything and leave nothing to do.
    pub fn converge(&mut self) -> Vec<String> {
        let results = self.pass();
        for (line, result) in &results {
            assert_eq!(*result, OutcomeResult::Done, "{line}");
        }
        assert_eq!(self.look(), [], "the second pass is not empty");
        results.into_iter().map(|(line, _)| line).collect()
    }

    fn failure(&mut self) -> String {
        let mut results = self.pass();
        assert_eq!(results.len(), 1, "{results:?}");
        match results.remove(0).1 {
            OutcomeResult::Failed { message } => message,
            other => panic!("{other:?}"),
        }
    }

    fn kept(&self, path: &str) -> Item {
        let items = self.keep.of_path(path).unwrap();
        assert!(!items.is_empty(), "nothing was kept of {path}");
        items[0].clone()
    }

    fn kept_text(&self, path: &str) -> String {
        String::from_utf8(self.keep.bytes(&self.kept(path).id).unwrap()).unwrap()
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(&self, path: &str) -> u32 {
        std::fs::symlink_metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One declared file that is as declared.
fn scene_with_conf() -> Scene {
    let mut scene = Scene::new();
    scene.file("/etc/app/conf", "declared\n");
    assert_eq!(
        scene.converge(),
        [
            "create /etc/app/conf (9 bytes, 0644 root:root), and on the way to it /etc, /etc/app (0755 root:root)"
        ]
    );
    scene
}
