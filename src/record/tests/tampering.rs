//! Whatever is done to the record at random by someone who may write it, and knows how it is made: all of it is found
//! against the heads noted elsewhere, at the right entry, and nothing is found where nothing was done.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::{Connection, params};

use super::*;
use crate::record::chain::{self, Row};

/// What is done.
#[derive(Clone, Debug)]
enum Tampering {
    /// One character of one column of an entry is another one; the digests stay as they are.
    Flip { seq: u64, column: usize, at: usize },
    /// Entries are taken out.
    Drop { from: u64, count: u64 },
    /// The end is cut off, and the ledger says so, too.
    Truncate { after: u64 },
    /// Two entries change places.
    Swap { one: u64, other: u64 },
    /// An entry is put in, as a copy of another; those behind it move up.
    Insert { seq: u64 },
    /// An entry is another one, and everything behind it is made to follow from it, up to the ledger.
    Rewrite { seq: u64 },
}

const ENTRIES: u64 = 40;
const COLUMNS: [&str; 7] = ["at", "what", "pass", "drift", "kind", "key", "body"];

fn tamperings() -> impl Strategy<Value = Tampering> {
    let seq = || 1..=ENTRIES;
    prop_oneof![
        (seq(), 0..COLUMNS.len(), any::<usize>()).prop_map(|(seq, column, at)| Tampering::Flip {
            seq,
            column,
            at
        }),
        (seq(), 1..10u64).prop_map(|(from, count)| Tampering::Drop { from, count }),
        (0..ENTRIES).prop_map(|after| Tampering::Truncate { after }),
        (seq(), seq()).prop_filter_map("two of them", |(one, other)| {
            (one != other).then_some(Tampering::Swap { one: one.min(other), other: one.max(other) })
        }),
        seq().prop_map(|seq| Tampering::Insert { seq }),
        seq().prop_map(|seq| Tampering::Rewrite { seq }),
    ]
}

impl Tampering {
    /// Does it; returns the first entry that is not what was written.
    fn apply(&self, db: &mut Connection) -> u64 {
        let db = db.transaction().unwrap();
        let run = |sql: &str| db.execute_batch(sql).unwrap();
        let first = match self {
            Tampering::Flip { seq, column, at } => {
                let column = COLUMNS[*column];
                let old: Option<String> = db
                    .query_row(
                        &format!("SELECT CAST({column} AS TEXT) FROM entries WHERE seq = {seq}"),
                        [],
                        |row| row.get(0),
                    )
                    .unwrap();
                let mut new = old.unwrap_or_else(|| "7".into()).into_bytes();
                let at = at % new.len().max(1);
                match new.get_mut(at) {
                    Some(byte) => *byte = if *byte == b'1' { b'2' } else { b'1' },
                    None => new.push(b'1'),
                }
                let sql = format!("UPDATE entries SET {column} = ?1 WHERE seq = {seq}");
                db.execute(&sql, params![String::from_utf8(new).unwrap()]).unwrap();
                *seq
            }
            Tampering::Drop { from, count } => {
                run(&format!("DELETE FROM entries WHERE seq >= {from} AND seq < {from} + {count}"));
                *from
            }
            Tampering::Truncate { after } => {
                run(&format!("DELETE FROM entries WHERE seq > {after}"));
                rewrite(&db, *after);
                after + 1
            }
            Tampering::Swap { one, other } => {
                run(&format!(
                    "UPDATE entries SET seq = 1000 WHERE seq = {one}; UPDATE entries SET seq = {one} WHERE seq = {other};
                     UPDATE entries SET seq = {other} WHERE seq = 1000"
                ));
                *one
            }
            Tampering::Insert { seq } => {
                run(&format!(
                    "UPDATE entries SET seq = seq + 1000 WHERE seq >= {seq};
                     UPDATE entries SET seq = seq - 999 WHERE seq >= 1000;
                     INSERT INTO entries SELECT {seq}, at, what, pass, drift, kind, key, body, digest FROM entries
                     WHERE seq = {seq} + 1"
                ));
                *seq + 1
            }
            Tampering::Rewrite { seq } => {
                run(&format!("UPDATE entries SET at = at + 1 WHERE seq = {seq}"));
                rewrite(&db, *seq - 1);
                *seq
            }
        };
        db.commit().unwrap();
        first
    }
}

/// Makes everything behind an entry follow from it, up to the ledger: what a skilled hand does.
fn rewrite(db: &rusqlite::Transaction<'_>, after: u64) {
    let mut ledger = chain::read_ledger(db).unwrap().unwrap();
    let digest: Option<[u8; 32]> =
        db.query_row("SELECT digest FROM entries WHERE seq = ?1", params![after], |row| row.get(0)).ok();
    ledger.head = Head { seq: after, digest: Digest::from_bytes(digest.unwrap_or([0; 32])) };
    let sql =
        "SELECT seq, at, what, pass, drift, kind, key, body, digest FROM entries WHERE seq > ?1 ORDER BY seq";
    let rows: Vec<Row> = {
        let mut statement = db.prepare(sql).unwrap();
        statement.query_map(params![after], Row::read).unwrap().map(Result::unwrap).collect()
    };
    for row in rows {
        let digest = row.digest(&ledger.head.digest);
        db.execute("UPDATE entries SET digest = ?1 WHERE seq = ?2", params![digest.as_bytes(), row.seq])
            .unwrap();
        ledger.head = Head { seq: row.seq, digest };
    }
    chain::write_ledger(db, &ledger).unwrap();
}

