//! What is left on the disk when the process dies, or the system refuses, at each step of a change.
//!
//! The step is chosen from outside: `strace` lets a child process reach its N-th call of a kind, and there kills it
//! or makes the call fail. First the calls between two marks are counted, then the sweep visits each one, and
//! checks that the fault really struck. After it: the file is wholly the old or wholly the new one, whatever
//! is not live is kept, and the next start with one pass puts everything right.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use self::bench::{Bench, Case, Live};
use crate::file::Scene;

mod bench;
pub mod disk;
mod scarce;

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
const REFUSALS: [(&str, &str); 10] = [
    ("write", "ENOSPC"),
    ("write", "EINTR"),
    ("fdatasync", "EIO"),
    ("renameat2", "EROFS"),
    ("fsync", "EIO"),
    ("syncfs", "EIO"),
    ("renameat2", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("fchown", "EIO"),
    ("unlinkat", "EIO"),
];

/// What the sweeps run.
const CHILD: &str = "file_crash::child";

/// Where the sweep begins and ends, as `strace` sees it.
const BEGIN: &str = "/agentd-test-begins";
const END: &str = "/agentd-test-ends";

/// How often each call is made before the first mark, and between the marks, by the process that makes them.
fn count(test: &str, case: Case, store: &str, calls: &[&str]) -> BTreeMap<String, (usize, usize)> {
    let bench = Bench::new(case, store);
    let log = bench.store.path().with_extension("strace");
    let options = ["-e", &format!("trace=statx,{}", calls.join(",")), "-o", log.to_str().unwrap()];
    let output = bench.child_of(test, &options, &[]);
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
        let Some(call) = call.filter(|call| calls.contains(call)) else { continue };
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
    for (call, (before, between)) in count(CHILD, case, store, &CALLS) {
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
    for (call, (before, between)) in count(CHILD, case, "/tmp", &CALLS) {
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
    let counts = count(CHILD, case, store, &CALLS);
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
