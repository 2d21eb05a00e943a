//! The power goes at any step while the daemon writes what is its own: the applied state, the firewall that is loaded at
//! boot with the account of its confirmation, and the record. What it said to be written is there afterwards, and
//! nothing is half there.
//!
//! A child process is killed at its N-th call of a kind by `strace`, its disk (ext4 in an image) is shut down without
//! writing its journal, mounted again, and looked at. What this shows is what ext4 makes of the calls that were made
//! until then; it reorders nothing by itself, as a disk with a cache of its own may.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentd::guard::firewall::{Confirmation, confirm, confirmation, recover};
use agentd::host::Host;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::{FakePrograms, Finished};
use agentd::host::units::FakeUnits;
use agentd::kind::Desired;
use agentd::kind::firewall::undo::{arm, in_force};
use agentd::model::{FieldDiff, ResourceId, Trigger, Verdict};
use agentd::record::{
    Applied, Effect, History, Next, OpenState, PassScope, Record, RecordError, Settled, Settlement, Sighting,
    Verification, load_applied, store_applied,
};

use crate::file_crash::disk::Disk;

/// The calls that change something on a disk or wait for it.
const CALLS: [&str; 12] = [
    "write",
    "pwrite64",
    "fchown",
    "fchmod",
    "fdatasync",
    "fsync",
    "syncfs",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdirat",
    "ftruncate",
];

const BEGIN: &str = "/agentd-test-begins";
const END: &str = "/agentd-test-ends";

/// What is written.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    Applied,
    Confirmed,
    Recorded,
}

const CASES: [(&str, Case); 3] =
    [("applied", Case::Applied), ("confirmed", Case::Confirmed), ("recorded", Case::Recorded)];

fn desired(name: &str) -> Desired {
    Desired { host: name.into(), ..Desired::default() }
}

fn host(place: &Path) -> Host {
    let done = || Finished { code: Some(0), stdout: Vec::new(), stderr: Vec::new() };
    Host {
        root: Root::open(place).unwrap(),
        programs: Arc::new(FakePrograms::answering(move |_| Ok(done()))),
        units: Arc::new(FakeUnits::new()),
        netfilter: Arc::new(FakeNetfilter::default()),
        accounts: Arc::new(ListedAccounts::default()),
        clock: Arc::new(SystemClock),
    }
}

const WINDOW: Duration = Duration::from_secs(3600);

fn load_and_confirm(host: &Host, undo: &str, next: &str) {
    arm(host, WINDOW, undo, next).unwrap();
    in_force(host).unwrap();
    assert!(confirm(host).unwrap());
}

fn boots(host: &Host) -> String {
    let bytes = host.root.read("/var/lib/agentd/firewall.nft", 1 << 20).unwrap().unwrap_or_default();
    String::from_utf8(bytes).unwrap().lines().filter(|line| !line.starts_with('#')).collect()
}

/// Another process may hold the lock of the record for the moment between its fork and its exec.
fn open(place: &Path) -> (Record, OpenState) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match Record::open(&Root::open(place).unwrap(), Arc::new(SystemClock)) {
            Err(RecordError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => {
                let (record, opened) = opened.unwrap();
                return (record, opened.state);
            }
        }
    }
}

fn name(number: usize) -> ResourceId {
    format!("file:/srv/{number}").parse().unwrap()
}

/// One pass that brings something; says each thing once it must survive.
fn bring(record: &mut Record, number: usize, say: &mut impl FnMut(&str)) {
    record.begin_pass([Trigger::Interval].into(), PassScope::Full, None).unwrap();
    let sighting = Sighting {
        resource: name(number),
        verdict: Verdict::Drifted,
        fields: vec![FieldDiff::new("mode", "0600", "0644")],
        place: None,
        prune: false,
        next: Next::Change { action: "set mode".into(), effect: Effect::Creates },
    };
    let drift = record.note(&[sighting]).unwrap()[0];
    say(&format!("{number} {drift}"));
    record.settle(&[Settled { drift, result: Settlement::Corrected, kept: Vec::new() }]).unwrap();
}

impl Case {
    fn prepare(self, place: &Path) {
        match self {
            Case::Applied => store_applied(&Root::open(place).unwrap(), &desired("h1")).unwrap(),
            Case::Confirmed => load_and_confirm(&host(place), "undo", "first"),
            Case::Recorded => bring(&mut open(place).0, 0, &mut |_| ()),
        }
        rustix::fs::sync();
    }

    fn work(self, place: &Path, say: &mut impl FnMut(&str)) {
        match self {
            Case::Applied => {
                for name in ["h2", "h3"] {
                    store_applied(&Root::open(place).unwrap(), &desired(name)).unwrap();
                    say(name);
                }
            }
            Case::Confirmed => {
                for (undo, next) in [("first", "second"), ("second", "third")] {
                    load_and_confirm(&host(place), undo, next);
                    say(next);
                }
            }
            Case::Recorded => {
                let mut record = open(place).0;
                (1..4).for_each(|number| bring(&mut record, number, say));
            }
        }
    }

