//! No more files may be opened, or there is no memory in the kernel: what can't be read is unknown, and nothing is done
//! to it; what can't be changed stays as it is; and the next pass puts it right.
//!
//! The program's own memory is another matter: without that it ends at once, which is a crash like any other.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use agentd::kind::Reading;
use agentd::model::OutcomeResult;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::bench::{Bench, Case, Noted};
use super::{BEGIN, END, count};
use crate::file::Scene;

/// The calls by which files are looked at and opened, each with what they say when something is used up.
const SCARCE: [(&str, &str); 5] = [
    ("openat2", "EMFILE"),
    ("openat2", "ENFILE"),
    ("openat2", "ENOMEM"),
    ("statx", "ENOMEM"),
    ("openat", "EMFILE"),
];

/// What came of a pass in which something was scarce.
#[derive(Debug, Default, PartialEq)]
struct Told {
    unknown: usize,
    failed: usize,
    done: usize,
}

/// What the child does: one look, and one pass, with so many more files to open (any, if that is not said).
#[test]
#[ignore = "run by the sweeps below, under strace"]
fn child() {
    let variable = |name: &str| std::env::var_os(name).expect("run by the sweeps below, under strace");
    let case = variable("AGENTD_TEST_CASE");
    let (_, case) = Case::ALL.into_iter().find(|(word, _)| **word == *case).unwrap();
    let store = PathBuf::from(variable("AGENTD_TEST_STORE"));
    let mut scene = Scene::at(&PathBuf::from(variable("AGENTD_TEST_HOST")), &store);
    case.declare(&mut scene);
    let mut report = std::fs::File::create(report(&store)).unwrap();
    let limit = getrlimit(Resource::Nofile);
    if let Some(more) = std::env::var_os("AGENTD_TEST_FILES") {
        let more: u64 = more.to_str().unwrap().parse().unwrap();
        let next = u64::try_from(std::fs::File::open("/dev/null").unwrap().as_raw_fd()).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(next + more), maximum: limit.maximum }).unwrap();
    }
    let _ = std::fs::symlink_metadata(BEGIN);
    let mut told = Told::default();
    for (key, reading) in scene.observe().readings {
        match (reading, case) {
            (Reading::Unknown(_), _) => told.unknown += 1,
            (Reading::Absent, Case::Create) => {}
            (Reading::Present(_), case) if case != Case::Create => {}
            (wrong, _) => panic!("{key} is told to be {wrong:?}"),
        }
    }
    for (_, result) in scene.pass() {
        match result {
            OutcomeResult::Failed { .. } => told.failed += 1,
            OutcomeResult::Done | OutcomeResult::DoneNoting { .. } => told.done += 1,
            other => panic!("{other:?}"),
        }
    }
    let _ = std::fs::symlink_metadata(END);
    writeln!(report, "{} {} {}", told.unknown, told.failed, told.done).unwrap();
}

fn report(store: &std::path::Path) -> PathBuf {
    store.with_extension("report")
}

fn told(bench: &Bench, what: &str) -> Told {
    let path = report(bench.store.path());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let numbers: Vec<usize> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [unknown, failed, done] = numbers[..] else { panic!("{what}: {text}") };
    Told { unknown, failed, done }
}

const CHILD: &str = "file_crash::scarce::child";

/// With no file to open, with one, with two, and so on until it is enough.
#[track_caller]
fn sweep_limits(case: Case) {
    let enough = Told { unknown: 0, failed: usize::from(case == Case::CheckFails), done: case.paths().len() };
    let enough = Told { done: enough.done - enough.failed, ..enough };
    for more in 0..64 {
        let bench = Bench::new(case, "/tmp");
        let what = format!("{}: {more} files may be opened", case.word());
        let output =
            bench.child_of(CHILD, &["-e", "trace=none"], &[("AGENTD_TEST_FILES", &more.to_string())]);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
        let told = told(&bench, &what);
        bench.assert_whole(&what);
        bench.assert_mended_noting(&what, Noted::PerhapsWithout);
        if told == enough {
            assert!(more > 0, "{what}: nothing was scarce");
            return;
        }
        assert!(told.unknown + told.failed > 0, "{what}: it is told: {told:?}");
    }
    panic!("{} needs more than 64 files at once", case.word());
}

fn sweep_calls(case: Case) {
    let mut struck = 0;
    let calls: Vec<&str> = SCARCE.iter().map(|(call, _)| *call).collect();
    let counts = count(CHILD, case, "/tmp", &calls);
    for (call, how) in SCARCE {
        let Some((before, between)) = counts.get(call).copied() else { continue };
        for number in before + 1..=before + between {
            let bench = Bench::new(case, "/tmp");
            let what = format!("{}: {how} at {call} number {number}", case.word());
            let log = bench.store.path().with_extension("strace");
            let inject = format!("inject={call}:error={how}:when={number}");
            let options = ["-e", &inject, "-e", &format!("trace={call}"), "-o", log.to_str().unwrap()];
            let output = bench.child_of(CHILD, &options, &[]);
            let fired = std::fs::read_to_string(&log).unwrap().contains("(INJECTED)");
            std::fs::remove_file(&log).unwrap();
            assert!(fired, "{what}: it did not");
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
            told(&bench, &what);
            bench.assert_whole(&what);
            bench.assert_mended_noting(&what, Noted::PerhapsWithout);
            struck += 1;
        }
    }
    assert!(struck > 10, "{} has only {struck} such calls", case.word());
}

#[test]
fn a_look_and_a_change_without_files_to_open_tell_so_and_do_nothing_wrong() {
    for case in [Case::Replace, Case::Create, Case::Remove, Case::ReplaceDirectory, Case::Batch] {
        sweep_limits(case);
    }
}

#[test]
fn a_check_without_files_to_open_leaves_the_old_or_the_new() {
    sweep_limits(Case::CheckPasses);
    sweep_limits(Case::CheckFails);
}

#[test]
fn any_call_that_finds_something_used_up_leaves_the_old_or_the_new_and_the_next_pass_mends_it() {
    for case in [Case::Replace, Case::Create, Case::Remove, Case::ReplaceDirectory] {
        sweep_calls(case);
    }
}
