//! The kind `file`.

use serde::{Deserialize, Serialize};

/// What may be declared of one file resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {}
