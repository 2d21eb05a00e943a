//! From the files of a fleet repository to the desired state of one host. Pure: the same files, facts and name
//! give the same state, fingerprint and words on every machine.
//!
//! May not: touch a host, start a process, read a clock or the environment. Flows in: a [`Tree`] of files, the
//! [`Facts`](crate::host::facts::Facts) of a host and its name. Flows out: [`Desired`] with the contents it
//! needs, or diagnostics, all of them at once, each with its place.
//!
//! ```text
//! Tree ─text─▶ syntax ─▶ layer (fleet, roles, host files) ─matching─▶ the layers of this host
//!                                     │
//!      vars, layer by layer ◀─────────┤
//!        │                            ▼
//!        └──▶ render ◀──────────── merge ──▶ kinds (parse, validate) ──▶ Desired
//!                                              └─▶ materials ──▶ contents
//! ```
//!
//! The rules that people rely on:
//!
//! - **Whom a host file is for.** Without `[match]`: the host of the file's own name. With it: hosts that fit one
//!   of `hostname` (names, or patterns with `*` and `?`) and all conditions on facts. A name beats a pattern, a
//!   pattern beats facts alone; two files of equal rank for one host are a fault.
//! - **Layers.** `fleet.toml`, then the roles in the order of the host file's list, then the host file; later wins
//!   key by key, arrays are replaced whole. Two roles that say different things of the same key are a fault
//!   unless the host file says it itself. Ways of saying one thing that exclude each other take each other back:
//!   above `content` a layer may say `source`, above anything `ensure = "absent"`.
//! - **Variables.** Merged like everything else. A variable may use facts and the variables of *lower* layers, so
//!   there are no circles. Between roles the later one wins without a fault: variables are there to be overridden.
//! - **Rendering.** Every string in a resource may hold `{{ vars.x }}` and `{{ facts.x }}`; keys may not. What a
//!   layer above has replaced is never rendered. An undefined name is a fault.
//! - **Pruning.** The word of the resource, else of the highest layer that speaks of it and has one, else of the
//!   fleet.

mod alternatives;
mod check;
mod compile;
mod fleet;
mod inventory;
mod kinds;
mod layer;
pub mod limits;
mod literal;
mod matching;
mod materials;
mod merge;
mod references;
mod render;
mod strings;
mod syntax;
mod text;
mod tree;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::host::facts::Facts;
use crate::kind::Desired;
use crate::model::Diagnostic;
use crate::model::content::Content;

pub use check::{CheckReport, ClassReport, Finding, HostReport, Origin, check};
pub use fleet::Fleet;
pub use layer::SCHEMA;
pub use layer::read as reading;
pub use matching::{bytes, host_name};
pub use syntax::parse as parse_toml;
pub use text::Text;
pub use tree::{Tree, Unreadable};

/// What came out for one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What the host should be.
    pub desired: Desired,
    /// Where the bytes are that it wants laid down.
    pub contents: BTreeMap<Content, ContentAt>,
    /// What is worth knowing and refuses nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Where bytes are. Files that are laid down as they are stay in the tree until someone wants them: ten thousand
/// of them in memory would cost more than all the rest of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentAt {
    /// In the tree, at this path.
    Tree(String),
    /// Here: rendered, or written in the declaration itself.
    Here(Vec<u8>),
}

/// Compiles the desired state of one host.
///
/// # Errors
/// All faults of the files that every host shares and of this host's layers, sorted by place, warnings among them.
pub fn compile(tree: &dyn Tree, host: &str, facts: &Facts) -> Result<Compiled, Vec<Diagnostic>> {
    Fleet::read(tree).compile(host, facts)
}

impl Fleet<'_> {
    /// Compiles the desired state of one host. See [`compile`].
    ///
    /// # Errors
    /// All faults, as there.
    pub fn compile(&self, host: &str, facts: &Facts) -> Result<Compiled, Vec<Diagnostic>> {
        compile::by_choice(self, host, facts)
    }
}

impl Compiled {
    /// The bytes of a content, from the tree it was compiled from.
    ///
    /// # Errors
    /// The tree can't be read any more, or the content is not of this host.
    pub fn bytes(&self, content: &Content, tree: &dyn Tree) -> Result<Cow<'_, [u8]>, Unreadable> {
        match self.contents.get(content) {
            Some(ContentAt::Here(bytes)) => Ok(Cow::Borrowed(bytes)),
            Some(ContentAt::Tree(path)) => tree.read(path).map(Cow::Owned),
            None => Err(Unreadable(format!("content {} belongs to no file of this host", content.digest))),
        }
    }
}
