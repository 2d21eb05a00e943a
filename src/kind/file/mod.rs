//! The kind `file`: regular files, directories, symbolic links, and what must not be there.
//!
//! ```text
//! [files."/etc/motd"]            one of content, source, template; or link = "target";
//! content = "hello\n"            or ensure = "file" | "directory" | "absent"
//! mode = "0644"                  owner and group: root unless said
//! ```
//!
//! Observation costs one folder handle a folder and one `statx` a file. A content is read only when the file's
//! identity (device, inode, size, times) is not the one under which it was last read; see `proofs`.
//! Parents that are missing are created as root's with mode 0755, and the plan says so. What is replaced or
//! removed goes to the store first.
//!
//! May not: follow a link in the last place, change a file through a name it shares, remove what is neither
//! declared absent, nor inside something exclusive, nor brought by us.

mod ahead;
mod apply;
mod change;
mod check;
mod declare;
mod diff;
mod extras;
mod names;
mod observe;
mod parse;
mod path;
mod proofs;
mod reach;
mod spec;
mod state;
mod validate;
mod write;

pub use change::Change;
pub(crate) use reach::touches;
pub use spec::{Mode, Ownership, Spec};
pub use state::{Body, State};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::desired::Part;
use super::{
    ApplyCx, Desired, DiffCx, Difference, Kind, ObserveError, Observed, ParseCx, Planned, Specs, Want, Watch,
};
use crate::host::Host;
use crate::host::files::Identity;
use crate::model::{Content, Diagnostic, Key, KindName, Located, OutcomeResult};

use proofs::{Proofs, Trust};

/// Files at work: what makes the next look cheap, and what the last look found that no state holds.
#[derive(Default)]
pub struct Files {
    proofs: Proofs,
    aside: Aside,
    /// What was laid down since the last look, under which identity.
    laid: BTreeMap<Key, Identity>,
    /// Folders that were rid of what a crash left staged, since this process started.
    swept: BTreeSet<String>,
}

/// What the last look found that is no state of a resource, for the comparison that follows it.
#[derive(Default)]
struct Aside {
    /// Users and groups that are declared and are not there.
    missing_names: BTreeSet<String>,
    /// Folders on the way to a declared file that are not there.
    missing_folders: BTreeSet<String>,
    /// What is to be pruned and waits for a person, and what for.
    unpruned: BTreeMap<Key, String>,
}

impl Files {
    /// Nothing read yet.
    pub fn new() -> Self {
        Files::default()
    }
}

impl Kind for Files {
    const NAME: KindName = KindName::File;
    const TABLE: &'static str = "files";

    type Spec = Spec;
    type State = State;
    type Change = Change;

    fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
        parse::parse(table, cx)
    }

    fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
        validate::validate(specs)
    }

    fn rehearse(&mut self, host: &Host, specs: &Specs<Spec>) -> Vec<Diagnostic> {
        observe::rehearse(host, specs)
    }

    fn observe(&mut self, host: &Host, want: &Want<'_, Spec>) -> Result<Observed<State>, ObserveError> {
        Ok(observe::observe(self, host, want))
    }

    fn diff(
        &self,
        want: &Want<'_, Spec>,
        observed: &Observed<State>,
        _cx: &DiffCx<'_>,
    ) -> Vec<Difference<Change>> {
        diff::diff(&self.aside, want, observed)
    }

    fn apply(&mut self, cx: &mut ApplyCx<'_>, changes: &[Planned<Spec, Change>]) -> Vec<OutcomeResult> {
        apply::apply(self, cx, changes)
    }

    fn declare(key: &Key, state: &State) -> String {
        declare::declare(key, state)
    }

    fn watches(specs: &Specs<Spec>) -> Vec<Watch> {
        declare::watches(specs)
    }

    /// By identity where it was old enough to be trusted when the content was read, else by content.
    fn is_untouched(&self, host: &Host, key: Option<&Key>) -> bool {
        let Some(key) = key else { return false };
        let path = Path::new(key.as_str());
        let Ok(Some(stat)) = host.root.stat(path) else { return false };
        match self.proofs.of(key, &stat.identity) {
            None => false,
            Some((_, Trust::Solid)) => true,
            Some((content, Trust::Fresh)) => {
                let read = host.root.parent(path).and_then(|(folder, name)| folder.content(name));
                matches!(read, Ok(Some(read)) if read.content == content && read.stat.identity == stat.identity)
            }
        }
    }

    /// By the inode, its size and the time of its content: the time of change moved when it came to its place.
    fn was_changed_by_others(&self, host: &Host, key: &Key) -> bool {
        let Some(laid) = self.laid.get(key) else { return false };
        match host.root.stat(Path::new(key.as_str())) {
            Ok(Some(stat)) => Identity { ctime: laid.ctime, ..stat.identity } != *laid,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    fn contents(spec: &Spec) -> Vec<Content> {
        match spec {
            Spec::File { content, .. } => content.iter().copied().collect(),
            Spec::Directory { .. } | Spec::Link { .. } | Spec::Absent => Vec::new(),
        }
    }
}

impl Part for Files {
    fn part(desired: &Desired) -> &Specs<Spec> {
        &desired.file
    }
}

#[cfg(test)]
mod tests;
