//! The agent is killed at any point: what it was told to have written is there, and nothing is half there.
#![allow(clippy::disallowed_methods, unsafe_code)] // starts and kills a process of its own

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::host::clock::SystemClock;

/// Where the child works; set only for the child.
const PLACE: &str = "AGENTD_TEST_RECORD";

/// Not a test by itself: the process that is killed. Says each thing once it is written.
#[test]
fn the_process_that_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let state = Root::open(Path::new(&place)).unwrap();
    let (mut record, opened) = patiently(|| Record::open(&state, Arc::new(SystemClock))).unwrap();
    assert!(!matches!(opened.state, OpenState::Rebuilt { .. }), "{opened:?}");
    let mut out = std::io::stdout().lock();
    let mut say = |words: String| {
        writeln!(out, "\nsaid {words}").unwrap();
        out.flush().unwrap();
    };
    let first = record.owned(crate::model::KindName::File).count();
    for number in first.. {
        let name = format!("file:/srv/{number}");
        begin(&mut record, Trigger::Interval);
        let drift = record.note(&[change(&name, Effect::Creates)]).unwrap()[0];
        say(format!("intent {number} {drift}"));
        record.settle(&[settled(drift, Settlement::Corrected)]).unwrap();
        say(format!("outcome {number} {drift}"));
        record.converged(&[right(&name, "spec")]).unwrap();
        record.set_levels(&[(id("service:a.service"), Reaction::Restart, number as u64 + 1)]).unwrap();
        record.finish_pass(PassCounts::default(), PassResult::Synced).unwrap();
        say(format!("pass {number} {drift}"));
    }
}

#[test]
fn what_was_said_to_be_written_is_there_after_a_kill_at_any_point() {
    let bench = Bench::new();
    let mut kills = 0;
    let mut said_in_all = 0;
    for round in 0..40u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "record::tests::killed::the_process_that_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PLACE, bench.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // After how many words it is killed; the time until the signal arrives makes the point random.
        let patience = 1 + (round * 7) % 23;
        let mut said: Vec<String> = Vec::new();
        while (said.len() as u64) < patience {
            let line = lines.next().expect("the child ended by itself").unwrap();
            said.extend(line.strip_prefix("said ").map(str::to_owned));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the signal arrived counts, too.
        said.extend(
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("said ").map(str::to_owned)),
        );
        kills += 1;
        said_in_all += said.len();
        check(&bench, &said, round);
    }
    assert_eq!(kills, 40);
    assert!(said_in_all > 400, "{said_in_all}");
}

fn check(bench: &Bench, said: &[String], round: u64) {
    let (record, opened) = bench.try_open().unwrap();
    assert!(!matches!(opened.state, OpenState::Rebuilt { .. }), "round {round}: {opened:?}");
    assert!(opened.interrupted.len() <= 1);
    let history = bench.history();
    assert!(matches!(history.check().unwrap(), Verification::Whole { .. }), "round {round}");
    for words in said {
        let [what, number, drift] = words.split(' ').collect::<Vec<_>>()[..] else { panic!("{words}") };
        let name = id(&format!("file:/srv/{number}"));
        let story = history.drift(drift.parse().unwrap()).unwrap();
        let story = story.unwrap_or_else(|| panic!("round {round}: {words} is forgotten"));
        assert_eq!(story.resource, name);
        assert_eq!(story.attempts.len(), 1);
        assert!(record.owner_of(&name).is_some_and(|owned| owned.brought), "round {round}: {words}");
        assert!(record.generation(&name) >= 1);
        match what {
            "intent" => {}
            "outcome" => assert_eq!(story.result, Some(Settlement::Corrected), "round {round}"),
            // Survives a kill, if not a power cut.
            "pass" => {
                assert_eq!(record.owner_of(&name).unwrap().spec, Some(Digest::of(b"spec")), "round {round}");
                let level = record.level(&id("service:a.service"), Reaction::Restart);
                assert!(level >= number.parse::<u64>().ok().map(|number| number + 1), "round {round}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_applied_state_is_whole_after_a_kill_at_any_point() {
    use crate::kind::Desired;
    let bench = Bench::new();
    store_applied(&bench.state(), &Desired { host: "h0".into(), ..Desired::default() }).unwrap();
    for round in 0..20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "record::tests::killed::the_process_that_stores",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PLACE, bench.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // Let it get going: so many bytes of its chatter.
        stdout.read_exact(&mut vec![0; 200 + (round as usize * 13) % 90]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        match load_applied(&bench.state()).unwrap() {
            Applied::Current(desired) => assert!(desired.host.starts_with('h'), "{}", desired.host),
            other => panic!("round {round}: {other:?}"),
        }
        assert!(load_previous(&bench.state()).is_ok(), "round {round}");
    }
}

/// Not a test by itself: stores one state after the other until it is killed.
#[test]
fn the_process_that_stores() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let state = Root::open(Path::new(&place)).unwrap();
    for number in 0u64.. {
        let desired = crate::kind::Desired { host: format!("h{number}"), ..Default::default() };
        store_applied(&state, &desired).unwrap();
        writeln!(std::io::stdout(), "stored {number}").unwrap();
    }
}
