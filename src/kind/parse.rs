//! What a kind may ask of the compiler while it parses: a place for faults, and the fleet repository's files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Declared;
use super::fields::Fields;
use crate::model::content::Content;
use crate::model::{Diagnostic, DriftMode, Faults, Located, Place, Provenance};

/// The parsing context.
pub struct ParseCx<'a> {
    /// Where faults go.
    pub faults: &'a mut Faults,
    /// The repository's files and templates.
    pub materials: &'a mut dyn Materials,
    /// What `prune` is for a resource that does not say.
    pub prune: &'a PruneDefaults,
}

/// What `prune` is for a resource that does not say: the word of the highest layer that speaks of the resource
/// and has a word of its own; else that of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneDefaults {
    /// The word of the fleet.
    pub fleet: bool,
    /// The words of files (roles, the host file) that have one.
    pub files: BTreeMap<Arc<str>, bool>,
}

impl PruneDefaults {
    /// For a resource that these layers speak of.
    pub fn of(&self, provenance: &Provenance) -> bool {
        let layers = std::iter::once(&provenance.winner).chain(provenance.below.iter().rev());
        layers.filter_map(|place| self.files.get(&place.file)).next().copied().unwrap_or(self.fleet)
    }
}

/// Files of the fleet repository as contents. What is returned is a digest; the bytes stay with the compiler.
pub trait Materials {
    /// A file as it is. The path is relative to the declaration's folder.
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault>;
    /// A file rendered as a template over `vars` and `facts`.
    fn template(&mut self, path: &str) -> Result<Content, MaterialFault>;
    /// Bytes written in the declaration itself.
    fn inline(&mut self, bytes: Vec<u8>) -> Content;
}

/// Why a file of the repository gave no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialFault {
    /// Stable code, such as `no-such-file` or `template`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The place inside the file itself, if the fault is there.
    pub inside: Option<Place>,
}

impl ParseCx<'_> {
    /// Reports an error. An empty hint is none: where the message says it all.
    pub fn error(&mut self, code: &str, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        let fault = Diagnostic::error(code, place, message);
        self.faults.push(if hint.is_empty() { fault } else { fault.hint(hint) });
    }

    /// Reports a fault of a material at the place that named it.
    pub fn material(&mut self, at: &Place, got: Result<Content, MaterialFault>) -> Option<Content> {
        let fault = match got {
            Ok(content) => return Some(content),
            Err(fault) => fault,
        };
        let mut diagnostic =
            Diagnostic::error(fault.code, fault.inside.as_ref().unwrap_or(at), fault.message);
        if fault.inside.is_some() {
            diagnostic = diagnostic.related(at, "used here");
        }
        diagnostic.hint = fault.hint;
        self.faults.push(diagnostic);
        None
    }

    /// Wraps a spec with what every resource may say of itself: takes `drift` and `prune` from its fields.
    /// Call it before [`Fields::finish`].
    pub fn declared<S>(&mut self, spec: S, from: &Located, fields: &mut Fields<'_>) -> Declared<S> {
        let drift = fields.string("drift", self).and_then(|text| match text.value.parse::<DriftMode>() {
            Ok(mode) => Some(mode),
            Err(message) => {
                self.error("bad-value", text.place, message, "\"warn\" reports and changes nothing");
                None
            }
        });
        let prune = fields.boolean("prune", self);
        let plain = self.declared_plain(spec, from);
        Declared { drift, prune: prune.unwrap_or(plain.prune), ..plain }
    }

    /// Wraps a spec that was written as something else than a table (`nginx = "*"`) and so says nothing of
    /// `drift` and `prune`.
    pub fn declared_plain<S>(&self, spec: S, from: &Located) -> Declared<S> {
        let provenance = from.provenance();
        let prune = self.prune.of(&provenance);
        Declared { spec, provenance, drift: None, prune }
    }
}
