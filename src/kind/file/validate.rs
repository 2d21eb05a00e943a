//! Faults across files, and every rule a single file must keep: the root agent runs this over a desired state it
//! was handed by a process it does not trust. Pure.

use std::collections::BTreeMap;

use super::parse::{account_name, check_program};
use super::path::{self, ancestors};
use super::spec::Spec;
use crate::kind::{Declared, Specs};
use crate::model::{Diagnostic, Key};

pub(super) fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut real: BTreeMap<String, &Key> = BTreeMap::new();
    for (key, declared) in specs {
        alone(key, declared, &mut faults);
        above(specs, key, declared, &mut faults);
        if let Some(other) = real.insert(path::real(key.as_str()).into_owned(), key) {
            let message = format!("`{key}` and `{other}` are the same file");
            let fault = Diagnostic::error("same-file", &declared.provenance.winner, message);
            let fault = fault.hint("keep one of them: Debian has links from /bin to /usr/bin and the like");
            faults.push(match specs.get(other) {
                Some(other) => fault.related(&other.provenance.winner, "the other one"),
                None => fault,
            });
        }
    }
    faults
}

/// What one spec alone must keep.
fn alone(key: &Key, declared: &Declared<Spec>, faults: &mut Vec<Diagnostic>) {
    let place = &declared.provenance.winner;
    let rules = path::well_formed(key.as_str()).and_then(|()| path::folly(key.as_str(), &declared.spec));
    if let Err(wrong) = rules {
        faults.push(Diagnostic::error(wrong.code, place, wrong.message).hint(wrong.hint));
    }
    let mut bad = |message: String| faults.push(Diagnostic::error("bad-value", place, message));
    if let Some(ownership) = declared.spec.ownership() {
        for name in [&ownership.owner, &ownership.group] {
            if let Err(message) = account_name(name) {
                bad(message);
            }
        }
    }
    match &declared.spec {
        Spec::File { check, .. } if !check.is_empty() => {
            if let Err(message) = check_program(check) {
                bad(message);
            }
        }
        Spec::Link { target } if target.is_empty() || target.contains('\0') => {
            bad("a link without a target".to_owned());
        }
        Spec::File { .. } | Spec::Link { .. } | Spec::Directory { .. } | Spec::Absent => {}
    }
}

/// Nothing can be in what is no directory.
fn above(specs: &Specs<Spec>, key: &Key, declared: &Declared<Spec>, faults: &mut Vec<Diagnostic>) {
    if declared.spec == Spec::Absent {
        // Where there is no folder, there is nothing in it either.
        return;
    }
    for ancestor in ancestors(key.as_str()) {
        let Some(above) = specs.get(ancestor) else { continue };
        let what = match &above.spec {
            Spec::Directory { .. } => continue,
            Spec::File { .. } => "a regular file",
            // What lies behind a link is declared by its own path, or two paths would fight over one file.
            Spec::Link { .. } => "a symbolic link",
            Spec::Absent => "absent",
        };
        let message = format!("`{key}` cannot be there: `{ancestor}` is declared as {what}");
        let fault = Diagnostic::error("inside-no-directory", &declared.provenance.winner, message)
            .hint(format!("declare `{ancestor}` with ensure = \"directory\", or move one of them"))
            .related(&above.provenance.winner, "declared here");
        faults.push(fault);
        return;
    }
}
