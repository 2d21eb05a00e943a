//! Who changed a package: the program on top of dpkg, by the events at dpkg's database, by apt's history, and by the
//! kernel's notes of what was started.

use std::time::Duration;

use super::chain::{self, Finding, Suspect};
use super::scripts::{base, names, program};
use super::{Gathered, Question, files, verdict};
use crate::host::apt_history::AptRun;
use crate::host::exec_cache::Executed;
use crate::kind::package::apt::is_own_call;
use crate::model::{Account, Actor, Attribution, Confidence, Evidence, Process, ProcessFacts};

/// What dpkg replaces with every run.
const DATABASE: &str = "/var/lib/dpkg/status";
/// Programs that change packages. The outermost of them among the ancestors is the one a person or a timer started.
const FRONT_ENDS: [&str; 11] = [
    "apt",
    "apt-get",
    "aptitude",
    "aptd",
    "dpkg",
    "dpkg-deb",
    "dselect",
    "gdebi",
    "packagekitd",
    "synaptic",
    "unattended-upgrade",
];
/// apt's history counts whole seconds.
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    let package = question.resource.key.as_str();
    let runs = runs_of(package, question, gathered);
    let mut suspects: Vec<Suspect> = Vec::new();
    let mut unnamed = None;
    for finding in files::at(DATABASE, &|deeds| deeds.named || deeds.wrote, question, gathered) {
        match finding {
            Finding::Own => {}
            Finding::Unnamed(why) => unnamed = Some(why),
            Finding::Named(suspect) => {
                let suspect = front_end(*suspect);
                let is_it = |one: &&mut Suspect| {
                    one.facts.pid == suspect.facts.pid && one.facts.started == suspect.facts.started
                };
                match suspects.iter_mut().find(is_it) {
                    Some(known) => known.when = known.when.max(suspect.when),
                    None => suspects.push(suspect),
                }
            }
        }
    }
    if suspects.len() > 1 {
        // Only one of them need have touched this package.
        suspects = those_at_it(suspects, package, &runs, question, gathered);
    }
    match (suspects.len(), unnamed) {
        (0, unnamed) => by_history(package, &runs, question, gathered, unnamed),
        (1, None) => witnessed(suspects.remove(0), &runs, gathered),
        (_, _) => {
            verdict::over(suspects.into_iter().map(|one| Finding::Named(Box::new(one))).collect(), gathered)
        }
    }
}

/// Those of several who changed this package: who was told to, and who was at work when dpkg's log says that it was
/// done. None of them, if nothing tells; all, if the two tell of others.
fn those_at_it(
    suspects: Vec<Suspect>,
    package: &str,
    runs: &[&AptRun],
    question: &Question,
    gathered: &Gathered,
) -> Vec<Suspect> {
    let since = gathered.wall(question.good.saturating_sub(SECOND));
    // The first thing that was done: what came after it may be the agent's, which puts it right.
    let done = gathered.dpkg.iter().find(|note| note.package == package && note.at >= since);
    let was_told = |one: &Suspect| {
        runs.iter().any(|run| is_called(run, &one.facts.command)) || speaks_of(&one.facts, package)
    };
    let was_at_work = |one: &Suspect| {
        let ended = gathered.wall(one.when + SECOND);
        done.is_some_and(|done| (gathered.wall_of(one.facts.started)..=ended).contains(&done.at))
    };
    let (told, at_work) = (suspects.iter().any(was_told), suspects.iter().any(was_at_work));
    let both = |one: &Suspect| (!told || was_told(one)) && (!at_work || was_at_work(one));
    if !(told || at_work) {
        return Vec::new();
    }
    if !suspects.iter().any(both) {
        return suspects;
    }
    let mut left: Vec<Suspect> = suspects.into_iter().filter(both).collect();
    for suspect in left.iter_mut().filter(|_| at_work) {
        suspect.evidence.push(Evidence::DpkgLog);
        suspect.reason.push_str("; dpkg's log has the package at that time");
        if !told {
            suspect.confidence = suspect.confidence.min(Confidence::Likely);
        }
    }
    left
}

/// The runs of apt since then that changed this package.
fn runs_of<'a>(package: &str, question: &Question, gathered: &'a Gathered) -> Vec<&'a AptRun> {
    let since = gathered.wall(question.good.saturating_sub(SECOND));
    // The agent's own, by which the package came back, are called as nobody else calls apt.
    let is_own = |run: &AptRun| run.requested_by.is_none() && run.command.as_deref().is_some_and(is_own_call);
    let runs = gathered.apt.iter().filter(|run| run.ended >= since && !is_own(run));
    runs.filter(|run| run.packages.iter().any(|one| one == package)).collect()
}

/// The program that had dpkg do it.
fn front_end(suspect: Suspect) -> Suspect {
    let facts = &suspect.facts;
    let Some(top) = facts.ancestors.iter().rposition(is_front_end) else { return suspect };
    let ancestors = facts.ancestors[top + 1..].to_vec();
    let facts = ProcessFacts { ancestors, ..facts.ancestors[top].clone() };
    Suspect { facts, ..suspect }
}

fn is_front_end(facts: &ProcessFacts) -> bool {
    let executable = facts.executable.as_deref().unwrap_or_default();
    // unattended-upgrade is a script.
    FRONT_ENDS.contains(&program(executable, &facts.command))
}

