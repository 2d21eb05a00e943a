//! Verdicts over histories: which commits must be signed, what descends from what, who may change the list of signers, and
//! what a clock that is wrong does. Where git has a word (descent, each signature), it is asked.

use std::collections::BTreeMap;

use agentd::model::CommitId;
use agentd::trust::{
    Kind, Lasting, Memory, Objects, Policy, Refusal, Revoked, Signers, Strict, judge, stands,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::bench::{Bench, NOW, payload, stamp, with_header};

const DAY: i64 = 86_400;
const BOTH: [Strict; 2] = [Strict::Tip, Strict::All];
const PATH: &str = "trust/signers";

/// A repository that grows, and the same objects for the judge.
pub struct Tale<'a> {
    pub bench: &'a Bench,
    pub objects: Objects,
    count: u32,
}

impl<'a> Tale<'a> {
    pub fn new(bench: &'a Bench) -> Self {
        Tale { bench, objects: Objects::with_limit(16 << 20), count: 0 }
    }

    pub fn put(&mut self, kind: Kind, bytes: &[u8]) -> CommitId {
        self.objects.insert(kind, bytes).unwrap();
        self.bench.store(kind, bytes)
    }

    /// A tree with the list of signers at its path.
    pub fn tree(&mut self, list: Option<&str>) -> CommitId {
        let Some(list) = list else { return self.put(Kind::Tree, b"") };
        let blob = self.put(Kind::Blob, list.as_bytes());
        let folder = self.put(Kind::Tree, &entry("100644 signers", &blob));
        self.put(Kind::Tree, &entry("40000 trust", &folder))
    }

    pub fn commit(&mut self, list: Option<&str>, parents: &[&CommitId], signer: Option<&str>) -> CommitId {
        self.count += 1;
        let tree = self.tree(list);
        let parents: Vec<&str> = parents.iter().map(|parent| parent.as_str()).collect();
        let payload = payload(tree.as_str(), &parents, NOW - 60, &format!("number {}", self.count));
        let bytes = match signer {
            None => payload,
            Some(key) => with_header(&payload, "gpgsig", &self.bench.sign(key, "git", &payload)),
        };
        self.put(Kind::Commit, &bytes)
    }
}

/// An entry of a tree.
pub fn entry(mode_and_name: &str, id: &CommitId) -> Vec<u8> {
    let hex = id.as_str();
    let id = (0..20).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
    mode_and_name.bytes().chain([0]).chain(id).collect()
}

/// A list of signers with a version, or without one.
pub fn list(bench: &Bench, version: Option<u32>, keys: &[&str]) -> String {
    let head = version.map_or(String::new(), |version| format!("# version: {version}\n"));
    keys.iter().fold(head, |list, key| list + &format!("{key}@example.org {}\n", bench.public(key)))
}

pub fn policy(bench: &Bench, strict: Strict, local: &[&str]) -> Policy {
    let signers = Signers::parse("local", list(bench, None, local).as_bytes(), &TimeZone::UTC).unwrap();
    Policy {
        signers,
        revoked: Revoked::default(),
        strict,
        identities: Vec::new(),
        delegated: Some(PATH.into()),
        zone: TimeZone::UTC,
    }
}

pub fn remember(last: &CommitId, version: Option<u64>) -> Memory {
    Memory { last: Some(last.clone()), signers_version: version, highest_time: None }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// What is said of a tip now.
pub fn told(policy: &Policy, memory: &Memory, tip: &CommitId, objects: &Objects) -> &'static str {
    judge(policy, memory, at(NOW), at(NOW - 90 * DAY), tip, objects)
        .map_or_else(|refusal| refusal.code(), |_| "taken")
}

#[derive(Default)]
struct Score {
    cells: usize,
    wrong: Vec<String>,
}

impl Score {
    fn cell(&mut self, what: &str, strict: Strict, told: &str, wanted: &str) {
        self.cells += 1;
        if !wanted.split('|').any(|code| code == told) {
            self.wrong.push(format!("{what}, {strict:?}: told {told}, wanted {wanted}"));
        }
    }
}

