//! Who wrote a line of the declaration.

use serde::{Deserialize, Serialize};

use super::commit::Revision;

/// Who wrote the line that demanded otherwise, as far as the repository's history was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "kebab-case")]
pub enum LineAuthor {
    /// This commit brought the line as it is.
    Written {
        /// The commit, with its author. Untrusted text.
        revision: Revision,
        /// The number the line had there, from 1.
        line: u32,
    },
    /// The history that was fetched ends with this commit, which has the line already: it, or an older one, brought it.
    Older {
        /// The commit. Its author need not be the line's.
        revision: Revision,
    },
    /// It could not be told.
    Unknown {
        /// Why.
        why: String,
    },
}
