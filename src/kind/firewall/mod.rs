//! The kind `firewall`.

use serde::{Deserialize, Serialize};

/// What may be declared of one firewall resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {}
