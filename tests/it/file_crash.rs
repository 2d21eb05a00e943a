//! What is left on the disk when the process dies, or the system refuses, at each step of a change.
//!
//! The step is chosen from outside: `strace` lets a child process reach its N-th call of a kind, and there kills it
//! or makes the call fail. First the calls between two marks are counted, then the sweep visits each one, and
//! checks that the fault really struck. After it: the file is wholly the old or wholly the new one, whatever
//! is not live is kept, and the next start with one pass puts everything right.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agentd::kind::file::Spec;
use agentd::model::{Content, OutcomeResult};
use tempfile::TempDir;

use crate::file::Scene;

/// The calls that change something on a disk or wait for it.
const CALLS: [&str; 14] = [
    "write",
    "fchown",
    "fchownat",
    "fchmod",
    "fsetxattr",
    "fdatasync",
    "fsync",
    "syncfs",
    "renameat2",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "linkat",
    "ftruncate",
];

/// The calls that fail when a disk is full or broken, each with how.
const REFUSALS: [(&str, &str); 8] = [
    ("write", "ENOSPC"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
    ("syncfs", "EIO"),
    ("renameat2", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("fchown", "EIO"),
    ("unlinkat", "EIO"),
];

/// Where the sweep begins and ends, as `strace` sees it.
const BEGIN: &str = "/agentd-test-begins";
const END: &str = "/agentd-test-ends";

const OLD: &str = "old\n";
const NEW: &str = "new\n";

/// What is done to `/etc/conf`.
#[derive(Clone, Copy, PartialEq)]
enum Case {
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
    const ALL: [(&str, Case); 7] = [
        ("replace", Case::Replace),
        ("create", Case::Create),
        ("remove", Case::Remove),
        ("replace-directory", Case::ReplaceDirectory),
        ("check-passes", Case::CheckPasses),
        ("check-fails", Case::CheckFails),
        ("batch", Case::Batch),
    ];

    fn word(self) -> &'static str {
        Case::ALL.iter().find(|(_, case)| *case == self).unwrap().0
    }

    fn paths(self) -> Vec<String> {
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

    fn declare(self, scene: &mut Scene) {
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
enum Live {
    Old,
    New,
    Nothing,
}

struct Bench {
    host: TempDir,
    store: TempDir,
    case: Case,
    // Last, so that it is unmounted when the folders on it are gone.
    disk: Option<Disk>,
}

/// A disk of its own, whose power can be cut.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test must run as root");
        // The mount is this thread's alone: a copy of it in a namespace that somebody else makes meanwhile would keep
        // the file system that was shut down alive, and the next mount of the image would be that one again.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        run("/usr/bin/mount", &["--make-rprivate", "/"]);
        let disk = Disk { folder: tempfile::tempdir_in("/tmp").unwrap() };
        std::fs::File::create(disk.image()).unwrap().set_len(16 << 20).unwrap();
        run("/usr/sbin/mkfs.ext4", &["-q", disk.image().to_str().unwrap()]);
        std::fs::create_dir(disk.top()).unwrap();
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn top(&self) -> PathBuf {
        self.folder.path().join("top")
    }

    fn mount(&self) {
        run("/usr/bin/mount", &["-o", "loop", self.image().to_str().unwrap(), self.top().to_str().unwrap()]);
    }

    /// What was not on the disk is gone: the file system is shut down without writing its journal.
    fn cut_power(&self) {
        // FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (linux/fs.h, fs/ext4/ext4.h).
        let script =
            "open(F, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl(F, 0x8004587d, $how) or die $!;";
        run("/usr/bin/perl", &["-e", script, self.top().to_str().unwrap()]);
        nix::mount::umount(&self.top()).unwrap();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.top());
    }
}

fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Bench {
    fn new(case: Case, store: &str) -> Self {
        let host = tempfile::tempdir_in("/tmp").unwrap();
        case.prepare(host.path());
        Bench { host, store: tempfile::tempdir_in(store).unwrap(), case, disk: None }
    }

    /// Host and store on one disk.
    fn on_disk(case: Case) -> Self {
        let disk = Disk::new();
        let host = tempfile::tempdir_in(disk.top()).unwrap();
        case.prepare(host.path());
        let store = tempfile::tempdir_in(disk.top()).unwrap();
        rustix::fs::sync();
        Bench { host, store, case, disk: Some(disk) }
    }

    /// Runs the case in a child process under `strace` with these options.
    fn child(&self, options: &[&str]) -> Output {
        Command::new("/usr/bin/strace")
            .args(["-f", "-qq", "-y"])
            .args(options)
            .arg(std::env::current_exe().unwrap())
            .args(["file_crash::child", "--exact", "--ignored", "--test-threads=1"])
            .env("AGENTD_TEST_CASE", self.case.word())
            .env("AGENTD_TEST_HOST", self.host.path())
            .env("AGENTD_TEST_STORE", self.store.path())
            .output()
            .expect("strace must be installed")
    }

    fn live(&self, path: &str) -> Live {
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
    fn assert_whole(&self, what: &str) {
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
    fn assert_mended(&self, what: &str) {
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
                assert!(is_kept(&scene, &path), "{what}: the original of {path} is lost");
            }
        }
        let names = scene.names("/etc");
        let left: Vec<&String> = names.iter().filter(|name| name.starts_with(".agentd")).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        assert_eq!(scene.keep.recover(&scene.host.root).unwrap(), [], "{what}");
    }
}

fn is_kept(scene: &Scene, path: &str) -> bool {
    use agentd::keep::What;
    scene.keep.of_path(path).unwrap().iter().any(|item| match &item.what {
        What::File { content, .. } => {
            *content == Some(Content::of(OLD.as_bytes())) && scene.keep.bytes(&item.id).is_ok()
        }
        What::Directory { .. } => {
            let inside = scene.keep.folder().path().join(format!("{}.data/inside", item.id));
            std::fs::read_to_string(inside).is_ok_and(|text| text == OLD)
        }
        What::Link { .. } | What::Other { .. } | What::Nothing | What::Text { .. } => false,
    })
}

/// How often each call is made before the first mark, and between the marks, by the process that makes them.
fn count(case: Case, store: &str) -> BTreeMap<String, (usize, usize)> {
    let bench = Bench::new(case, store);
    let log = bench.store.path().with_extension("strace");
    let output =
        bench.child(&["-e", &format!("trace=statx,{}", CALLS.join(",")), "-o", log.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let pid = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let begin = text.lines().find(|line| line.contains(BEGIN)).expect("the first mark");
    let (ours, mut begun, mut ended) = (pid(begin), false, false);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in text.lines().filter(|line| pid(line) == ours) {
        begun |= line.contains(BEGIN);
        ended |= line.contains(END);
        let call = line.split_whitespace().nth(1).and_then(|rest| rest.split_once('(')).map(|(call, _)| call);
        let Some(call) = call.filter(|call| CALLS.contains(call)) else { continue };
        let (before, between) = counts.entry(call.to_owned()).or_default();
        match (begun, ended) {
            (false, _) => *before += 1,
            (true, false) => *between += 1,
            (true, true) => {}
        }
    }
    assert!(ended, "the second mark");
    counts
}

fn sweep_kills(case: Case, store: &str) {
    let mut struck = 0;
    for (call, (before, between)) in count(case, store) {
        for number in before + 1..=before + between {
            let bench = Bench::new(case, store);
            let what = format!("{} in {store}: killed at {call} number {number}", case.word());
            let output = bench.child(&[
                "-e",
                &format!("inject={call}:signal=KILL:when={number}"),
                "-e",
                &format!("trace={call}"),
                "-o",
                "/dev/null",
            ]);
            assert!(!output.status.success(), "{what}: it was not");
            struck += 1;
            bench.assert_whole(&what);
            bench.assert_mended(&what);
        }
    }
    assert!(struck >= 5, "{} has only {struck} steps", case.word());
}

/// As [`sweep_kills`], and then the power goes.
fn sweep_power_cuts(case: Case) {
    for (call, (before, between)) in count(case, "/tmp") {
        for number in before + 1..=before + between {
            let bench = Bench::on_disk(case);
            let what = format!("{}: power cut at {call} number {number}", case.word());
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let output = bench.child(&["-e", &inject, "-e", &format!("trace={call}"), "-o", "/dev/null"]);
            assert!(!output.status.success(), "{what}: it was not");
            bench.disk.as_ref().unwrap().cut_power();
            bench.assert_whole(&what);
            bench.assert_mended(&what);
        }
    }
}

fn sweep_refusals(case: Case, store: &str) {
    let counts = count(case, store);
    for (call, how) in REFUSALS {
        let Some((before, between)) = counts.get(call).copied() else { continue };
        for number in before + 1..=before + between {
            let bench = Bench::new(case, store);
            let what = format!("{} in {store}: {how} at {call} number {number}", case.word());
            let log: PathBuf = bench.store.path().with_extension("strace");
            let inject = format!("inject={call}:error={how}:when={number}");
            let output =
                bench.child(&["-e", &inject, "-e", &format!("trace={call}"), "-o", log.to_str().unwrap()]);
            let fired = std::fs::read_to_string(&log).unwrap().contains("(INJECTED)");
            std::fs::remove_file(&log).unwrap();
            assert!(fired, "{what}: it did not");
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
            bench.assert_whole(&what);
            bench.assert_mended(&what);
        }
    }
}

/// What the child does: a start, and one pass.
#[test]
#[ignore = "run by the sweeps below, under strace"]
fn child() {
    let variable = |name: &str| std::env::var_os(name).expect("run by the sweeps below, under strace");
    let case = variable("AGENTD_TEST_CASE");
    let (_, case) = Case::ALL.into_iter().find(|(word, _)| **word == *case).unwrap();
    let host = PathBuf::from(variable("AGENTD_TEST_HOST"));
    let store = PathBuf::from(variable("AGENTD_TEST_STORE"));
    let mut scene = Scene::at(&host, &store);
    case.declare(&mut scene);
    // `strace` counts for each thread. The test runner's own thread writes a few lines: stay clear of its numbers.
    let mut sink = std::fs::File::create("/dev/null").unwrap();
    (0..50).for_each(|_| sink.write_all(b"x").unwrap());
    let _ = std::fs::symlink_metadata(BEGIN);
    // A store that cannot be brought in order ends the start, before anything is changed.
    if scene.keep.recover(&scene.host.root).is_ok() {
        assert_eq!(scene.pass().len(), case.paths().len());
    }
    let _ = std::fs::symlink_metadata(END);
}

#[test]
fn a_crash_at_any_step_of_a_replacement_leaves_the_old_or_the_new() {
    sweep_kills(Case::Replace, "/tmp");
    sweep_kills(Case::Replace, "/dev/shm");
}

#[test]
fn a_crash_at_any_step_of_a_creation_leaves_nothing_or_the_new() {
    sweep_kills(Case::Create, "/tmp");
}

#[test]
fn a_crash_at_any_step_of_a_removal_leaves_the_old_or_keeps_it() {
    sweep_kills(Case::Remove, "/tmp");
    sweep_kills(Case::Remove, "/dev/shm");
}

#[test]
fn a_crash_at_any_step_of_replacing_a_directory_loses_nothing() {
    sweep_kills(Case::ReplaceDirectory, "/tmp");
    sweep_kills(Case::ReplaceDirectory, "/dev/shm");
}

#[test]
fn a_crash_at_any_step_of_a_check_that_passes_leaves_the_old_or_the_new() {
    sweep_kills(Case::CheckPasses, "/tmp");
    sweep_kills(Case::CheckPasses, "/dev/shm");
}

#[test]
fn a_crash_at_any_step_of_a_check_that_fails_ends_in_the_old() {
    sweep_kills(Case::CheckFails, "/tmp");
    sweep_kills(Case::CheckFails, "/dev/shm");
}

#[test]
fn a_crash_at_any_step_of_a_batch_leaves_each_file_old_or_new() {
    sweep_kills(Case::Batch, "/tmp");
}

#[test]
fn a_disk_that_refuses_any_step_leaves_the_old_or_the_new_and_the_next_pass_mends_it() {
    for case in [Case::Replace, Case::Create, Case::Remove, Case::ReplaceDirectory] {
        sweep_refusals(case, "/tmp");
    }
    sweep_refusals(Case::Replace, "/dev/shm");
}

#[test]
fn a_disk_that_refuses_any_step_of_a_check_leaves_the_old_or_the_new() {
    sweep_refusals(Case::CheckPasses, "/tmp");
    sweep_refusals(Case::CheckFails, "/tmp");
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_or_the_new_and_the_original() {
    sweep_power_cuts(Case::Replace);
    sweep_power_cuts(Case::Remove);
    sweep_power_cuts(Case::CheckFails);
}

#[test]
fn what_was_reported_done_is_there_after_a_power_cut() {
    for case in
        [Case::Replace, Case::Create, Case::Remove, Case::ReplaceDirectory, Case::CheckPasses, Case::Batch]
    {
        let bench = Bench::on_disk(case);
        let output = bench.child(&["-e", "trace=none"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        bench.disk.as_ref().unwrap().cut_power();
        let expected = if case == Case::Remove { Live::Nothing } else { Live::New };
        for path in case.paths() {
            assert_eq!(bench.live(&path), expected, "{}: {path}", case.word());
        }
        bench.assert_mended(case.word());
    }
}
