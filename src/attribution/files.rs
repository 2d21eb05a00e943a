//! Who changed a file: whom the events at its path name, as far as what they did can have made the difference.

use std::path::Path;

use super::chain::{self, Finding};
use super::{Gathered, Question, Testimony, verdict};
use crate::model::{Attribution, Deeds, Subject};

/// Fields that a change of attributes alone can make differ.
const ATTRIBUTES: [&str; 3] = ["owner", "group", "mode"];

pub(super) fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    let path = question.resource.key.as_str();
    let findings = at(path, &|deeds| can_have_made(deeds, &question.fields), question, gathered);
    match findings.is_empty() {
        true => Attribution::unknown(nobody(path, gathered)),
        false => verdict::over(findings, gathered),
    }
}

/// What the testimonies at this path, or at a folder it lies in, come to.
pub(super) fn at(
    path: &str,
    matters: &dyn Fn(Deeds) -> bool,
    question: &Question,
    gathered: &Gathered,
) -> Vec<Finding> {
    let concerns = |testimony: &&Testimony| {
        let witness = &testimony.witness;
        let Subject::Path(subject) = &witness.subject else { return false };
        let is_late_enough = witness.since_boot >= question.good;
        let is_it = subject == Path::new(path);
        // A folder that was renamed or removed takes along what lies in it; what else is done to it does not.
        let is_above = Path::new(path).starts_with(subject) && !is_it && witness.deeds.named;
        is_late_enough && (is_it && matters(witness.deeds) || is_above)
    };
    let testimonies = gathered.testimonies.iter().filter(concerns);
    testimonies.map(|testimony| chain::finding(testimony, Some(path), gathered)).collect()
}

/// Whether what was done can have made these fields differ.
fn can_have_made(deeds: Deeds, fields: &[String]) -> bool {
    let only_attributes =
        !fields.is_empty() && fields.iter().all(|field| ATTRIBUTES.contains(&field.as_str()));
    let no_attributes = !fields.iter().any(|field| ATTRIBUTES.contains(&field.as_str()));
    // Another file in its place has its own attributes and its own content.
    deeds.named || deeds.wrote && !only_attributes || deeds.attributed && !no_attributes
}

fn nobody(path: &str, gathered: &Gathered) -> String {
    match gathered.testimonies.is_empty() {
        true => format!(
            "no event named a process: {path} was changed unseen, or is watched by a way that tells nobody"
        ),
        false => format!("none of those who were seen can have made this difference at {path}"),
    }
}
