//! Who changed the packet filter: the process the kernel names with each new generation of the rules.

use super::{Gathered, Question, Testimony, chain, verdict};
use crate::model::{Attribution, Subject};

pub(super) fn attribute(question: &Question, gathered: &Gathered) -> Attribution {
    let is_it = |one: &&Testimony| {
        matches!(one.witness.subject, Subject::Rules { .. }) && one.witness.since_boot >= question.good
    };
    let rules = gathered.testimonies.iter().filter(is_it);
    let findings: Vec<_> = rules.map(|one| chain::finding(one, None, gathered)).collect();
    match findings.is_empty() {
        true => Attribution::unknown("the rules were changed unseen: the kernel told of no new generation"),
        false => verdict::over(findings, gathered),
    }
}
