//! Whatever is done to the history, checking it finds the first entry that does not fit.

use super::*;
use rusqlite::Connection;

fn filled(bench: &Bench) -> (Head, u64) {
    let mut record = bench.open();
    for number in 0..10 {
        bring(&mut record, &format!("file:/srv/{number}"));
    }
    drop(record);
    let history = bench.history();
    let Verification::Whole { entries, head, .. } = history.check().unwrap() else { panic!() };
    assert_eq!(entries, head.seq);
    (head, entries)
}

fn tamper(bench: &Bench, sql: &str) {
    let db = Connection::open(bench.dir.path().join("record/record.db")).unwrap();
    db.execute_batch(sql).unwrap();
}

fn broken_at(bench: &Bench, known: Option<&Head>) -> Option<u64> {
    match bench.history().verify(&known.map(|head| noted(*head)).into_iter().collect::<Vec<_>>()).unwrap().0 {
        Verification::Whole { .. } => None,
        Verification::Broken { seq, .. } => Some(seq),
    }
}

#[test]
fn every_change_of_an_entry_is_found_at_its_number() {
    let columns = [
        "body = replace(body, 'a', 'b')",
        "at = at + 1",
        "what = 'seen '",
        "pass = coalesce(pass, 0) + 1",
        "drift = coalesce(drift, 0) + 1",
        "kind = 'package'",
        "key = coalesce(key, '') || 'x'",
        "digest = zeroblob(32)",
        "digest = x'00'",
    ];
    for seq in [1, 2, 17, 40] {
        for column in columns {
            let bench = Bench::new();
            assert_eq!(filled(&bench).1, 40);
            tamper(&bench, &format!("UPDATE entries SET {column} WHERE seq = {seq}"));
            assert_eq!(broken_at(&bench, None), Some(seq), "{column} of {seq}");
        }
    }
}

#[test]
fn dropped_reordered_and_added_entries_are_found() {
    for (sql, seq) in [
        ("DELETE FROM entries WHERE seq = 1", 1),
        ("DELETE FROM entries WHERE seq <= 5", 1),
        ("DELETE FROM entries WHERE seq = 20", 20),
        ("DELETE FROM entries WHERE seq BETWEEN 20 AND 30", 20),
        ("DELETE FROM entries WHERE seq = 40", 40),
        ("DELETE FROM entries WHERE seq > 30", 31),
        ("DELETE FROM entries", 1),
        (
            "UPDATE entries SET seq = 1000 WHERE seq = 7; UPDATE entries SET seq = 7 WHERE seq = 8;
             UPDATE entries SET seq = 8 WHERE seq = 1000",
            7,
        ),
        (
            "INSERT INTO entries SELECT 41, at, what, pass, drift, kind, key, body, digest FROM entries
             WHERE seq = 40",
            41,
        ),
        ("DELETE FROM entries WHERE seq = 9; UPDATE entries SET seq = seq - 1 WHERE seq > 9", 9),
    ] {
        let bench = Bench::new();
        filled(&bench);
        tamper(&bench, sql);
        assert_eq!(broken_at(&bench, None), Some(seq), "{sql}");
    }
}

#[test]
fn a_history_that_was_rewritten_with_a_head_of_its_own_is_found_by_a_head_noted_elsewhere() {
    let bench = Bench::new();
    let (head, _) = filled(&bench);
    assert_eq!(broken_at(&bench, Some(&head)), None);
    let other = Bench::new();
    other.pass_time(60);
    filled(&other);
    let forged = other.dir.path().join("record/record.db");
    let real = bench.dir.path().join("record/record.db");
    #[allow(clippy::disallowed_methods)] // a person who is root
    std::fs::copy(forged, real).unwrap();
    assert_eq!(broken_at(&bench, None), None, "it fits together");
    assert_eq!(broken_at(&bench, Some(&head)), Some(40));
    let later = Head { seq: 45, ..head };
    assert_eq!(broken_at(&bench, Some(&later)), Some(41), "the noted entry is not there at all");
}

