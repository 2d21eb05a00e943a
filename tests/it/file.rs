//! Files on real file systems, and what a person does to them by hand. As root.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::{FakeClock, SystemClock};
use agentd::host::counters::{COUNTERS, Counts};
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::SystemPrograms;
use agentd::host::units::FakeUnits;
use agentd::keep::{Contents, Item, Keep, Limits, Recovered};
use agentd::kind::file::{Change, Files, Mode, Ownership, Spec, State};
use agentd::kind::{
    ApplyCx, Change as _, Declared, DiffCx, Difference, Kind, Levels, Observed, Planned, Reaction, Reading,
    Specs, Want,
};
use agentd::model::{Key, OutcomeResult, Place, Provenance, ResourceId, Step};
use tempfile::TempDir;

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

    fn observe(&mut self) -> Observed<State> {
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

#[test]
fn what_is_declared_is_laid_down_with_owner_and_mode_and_a_second_pass_is_empty() {
    let mut scene = Scene::new();
    let shop = Ownership { owner: "shop".into(), group: "www".into(), mode: Mode::from_bits(0o4750) };
    scene.owned("/opt/shop/run", "#!/bin/sh\n", shop, &[]);
    scene.directory("/etc/app", false, &[]);
    scene.file("/etc/app/conf", "x");
    scene.declare("/etc/app/current", Spec::Link { target: "conf".into() });
    scene.declare("/etc/app/gone", Spec::Absent);
    scene.declare(
        "/etc/app/touched",
        Spec::File { content: None, ownership: root_owned(0o600), check: vec![] },
    );
    scene.converge();
    let meta = std::fs::metadata(scene.path("/opt/shop/run")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (2001, 2002, 0o4750));
    assert_eq!(scene.mode("/opt/shop"), 0o755);
    assert_eq!(std::fs::read_link(scene.path("/etc/app/current")).unwrap(), Path::new("conf"));
    assert_eq!((scene.read("/etc/app/touched").as_str(), scene.mode("/etc/app/touched")), ("", 0o600));
    assert_eq!(scene.keep.list().unwrap(), []);
}

#[test]
fn an_edit_in_place_is_undone_and_kept() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    run("/bin/sh", &["-c", &format!("echo by hand >> {}", text(&path))]);
    assert_eq!(scene.fields(), ["/etc/app/conf content"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "declared\nby hand\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
}

#[test]
fn an_edit_of_the_same_size_with_the_old_times_is_seen() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let reference = scene.path("/reference");
    run("/bin/cp", &["-p", text(&path), text(&reference)]);
    std::fs::write(&path, "DECLARED\n").unwrap();
    run("/usr/bin/touch", &["-r", text(&reference), text(&path)]);
    assert_eq!(scene.fields(), ["/etc/app/conf content"]);
}

#[test]
fn an_edit_by_rename_is_undone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    run("/bin/sed", &["-i", "s/declared/by hand/", text(&path)]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "by hand\n");
}

