//! From who may have done it to one name or none.

use jiff::Timestamp;

use super::chain::{Finding, Suspect};
use super::{Gathered, actor, logins};
use crate::model::{Attribution, Confidence, Evidence, ProcessFacts, Witness};

/// The verdict over what the testimonies came to. The agent's own doings are no candidates.
pub(super) fn over(findings: Vec<Finding>, gathered: &Gathered) -> Attribution {
    let mut suspects: Vec<Suspect> = Vec::new();
    let mut unnamed: Vec<String> = Vec::new();
    for finding in findings {
        match finding {
            Finding::Own => {}
            Finding::Named(suspect) => suspects.push(*suspect),
            Finding::Unnamed(why) if !unnamed.contains(&why) => unnamed.push(why),
            Finding::Unnamed(_) => {}
        }
    }
    suspects.sort_by_key(|suspect| suspect.when);
    match (suspects.len(), unnamed.first()) {
        (0, None) => Attribution::unknown("no event told of anybody but the agent itself"),
        (0, Some(why)) => Attribution::unknown(why.clone()),
        (_, Some(why)) => {
            let known = suspects.iter().map(|one| one_line(&one.facts)).collect::<Vec<_>>().join(", ");
            Attribution::unknown(format!("besides {known}, somebody else may have done it: {why}"))
        }
        (_, None) => among(suspects, gathered),
    }
}

/// The verdict over suspects of whom each is known; there is at least one.
pub(super) fn among(mut suspects: Vec<Suspect>, gathered: &Gathered) -> Attribution {
    let Some(newest) = suspects.pop() else { return Attribution::unknown("nobody was seen") };
    if suspects.is_empty() {
        return name(newest, gathered);
    }
    let count = suspects.len() + 1;
    if suspects.iter().all(|one| is_same_hand(&one.facts, &newest.facts)) {
        let reason =
            format!("{}; {count} processes of the same program, user and session did", newest.reason);
        let confidence = newest.confidence.min(Confidence::Likely);
        return name(Suspect { reason, confidence, ..newest }, gathered);
    }
    suspects.push(newest);
    let head = suspects.iter().position(|head| {
        // Of one whom sudo started the number is not known: that both are 0 makes nobody the same.
        let is_it = |one: &ProcessFacts| {
            (one.pid, one.started) == (head.facts.pid, head.facts.started) && one.pid != 0
        };
        let is_head = |one: &Suspect| std::ptr::eq(one, head) || is_it(&one.facts);
        suspects.iter().all(|one| is_head(one) || descends(&one.facts, &head.facts))
    });
    match head {
        Some(head) => {
            let head = suspects.swap_remove(head);
            let reason = format!("{}; it and what it started made the changes", head.reason);
            let confidence = head.confidence.min(Confidence::Likely);
            name(Suspect { reason, confidence, ..head }, gathered)
        }
        None => {
            let names = suspects.iter().map(|one| one_line(&one.facts)).collect::<Vec<_>>().join(" and ");
            Attribution::unknown(format!(
                "more than one changed it, and whose change is left can't be told: {names}"
            ))
        }
    }
}

/// Names a suspect.
pub(super) fn name(suspect: Suspect, gathered: &Gathered) -> Attribution {
    let at = gathered.testimonies.iter().map(|one| &one.witness).find(|one| one.since_boot == suspect.when);
    let Suspect { facts, mut evidence, confidence, mut reason, when: _ } = suspect;
    let noted = logins::noted(&facts, gathered);
    if let Some(from) = noted.ssh.and_then(|note| note.from.as_ref()) {
        reason.push_str(&format!("; sshd noted that the login came from {from}"));
    }
    if noted.sudo.is_some() {
        reason.push_str("; sudo noted the command");
    }
    if noted != logins::Noted::default() && !evidence.contains(&Evidence::Journal) {
        evidence.push(Evidence::Journal);
    }
    Attribution {
        confidence,
        actor: Some(actor::of(&facts, gathered)),
        evidence,
        reason,
        at: at.map(|witness: &Witness| -> Timestamp { witness.at }),
    }
}

/// A process in a few words, for a reason.
pub(super) fn one_line(facts: &ProcessFacts) -> String {
    let program = facts.executable.as_deref().unwrap_or(&facts.name);
    format!("`{}` (process {})", actor::cut(program, 80), facts.pid)
}

/// Program and user are the same: whichever of them it was, the name is right.
fn is_same_hand(one: &ProcessFacts, other: &ProcessFacts) -> bool {
    let hand = |facts: &ProcessFacts| {
        (facts.executable.clone(), facts.euid, facts.login, facts.session, actor::container(facts))
    };
    hand(one) == hand(other)
}

fn descends(child: &ProcessFacts, head: &ProcessFacts) -> bool {
    child.ancestors.iter().any(|one| one.pid == head.pid && one.started == head.started)
}
