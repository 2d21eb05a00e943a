//! `make attribution`: many ways of changing a host, and whether the agent's history names who did it.
//!
//! Each way has a resource of its own and is gone when the agent is in sync, so that none meets another's growing
//! wait. Who really did it is known to whoever staged it; what is scored is the history's last word. On a virtual
//! machine, where the kernel shows all it has, and in a container, where it hides most.

mod editors;
mod kinds;
mod others;
mod score;
mod stage;
mod way;

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::harness::{Archive, Host, Inside, Lab, Output, Suite, Vm, target};
use score::{Score, Told, judge, told};
use way::{Life, Start, Way, Where};

/// How long until a change is seen and undone: cron begins a job only once a minute, and translated machines are slow.
const SEEN: Duration = Duration::from_secs(100);

/// How long the history may take for its last word once a drift is over. Waited for in full only by what stays unknown.
const LAST_WORD: Duration = Duration::from_secs(8);

/// How long until nothing is left to do; the wait before a second correction is within it.
const QUIET: Duration = Duration::from_secs(60);

/// How often the history is asked again.
const POLL: Duration = Duration::from_millis(200);

/// What came of one way.
struct Outcome {
    way: Way,
    told: Told,
    score: Score,
    /// The change came about, was seen and was undone: only then the score says something of the agent's names.
    fault: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { way, told, score, fault } = self;
        let who = |login: Option<&str>, user: Option<&str>| {
            format!("{}>{}", login.unwrap_or("-"), user.unwrap_or("?"))
        };
        let place = told.place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
        let alive = if way.life == Life::Alive { "alive" } else { "-" };
        write!(
            f,
            "{score:<8} {:<32} {alive:<6} expected {} {}; got {} {}{place} {} [{}] {}",
            way.name,
            who(way.truth.login, Some(way.truth.user)),
            way.truth.programs.join("|"),
            who(told.login.as_deref(), told.user.as_deref()),
            told.program.as_deref().unwrap_or("?"),
            told.confidence,
            told.evidence.join(","),
            if *score == Score::Right { "" } else { &told.reason },
        )?;
        fault.iter().try_for_each(|fault| write!(f, " FAULT: {fault}"))
    }
}

#[test]
#[ignore = "`make attribution` runs it: some ten minutes"]
fn on_a_virtual_machine() {
    let lab = Lab::new();
    let vm = Vm::boot(&lab, suite(), "machine");
    println!("attribution on a virtual machine of {}, {}", suite().name(), vm.how());
    let results = go(&lab, &vm, ways());
    conclude(&results);
}

#[test]
#[ignore = "`make attribution` runs it: some minutes"]
fn in_a_container() {
    let lab = Lab::new();
    let host = lab.boot(suite(), "container");
    println!("attribution in a container of {}: the kernel hides most of the evidence", suite().name());
    equip(&lab, &host);
    let ways: Vec<Way> = ways().into_iter().filter(|way| way.place == Where::Anywhere).collect();
    let results = go(&lab, &host, ways);
    let wrong = results.iter().filter(|result| result.score == Score::Wrong).count();
    println!("{}", tally(&results));
    assert_eq!(wrong, 0, "a wrong name is worse than none");
}

/// The tools that a virtual machine has on its disk already.
fn equip(lab: &Lab, host: &Host) {
    const TOOLS: [&str; 6] = ["at", "ed", "git", "iptables", "python3", "rsync"];
    Archive::of_debian(lab, suite(), &TOOLS).publish_to(host);
    host.run(&["apt-get", "update", "--quiet"]).ok();
    host.run(&[&["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"][..], &TOOLS].concat())
        .ok();
}

/// The release to try: both are supported, one is enough at a time.
fn suite() -> Suite {
    match std::env::var("ATTRIBUTION_SUITE").as_deref() {
        Ok("trixie") => Suite::Trixie,
        _ => Suite::Bookworm,
    }
}

/// All ways, or those whose name has a word of `ATTRIBUTION_WAYS` in it; commas part the words.
fn ways() -> Vec<Way> {
    let wanted = std::env::var("ATTRIBUTION_WAYS").unwrap_or_default();
    let all = [editors::ways(), others::ways(), kinds::ways()].concat();
    all.into_iter().filter(|way| wanted.split(',').any(|word| way.name.contains(word))).collect()
}

fn go(lab: &Lab, machine: &dyn Inside, ways: Vec<Way>) -> Vec<Outcome> {
    stage::prepare(lab, machine, &ways);
    ways.into_iter()
        .map(|way| {
            let (told, fault) = match try_out(machine, &way) {
                Ok(told) => (told, None),
                Err(fault) => (Told::default(), Some(fault)),
            };
            let score = judge(&way.truth, &told);
            let outcome = Outcome { way, told, score, fault };
            println!("{outcome}");
            outcome
        })
        .collect()
}