/// How a tip's list differs from the accepted one, of version 5, which lists `other`.
const CHANGES: [&str; 7] = ["same", "higher", "equal", "lower", "removed", "numberless", "faulty"];

fn changed(bench: &Bench, change: &str) -> Option<String> {
    let both = ["other", "newcomer"];
    match change {
        "same" => Some(list(bench, Some(5), &["other"])),
        "higher" => Some(list(bench, Some(6), &both)),
        "equal" => Some(list(bench, Some(5), &both)),
        "lower" => Some(list(bench, Some(4), &both)),
        "removed" => None,
        "numberless" => Some(list(bench, None, &both)),
        _ => Some("# version: 6\nother@example.org ssh-ed25519 AAAA\n".into()),
    }
}

fn lists(bench: &Bench, score: &mut Score) {
    let mut tale = Tale::new(bench);
    let first = list(bench, Some(5), &["other"]);
    let last = tale.commit(Some(&first), &[], Some("ed25519"));
    for change in CHANGES {
        for signer in ["ed25519", "other", "newcomer", "rsa"] {
            let tip = tale.commit(changed(bench, change).as_deref(), &[&last], Some(signer));
            let wanted = match (change, signer) {
                // Who signed is asked before what was changed: a stranger's list is not even read.
                (_, "newcomer" | "rsa") => "signer-unknown",
                ("faulty", _) => "signers-file",
                ("same", _) => "taken",
                (_, "other") => "signers-change",
                ("higher" | "removed", _) => "taken",
                _ => "signers-version",
            };
            for strict in BOTH {
                let told = told(
                    &policy(bench, strict, &["ed25519"]),
                    &remember(&last, Some(5)),
                    &tip,
                    &tale.objects,
                );
                score.cell(&format!("list {change} by {signer}"), strict, told, wanted);
            }
        }
    }
}

/// What happened, the list and the signer of each commit, what is told with `tip` and with `all`.
type Step<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// Steps between two polls: (list, signer) of each commit, in a line, and what is told of the last one.
fn steps(bench: &Bench, score: &mut Score) {
    let old = list(bench, Some(5), &["other"]);
    let grown = list(bench, Some(6), &["other", "newcomer"]);
    let shrunk = list(bench, Some(6), &[]);
    let late = list(bench, Some(7), &["other"]);
    let cases: [Step<'_>; 9] = [
        (
            "a newcomer after a local key let it in",
            &[(&grown, "ed25519"), (&grown, "newcomer")],
            "taken",
            "taken",
        ),
        (
            "a newcomer let in by a delegate",
            &[(&grown, "other"), (&grown, "newcomer")],
            "signer-unknown",
            "signers-change",
        ),
        ("a newcomer that lets itself in", &[(&grown, "newcomer")], "signer-unknown", "signer-unknown"),
        ("twice", &[(&grown, "newcomer"), (&grown, "newcomer")], "signer-unknown", "signer-unknown"),
        (
            "a delegate after it was let go",
            &[(&shrunk, "ed25519"), (&shrunk, "other")],
            "signer-unknown",
            "signer-unknown",
        ),
        (
            "a list that goes back between",
            &[(&grown, "ed25519"), (&old, "ed25519")],
            "signers-version",
            "signers-version",
        ),
        (
            "a delegate that puts itself back",
            &[(&shrunk, "ed25519"), (&old, "other")],
            "signer-unknown",
            "signer-unknown",
        ),
        (
            "lists that rise twice",
            &[(&grown, "ed25519"), (&late, "ed25519"), (&late, "other")],
            "taken",
            "taken",
        ),
        (
            "a newcomer let go again",
            &[(&grown, "ed25519"), (&late, "ed25519"), (&late, "newcomer")],
            "signer-unknown",
            "signer-unknown",
        ),
    ];
    for (what, commits, tip_wanted, all_wanted) in cases {
        let mut tale = Tale::new(bench);
        let last = tale.commit(Some(&old), &[], Some("ed25519"));
        let mut tip = last.clone();
        for (list, signer) in commits {
            tip = tale.commit(Some(list), &[&tip], Some(signer));
        }
        for (strict, wanted) in BOTH.into_iter().zip([tip_wanted, all_wanted]) {
            let told =
                told(&policy(bench, strict, &["ed25519"]), &remember(&last, Some(5)), &tip, &tale.objects);
            score.cell(what, strict, told, wanted);
        }
    }
}