#[test]
fn a_drifted_mode_or_owner_is_corrected_and_the_content_left_alone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let inode = std::fs::metadata(&path).unwrap().ino();
    run("/bin/chmod", &["0666", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: mode 0666 → 0644"]);
    run("/bin/chown", &["2001:2002", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: owner shop → root, group www → root"]);
    run("/bin/chown", &["4711", text(&path)]);
    assert_eq!(scene.converge(), ["correct /etc/app/conf: owner 4711 → root"]);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(scene.keep.list().unwrap(), []);
}

#[test]
fn a_removed_file_and_a_parent_that_was_moved_away_come_back() {
    let mut scene = scene_with_conf();
    std::fs::remove_file(scene.path("/etc/app/conf")).unwrap();
    scene.converge();
    run("/bin/mv", &[text(&scene.path("/etc/app")), text(&scene.path("/etc/moved"))]);
    assert_eq!(scene.fields(), ["/etc/app/conf ensure,content"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/moved"), ["conf"]);
}

#[test]
fn a_directory_link_pipe_or_socket_in_place_of_the_file_is_kept_and_replaced() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let clear = |path: &Path| std::fs::remove_file(path).unwrap();

    clear(&path);
    std::fs::create_dir_all(path.join("deep/er")).unwrap();
    std::fs::write(path.join("deep/er/x"), "precious").unwrap();
    scene.converge();
    let id = scene.kept("/etc/app/conf").id;
    let resource: ResourceId = "file:/etc/app/conf".parse().unwrap();
    let now = jiff_now(&scene);
    let occasion = agentd::keep::Occasion { resource: &resource, why: "a person asked", now };
    scene.keep.restore(&scene.host.root, &id, occasion).unwrap();
    assert_eq!(scene.read("/etc/app/conf/deep/er/x"), "precious");
    scene.converge();

    clear(&path);
    std::fs::write(scene.path("/canary"), "precious").unwrap();
    symlink("../../canary", &path).unwrap();
    scene.converge();
    assert_eq!(scene.read("/canary"), "precious");

    clear(&path);
    run("/usr/bin/mkfifo", &[text(&path)]);
    scene.converge();

    clear(&path);
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    assert_eq!(scene.keep.of_path("/etc/app/conf").unwrap().len(), 6);
}

fn jiff_now(scene: &Scene) -> jiff::Timestamp {
    scene.host.clock.now()
}

#[test]
fn a_file_in_place_of_a_directory_or_link_is_kept_and_replaced() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", false, &[]);
    scene.file("/etc/app/conf", "x");
    scene.declare("/etc/current", Spec::Link { target: "app".into() });
    std::fs::create_dir(scene.path("/etc")).unwrap();
    std::fs::write(scene.path("/etc/app"), "in the way").unwrap();
    std::fs::write(scene.path("/etc/current"), "in the way too").unwrap();
    scene.converge();
    assert_eq!(scene.kept_text("/etc/app"), "in the way");
    assert_eq!(scene.kept_text("/etc/current"), "in the way too");
    assert_eq!(scene.read("/etc/current/conf"), "x");
}

#[test]
fn a_hard_link_to_another_file_is_broken_and_the_other_file_left_alone() {
    let mut scene = scene_with_conf();
    std::fs::write(scene.path("/shadow"), "declared\n").unwrap();
    std::fs::set_permissions(scene.path("/shadow"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::remove_file(scene.path("/etc/app/conf")).unwrap();
    std::fs::hard_link(scene.path("/shadow"), scene.path("/etc/app/conf")).unwrap();
    assert_eq!(scene.fields(), ["/etc/app/conf mode"]);
    scene.converge();
    assert_eq!(scene.mode("/shadow"), 0o600);
    assert_eq!(std::fs::metadata(scene.path("/shadow")).unwrap().nlink(), 1);
}

#[test]
fn an_immutable_file_is_reported_and_corrected_once_the_flag_is_gone() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    std::fs::write(&path, "by hand").unwrap();
    run("/usr/bin/chattr", &["+i", text(&path)]);
    let message = scene.failure();
    run("/usr/bin/chattr", &["-i", text(&path)]);
    assert!(message.contains("immutable") && message.contains("chattr -i"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "by hand");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    scene.converge();
}

#[test]
fn a_file_that_something_is_mounted_on_is_overwritten_in_place_and_says_so() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    std::fs::write(scene.path("/other"), "mounted").unwrap();
    let none: Option<&str> = None;
    nix::mount::mount(Some(&scene.path("/other")), &path, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    let results = scene.pass();
    let residual = scene.look();
    nix::mount::umount(&path).unwrap();
    let [(_, OutcomeResult::DoneNoting { note })] = results.as_slice() else { panic!("{results:?}") };
    assert!(note.contains("in place"), "{note}");
    assert_eq!(residual, []);
    assert_eq!(scene.read("/other"), "declared\n");
    assert_eq!(scene.kept_text("/etc/app/conf"), "mounted");
}

#[test]
fn xattrs_and_access_lists_of_the_old_file_are_kept() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    rustix::fs::setxattr(&path, "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    std::fs::write(&path, "by hand").unwrap();
    scene.converge();
    let mut value = [0u8; 8];
    let length = rustix::fs::getxattr(&path, "user.note", value.as_mut_slice()).unwrap();
    assert_eq!(&value[..length], b"x");
}

#[test]
fn what_is_not_declared_in_an_exclusive_directory_is_removed_and_kept() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", true, &["*.local", "sub/keep*"]);
    scene.file("/etc/app/conf", "x");
    scene.file("/etc/app/sub/deep/conf", "x");
    scene.converge();
    for name in ["extra", "x.local", "sub/extra", "sub/keep-me", "sub/deep/y.local", "new.dpkg-new"] {
        std::fs::write(scene.path(&format!("/etc/app/{name}")), name).unwrap();
    }
    std::fs::create_dir_all(scene.path("/etc/app/tree/er")).unwrap();
    std::fs::write(scene.path("/etc/app/tree/er/x"), "deep").unwrap();
    symlink("/canary", scene.path("/etc/app/link")).unwrap();
    let lines = scene.converge();
    assert_eq!(
        lines,
        [
            "remove the directory /etc/app/tree with everything in it",
            "remove /etc/app/sub/extra (a regular file)",
            "remove /etc/app/link (a symbolic link)",
            "remove /etc/app/extra (a regular file)",
        ]
    );
    assert_eq!(scene.names("/etc/app"), ["conf", "new.dpkg-new", "sub", "x.local"]);
    assert_eq!(scene.names("/etc/app/sub"), ["deep", "keep-me"]);
    assert_eq!(scene.kept_text("/etc/app/extra"), "extra");
    scene.kept("/etc/app/tree");
}

#[test]
fn an_undeclared_directory_keeps_what_lies_in_it() {
    let mut scene = Scene::new();
    scene.directory("/etc/app", false, &[]);
    scene.converge();
    std::fs::write(scene.path("/etc/app/extra"), "").unwrap();
    assert_eq!(scene.look(), []);
}

#[test]
fn what_was_brought_is_pruned_and_a_folder_with_other_things_in_it_waits() {
    let mut scene = Scene::new();
    scene.directory("/opt/app", false, &[]);
    scene.file("/opt/app/conf", "x");
    scene.converge();
    std::fs::write(scene.path("/opt/app/theirs"), "").unwrap();
    let keys: Vec<Key> = scene.specs.keys().cloned().collect();
    scene.specs.clear();
    scene.prune = keys.into_iter().collect();
    let waiting: Vec<Option<String>> =
        scene.look().into_iter().map(|difference| difference.waiting).collect();
    assert_eq!(waiting.len(), 2);
    assert!(waiting[1].as_ref().is_some_and(|why| why.contains("theirs")), "{waiting:?}");
    scene.pass();
    assert_eq!(scene.names("/opt/app"), ["theirs"]);
    std::fs::remove_file(scene.path("/opt/app/theirs")).unwrap();
    scene.converge();
    assert!(scene.names("/opt").is_empty());
}

#[test]
fn an_owner_that_does_not_exist_yet_is_waited_for() {
    let mut scene = Scene::new();
    let redis = Ownership { owner: "redis".into(), group: "www".into(), mode: Mode::from_bits(0o640) };
    scene.owned("/etc/redis.conf", "x", redis, &[]);
    let differences = scene.look();
    assert_eq!(differences[0].waiting.as_deref(), Some("user redis, which does not exist yet"));
    assert!(!scene.path("/etc").exists());
    scene.host.accounts = Arc::new(ListedAccounts::new(&[("redis", 2005)], &[("www", 2002)]));
    scene.converge();
    assert_eq!(std::fs::metadata(scene.path("/etc/redis.conf")).unwrap().uid(), 2005);
    // The name went away again: what is there is not touched, and what is missing is said.
    scene.host.accounts = Arc::new(ListedAccounts::new(&[], &[]));
    assert!(scene.look()[0].waiting.is_some());
}

#[test]
fn a_check_of_the_staged_file_decides_before_it_is_live() {
    let mut scene = scene_with_conf();
    scene.checked("/etc/app/conf", "bad\n", &["/bin/grep", "-q", "good", "{new}"]);
    let message = scene.failure();
    assert!(
        message.contains("/etc/app/conf was left as it was") && message.contains("/bin/grep"),
        "{message}"
    );
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    scene.checked("/etc/app/conf", "good\n", &["/bin/grep", "-q", "good", "{new}"]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "good\n");
    assert_eq!(scene.keep.list().unwrap().len(), 1);
}

#[test]
fn a_check_in_place_sees_the_new_content_and_puts_the_old_back_if_it_refuses() {
    let mut scene = scene_with_conf();
    let path = scene.path("/etc/app/conf");
    let before = std::fs::metadata(&path).unwrap().ino();
    scene.checked("/etc/app/conf", "bad\n", &["/bin/grep", "-q", "good", text(&path)]);
    let message = scene.failure();
    assert!(message.contains("put back as it was"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(scene.names("/etc/app"), ["conf"]);
    assert_eq!(scene.keep.list().unwrap(), []);
    scene.checked("/etc/app/conf", "good\n", &["/bin/grep", "-q", "good", text(&path)]);
    scene.converge();
    assert_eq!(scene.read("/etc/app/conf"), "good\n");

    let fresh = scene.path("/etc/app/fresh");
    scene.checked("/etc/app/fresh", "bad\n", &["/bin/grep", "-q", "good", text(&fresh)]);
    scene.failure();
    assert!(!fresh.exists());
}

#[test]
fn a_check_that_cannot_be_run_leaves_the_file_alone() {
    let mut scene = scene_with_conf();
    scene.checked("/etc/app/conf", "new\n", &["/no/such/program", "{new}"]);
    let message = scene.failure();
    assert!(message.contains("/no/such/program"), "{message}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
}

#[test]
fn a_trial_that_a_crash_cut_short_is_undone_before_the_next_pass() {
    let mut scene = scene_with_conf();
    // As after a crash: exchanged in, never judged. (The crash itself is in `file_crash`.)
    let resource: ResourceId = "file:/etc/app/conf".parse().unwrap();
    let now = jiff_now(&scene);
    let occasion = agentd::keep::Occasion { resource: &resource, why: "", now };
    let (folder, name) = scene.host.root.parent(Path::new("/etc/app/conf")).unwrap();
    let attributes = agentd::host::files::Attributes::root(0o644);
    let staged = folder.stage_file(name, b"bad\n", attributes, &Default::default()).unwrap();
    let pending = scene
        .keep
        .replacing(
            occasion,
            "/etc/app/conf",
            staged,
            None,
            agentd::keep::Purpose::Trial,
            agentd::keep::Durable::Each,
        )
        .unwrap();
    pending.commit().unwrap();
    assert_eq!(scene.read("/etc/app/conf"), "bad\n");
    let recovered = scene.keep.recover(&scene.host.root).unwrap();
    assert!(matches!(recovered.as_slice(), [Recovered::Undone { .. }]), "{recovered:?}");
    assert_eq!(scene.read("/etc/app/conf"), "declared\n");
    assert_eq!(scene.look(), []);
}

#[test]
fn what_cannot_be_read_is_unknown_and_left_alone() {
    let mut scene = Scene::new();
    std::fs::create_dir_all(scene.path("/srv/theirs")).unwrap();
    std::os::unix::fs::chown(scene.path("/srv/theirs"), Some(2001), None).unwrap();
    symlink("/etc", scene.path("/srv/theirs/link")).unwrap();
    scene.file("/srv/theirs/link/conf", "x");
    let observed = scene.observe();
    let reading = &observed.readings["/srv/theirs/link/conf"];
    let Reading::Unknown(why) = reading else { panic!("{reading:?}") };
    assert!(why.contains("someone other than root"), "{why}");
    assert_eq!(scene.look(), []);
}

#[test]
fn many_files_are_laid_down_in_one_batch() {
    let mut scene = Scene::new();
    for number in 0..300 {
        scene.file(&format!("/etc/many/{}/{number}", number % 7), &number.to_string());
    }
    std::fs::create_dir_all(scene.path("/etc/many/3")).unwrap();
    for number in (0..300).filter(|number| number % 7 == 3) {
        std::fs::write(scene.path(&format!("/etc/many/3/{number}")), "by hand").unwrap();
    }
    assert_eq!(scene.converge().len(), 300);
    assert_eq!(scene.keep.list().unwrap().len(), 43);
    assert_eq!(scene.keep.recover(&scene.host.root).unwrap(), []);
    assert_eq!(scene.read("/etc/many/5/299"), "299");
}

/// Runs a test alone in a process of its own: the counters are the whole process's.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os("AGENTD_TEST_ALONE").is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1", "--nocapture"])
        .env("AGENTD_TEST_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no such test: {said}");
}

fn counted<T>(act: impl FnOnce() -> T) -> (T, Counts) {
    let before = COUNTERS.read();
    let result = act();
    (result, COUNTERS.read().since(before))
}

/// Looks until every file rests: what was written in this very tick of the clock is read once more.
fn settle(scene: &mut Scene) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while counted(|| scene.look()).1.files_opened > 0 {
        assert!(Instant::now() < deadline, "the files never come to rest");
    }
}

#[test]
fn a_quiet_pass_opens_no_file_and_starts_no_process() {
    alone("file::a_quiet_pass_opens_no_file_and_starts_no_process", || {
        let mut scene = Scene::new();
        scene.directory("/etc/app", true, &[]);
        for number in 0..200 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts, Counts::default());
    });
}

#[test]
fn the_first_look_of_a_process_reads_each_content_once_and_sees_what_any_look_sees() {
    alone("file::the_first_look_of_a_process_reads_each_content_once_and_sees_what_any_look_sees", || {
        let mut scene = Scene::new();
        for number in 0..400 {
            scene.file(&format!("/etc/app/{}/{number}", number % 9), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        std::fs::write(scene.path("/etc/app/5/5"), "by hand").unwrap();
        std::fs::remove_file(scene.path("/etc/app/6/6")).unwrap();
        std::fs::remove_file(scene.path("/etc/app/7/7")).unwrap();
        std::os::unix::fs::symlink("/etc/app/8/8", scene.path("/etc/app/7/7")).unwrap();
        std::fs::remove_dir_all(scene.path("/etc/app/1")).unwrap();
        let any = scene.look();
        settle(&mut scene);
        scene.files = Files::new();
        let (first, counts) = counted(|| scene.look());
        assert_eq!(first, any);
        assert!(any.len() > 3, "{any:?}");
        let there = (0..400).filter(|number| number % 9 != 1).count() as u64 - 2;
        assert_eq!(counts, Counts { files_opened: there, ..Counts::default() });
    });
}

#[test]
fn one_changed_file_among_many_costs_one_read_to_see_and_one_write_to_mend() {
    alone("file::one_changed_file_among_many_costs_one_read_to_see_and_one_write_to_mend", || {
        let mut scene = Scene::new();
        for number in 0..200 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        std::fs::write(scene.path("/etc/app/77"), "by hand").unwrap();
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences.len(), 1);
        assert_eq!(counts, Counts { files_opened: 1, ..Counts::default() });
        settle(&mut scene);
        let (_, counts) = counted(|| scene.pass());
        // The file, and the note about what was kept of the old one.
        assert_eq!(counts, Counts { files_written: 2, ..Counts::default() });
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts.files_opened, 1, "what was written is read back");
    });
}

#[test]
fn a_touched_file_is_read_once_and_then_known_again() {
    alone("file::a_touched_file_is_read_once_and_then_known_again", || {
        let mut scene = scene_with_conf();
        settle(&mut scene);
        run("/usr/bin/touch", &[text(&scene.path("/etc/app/conf"))]);
        let (differences, counts) = counted(|| scene.look());
        assert_eq!(differences, []);
        assert_eq!(counts.files_opened, 1);
        settle(&mut scene);
    });
}

#[test]
fn every_file_is_read_again_once_in_a_while_and_few_at_once() {
    alone("file::every_file_is_read_again_once_in_a_while_and_few_at_once", || {
        let mut scene = Scene::new();
        for number in 0..40 {
            scene.file(&format!("/etc/app/{number}"), &number.to_string());
        }
        scene.converge();
        settle(&mut scene);
        let clock = Arc::new(FakeClock::at(scene.host.clock.now()));
        scene.host.clock = Arc::clone(&clock) as Arc<dyn agentd::host::clock::Clock>;
        // Known under the fake clock from here on.
        scene.files = Files::new();
        settle(&mut scene);
        clock.advance(Duration::from_secs(6 * 24 * 3600));
        assert_eq!(counted(|| scene.look()).1.files_opened, 0, "nothing is due within a week");
        clock.advance(Duration::from_secs(9 * 24 * 3600));
        let opened: Vec<u64> = (0..4).map(|_| counted(|| scene.look()).1.files_opened).collect();
        assert_eq!(opened, [16, 16, 8, 0]);
    });
}

#[test]
fn observing_never_writes() {
    let mut scene = scene_with_conf();
    scene.directory("/etc/app", true, &[]);
    std::fs::write(scene.path("/etc/app/extra"), "").unwrap();
    std::fs::write(scene.path("/etc/app/.agentd.conf.12345678"), "").unwrap();
    let names = scene.names("/etc/app");
    assert_eq!(scene.fields(), ["/etc/app/extra ensure"]);
    assert_eq!(scene.names("/etc/app"), names);
}

#[test]
fn what_a_crash_left_staged_is_swept_by_the_next_change_in_that_folder() {
    let mut scene = scene_with_conf();
    std::fs::write(scene.path("/etc/app/.agentd.conf.12345678"), "half").unwrap();
    std::fs::write(scene.path("/etc/app/conf"), "by hand").unwrap();
    scene.files = Files::new();
    scene.converge();
    assert_eq!(scene.names("/etc/app"), ["conf"]);
}

/// What lies outside of what is managed, and must not change whatever is swapped inside.
fn canary(path: &Path) -> (String, u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (std::fs::read_to_string(path).unwrap(), meta.permissions().mode(), meta.uid(), meta.gid())
}

/// Exchanges two names as fast as it goes while `act` works. Says how often.
fn swapping(a: &Path, b: &Path, act: impl FnOnce()) -> u64 {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    /// Ends the swapping also when the work panics.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let swap = || renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok();
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !stop.load(Relaxed) {
                swaps += u64::from(swap());
            }
            // Left as it was found.
            if swaps % 2 == 1 {
                swap();
            }
            swaps
        });
        let stop = Stop(&stop);
        act();
        drop(stop);
        swapper.join().unwrap()
    })
}

