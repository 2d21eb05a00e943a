//! The observed state of one firewall resource, cut out of a listing, and what differs between two.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::COMMENT;
use super::listing::{Listing, Object, RuleLine, is_hook, is_nat_hook};
use super::meaning::Meaning;
use crate::model::{FieldDiff, Key, Shown};

/// What was observed of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its parts by name (`policy`, `rule`, `elements`), each a list in an order that counts.
    pub fields: BTreeMap<&'static str, Vec<Piece>>,
    /// Of a hook: which rules stand in it, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
}

/// One piece of the listing: what it means, which is what counts, and how nft writes it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Piece {
    /// What it means, normalised.
    pub json: Meaning,
    /// How nft writes it.
    #[serde(skip)]
    pub text: String,
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Piece {}

impl State {
    /// A table that is not ours: which it is, and its chains on hooks.
    pub fn foreign(family: &str, name: &str, chains: &[&str]) -> Self {
        let json = serde_json::json!({"family": family, "name": name, "chains": chains}).into();
        let text = format!("{family} {name} ({})", chains.join(", "));
        State { fields: BTreeMap::from([("table", vec![Piece { json, text }])]), order: Vec::new() }
    }
}

/// The states of all resources of a listing.
pub fn states(listing: &Listing) -> BTreeMap<Key, State> {
    let mut states = BTreeMap::new();
    for object in &listing.objects {
        add_object(&mut states, object);
        for rule in &object.rules {
            add_rule(&mut states, object, rule);
        }
    }
    states
}

/// What differs between what is there and what should be; either may be nothing at all.
pub fn differences(observed: Option<&State>, desired: Option<&State>) -> Vec<FieldDiff> {
    let nothing = State::default();
    let (observed, desired) = (observed.unwrap_or(&nothing), desired.unwrap_or(&nothing));
    let names: BTreeSet<&&str> = observed.fields.keys().chain(desired.fields.keys()).collect();
    let mut fields = Vec::new();
    for name in names {
        let (have, want) = (observed.fields.get(*name), desired.fields.get(*name));
        if have != want {
            fields.push(FieldDiff::new(name, shown(have), shown(want)));
        }
    }
    let (have, want) = in_common(&observed.order, &desired.order);
    if have != want {
        fields.push(FieldDiff::new("order", have.join(", "), want.join(", ")));
    }
    fields
}

fn shown(pieces: Option<&Vec<Piece>>) -> Shown {
    match pieces {
        None => Shown::Absent,
        Some(pieces) => {
            let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
            Shown::Value(texts.join("\n"))
        }
    }
}

/// Both orders, reduced to what stands in both: a rule that is missing is its own drift, not one of order.
fn in_common<'a>(observed: &'a [String], desired: &'a [String]) -> (Vec<&'a str>, Vec<&'a str>) {
    let only = |of: &'a [String], other: &[String]| {
        of.iter().filter(|name| other.contains(name)).map(String::as_str).collect()
    };
    (only(observed, desired), only(desired, observed))
}

fn add_object(states: &mut BTreeMap<Key, State>, object: &Object) {
    let state: &mut State = states.entry(object.owner.clone()).or_default();
    let Object { kind, name, json, elements, head, .. } = object;
    let field = match kind.as_str() {
        "chain" if is_hook(name) || is_nat_hook(name) => "policy",
        "chain" => "chain",
        "set" => "set",
        "limit" => "limit",
        _ => "object",
    };
    let text = match field {
        "policy" | "limit" => head.join(" "),
        _ => format!("{kind} {name}: {}", head.join(", ")),
    };
    state.fields.entry(field).or_default().push(Piece { json: json.clone(), text });
    if let Some(elements) = elements {
        let value = elements.value();
        let texts: Vec<String> = value.as_array().into_iter().flatten().map(element_text).collect();
        let piece = Piece { json: elements.clone(), text: texts.join(", ") };
        state.fields.entry("elements").or_default().push(piece);
    }
}

fn add_rule(states: &mut BTreeMap<Key, State>, chain: &Object, rule: &RuleLine) {
    let ours = rule.comment.as_deref().and_then(|comment| comment.strip_prefix(COMMENT));
    let field = match (rule.owner == chain.owner, ours) {
        (false, _) => "rule",
        (true, _) if !is_hook(&chain.name) && !is_nat_hook(&chain.name) => "rules",
        (true, Some(_)) => "standing rules",
        (true, None) => "extra rules",
    };
    let piece = Piece { json: rule.json.clone(), text: without_comment(rule) };
    states.entry(rule.owner.clone()).or_default().fields.entry(field).or_default().push(piece);
    if let (Some(name), Some(state)) = (ours, states.get_mut(&chain.owner))
        && !state.order.iter().any(|known| known == name)
    {
        state.order.push(name.to_owned());
    }
}

/// The rule as a person reads it: our own comment says nothing new.
fn without_comment(rule: &RuleLine) -> String {
    let comment = rule.comment.as_deref().filter(|comment| comment.starts_with(COMMENT));
    let suffix = comment.map(|comment| format!(" comment \"{comment}\"")).unwrap_or_default();
    rule.text.strip_suffix(&suffix).unwrap_or(&rule.text).to_owned()
}

fn element_text(element: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(prefix) = element.get("prefix") {
        return format!("{}/{}", word(&prefix["addr"]), prefix["len"]);
    }
    match element.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => format!("{}-{}", word(first), word(last)),
        Some(_) | None => word(element),
    }
}