/// A delegate that was let go can't come back by a side branch from before.
fn side_branches(bench: &Bench, score: &mut Score) {
    let mut tale = Tale::new(bench);
    let old = list(bench, Some(5), &["other", "newcomer"]);
    let new = list(bench, Some(6), &["other"]);
    let root = tale.commit(Some(&old), &[], Some("ed25519"));
    let last = tale.commit(Some(&new), &[&root], Some("ed25519"));
    let by_other = tale.commit(Some(&old), &[&root], Some("other"));
    let by_gone = tale.commit(Some(&old), &[&root], Some("newcomer"));
    let behind = tale.commit(Some(&old), &[&by_other], Some("newcomer"));
    let cases = [
        (&by_other, "other", "taken"),
        (&by_gone, "other", "signer-unknown"),
        (&behind, "other", "signer-unknown"),
    ];
    for (side, signer, all_wanted) in cases {
        let tip = tale.commit(Some(&new), &[&last, side], Some(signer));
        let stale = tale.commit(Some(&old), &[&last, side], Some("ed25519"));
        for (strict, wanted) in BOTH.into_iter().zip(["taken", all_wanted]) {
            let policy = policy(bench, strict, &["ed25519"]);
            let memory = remember(&last, Some(6));
            score.cell(
                "a side branch from before",
                strict,
                told(&policy, &memory, &tip, &tale.objects),
                wanted,
            );
            let wanted = if wanted == "taken" { "signers-version" } else { wanted };
            score.cell(
                "that brings the old list",
                strict,
                told(&policy, &memory, &stale, &tale.objects),
                wanted,
            );
        }
    }
}

/// Shapes of history, with every choice of signed commits; git says what descends and which signatures are good.
fn shapes(bench: &Bench, score: &mut Score) {
    let file = bench.path("shapes-signers");
    std::fs::write(&file, list(bench, None, &["ed25519"])).unwrap();
    let none = bench.path("shapes-revoked");
    std::fs::write(&none, "").unwrap();
    // Parents of each commit: 0 is the root, 1 the one accepted last, the highest the tip.
    let shapes: [(&str, &[&[usize]]); 10] = [
        ("the same again", &[&[], &[0]]),
        ("a line", &[&[], &[0], &[1], &[2], &[3]]),
        ("a merge", &[&[], &[0], &[1], &[1], &[2, 3]]),
        ("an octopus", &[&[], &[0], &[1], &[1], &[1], &[2, 3, 4]]),
        ("a branch from before merged", &[&[], &[0], &[0], &[1, 2]]),
        ("a merge of a merge", &[&[], &[0], &[1], &[1, 2], &[3, 2]]),
        ("an orphan", &[&[], &[0], &[]]),
        ("a sibling", &[&[], &[0], &[0]]),
        ("an orphan merged", &[&[], &[0], &[], &[1, 2]]),
        ("a fork of two", &[&[], &[0], &[0], &[2]]),
    ];
    for (what, parents) in shapes {
        let fresh = parents.len() - 2;
        for signed in 0..1_u32 << fresh {
            let mut tale = Tale::new(bench);
            let mut made: Vec<CommitId> = Vec::new();
            for (number, parents) in parents.iter().enumerate() {
                let parents: Vec<&CommitId> = parents.iter().map(|&parent| &made[parent]).collect();
                let is_signed = number < 2 || signed >> (number - 2) & 1 == 1;
                let commit = tale.commit(None, &parents, is_signed.then_some("ed25519"));
                made.push(commit);
            }
            let (last, tip) = (&made[1], made.last().unwrap());
            let descends =
                bench.ask_git(&["merge-base", "--is-ancestor", last.as_str(), tip.as_str()]).is_some();
            let range = format!("{last}..{tip}");
            let between = bench.ask_git(&["rev-list", &range]).unwrap();
            let good = |id: &str| bench.git_verifies(&file, &none, &id.parse().unwrap());
            for strict in BOTH {
                let all = match strict {
                    Strict::Tip => good(tip.as_str()),
                    Strict::All => good(tip.as_str()) && between.lines().all(good),
                };
                let wanted = match (descends, all) {
                    (true, true) => "taken",
                    (true, false) => "unsigned",
                    (false, _) => "not-descendant",
                };
                let told =
                    told(&policy(bench, strict, &["ed25519"]), &remember(last, None), tip, &tale.objects);
                score.cell(&format!("{what}, signed {signed:b}"), strict, told, wanted);
            }
        }
    }
}

