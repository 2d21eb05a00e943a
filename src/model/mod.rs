//! The nouns every room shares: identifiers, places in the declaration, drift, plan, outcome, fingerprint.
//!
//! May not: touch the host, read a clock, log. Everything in here is a plain value that can be compared,
//! printed and, where it crosses a process or reaches the disk, serialised.

pub mod attribution;
pub mod authorship;
pub mod commit;
pub mod content;
pub mod diagnostic;
pub mod digest;
pub mod drift;
pub mod escape;
pub mod fingerprint;
pub mod id;
pub mod lines;
pub mod located;
pub mod outcome;
pub mod place;
pub mod plan;
pub mod vocabulary;
pub mod witness;
pub mod word;

pub use attribution::{Account, Actor, Attribution, Confidence, Evidence, Process, Session};
pub use authorship::LineAuthor;
pub use commit::{CommitId, Revision};
pub use content::Content;
pub use diagnostic::{Diagnostic, Faults, Severity};
pub use digest::Digest;
pub use drift::{FieldDiff, Shown, Verdict};
pub use id::{Key, KindName, ResourceId};
pub use located::{Located, Table, Value};
pub use outcome::{Outcome, OutcomeResult};
pub use place::{Place, Provenance};
pub use plan::{Plan, PlannedChange, Step};
pub use vocabulary::{DriftMode, Health, ResourceStatus, Sync, Trigger};
pub use witness::{Caught, Deeds, ProcessFacts, Subject, Witness};
