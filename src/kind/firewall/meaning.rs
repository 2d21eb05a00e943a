//! What an object of a listing means, for comparing and for little memory: a tree of JSON takes some ten times the
//! room of its text, and two tables of two hundred rules each are held for as long as the agent runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// JSON in normal form, as text without white space and with sorted keys: two mean the same exactly if they are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meaning(Arc<str>);

impl Meaning {
    /// The tree again. What is no JSON (a file of ours that somebody changed) means nothing.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Value> for Meaning {
    fn from(value: Value) -> Self {
        // Maps of `serde_json` are sorted (its `preserve_order` feature is off).
        Meaning(value.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_in_another_order_means_the_same_and_comes_back_whole() {
        let one = json!({"match": {"op": "==", "right": [22, "https"]}, "accept": null});
        let other: Value =
            serde_json::from_str(r#"{"accept":null, "match":{"right":[22,"https"], "op":"=="}}"#).unwrap();
        assert_eq!(Meaning::from(one.clone()), Meaning::from(other));
        assert_ne!(Meaning::from(one.clone()), Meaning::from(json!({"accept": null})));
        assert_eq!(Meaning::from(one.clone()).value(), one);
        assert_eq!(serde_json::from_str::<Meaning>("\"no json {\"").unwrap().value(), Value::Null);
    }
}
