//! Who changed the packet filter: the process the kernel names with each new generation of the rules. A firewall that
//! nobody confirmed takes itself back by a timer of our own: that is told as what it is.

use std::time::Duration;

use super::chain::Finding;
use super::{Gathered, Question, Testimony, chain, verdict};
use crate::kind::firewall::AT_BOOT;
use crate::kind::firewall::undo::{TakenBack, UNDO_FILE};
use crate::model::{
    Account, Actor, Attribution, Caught, Confidence, Evidence, Process, ProcessFacts, Subject,
};

/// A timer fires within a tenth of a second, and a busy host takes its time to start what it starts.
const EARLY: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(15);

pub(super) fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    if question.resource.key.as_str() == AT_BOOT {
        // No rule was changed: whoever changed one has nothing to do with it.
        return Attribution::unknown("the file that is loaded at boot is not watched");
    }
    let is_it = |one: &&Testimony| {
        matches!(one.witness.subject, Subject::Rules { .. }) && one.witness.since_boot >= question.good
    };
    let rules: Vec<&Testimony> = gathered.testimonies.iter().filter(is_it).collect();
    let is_ours = !question.resource.key.as_str().starts_with("table/");
    let is_known = |one: &Testimony| facts_of(one, gathered).is_some();
    let (mut others, mut ours, mut by_hour) = (Vec::new(), None, Vec::new());
    for one in rules {
        let finding = chain::finding(one, None, gathered);
        match gathered.taken_back.as_ref().filter(|back| is_undo(one, back, gathered)) {
            Some(_) if is_known(one) => ours = Some((one, Confidence::Certain)),
            Some(_) => by_hour.push((one, finding)),
            None => others.push((one.witness.since_boot, finding)),
        }
    }
    // Nothing but the hour tells: enough for one if there was no other.
    match (by_hour.len(), ours) {
        (1, None) => ours = Some((by_hour[0].0, Confidence::Likely)),
        (_, _) => others.extend(by_hour.into_iter().map(|(one, finding)| (one.witness.since_boot, finding))),
    }
    others.retain(|(at, finding)| {
        // The undo replaces our table as a whole: what was done to it before is gone.
        let is_gone = ours.is_some_and(|(one, _)| is_ours && *at < one.witness.since_boot);
        *finding != Finding::Own && !is_gone
    });
    let others: Vec<Finding> = others.into_iter().map(|(_, finding)| finding).collect();
    match (&gathered.taken_back, ours) {
        (Some(back), Some((one, confidence))) if others.is_empty() => {
            undone(back, Some(one), confidence, gathered)
        }
        // Nothing was right since the host was booted.
        (Some(back), None) if others.is_empty() && back.since.is_zero() && question.good.is_zero() => {
            undone(back, None, Confidence::Likely, gathered)
        }
        (_, Some(_)) => verdict::over(others, gathered),
        (_, None) if others.is_empty() => nobody(question, gathered),
        (_, None) => verdict::over(others, gathered),
    }
}

fn nobody(question: &Question, gathered: &Gathered) -> Attribution {
    let told = gathered.testimonies.iter().any(|one| {
        matches!(one.witness.subject, Subject::Rules { .. }) && one.witness.since_boot >= question.good
    });
    match told {
        true => verdict::over(Vec::new(), gathered),
        false => Attribution::unknown("the rules were changed unseen: the kernel told of no new generation"),
    }
}

/// Whether it was the undo: at its hour, by the file it was told to load and the one who started it; where that is not
/// known, by its hour and the name of its program.
fn is_undo(one: &Testimony, back: &TakenBack, gathered: &Gathered) -> bool {
    let at = one.witness.since_boot;
    let is_its_hour = !back.since.is_zero() && at + EARLY >= back.since && at <= back.since + LATE;
    let by_systemd =
        |facts: ProcessFacts| facts.parent == 1 && facts.command.iter().any(|word| word.ends_with(UNDO_FILE));
    let is_nft = || matches!(&one.witness.caught, Caught::Gone(Some(name)) if name == "nft");
    is_its_hour && facts_of(one, gathered).map_or_else(is_nft, by_systemd)
}

/// What is known of the process, arguments and all.
fn facts_of(one: &Testimony, gathered: &Gathered) -> Option<ProcessFacts> {
    let seen = match &one.witness.caught {
        Caught::Alive(facts) => Some(facts.as_ref().clone()),
        Caught::Ended(_) | Caught::Gone(_) | Caught::Skipped => None,
    };
    let noted = || {
        let notes = gathered.processes.images.get(&one.witness.pid?)?;
        let note = notes.iter().find(|note| note.since <= one.witness.since_boot)?;
        Some(chain::from_note(note, &gathered.processes))
    };
    seen.or_else(noted).filter(|facts| !facts.command.is_empty())
}

fn undone(
    back: &TakenBack,
    one: Option<&Testimony>,
    confidence: Confidence,
    gathered: &Gathered,
) -> Attribution {
    let known = one.and_then(|one| facts_of(one, gathered));
    let command = known.map_or_else(Vec::new, |facts| facts.command);
    let why = match one {
        Some(_) => "nobody confirmed the firewall in time",
        None => "the host was rebooted before anybody confirmed the firewall",
    };
    Attribution {
        confidence,
        actor: Some(Actor {
            process: Some(Process {
                pid: one.and_then(|one| one.witness.pid).unwrap_or_default(),
                executable: "/usr/sbin/nft".to_owned(),
                name: "nft".to_owned(),
                command,
            }),
            user: Some(Account { uid: 0, name: Some("root".to_owned()) }),
            unit: Some(back.unit.clone()),
            ..Actor::default()
        }),
        evidence: one.map_or_else(Vec::new, |_| vec![Evidence::Netfilter]),
        reason: format!("this is agentd's own undo: {why}"),
        at: one.map(|one| one.witness.at),
    }
}
