//! The kind `package`.

use serde::{Deserialize, Serialize};

/// What may be declared of one package resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {}