    fn check(self, place: &Path, said: &[String], what: &str) {
        match self {
            Case::Applied => {
                let Applied::Current(now) = load_applied(&Root::open(place).unwrap()).unwrap() else {
                    panic!("{what}: the applied state is not whole")
                };
                let known = ["h1", "h2", "h3"];
                let at = known.iter().position(|name| **name == *now.host);
                assert!(at.is_some_and(|at| at >= said.len()), "{what}: {} after {said:?}", now.host);
            }
            Case::Confirmed => {
                let host = host(place);
                let known =
                    |boots: String| ["first", "second", "third"].iter().position(|name| **name == boots);
                // Loaded before the agent is there to put anything right.
                let at = known(boots(&host));
                assert!(at.is_some_and(|at| at >= said.len()), "{what}: {:?} after {said:?}", boots(&host));
                recover(&host).unwrap();
                let (boots, stands) = (boots(&host), confirmation(&host).unwrap());
                assert!(known(boots.clone()) >= at, "{what}: {boots:?} after {said:?}");
                // The last one waits for nothing any more.
                let is_last = boots == "third";
                assert!(!is_last || stands == Confirmation::Settled, "{what}: {boots} and {stands:?}");
            }
            Case::Recorded => {
                let (mut record, state) = open(place);
                assert!(!matches!(state, OpenState::Rebuilt { .. }), "{what}: {state:?}");
                let history = History::open(&Root::open(place).unwrap()).unwrap().unwrap();
                let (whole, _) = history.verify(&[]).unwrap();
                assert!(matches!(whole, Verification::Whole { .. }), "{what}: {whole:?}");
                for words in said {
                    let (number, drift) = words.split_once(' ').unwrap();
                    let known = history.drift(drift.parse().unwrap()).unwrap();
                    let known = known.unwrap_or_else(|| panic!("{what}: the intent {words} is forgotten"));
                    assert_eq!(known.resource, name(number.parse().unwrap()), "{what}");
                    assert!(record.owner_of(&known.resource).is_some(), "{what}: {words}");
                }
                assert!(record.owner_of(&name(0)).is_some(), "{what}");
                bring(&mut record, 9, &mut |_| ());
            }
        }
    }
}

#[test]
#[ignore = "run by the sweeps below, under strace"]
fn child() {
    let variable = |name: &str| std::env::var_os(name).expect("run by the sweeps below, under strace");
    let case = variable("AGENTD_TEST_CASE");
    let (_, case) = CASES.into_iter().find(|(word, _)| **word == *case).unwrap();
    let mut out = std::io::stdout().lock();
    // `strace` counts for each thread. The test runner's own thread writes a few lines: stay clear of its numbers.
    let mut sink = std::fs::File::create("/dev/null").unwrap();
    (0..50).for_each(|_| sink.write_all(b"x").unwrap());
    let _ = std::fs::symlink_metadata(BEGIN);
    case.work(&PathBuf::from(variable("AGENTD_TEST_PLACE")), &mut |words| {
        writeln!(out, "\nsaid {words}").unwrap();
        out.flush().unwrap();
    });
    let _ = std::fs::symlink_metadata(END);
}

fn run(word: &str, place: &Path, options: &[&str]) -> Output {
    Command::new("/usr/bin/strace")
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["power::child", "--exact", "--ignored", "--test-threads=1", "--nocapture"])
        .env("AGENTD_TEST_CASE", word)
        .env("AGENTD_TEST_PLACE", place)
        .output()
        .expect("strace must be installed")
}

/// How often each call is made before the first mark, and between the marks, by the process that makes them.
fn count(word: &str, case: Case) -> BTreeMap<String, (usize, usize)> {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (place, log) = (folder.path().join("place"), folder.path().join("strace"));
    std::fs::create_dir(&place).unwrap();
    case.prepare(&place);
    let trace = format!("trace=statx,{}", CALLS.join(","));
    let output = run(word, &place, &["-e", &trace, "-o", log.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&log).unwrap();
    let pid = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let ours = pid(text.lines().find(|line| line.contains(BEGIN)).expect("the first mark"));
    let (mut begun, mut ended) = (false, false);
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

fn sweep(word: &str, most: usize) {
    let (_, case) = CASES.into_iter().find(|(known, _)| *known == word).unwrap();
    let (mut cuts, mut told) = (0, 0);
    let points: Vec<(String, usize)> = count(word, case)
        .into_iter()
        .flat_map(|(call, (before, between))| {
            (before + 1..=before + between).map(move |number| (call.clone(), number))
        })
        .collect();
    // All of them, or as many as are worth the time, spread over all.
    let step = points.len().div_ceil(most).max(1);
    for (call, number) in points.iter().step_by(step) {
        let disk = Disk::new();
        let place = disk.top().join("place");
        std::fs::create_dir(&place).unwrap();
        case.prepare(&place);
        let what = format!("{word}: power cut at {call} number {number}");
        let (inject, trace) = (format!("inject={call}:signal=KILL:when={number}"), format!("trace={call}"));
        let output = run(word, &place, &["-e", &inject, "-e", &trace, "-o", "/dev/null"]);
        assert!(!output.status.success(), "{what}: it was not");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("said ")).map(str::to_owned).collect();
        disk.cut_power();
        case.check(&place, &said, &what);
        cuts += 1;
        told += said.len();
    }
    assert!(cuts >= 10 && told > 0, "{word}: {cuts} cuts, {told} things said before them");
}

#[test]
fn a_power_cut_at_any_step_leaves_an_applied_state_that_is_whole() {
    sweep("applied", 100);
}

#[test]
fn a_power_cut_at_any_step_of_a_confirmation_leaves_the_old_firewall_at_boot_or_the_new_one() {
    sweep("confirmed", 100);
}

#[test]
fn a_power_cut_while_the_record_is_written_costs_no_intent_that_was_said_to_be_durable() {
    sweep("recorded", 60);
}
