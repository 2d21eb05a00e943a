//! Whatever happens to the files: never more is ours than was, and what is lost is said.
#![allow(clippy::disallowed_methods)] // damages files on purpose

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::KindName;

/// Everything that decides what the agent does, in words.
fn state_of(record: &Record) -> String {
    let mut words = Vec::new();
    for kind in KindName::ALL {
        words.extend(record.remembered(kind).map(|one| format!("{kind} {one:?}")));
    }
    words.push(format!("{:?}", record.levels));
    words.push(format!("{:?}", record.open));
    words.push(format!("{:?}", record.notes));
    words.join("\n")
}

fn brought(record: &Record) -> BTreeSet<String> {
    let of_kind =
        |kind| record.owned(kind).filter(|(_, owned)| owned.brought).map(|(key, _)| key.to_string());
    KindName::ALL.into_iter().flat_map(of_kind).collect()
}

/// A record with something in every table, over many pages, closed.
fn filled(bench: &Bench) -> String {
    let mut record = bench.open();
    for round in 0..6 {
        begin(&mut record, Trigger::Interval);
        let sightings: Vec<Sighting> = (0..25)
            .map(|number| {
                let effect = if number % 2 == 0 { Effect::Creates } else { Effect::Changes };
                change(&format!("file:/srv/{round}/{number}"), effect)
            })
            .collect();
        let drifts = record.note(&sightings).unwrap();
        record
            .settle(&drifts.iter().map(|drift| settled(*drift, Settlement::Corrected)).collect::<Vec<_>>())
            .unwrap();
        let rows: Vec<Converged> =
            sightings.iter().map(|one| right(&one.resource.to_string(), "spec")).collect();
        record.converged(&rows).unwrap();
        record.finish_pass(PassCounts::default(), PassResult::Synced).unwrap();
    }
    record.note(&[seen("file:/etc/open", "0600")]).unwrap();
    record.set_levels(&[(id("service:a.service"), crate::kind::Reaction::Restart, 4)]).unwrap();
    record.set_fact(Fact::LastAccepted, &commit('c')).unwrap();
    let since = "2026-11-23T12:00:00Z".parse().unwrap();
    let target = SuspendTarget::Kind(KindName::Package);
    let suspension = Suspension { target, reason: "x".into(), owner: "anna".into(), since, until: None };
    record.suspend(suspension).unwrap();
    state_of(&record)
}

fn file(bench: &Bench) -> PathBuf {
    bench.dir.path().join("record/record.db")
}

/// What opening a damaged record came to.
#[derive(Debug, PartialEq)]
enum Came {
    /// As it was, history included.
    Whole,
    /// As it was, but the history is broken, and says so.
    HistoryBroken,
    /// Begun anew; the damaged one is kept.
    Anew,
}

fn judge(bench: &Bench, state: &str, ours: &BTreeSet<String>, what: &str) -> Came {
    let (record, opened) = bench.try_open().unwrap_or_else(|error| panic!("{what}: {error:?}"));
    match opened.state {
        OpenState::New => panic!("{what}: a damaged record was taken for none"),
        OpenState::Rebuilt { kept, .. } => {
            assert!(kept.is_dir(), "{what}: it was not kept");
            assert!(brought(&record).is_empty(), "{what}: something is ours that nobody remembers");
            Came::Anew
        }
        OpenState::Fine => {
            assert!(brought(&record).is_subset(ours), "{what}: more is ours than was");
            assert_eq!(state_of(&record), *state, "{what}: other than it was, and not noticed");
            match bench.history().check() {
                Ok(Verification::Whole { .. }) => Came::Whole,
                Ok(Verification::Broken { .. }) => Came::HistoryBroken,
                Err(error) if error.is_damage() => Came::HistoryBroken,
                Err(error) => panic!("{what}: {error:?}"),
            }
        }
    }
}

