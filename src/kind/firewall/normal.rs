//! The normal form of what nft lists as JSON: without handles, without what moves by itself, without order
//! where order means nothing, and the same whichever nft of a supported Debian wrote it (1.0.6 and 1.1.3: the
//! listings in `tests/listings` are of one rule set).

use serde_json::{Map, Value, json};

/// A set without its elements, and the elements apart.
#[derive(Default)]
pub struct NormalSet {
    /// What it means.
    pub json: Value,
    /// What its head says as well, as this very nft writes it: for listings of one nft alone.
    pub said: Map<String, Value>,
    /// What is in it.
    pub elements: Vec<Value>,
}

/// Members of an object that name where it is or move by themselves: which handle, how much was counted.
const VOLATILE: [&str; 7] = ["handle", "packets", "bytes", "used", "expires", "last", "index"];

/// Members of a set or map that its text says in the same words whichever nft lists it. As JSON, 1.0.6 leaves some of
/// them out (`auto-merge`, the flag `dynamic`) and writes others in another way (the type of a `typeof`).
const SAID_BY_HEAD: [&str; 4] = ["type", "map", "flags", "auto-merge"];

/// Codes of ICMP messages that nft 1.0.6 writes by name in a match, and 1.1.3 by number.
const ICMP_CODES: [(&str, u8); 8] = [
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("frag-needed", 4),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

/// The same of ICMPv6.
const ICMPV6_CODES: [(&str, u8); 6] = [
    ("no-route", 0),
    ("admin-prohibited", 1),
    ("addr-unreachable", 3),
    ("port-unreachable", 4),
    ("policy-fail", 5),
    ("reject-route", 6),
];

/// The normal form of a chain, limit or other object that is all in its JSON.
pub fn normal_object(value: &Value) -> Value {
    let object = without_volatile(value);
    Value::Object(object.iter().map(|(key, value)| (key.clone(), normal(value))).collect())
}

/// The normal form of a set or map, of which the lines `head` of its block are a part. Elements that come and go by
/// themselves are left out.
pub fn normal_set(value: &Value, head: &[String], dynamic: bool) -> NormalSet {
    let mut object = without_volatile(value);
    let said = SAID_BY_HEAD.iter().filter_map(|key| object.remove_entry(*key)).collect();
    let elements = match object.remove("elem") {
        Some(Value::Array(elements)) if !dynamic => sorted(elements.iter().map(normal).collect()),
        Some(_) | None => Vec::new(),
    };
    let json = json!([normal_object(&Value::Object(object)), head]);
    NormalSet { json, said, elements }
}

fn without_volatile(value: &Value) -> Map<String, Value> {
    let mut object = value.as_object().cloned().unwrap_or_default();
    object.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    object
}

fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Object(object) => match only_member(object) {
            // nft lists a set whose elements it merged into one as a set, and loads that as the bare element.
            Some(("set", [item])) => normal(item),
            // Flags of one field: 1.0.6 lists them, 1.1.3 writes the sum of their bits.
            Some(("|", items)) => sum(items),
            Some(_) | None => Value::Object(object.iter().map(normal_member).collect()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn only_member(object: &Map<String, Value>) -> Option<(&str, &[Value])> {
    let (key, value) = object.iter().next().filter(|_| object.len() == 1)?;
    Some((key, value.as_array()?))
}

/// A sum of flags that have names is the list of them; any other stays what it is.
fn sum(items: &[Value]) -> Value {
    let items: Vec<Value> = items.iter().map(normal).collect();
    let mut flags = Vec::new();
    for item in &items {
        match item {
            Value::String(_) => flags.push(item.clone()),
            // What was a sum of flags itself.
            Value::Array(inner) if inner.iter().all(Value::is_string) => flags.extend_from_slice(inner),
            _ => return json!({ "|": items }),
        }
    }
    Value::Array(flags)
}

fn normal_member((key, value): (&String, &Value)) -> (String, Value) {
    let value = match (key.as_str(), value) {
        ("match", Value::Object(comparison)) => normal_match(comparison),
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

fn normal_match(comparison: &Map<String, Value>) -> Value {
    let payload = comparison.get("left").and_then(|left| left.get("payload"));
    let word = |key: &str| payload.and_then(|payload| payload.get(key)).and_then(Value::as_str);
    let codes: &[(&str, u8)] = match (word("protocol"), word("field")) {
        (Some("icmp"), Some("code")) => &ICMP_CODES,
        (Some("icmpv6"), Some("code")) => &ICMPV6_CODES,
        (_, _) => &[],
    };
    let member = |(key, value): (&String, &Value)| match key.as_str() {
        "right" => (key.clone(), normal(&with_numbers(value, codes))),
        _ => (key.clone(), normal(value)),
    };
    Value::Object(comparison.iter().map(member).collect())
}

/// Names as the numbers they stand for.
fn with_numbers(value: &Value, codes: &[(&str, u8)]) -> Value {
    match value {
        Value::String(word) => {
            let code = codes.iter().find(|(name, _)| name == word);
            code.map_or_else(|| value.clone(), |(_, number)| Value::from(*number))
        }
        Value::Array(items) => items.iter().map(|item| with_numbers(item, codes)).collect(),
        Value::Object(object) => {
            let member = |(key, value): (&String, &Value)| (key.clone(), with_numbers(value, codes));
            Value::Object(object.iter().map(member).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_cached_key(Value::to_string);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_counters_and_order_of_elements_do_not_count() {
        let rule = |handle: u32, packets: u32, ports: [u32; 2]| {
            normal_object(&json!({"chain": "input", "handle": handle, "expr": [
                {"match": {"op": "==", "left": {"x": 1}, "right": {"set": ports}}},
                {"counter": {"packets": packets, "bytes": 7}}, {"accept": null}]}))
        };
        assert_eq!(rule(1, 0, [80, 443]), rule(9, 17, [443, 80]));
        assert_ne!(rule(1, 0, [80, 443]), rule(1, 0, [80, 444]));
    }

    #[test]
    fn a_set_of_one_is_that_one() {
        let rule = |right: Value| normal_object(&json!({"expr": [{"match": {"op": "==", "right": right}}]}));
        assert_eq!(
            rule(json!({"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}]})),
            rule(json!({"prefix": {"addr": "10.0.0.0", "len": 8}}))
        );
        assert_ne!(rule(json!({"set": [1, 2]})), rule(json!(1)));
    }

    #[test]
    fn the_order_of_statements_and_of_a_range_counts() {
        let rule = |expr: Value| normal_object(&json!({"expr": expr}));
        assert_ne!(rule(json!([{"a": 1}, {"b": 2}])), rule(json!([{"b": 2}, {"a": 1}])));
        assert_ne!(rule(json!([{"range": [1, 2]}])), rule(json!([{"range": [2, 1]}])));
    }

    #[test]
    fn elements_that_come_and_go_by_themselves_are_left_out() {
        let set = json!({"name": "seen", "handle": 3, "elem": ["10.0.0.2", {"elem": {"val": "10.0.0.1",
            "expires": 17, "counter": {"packets": 1, "bytes": 2}}}]});
        let head = ["type ipv4_addr".to_owned()];
        assert!(normal_set(&set, &head, true).elements.is_empty());
        let kept = normal_set(&set, &head, false);
        assert_eq!(kept.json, json!([{"name": "seen"}, ["type ipv4_addr"]]));
        assert_eq!(kept.elements, [json!("10.0.0.2"), json!({"elem": {"val": "10.0.0.1", "counter": {}}})]);
    }

    #[test]
    fn flags_are_a_list_however_they_are_written_and_a_sum_with_a_number_is_not() {
        assert_eq!(normal(&json!({"|": ["fin", "syn"]})), json!(["fin", "syn"]));
        assert_eq!(normal(&json!({"|": [{"|": ["fin", "syn"]}, "ack"]})), json!(["fin", "syn", "ack"]));
        let marked = json!({"|": [{"meta": {"key": "mark"}}, 256]});
        assert_eq!(normal(&marked), marked);
    }

    #[test]
    fn a_code_of_icmp_is_a_number_however_it_is_written() {
        let rule = |protocol: &str, right: Value| {
            let left = json!({"payload": {"protocol": protocol, "field": "code"}});
            normal_object(&json!({"expr": [{"match": {"op": "==", "left": left, "right": right}}]}))
        };
        assert_eq!(rule("icmp", json!("frag-needed")), rule("icmp", json!(4)));
        assert_eq!(
            rule("icmp", json!({"set": ["frag-needed", "net-unreachable"]})),
            rule("icmp", json!({"set": [0, 4]}))
        );
        assert_eq!(rule("icmpv6", json!("port-unreachable")), rule("icmpv6", json!(4)));
        assert_ne!(rule("icmp", json!("port-unreachable")), rule("icmp", json!(4)));
    }
}
