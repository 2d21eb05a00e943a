//! What was observed of one file.

use std::sync::Arc;

use serde::Serialize;

use super::spec::Mode;
use crate::host::files::FileType;
use crate::model::Content;

/// What lies at a path. Without times and inode numbers: they are no part of what is declared. Owners by name,
/// so that two hosts can be compared; by number where the number has no name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// What it is.
    pub kind: FileType,
    /// Owner.
    pub owner: Arc<str>,
    /// Group.
    pub group: Arc<str>,
    /// Mode.
    pub mode: Mode,
    /// What is in it.
    #[serde(skip_serializing_if = "Body::is_unread")]
    pub body: Body,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Digest and size of a regular file whose content is declared.
    Content(Content),
    /// Where a link points.
    Target(String),
    /// Nothing that is managed, or nothing that could be: not read.
    Unread,
}

impl Body {
    /// Whether it was not read.
    pub fn is_unread(&self) -> bool {
        *self == Body::Unread
    }
}