/// Puts the record back as it was before the damage.
fn put_back(bench: &Bench, whole: &[u8]) {
    for entry in std::fs::read_dir(bench.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    std::fs::create_dir(bench.dir.path().join("record")).unwrap();
    std::fs::write(file(bench), whole).unwrap();
}

#[test]
fn a_flipped_byte_in_any_page_is_noticed_or_harmless() {
    let bench = Bench::in_memory();
    let state = filled(&bench);
    let ours = brought(&bench.open());
    let whole = std::fs::read(file(&bench)).unwrap();
    let page = 4096;
    assert!(whole.len() / page > 20, "many pages");
    let entries =
        bench.history().drifts(&DriftFilter { limit: Some(1000), ..DriftFilter::default() }).unwrap();
    assert_eq!(entries.len(), 151);
    let (mut noticed, mut points) = (0, 0);
    for start in (0..whole.len()).step_by(page) {
        // The header of each page, and bytes all over it.
        for offset in (0..16).step_by(3).chain((16..page).step_by(409)) {
            let mut bytes = whole.clone();
            bytes[start + offset] ^= 0xff;
            put_back(&bench, &bytes);
            let what = format!("byte {offset} of page {}", start / page + 1);
            let came = judge(&bench, &state, &ours, &what);
            points += 1;
            noticed += usize::from(came != Came::Whole);
        }
    }
    // The rest fell on bytes that mean nothing: unused space, fields SQLite keeps for others.
    assert!(noticed * 10 > points * 5, "{noticed} of {points} noticed");
}

#[test]
fn a_truncated_file_is_never_taken_for_a_smaller_record() {
    let bench = Bench::in_memory();
    let state = filled(&bench);
    let ours = brought(&bench.open());
    let whole = std::fs::read(file(&bench)).unwrap();
    let pages = (0..whole.len()).step_by(4096 * 3);
    for length in pages.chain([1, 16, 99, 100, 512, 4095, 4097, whole.len() - 1]) {
        put_back(&bench, &whole[..length]);
        let came = judge(&bench, &state, &ours, &format!("{length} bytes left"));
        // The last page may be cut where nothing of the state was.
        let expected = if length + 1 == whole.len() { Came::HistoryBroken } else { Came::Anew };
        assert_eq!(came, expected, "{length} bytes left");
    }
}

#[test]
fn a_missing_or_replaced_file_is_damage_and_not_a_beginning() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("missing", |file| std::fs::remove_file(file).unwrap()),
        ("a folder", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
        ("text", |file| std::fs::write(file, "not a database\n".repeat(1000)).unwrap()),
        ("another database", |file| {
            std::fs::remove_file(file).unwrap();
            let other = rusqlite::Connection::open(file).unwrap();
            other.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let bench = Bench::new();
        let state = filled(&bench);
        let ours = brought(&bench.open());
        spoil(&file(&bench));
        assert_eq!(judge(&bench, &state, &ours, what), Came::Anew, "{what}");
    }
}

#[test]
fn a_newer_schema_is_set_aside_untouched() {
    let bench = Bench::new();
    filled(&bench);
    let other = rusqlite::Connection::open(file(&bench)).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    let before = std::fs::read(file(&bench)).unwrap();
    let (record, opened) = bench.try_open().unwrap();
    let OpenState::Rebuilt { why, kept } = opened.state else { panic!("{opened:?}") };
    assert!(why.contains("version 99, newer than the 1"), "{why}");
    assert_eq!(std::fs::read(kept.join("record.db")).unwrap(), before);
    assert!(brought(&record).is_empty());
    drop(record);
    assert_eq!(bench.try_open().unwrap().1.state, OpenState::Fine, "only once");
    let story = bench.history().entries_after(0, 1).unwrap();
    assert!(matches!(&story[0].2, Entry::Rebuilt { why } if why.contains("99")), "the history says so");
}

#[test]
fn a_damaged_log_gives_an_earlier_state_and_never_a_mixture() {
    let bench = Bench::in_memory();
    let mut record = bench.open();
    let mut states = BTreeSet::from([state_of(&record)]);
    for number in 0..8 {
        begin(&mut record, Trigger::Interval);
        let name = format!("file:/srv/{number}");
        let drift = record.note(&[change(&name, Effect::Creates)]).unwrap()[0];
        states.insert(state_of(&record));
        record.settle(&[settled(drift, Settlement::Corrected)]).unwrap();
        states.insert(state_of(&record));
        record.converged(&[right(&name, "x")]).unwrap();
        states.insert(state_of(&record));
    }
    // As a crash leaves it: the log is not in the file yet.
    let image = std::fs::read(file(&bench)).unwrap();
    let log = std::fs::read(file(&bench).with_extension("db-wal")).unwrap();
    drop(record);
    let mut cuts = 0;
    for at in (0..log.len()).step_by(499) {
        for cut in [false, true] {
            put_back(&bench, &image);
            let mut bytes = log.clone();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x01;
            }
            std::fs::write(file(&bench).with_extension("db-wal"), &bytes).unwrap();
            let (record, opened) = bench.try_open().unwrap();
            let found = state_of(&record);
            // What was pending is marked interrupted on opening; compare without that.
            let found = found.replace("pending: false", "pending: true");
            let known = states.iter().any(|state| state.replace("pending: false", "pending: true") == found);
            assert!(known || opened.state != OpenState::Fine, "byte {at}: {found}");
            cuts += 1;
        }
    }
    assert!(cuts > 100);
}

#[test]
fn the_second_to_open_is_told_and_the_next_after_the_first_ended_gets_it() {
    let bench = Bench::new();
    let record = bench.open();
    let error = bench.open_at_once().map(|_| ()).unwrap_err();
    assert!(matches!(error, RecordError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another agentd"), "{error}");
    drop(record);
    assert_eq!(bench.try_open().unwrap().1.state, OpenState::Fine);
}

#[test]
fn a_disk_that_refuses_is_no_damage() {
    let bench = Bench::new();
    filled(&bench);
    // A folder where SQLite wants its log: it can't open it, whoever we are.
    std::fs::create_dir(file(&bench).with_extension("db-wal")).unwrap();
    let error = bench.try_open().map(|_| ()).unwrap_err();
    assert!(!error.is_damage(), "{error:?}");
    assert!(file(&bench).exists(), "left alone");
}

#[test]
fn a_beginning_that_was_cut_short_is_begun_again() {
    let bench = Bench::new();
    let cut_short = bench.dir.path().join("record.new");
    std::fs::create_dir(&cut_short).unwrap();
    std::fs::write(cut_short.join("record.db"), "half").unwrap();
    std::fs::write(cut_short.join("record.db-wal"), "half").unwrap();
    assert_eq!(bench.try_open().unwrap().1.state, OpenState::New);
    assert!(!cut_short.exists());
}