/// A history of forty entries, and the head after each pass as the journal has it.
fn filled(bench: &Bench) -> Vec<Noted> {
    let mut record = bench.open();
    let noted = (0..10).map(|number| {
        bring(&mut record, &format!("file:/srv/{number}"));
        record.head_to_note().unwrap().unwrap()
    });
    noted.collect()
}

#[test]
fn every_tampering_is_found_at_the_first_entry_that_it_changed_and_nothing_else_is() {
    tamper(500);
}

#[test]
#[ignore = "ten thousand of them take a minute or two: for a change of the chain"]
fn ten_thousand_tamperings_are_found() {
    tamper(10_000);
}

fn tamper(cases: u32) {
    let bench = Bench::in_memory();
    let heads = filled(&bench);
    let file = bench.dir.path().join("record/record.db");
    // Without a log beside it: the file is the record.
    Connection::open(&file).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    #[allow(clippy::disallowed_methods)] // a person who is root
    let whole = std::fs::read(&file).unwrap();
    let by_kind = Rc::new(RefCell::new(BTreeMap::<String, u32>::new()));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&tamperings(), |tampering| {
        for rest in ["-wal", "-shm"] {
            #[allow(clippy::disallowed_methods)]
            let _ = std::fs::remove_file(file.with_file_name(format!("record.db{rest}")));
        }
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&file, &whole).unwrap();
        let untouched = bench.history().verify(&heads).unwrap();
        let is_whole = matches!(untouched.0, Verification::Whole { entries: ENTRIES, noted: 10, .. });
        prop_assert!(is_whole && untouched.1.is_empty(), "found where nothing was done: {untouched:?}");
        let first = tampering.apply(&mut Connection::open(&file).unwrap());
        match bench.history().verify(&heads) {
            Ok((Verification::Broken { seq, .. }, _)) => {
                // What was rewritten to its end shows at the next head that was noted.
                let latest = heads.iter().map(|noted| noted.head.seq).find(|seq| *seq >= first);
                let expected = match tampering {
                    Tampering::Rewrite { .. } => first..=latest.unwrap(),
                    _ => first..=first,
                };
                prop_assert!(expected.contains(&seq), "{tampering:?}: at {seq} and not {first}");
            }
            // A value that is not even readable.
            Err(error) if error.is_damage() => {}
            other => prop_assert!(false, "{tampering:?} was not found: {other:?}"),
        }
        let word = format!("{tampering:?}").split(' ').next().unwrap_or_default().to_owned();
        *by_kind.borrow_mut().entry(word).or_default() += 1;
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(by_kind.borrow().len(), 6, "each was tried: {by_kind:?}");
}

#[test]
fn a_head_of_a_record_that_was_replaced_is_told_as_such() {
    let (bench, other) = (Bench::in_memory(), Bench::in_memory());
    let (heads, strange) = (filled(&bench), filled(&other));
    let (found, others) = bench.history().verify(&strange).unwrap();
    assert!(matches!(found, Verification::Whole { noted: 0, .. }));
    assert_eq!(others, strange);
    let without_history: Vec<Noted> = heads.iter().map(|one| noted(one.head)).collect();
    let (found, others) = bench.history().verify(&without_history).unwrap();
    assert!(matches!(found, Verification::Whole { noted: 10, .. }) && others.is_empty());
}

#[test]
fn drifts_are_found_by_who_made_them() {
    use crate::model::{Account, Actor, Attribution, Confidence};
    let bench = Bench::in_memory();
    let mut record = bench.open();
    let by = |user: (u32, &str), login: Option<(u32, &str)>| {
        let account = |(uid, name): (u32, &str)| Account { uid, name: Some(name.to_owned()) };
        let actor = Actor { user: Some(account(user)), login: login.map(account), ..Actor::default() };
        Attribution { confidence: Confidence::Certain, actor: Some(actor), ..Attribution::unknown("told") }
    };
    let drifts: Vec<DriftId> =
        (0..3).map(|number| bring(&mut record, &format!("file:/srv/{number}"))).collect();
    let anna = by((0, "root"), Some((1000, "anna")));
    record.attribute(&[(drifts[0], anna), (drifts[1], by((33, "www-data"), None))]).unwrap();
    record.attribute(&[(drifts[2], Attribution::unknown("ended"))]).unwrap();
    for (user, expected) in [
        ("anna", vec![drifts[0]]),
        ("1000", vec![drifts[0]]),
        ("root", vec![drifts[0]]),
        ("33", vec![drifts[1]]),
        ("bert", vec![]),
        ("", vec![]),
        ("' OR 1=1 --", vec![]),
    ] {
        let filter = DriftFilter { user: Some(user.to_owned()), ..DriftFilter::default() };
        let found: Vec<DriftId> = bench.history().drifts(&filter).unwrap().iter().map(|one| one.id).collect();
        assert_eq!(found, expected, "{user}");
    }
}
