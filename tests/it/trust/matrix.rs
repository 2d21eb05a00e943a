//! Every verdict over a signature, cell by cell: what we say, what the rule says, what `ssh-keygen -Y verify` and
//! `git verify-commit` say. A difference from these is in the table of [`explained`], or it is a wrong verdict.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use agentd::model::CommitId;
use agentd::trust::{Kind, Memory, Objects, Policy, Revoked, Signers, Strict, judge};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::bench::{ADA, Bench, NOW, payload, stamp, with_header};

const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
const KEYS: [&str; 7] = ["ed25519", "ecdsa256", "ecdsa384", "rsa", "rsa2048", "certified", "sk"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Window {
    None,
    Open,
    NotYet,
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Date {
    Now,
    /// Within the window of a key that has expired since.
    Back,
    Ahead,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    key: &'static str,
    namespace: &'static str,
    principals: &'static str,
    line_namespaces: Option<&'static str>,
    window: Window,
    date: Date,
    is_revoked: bool,
}

/// What of a cell refuses it, by code. With several any of them may be told.
fn faults(cell: &Cell) -> Vec<&'static str> {
    let mut codes = Vec::new();
    let mut add = |is_so: bool, code| is_so.then(|| codes.push(code));
    add(cell.namespace != "git", "signature-namespace");
    add(cell.principals != "*@example.org" && cell.principals != ADA, "signer-principal");
    add(cell.line_namespaces == Some("file"), "signer-namespace");
    add(cell.window == Window::NotYet, "signer-not-yet-valid");
    add(cell.window == Window::Expired, "signer-expired");
    add(cell.date == Date::Ahead, "commit-future");
    add(cell.is_revoked, "signer-revoked");
    codes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Oracle {
    Keygen,
    Git,
}

/// Why an oracle may say something else than we do; `None` is a wrong verdict of somebody.
fn explained(oracle: Oracle, cell: &Cell, ours: &str, theirs: bool) -> Option<&'static str> {
    let codes = faults(cell);
    let only = |allowed: &[&str]| !codes.is_empty() && codes.iter().all(|code| allowed.contains(code));
    match (oracle, ours, theirs) {
        (Oracle::Keygen, "commit-future", true) => {
            Some("ssh-keygen is shown no date of a commit: we refuse one that can't be yet")
        }
        (Oracle::Git, _, true) if only(&["commit-future"]) => {
            Some("git does not look whether a commit's date can be yet")
        }
        (Oracle::Git, _, true) if only(&["signer-principal", "commit-future"]) => {
            Some("git lets in every principal that the file names; we ask for those of the settings")
        }
        (Oracle::Git, _, true)
            if only(&["signer-expired", "signer-principal"]) && cell.date == Date::Back =>
        {
            Some("git judges a key at the date in the commit, which its signer chose: we judge at receipt")
        }
        (Oracle::Git, _, true)
            if only(&["signer-not-yet-valid", "signer-principal", "commit-future"])
                && cell.date == Date::Ahead =>
        {
            Some("git judges a key at the date in the commit, which its signer chose: we judge at receipt")
        }
        (Oracle::Git, "taken", false) if cell.window == Window::Open && cell.date == Date::Back => {
            Some("git holds a key for not valid yet at the date in the commit; at receipt it is")
        }
        _ => None,
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for key in KEYS {
        for namespace in ["git", "file"] {
            for principals in [ADA, "*@example.org", "*@example.org,!ada@*", "bob@example.org"] {
                for line_namespaces in [None, Some("git"), Some("file")] {
                    for window in [Window::None, Window::Open, Window::NotYet, Window::Expired] {
                        for date in [Date::Now, Date::Back, Date::Ahead] {
                            for is_revoked in [false, true] {
                                let cell = Cell {
                                    key,
                                    namespace,
                                    principals,
                                    line_namespaces,
                                    window,
                                    date,
                                    is_revoked,
                                };
                                // Combinations of three faults and more show nothing that two do not.
                                if faults(&cell).len() <= 2 {
                                    cells.push(cell);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    cells
}

/// A commit of a key, for a namespace, at a date.
struct Signed {
    id: CommitId,
    bytes: Vec<u8>,
    payload: Vec<u8>,
    signature: String,
}

struct Case {
    bench: Bench,
    commits: BTreeMap<(&'static str, &'static str, Date), Signed>,
    differences: Mutex<Differences>,
}

impl Case {
    fn new() -> Case {
        let bench = Bench::new();
        let mut commits = BTreeMap::new();
        for key in KEYS {
            for namespace in ["git", "file"] {
                for date in [Date::Now, Date::Back, Date::Ahead] {
                    let seconds = match date {
                        Date::Now => NOW - 60,
                        Date::Back => NOW - YEAR - 30 * DAY,
                        Date::Ahead => NOW + YEAR + 30 * DAY,
                    };
                    let payload = payload(EMPTY_TREE, &[], seconds, "a commit");
                    let signature = bench.sign(key, namespace, &payload);
                    let bytes = with_header(&payload, "gpgsig", &signature);
                    let id = bench.store(Kind::Commit, &bytes);
                    commits.insert((key, namespace, date), Signed { id, bytes, payload, signature });
                }
            }
        }
        Case { bench, commits, differences: Mutex::default() }
    }

    /// The line that lets a key in, within the bounds of the cell.
    fn line(&self, cell: &Cell) -> String {
        let mut options = Vec::new();
        if cell.key == "certified" {
            options.push("cert-authority".to_owned());
        }
        options.extend(cell.line_namespaces.map(|namespaces| format!("namespaces=\"{namespaces}\"")));
        let window = match cell.window {
            Window::None => None,
            Window::Open => Some((NOW - DAY, NOW + YEAR)),
            Window::NotYet => Some((NOW + YEAR, NOW + 3 * YEAR)),
            Window::Expired => Some((NOW - 2 * YEAR, NOW - YEAR)),
        };
        if let Some((after, before)) = window {
            options.push(format!("valid-after=\"{}\",valid-before=\"{}\"", stamp(after), stamp(before)));
        }
        let key = if cell.key == "certified" { "authority" } else { cell.key };
        let blank = if options.is_empty() { "" } else { " " };
        format!(
            "# who may sign\n{}{blank}{} {}\n",
            cell.principals,
            options.join(","),
            self.bench.public(key)
        )
        .replace("  ", " ")
    }

    /// Judges a cell three ways; says what is wrong.
    fn run(&self, number: usize, cell: &Cell) -> Result<(), String> {
        let signed = &self.commits[&(cell.key, cell.namespace, cell.date)];
        let line = self.line(cell);
        let revoked_key = if cell.is_revoked { cell.key } else { "other" };
        let revoked = format!("{}\n", self.bench.public(revoked_key));
        let (signers_file, revoked_file) = self.files(number, &line, &revoked);
        let policy = Policy {
            signers: Signers::parse("signers", line.as_bytes(), &TimeZone::UTC)
                .map_err(|all| format!("{all:?}"))?,
            revoked: Revoked::parse("revoked", revoked.as_bytes()).map_err(|all| format!("{all:?}"))?,
            strict: Strict::Tip,
            identities: vec![ADA.into()],
            delegated: None,
            zone: TimeZone::UTC,
        };
        let mut objects = Objects::with_limit(1 << 20);
        objects.insert(Kind::Commit, &signed.bytes).unwrap();
        let verdict = judge(&policy, &Memory::default(), at(NOW), at(NOW - 3 * YEAR), &signed.id, &objects);
        let ours = verdict.as_ref().map_or_else(|refusal| refusal.code(), |_| "taken");
        let wanted = faults(cell);
        let is_right = if wanted.is_empty() { ours == "taken" } else { wanted.contains(&ours) };
        if !is_right {
            return Err(format!("{cell:?}: we say {ours}, the rule says {wanted:?}"));
        }
        let keygen =
            self.bench.keygen_verifies(&signers_file, &revoked_file, &signed.signature, &signed.payload);
        let git = self.bench.git_verifies(&signers_file, &revoked_file, &signed.id);
        for (oracle, theirs) in [(Oracle::Keygen, keygen), (Oracle::Git, git)] {
            if theirs == (ours == "taken") {
                continue;
            }
            let Some(why) = explained(oracle, cell, ours, theirs) else {
                return Err(format!(
                    "{cell:?}: we say {ours}, {oracle:?} says {theirs}, and nobody knows why"
                ));
            };
            *self.differences.lock().unwrap().entry(why).or_default() += 1;
        }
        Ok(())
    }

    fn files(&self, number: usize, line: &str, revoked: &str) -> (PathBuf, PathBuf) {
        let paths =
            (self.bench.path(&format!("signers-{number}")), self.bench.path(&format!("revoked-{number}")));
        std::fs::write(&paths.0, line).unwrap();
        std::fs::write(&paths.1, revoked).unwrap();
        paths
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// What is told of the oracles' other opinions, and how often each was met.
type Differences = BTreeMap<&'static str, u32>;

/// Runs every `step`th cell on all processors; gives how many ran, what was wrong, and what differed.
fn sweep(step: usize) -> (usize, Vec<String>, Differences) {
    let case = Case::new();
    let chosen: Vec<(usize, Cell)> = cells().into_iter().enumerate().step_by(step).collect();
    let wrong = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for part in chosen.chunks(chosen.len().div_ceil(threads)) {
            let (case, wrong) = (&case, &wrong);
            scope.spawn(move || {
                for (number, cell) in part {
                    if let Err(what) = case.run(*number, cell) {
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    (chosen.len(), wrong.into_inner().unwrap(), case.differences.into_inner().unwrap())
}

#[test]
fn a_sample_of_the_matrix_of_signatures_has_no_wrong_verdict() {
    let (ran, wrong, _) = sweep(23);
    assert!(ran >= 50, "{ran}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The whole of it, with the succession of signers and the hostile commits.
#[test]
#[ignore = "starts ten thousand processes: make trust"]
fn figures() {
    let (signatures, mut wrong, differences) = sweep(1);
    for (why, count) in differences {
        println!("{count:5} x {why}");
    }
    let (histories, more) = super::succession::sweep();
    wrong.extend(more);
    let (hostile, more) = super::hostile::sweep(1);
    wrong.extend(more);
    for what in &wrong {
        println!("WRONG {what}");
    }
    let score = format!("cells {}, hostile {hostile}, wrong {}", signatures + histories, wrong.len());
    println!("{score}");
    if let Some(file) = std::env::var_os("TRUST_SCORE") {
        std::fs::write(file, format!("{score}\n")).unwrap();
    }
    assert!(wrong.is_empty() && signatures + histories >= 400 && hostile >= 300);
}
