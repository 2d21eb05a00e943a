//! The kind `service`.

use serde::{Deserialize, Serialize};

/// What may be declared of one service resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {}
