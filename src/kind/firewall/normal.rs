//! The normal form of what nft lists as JSON: without handles, without what moves by itself, without order
//! where order means nothing.

use serde_json::{Map, Value};

/// An object without its elements, and the elements apart.
pub struct NormalObject {
    /// What it means.
    pub json: Value,
    /// What is in it.
    pub elements: Vec<Value>,
}

/// Members of an object that name where it is or move by themselves: which handle, how much was counted.
const VOLATILE: [&str; 7] = ["handle", "packets", "bytes", "used", "expires", "last", "index"];

/// The normal form of a set, chain, limit or other object. Elements that come and go by themselves are left out.
pub fn normal_object(value: &Value, dynamic: bool) -> NormalObject {
    let mut object = without_volatile(value);
    let elements = match object.remove("elem") {
        Some(Value::Array(elements)) if !dynamic => sorted(elements.iter().map(normal).collect()),
        Some(_) | None => Vec::new(),
    };
    let json = object.iter().map(|(key, value)| (key.clone(), normal(value))).collect();
    NormalObject { json: Value::Object(json), elements }
}

/// The normal form of a rule.
pub fn normal_rule(value: &Value) -> Value {
    let object = without_volatile(value);
    Value::Object(object.iter().map(|(key, value)| (key.clone(), normal(value))).collect())
}

fn without_volatile(value: &Value) -> Map<String, Value> {
    let mut object = value.as_object().cloned().unwrap_or_default();
    object.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    object
}

fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Object(object) => match (object.len(), object.get("set").and_then(Value::as_array)) {
            // nft lists a set whose elements it merged into one as a set, and loads that as the bare element.
            (1, Some(items)) if items.len() == 1 => normal(&items[0]),
            (_, _) => Value::Object(object.iter().map(normal_member).collect()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn normal_member((key, value): (&String, &Value)) -> (String, Value) {
    let value = match (key.as_str(), value) {
        // An anonymous set or map: its elements have no order.
        ("set", Value::Array(items)) => Value::Array(sorted(items.iter().map(normal).collect())),
        // Statements that count, and elements with a life of their own.
        ("counter" | "quota" | "last" | "elem", Value::Object(_)) => {
            let object = without_volatile(value);
            Value::Object(object.iter().map(normal_member).collect())
        }
        _ => normal(value),
    };
    (key.clone(), value)
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_cached_key(Value::to_string);
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn handles_counters_and_order_of_elements_do_not_count() {
        let rule = |handle: u32, packets: u32, ports: [u32; 2]| {
            normal_rule(&json!({"chain": "input", "handle": handle, "expr": [
                {"match": {"op": "==", "left": {"x": 1}, "right": {"set": ports}}},
                {"counter": {"packets": packets, "bytes": 7}}, {"accept": null}]}))
        };
        assert_eq!(rule(1, 0, [80, 443]), rule(9, 17, [443, 80]));
        assert_ne!(rule(1, 0, [80, 443]), rule(1, 0, [80, 444]));
    }

    #[test]
    fn a_set_of_one_is_that_one() {
        let rule = |right: Value| normal_rule(&json!({"expr": [{"match": {"op": "==", "right": right}}]}));
        assert_eq!(
            rule(json!({"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}]})),
            rule(json!({"prefix": {"addr": "10.0.0.0", "len": 8}}))
        );
        assert_ne!(rule(json!({"set": [1, 2]})), rule(json!(1)));
    }

    #[test]
    fn the_order_of_statements_and_of_a_range_counts() {
        let rule = |expr: Value| normal_rule(&json!({"expr": expr}));
        assert_ne!(rule(json!([{"a": 1}, {"b": 2}])), rule(json!([{"b": 2}, {"a": 1}])));
        assert_ne!(rule(json!([{"range": [1, 2]}])), rule(json!([{"range": [2, 1]}])));
    }

    #[test]
    fn elements_that_come_and_go_by_themselves_are_left_out() {
        let set = json!({"name": "seen", "handle": 3, "elem": ["10.0.0.2", {"elem": {"val": "10.0.0.1",
            "expires": 17, "counter": {"packets": 1, "bytes": 2}}}]});
        assert!(normal_object(&set, true).elements.is_empty());
        let kept = normal_object(&set, false);
        assert_eq!(kept.json, json!({"name": "seen"}));
        assert_eq!(kept.elements, [json!("10.0.0.2"), json!({"elem": {"val": "10.0.0.1", "counter": {}}})]);
    }
}