/// Goes a way and gives what the history says of it in the end; or what went wrong, that others have their turn.
fn try_out(machine: &dyn Inside, way: &Way) -> Result<Told, String> {
    let staged = |output: Output| if output.success() { Ok(()) } else { Err(output.to_string()) };
    if !way.before.is_empty() {
        staged(machine.sh(&way.with_names(&way.before)))?;
    }
    let begun = Instant::now();
    while !stage::in_sync(machine) {
        if begun.elapsed() > QUIET {
            return Err(format!("not in sync before it: {}", machine.run(&["agentctl", "status"]).stdout));
        }
        std::thread::sleep(POLL);
    }
    let before = drifts(machine, way).iter().filter_map(id).max().unwrap_or_default();
    let script = way.with_names(&way.script);
    let told = staged(match way.start {
        Start::Login(person) => machine.login(person, &script),
        Start::Machine => machine.sh(&script),
    })
    .and_then(|()| last_word(machine, way, before));
    if !way.after.is_empty() {
        // What it ends may have ended by itself.
        machine.sh(&way.with_names(&way.after)).success();
    }
    told
}

/// Waits until a drift of the way's resource that is newer than `before` is over and its author named, or the time for
/// that is up.
fn last_word(machine: &dyn Inside, way: &Way, before: u64) -> Result<Told, String> {
    let (mut begun, mut over, mut is_asked) = (Instant::now(), None, false);
    loop {
        let all = drifts(machine, way);
        let new = all.iter().filter(|drift| id(drift) > Some(before)).max_by_key(|drift| id(drift));
        let told = new.map(told).unwrap_or_default();
        if new.is_some_and(|drift| !drift["resolved"].is_null()) {
            over.get_or_insert_with(Instant::now);
        }
        let is_named = matches!(told.confidence.as_str(), "likely" | "certain");
        if over.is_some_and(|over| is_named || over.elapsed() > LAST_WORD) {
            return Ok(told);
        }
        if begun.elapsed() > SEEN && is_asked {
            let what = if new.is_none() { "seen" } else { "undone" };
            return Err(format!("the change was not {what} within {SEEN:?}; {}", told.reason));
        }
        if begun.elapsed() > SEEN {
            // What no watch saw is for the full pass, which begins now and not within the hour.
            machine.run(&["agentctl", "sync"]).success();
            (begun, is_asked) = (Instant::now(), true);
        }
        std::thread::sleep(POLL);
    }
}

fn drifts(machine: &dyn Inside, way: &Way) -> Vec<Json> {
    let told = machine.run(&["agentctl", "history", &way.resource, "--json", "--limit", "5"]).ok();
    let reply: Json = serde_json::from_str(&told).expect("the history is JSON");
    reply["drifts"].as_array().cloned().unwrap_or_default()
}

fn id(drift: &Json) -> Option<u64> {
    drift["id"].as_u64()
}

/// Prints the score and leaves it in a file, since it shall be the last line of all; fails when a name was wrong or
/// too many were unknown.
fn conclude(results: &[Outcome]) {
    let alive: Vec<&Outcome> = results.iter().filter(|result| result.way.life == Life::Alive).collect();
    let of_alive = alive.iter().filter(|result| result.score == Score::Right).count();
    let right = results.iter().filter(|result| result.score == Score::Right).count();
    let line = tally(results);
    println!("writers that were still alive: right {of_alive} of {}\n{line}", alive.len());
    std::fs::write(target().join("attribution.score"), format!("{line}\n")).expect("write the score");
    let faults: Vec<&str> =
        results.iter().filter(|result| result.fault.is_some()).map(|result| result.way.name).collect();
    assert!(faults.is_empty(), "could not be tried: {faults:?}");
    assert!(results.iter().all(|result| result.score != Score::Wrong), "a wrong name is worse than none");
    assert!(right * 100 >= results.len() * 90, "right is {right} of {}, less than 90 %", results.len());
    assert!(
        of_alive * 100 >= alive.len() * 97,
        "right is {of_alive} of {} alive, less than 97 %",
        alive.len()
    );
}

fn tally(results: &[Outcome]) -> String {
    let count = |score: Score| results.iter().filter(|result| result.score == score).count();
    let (right, unknown, wrong) = (count(Score::Right), count(Score::Unknown), count(Score::Wrong));
    format!("right {right}, unknown {unknown}, wrong {wrong}")
}