#[test]
fn a_cut_tail_is_not_healed_by_going_on() {
    let bench = Bench::new();
    filled(&bench);
    tamper(&bench, "DELETE FROM entries WHERE seq > 35");
    let mut record = bench.open();
    bring(&mut record, "file:/srv/more");
    drop(record);
    assert_eq!(broken_at(&bench, None), Some(36));
}

#[test]
fn an_index_that_hides_entries_is_found() {
    let bench = Bench::new();
    filled(&bench);
    // An index that says other than its table, as a flipped byte or a skilled hand leaves it.
    tamper(
        &bench,
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX entries_by_drift ON entries (drift) WHERE drift > 5'
         WHERE name = 'entries_by_drift';
         PRAGMA writable_schema = RESET;
         REINDEX entries_by_drift;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX entries_by_drift ON entries (drift) WHERE drift IS NOT NULL'
         WHERE name = 'entries_by_drift';",
    );
    let db = Connection::open(bench.dir.path().join("record/record.db")).unwrap();
    let through_index: u64 = db
        .query_row(
            "SELECT count(*) FROM entries INDEXED BY entries_by_drift WHERE drift IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(through_index, 15, "the damage is done: half of them");
    drop(db);
    let found = bench.history().check().unwrap();
    assert!(matches!(found, Verification::Broken { seq: 1, .. }), "{found:?}");
}

#[test]
fn dropping_the_oldest_by_age_leaves_a_chain_that_is_whole() {
    let bench = Bench::new();
    let (early, _) = filled(&bench);
    bench.pass_time(100 * 24 * 3600);
    let mut record = bench.open();
    bring(&mut record, "file:/srv/young");
    let keep = Retention { age: Duration::from_secs(24 * 3600), ..Retention::default() };
    // Fewer than a chunk are not worth a trim of their own.
    assert_eq!(record.tidy(&keep).unwrap(), 0);
    for number in 0..100 {
        bring(&mut record, &format!("file:/srv/more/{number}"));
    }
    bench.pass_time(100 * 24 * 3600);
    bring(&mut record, "file:/srv/youngest");
    let dropped = record.tidy(&keep).unwrap();
    assert_eq!(dropped, 40 + 4 + 400);
    assert_eq!(record.tidy(&keep).unwrap(), 0, "once");
    let history = bench.history();
    assert!(matches!(history.check().unwrap(), Verification::Whole { entries: 5, .. }));
    assert!(
        matches!(history.verify(&[noted(early)]).unwrap().0, Verification::Whole { .. }),
        "older than what is kept"
    );
    assert_eq!(history.drifts(&DriftFilter::default()).unwrap().len(), 1);
    assert_eq!(record.owned(crate::model::KindName::File).count(), 112, "what is owned does not age");
    drop(record);
    tamper(&bench, "DELETE FROM entries WHERE seq = (SELECT MIN(seq) FROM entries)");
    assert!(broken_at(&bench, None).is_some(), "what is kept is still guarded at its beginning");
}

#[test]
fn dropping_the_oldest_by_size_stops_when_it_is_small_enough() {
    let bench = Bench::new();
    let mut record = bench.open();
    for number in 0..300 {
        bring(&mut record, &format!("file:/srv/{number}"));
    }
    let size = |record: &Record| -> u64 {
        let number = |sql: &str| record.db.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
        (number("PRAGMA page_count") - number("PRAGMA freelist_count")) * number("PRAGMA page_size")
    };
    let before = size(&record);
    let keep = Retention { bytes: before / 2, ..Retention::default() };
    assert!(record.tidy(&keep).unwrap() > 0);
    assert!(size(&record) <= before / 2 || record.ledger.head.seq < 600);
    assert!(matches!(bench.history().check().unwrap(), Verification::Whole { .. }));
    let left = bench.history().drifts(&DriftFilter { limit: Some(1000), ..DriftFilter::default() }).unwrap();
    assert!(left.first().is_some_and(|drift| drift.resource == id("file:/srv/299")), "the newest stay");
}