/// Back to where the branch was, and to where something is missing.
fn rewinds(bench: &Bench, score: &mut Score) {
    let mut tale = Tale::new(bench);
    let root = tale.commit(None, &[], Some("ed25519"));
    let middle = tale.commit(None, &[&root], Some("ed25519"));
    let last = tale.commit(None, &[&middle], Some("ed25519"));
    let lost = tale.commit(None, &[&last], Some("ed25519"));
    let behind = tale.commit(None, &[&lost], Some("ed25519"));
    let mut holey = Objects::with_limit(1 << 20);
    let raw = bench.raw(&behind);
    holey.insert(Kind::Commit, &raw).unwrap();
    for strict in BOTH {
        let policy = policy(bench, strict, &["ed25519"]);
        let memory = remember(&last, None);
        for tip in [&root, &middle] {
            score.cell("a rewind", strict, told(&policy, &memory, tip, &tale.objects), "not-descendant");
        }
        score.cell("a gap", strict, told(&policy, &memory, &behind, &holey), "object-missing");
        score.cell("no tip", strict, told(&policy, &memory, &lost, &holey), "object-missing");
    }
}

/// What a clock that is wrong does, by the window of the key and what is known of the time.
fn clocks(bench: &Bench, score: &mut Score) {
    let build = NOW - 90 * DAY;
    let mut tale = Tale::new(bench);
    let tip = tale.commit(None, &[], Some("ed25519"));
    let windows = [
        ("no end", None),
        ("open", Some((NOW - 400 * DAY, NOW + 400 * DAY))),
        ("expired long ago", Some((NOW - 400 * DAY, NOW - 300 * DAY))),
        ("not yet valid", Some((NOW + 100 * DAY, NOW + 400 * DAY))),
    ];
    for (window, bounds) in windows {
        let options = bounds.map_or(String::new(), |(after, before)| {
            format!("valid-after=\"{}\",valid-before=\"{}\"", stamp(after), stamp(before))
        });
        let line = format!("ada {options} {}", bench.public("ed25519")).replace("  ", " ");
        for (clock, now) in [("1970", 5), ("a minute before the floor", 0), ("right", NOW)] {
            for highest in [None, Some(NOW - 30 * DAY)] {
                let floor = highest.unwrap_or(build);
                let now = if now == 0 { floor - 60 } else { now };
                let wanted = match (window, clock) {
                    // The clock is believed there, and the commit is dated long after it.
                    (_, "a minute before the floor") => "commit-future",
                    ("no end", _) | ("open", "right") => "taken",
                    ("open", _) => "clock-behind",
                    ("expired long ago", _) => "signer-expired",
                    _ => "signer-not-yet-valid",
                };
                for strict in BOTH {
                    let mut policy = policy(bench, strict, &[]);
                    policy.signers = Signers::parse("local", line.as_bytes(), &TimeZone::UTC).unwrap();
                    let memory = Memory { highest_time: highest.map(at), ..Memory::default() };
                    let verdict = judge(&policy, &memory, at(now), at(build), &tip, &tale.objects);
                    let told = verdict.as_ref().map_or_else(|refusal| refusal.code(), |_| "taken");
                    score.cell(
                        &format!("{window}, clock {clock}, highest {highest:?}"),
                        strict,
                        told,
                        wanted,
                    );
                    if let Err(refusal @ (Refusal::ClockBehind { .. } | Refusal::Future { .. })) = &verdict {
                        assert_eq!(
                            refusal.lasting(),
                            Lasting::Clock,
                            "it is asked again when the clock is right"
                        );
                    }
                }
            }
        }
    }
}