#[test]
fn whoever_owns_the_folder_cannot_lead_a_change_elsewhere_however_fast_they_swap() {
    const CHANGES: usize = 50;
    let mut scene = Scene::new();
    let shop = |number: usize| Ownership {
        owner: "shop".into(),
        group: "www".into(),
        mode: Mode::from_bits(if number.is_multiple_of(2) { 0o666 } else { 0o646 }),
    };
    scene.owned("/srv/shop/conf/app", "declared\n", shop(0), &[]);
    scene.converge();
    let top = scene.path("/");
    let at = |path: &str| top.join(path.trim_start_matches('/'));
    // Theirs, with one thing of each kind to put in the way.
    std::fs::create_dir_all(at("/outside/conf")).unwrap();
    std::fs::write(at("/outside/conf/app"), "precious\n").unwrap();
    std::fs::write(at("/outside/shadow"), "secret\n").unwrap();
    std::fs::set_permissions(at("/outside/shadow"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("../../outside/conf", at("/srv/shop/link-folder")).unwrap();
    symlink("../../../outside/shadow", at("/srv/shop/conf/link")).unwrap();
    std::fs::hard_link(at("/outside/shadow"), at("/srv/shop/conf/hard")).unwrap();
    run("/usr/bin/mkfifo", &[text(&at("/srv/shop/conf/pipe"))]);
    std::fs::create_dir(at("/srv/shop/conf/dir")).unwrap();
    for path in ["/srv/shop", "/srv/shop/conf", "/srv/shop/link-folder", "/srv/shop/conf/link"] {
        std::os::unix::fs::lchown(at(path), Some(2001), Some(2002)).unwrap();
    }
    let canaries = [at("/outside/conf/app"), at("/outside/shadow")];
    let before: Vec<_> = canaries.iter().map(|path| canary(path)).collect();
    let outside = scene.names("/outside");
    let outside_conf = scene.names("/outside/conf");

    let pairs = [
        ("/srv/shop/conf", "/srv/shop/link-folder"),
        ("/srv/shop/conf/app", "/srv/shop/conf/link"),
        ("/srv/shop/conf/app", "/srv/shop/conf/hard"),
        ("/srv/shop/conf/app", "/srv/shop/conf/pipe"),
        ("/srv/shop/conf/app", "/srv/shop/conf/dir"),
    ];
    let mut total = 0;
    for (a, b) in pairs {
        let (a, b) = (scene.path(a), scene.path(b));
        total += swapping(&a, &b, || {
            // Nothing is expected of a single change, but that it is made here or not at all.
            let deadline = Instant::now() + Duration::from_secs(60);
            let (mut made, mut last) = (0, Vec::new());
            while made < CHANGES {
                assert!(Instant::now() < deadline, "{made} against {}: {last:?}", b.display());
                // Every other one has nothing but owner and mode to set.
                scene.owned("/srv/shop/conf/app", &format!("{}\n", made / 2), shop(made), &[]);
                last = scene.pass();
                made += last.iter().filter(|(_, result)| *result == OutcomeResult::Done).count();
            }
        });
    }
    assert!(total > 5 * CHANGES as u64, "nobody swapped");
    let after: Vec<_> = canaries.iter().map(|path| canary(path)).collect();
    assert_eq!(after, before);
    assert_eq!(scene.names("/outside"), outside);
    assert_eq!(scene.names("/outside/conf"), outside_conf);
}