fn witnessed(mut suspect: Suspect, runs: &[&AptRun], gathered: &Gathered) -> Attribution {
    if let Some(run) = runs.iter().find(|run| is_called(run, &suspect.facts.command)) {
        suspect.evidence.push(Evidence::AptHistory);
        suspect.reason.push_str("; apt's history has the same command");
        if let Some((who, uid)) = &run.requested_by {
            suspect.reason.push_str(&format!(", asked for by {who} (uid {uid})"));
        }
    }
    verdict::name(suspect, gathered)
}

/// Where no event named anybody: what apt wrote down itself, and which process that was.
fn by_history(
    package: &str,
    runs: &[&AptRun],
    question: &Question,
    gathered: &Gathered,
    unnamed: Option<String>,
) -> Attribution {
    let notes: Vec<&Executed> = gathered.newest_images(question.good);
    match runs {
        [run] => {
            let mut callers =
                notes.iter().filter(|note| is_called(run, &note.command) && is_package_tool(note));
            match (callers.next(), callers.next()) {
                (Some(note), None) => {
                    let reason = format!(
                        "apt's history names this command for {package}; the kernel noted who ran it"
                    );
                    name_note(note, vec![Evidence::AptHistory, note.source], reason, gathered)
                }
                (Some(_), Some(_)) => Attribution::unknown(format!(
                    "apt's history names a command for {package} that more than one process ran"
                )),
                (None, _) => named_by_apt(run, package),
            }
        }
        [] => {
            let speaking = notes.iter().filter(|note| is_package_tool(note) && names(note, package));
            let speaking = speaking.map(|note| (*note, chain::from_note(note, &gathered.processes)));
            let speaking: Vec<_> =
                speaking.filter(|(_, facts)| !chain::is_own(facts, gathered.own)).collect();
            // What it had others do for it: dpkg, dpkg-deb.
            let is_below = |facts: &ProcessFacts| {
                let is_above = |up: &ProcessFacts| speaking.iter().any(|(note, _)| note.pid == up.pid);
                facts.ancestors.iter().any(is_above)
            };
            let mut on_top = speaking.iter().filter(|(_, facts)| !is_below(facts)).map(|(note, _)| *note);
            match (on_top.next(), on_top.next()) {
                (Some(note), None) => {
                    let reason = format!("the kernel noted that it was started with {package} among its arguments");
                    name_note(note, vec![note.source], reason, gathered)
                }
                (Some(_), Some(_)) => Attribution::unknown(format!(
                    "more than one program was started with {package} among its arguments"
                )),
                (None, _) => Attribution::unknown(unnamed.unwrap_or_else(|| {
                    format!("apt's history has no run that changed {package}, and nobody was seen at dpkg's database")
                })),
            }
        }
        _ => Attribution::unknown(format!(
            "apt's history has {} runs that changed {package} since it was right",
            runs.len()
        )),
    }
}

/// Whether it is a program that changes packages.
pub(super) fn is_package_tool(note: &Executed) -> bool {
    FRONT_ENDS.contains(&program(&note.interpreter, &note.command))
}

fn name_note(note: &Executed, evidence: Vec<Evidence>, reason: String, gathered: &Gathered) -> Attribution {
    let facts = chain::from_note(note, &gathered.processes);
    if chain::is_own(&facts, gathered.own) {
        return Attribution::unknown("the only one who was seen to change packages is the agent itself");
    }
    let suspect = Suspect { facts, evidence, confidence: Confidence::Likely, reason, when: note.since };
    let at = gathered.wall(note.since);
    Attribution { at: Some(at), ..verdict::name(suspect, gathered) }
}

/// apt says how it was called. Who called it, it says only where sudo or pkexec told it; otherwise it was run by root,
/// since nobody else can change packages.
fn named_by_apt(run: &AptRun, package: &str) -> Attribution {
    let Some(command) = &run.command else {
        return Attribution::unknown(format!(
            "{package} was changed through apt's library: apt does not say by whom"
        ));
    };
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let program = words.first().cloned().unwrap_or_default();
    let login = run.requested_by.clone().map(|(name, uid)| Account { uid, name: Some(name) });
    Attribution {
        confidence: Confidence::Likely,
        actor: Some(Actor {
            process: Some(Process {
                name: base(&program).to_owned(),
                executable: program,
                command: words,
                pid: 0,
            }),
            user: Some(Account { uid: 0, name: Some("root".to_owned()) }),
            login,
            ..Actor::default()
        }),
        evidence: vec![Evidence::AptHistory],
        reason: format!("apt's history names this command for {package}"),
        at: Some(run.ended),
    }
}

/// Whether apt was called so. The kernel's note may be cut.
fn is_called(run: &AptRun, command: &[String]) -> bool {
    let Some(wanted) = &run.command else { return false };
    let called = command.join(" ");
    let called_script = command.get(1..).unwrap_or_default().join(" ");
    *wanted == called || *wanted == called_script || called.len() > 200 && wanted.starts_with(&called)
}

/// Whether an argument is the package, or a file that is named after it.
fn speaks_of(facts: &ProcessFacts, package: &str) -> bool {
    let is_file = |argument: &String| {
        let rest = base(argument).strip_suffix(".deb").and_then(|stem| stem.strip_prefix(package));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    facts.command.iter().skip(1).any(|argument| argument == package || is_file(argument))
}