/// Runs them all; gives how many cells there were, and what was wrong.
pub fn sweep() -> (usize, Vec<String>) {
    let bench = Bench::new();
    let mut score = Score::default();
    for part in [lists, steps, side_branches, shapes, rewinds, clocks] {
        part(&bench, &mut score);
    }
    (score.cells, score.wrong)
}

#[test]
fn every_history_has_its_verdict() {
    let (cells, wrong) = sweep();
    assert!(cells > 150, "{cells}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_key_taken_away_stops_what_it_signed_from_being_applied_anew() {
    let bench = Bench::new();
    let mut tale = Tale::new(&bench);
    let full = list(&bench, Some(1), &["other"]);
    let first = tale.commit(Some(&full), &[], Some("ed25519"));
    let second = tale.commit(Some(&full), &[&first], Some("other"));
    let third = tale.commit(Some(&list(&bench, Some(2), &[])), &[&second], Some("ed25519"));
    let mut policy = policy(&bench, Strict::Tip, &["ed25519"]);
    let told = |policy: &Policy, memory: &Memory, commit: &CommitId| {
        stands(policy, memory, at(NOW), at(NOW - DAY), commit, &tale.objects)
            .map_or_else(|refusal| refusal.code(), |_| "stands")
    };
    assert_eq!(told(&policy, &remember(&second, Some(1)), &second), "stands");
    assert_eq!(told(&policy, &remember(&third, Some(2)), &second), "signer-unknown", "let go in the list");
    assert_eq!(told(&policy, &remember(&third, Some(2)), &first), "stands");
    policy.revoked = Revoked::parse("revoked", bench.public("ed25519").as_bytes()).unwrap();
    assert_eq!(told(&policy, &remember(&third, Some(2)), &first), "signer-revoked");
    assert_eq!(told(&policy, &remember(&third, Some(2)), &third), "signer-revoked");
}

#[test]
fn losing_the_last_commit_alone_does_not_let_an_older_list_in() {
    let bench = Bench::new();
    let mut tale = Tale::new(&bench);
    let tip = tale.commit(Some(&list(&bench, Some(5), &["other"])), &[], Some("ed25519"));
    let policy = policy(&bench, Strict::Tip, &["ed25519"]);
    let told_with = |version| {
        let memory = Memory { signers_version: version, ..Memory::default() };
        told(&policy, &memory, &tip, &tale.objects)
    };
    let verdicts: BTreeMap<_, _> =
        [None, Some(5), Some(6)].map(|version| (version, told_with(version))).into();
    assert_eq!(verdicts, [(None, "taken"), (Some(5), "taken"), (Some(6), "signers-version")].into());
}

#[test]
fn what_is_remembered_grows_and_neither_a_wrong_clock_nor_a_wrong_date_pushes_it_on() {
    let bench = Bench::new();
    let mut tale = Tale::new(&bench);
    let tip = tale.commit(None, &[], Some("ed25519"));
    let policy = policy(&bench, Strict::Tip, &["ed25519"]);
    let highest = |now: i64| {
        let accepted =
            judge(&policy, &Memory::default(), at(now), at(NOW - 90 * DAY), &tip, &tale.objects).unwrap();
        assert_eq!(accepted.memory.last.as_ref(), Some(&tip));
        accepted.memory.highest_time
    };
    assert_eq!(highest(NOW), Some(at(NOW - 60)), "the commit's own date");
    assert_eq!(
        highest(NOW + 70 * 365 * DAY),
        Some(at(NOW - 60)),
        "a clock in another century proves nothing"
    );
    assert_eq!(highest(5), None, "nor does one of 1970");
}
