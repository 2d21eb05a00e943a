//! What nft lists of our table, from its JSON and its text side by side.
//!
//! The JSON says what a rule means and is what is compared. The text is what people read and what can be loaded
//! again; only it carries all flags of a set. Handles tie the two together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::COMMENT;
use super::meaning::Meaning;
use super::normal::{NormalSet, normal_object, normal_set};
use super::render::REPLACE;
use super::spec::{HookName, NatHook, keys};
use super::text::{Block, blocks};
use crate::model::Key;

/// Our table as listed. Objects stand in the order in which they must be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Version of the nft that made it. Texts of different versions can't be compared.
    pub version: String,
    /// Sets, limits, chains.
    pub objects: Vec<Object>,
}

/// A set, a limit, a chain: a block of the listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The resource it belongs to.
    pub owner: Key,
    /// `set`, `chain`, `limit`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it means, normalised, without elements. Of a set or map, with the lines of its head: only they say all.
    pub json: Meaning,
    /// What the head of a set or map says as well, as the nft writes it that made this.
    pub said: Meaning,
    /// Elements of a set, normalised and sorted; none if it has none, or if they come and go by themselves.
    pub elements: Option<Meaning>,
    /// Lines of its block that are neither rules nor elements.
    pub head: Vec<String>,
    /// Lines of its elements.
    pub element_lines: Vec<String>,
    /// Rules of a chain, in order.
    pub rules: Vec<RuleLine>,
}

/// One rule in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// The resource it belongs to: by its comment, or else its chain.
    pub owner: Key,
    /// Its comment.
    pub comment: Option<String>,
    /// What it means, normalised.
    pub json: Meaning,
    /// How nft writes it.
    pub text: String,
}

/// Why two listings make no whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingFault {
    /// It is no listing this code understands.
    Malformed(String),
    /// The rule set changed between the two.
    Torn,
}

impl Listing {
    /// Reads `nft -j -p list …` and `nft -a -s -p list …` of our table alone.
    pub fn parse(json: &[u8], text: &[u8]) -> Result<Self, ListingFault> {
        let text = String::from_utf8_lossy(text);
        let blocks = blocks(&text);
        let mut listing = Listing::default();
        let mut rules: BTreeMap<String, Vec<RuleLine>> = BTreeMap::new();
        for (kind, value) in items(json)? {
            match kind.as_str() {
                "metainfo" => listing.version = word(&value, "version").to_owned(),
                "table" => {}
                "rule" => {
                    let chain = word(&value, "chain").to_owned();
                    let rule = rule_line(&chain, &value, &blocks)?;
                    rules.entry(chain).or_default().push(rule);
                }
                _ => listing.objects.push(object(&kind, &value, &blocks)?),
            }
        }
        for object in listing.objects.iter_mut().filter(|object| object.kind == "chain") {
            object.rules = rules.remove(&object.name).unwrap_or_default();
        }
        listing.in_text_order(&blocks);
        match rules.is_empty() {
            true => Ok(listing),
            false => Err(ListingFault::Torn),
        }
    }

    /// The first resource of which another listing of the same nft, `nft -j -p list …` of our table, says something else; none if both
    /// mean the same.
    pub fn differs_from(&self, json: &[u8]) -> Result<Option<Key>, ListingFault> {
        let mut objects: BTreeMap<(String, String), Value> = BTreeMap::new();
        let mut rules: BTreeMap<String, Vec<Meaning>> = BTreeMap::new();
        for (kind, value) in items(json)? {
            match kind.as_str() {
                "metainfo" | "table" => {}
                "rule" => {
                    let meaning = normal_object(&value).into();
                    rules.entry(word(&value, "chain").to_owned()).or_default().push(meaning);
                }
                _ => drop(objects.insert((kind, word(&value, "name").to_owned()), value)),
            }
        }
        for object in &self.objects {
            let other = objects.remove(&(object.kind.clone(), object.name.clone()));
            let rules = rules.remove(&object.name).filter(|_| object.kind == "chain").unwrap_or_default();
            if let Some(owner) = object.differs_from(other.as_ref(), &rules) {
                return Ok(Some(owner));
            }
        }
        Ok(objects.into_keys().next().map(|(kind, name)| object_owner(&kind, &name)))
    }

    /// The text that loads exactly this in the place of whatever our table is, in one transaction.
    pub fn loadable(&self) -> String {
        let mut text = format!("{REPLACE}table inet agentd {{\n");
        for object in &self.objects {
            text.push_str(&object.text());
        }
        text.push_str("}\n");
        text
    }

    /// An object by kind and name.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.kind == kind && object.name == name)
    }

    /// JSON lists chains in another order than text; text is in the order that loads.
    fn in_text_order(&mut self, blocks: &[Block]) {
        let place = |object: &Object| blocks.iter().position(|block| block.is(&object.kind, &object.name));
        self.objects.sort_by_key(place);
    }
}

impl Object {
    fn differs_from(&self, other: Option<&Value>, rules: &[Meaning]) -> Option<Key> {
        // Without elements here they come and go by themselves, or there are none.
        let same = |other: &Value| {
            let (json, said, elements) = meaning(&self.kind, other, &self.head, self.elements.is_none());
            json == self.json && said == self.said && elements == self.elements
        };
        if !other.is_some_and(same) {
            return Some(self.owner.clone());
        }
        let differs = self.rules.iter().zip(rules).find(|(rule, other)| rule.json != **other);
        let rule = differs.map(|(rule, _)| rule.owner.clone());
        rule.or_else(|| (self.rules.len() != rules.len()).then(|| self.owner.clone()))
    }

    /// Its block, as nft reads it.
    pub fn text(&self) -> String {
        let Object { kind, name, head, element_lines, rules, .. } = self;
        let rules = rules.iter().map(|rule| &rule.text);
        let lines: Vec<&str> = head.iter().chain(element_lines).chain(rules).map(String::as_str).collect();
        format!("\t{kind} {name} {{\n\t\t{}\n\t}}\n\n", lines.join("\n\t\t"))
    }
}

/// The objects of an nft JSON document, each with its kind.
pub fn items(json: &[u8]) -> Result<Vec<(String, Value)>, ListingFault> {
    let malformed = |what: &str| ListingFault::Malformed(what.to_owned());
    let document: Value = serde_json::from_slice(json)
        .map_err(|error| ListingFault::Malformed(format!("nft's listing is no JSON: {error}")))?;
    let Some(Value::Array(items)) = document.get("nftables") else {
        return Err(malformed("nft's listing has no `nftables` array"));
    };
    let only = |item: &Value| -> Option<(String, Value)> {
        let object = item.as_object().filter(|object| object.len() == 1)?;
        object.iter().next().map(|(kind, value)| (kind.clone(), value.clone()))
    };
    items
        .iter()
        .map(|item| only(item).ok_or_else(|| malformed("nft lists an object of unknown form")))
        .collect()
}

/// A string member, or nothing.
pub fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn object(kind: &str, value: &Value, blocks: &[Block]) -> Result<Object, ListingFault> {
    let name = word(value, "name").to_owned();
    let block = blocks.iter().find(|block| block.is(kind, &name)).ok_or(ListingFault::Torn)?;
    let (json, said, elements) = meaning(kind, value, &block.head, block.dynamic());
    Ok(Object {
        owner: object_owner(kind, &name),
        kind: kind.to_owned(),
        name,
        json,
        said,
        elements,
        head: block.head.clone(),
        element_lines: block.elements.clone(),
        rules: Vec::new(),
    })
}

/// What an object means, what its head says as well, and its elements.
fn meaning(kind: &str, value: &Value, head: &[String], dynamic: bool) -> (Meaning, Meaning, Option<Meaning>) {
    let NormalSet { json, said, elements } = match kind {
        "set" | "map" => normal_set(value, head, dynamic),
        _ => NormalSet { json: normal_object(value), ..NormalSet::default() },
    };
    let elements = (!elements.is_empty()).then(|| Value::Array(elements).into());
    (json.into(), Value::Object(said).into(), elements)
}

fn rule_line(chain: &str, value: &Value, blocks: &[Block]) -> Result<RuleLine, ListingFault> {
    let handle = value.get("handle").and_then(Value::as_u64).ok_or(ListingFault::Torn)?;
    let block = blocks.iter().find(|block| block.is("chain", chain)).ok_or(ListingFault::Torn)?;
    let text = block.rules.iter().find(|(of, _)| *of == handle).ok_or(ListingFault::Torn)?.1.clone();
    let comment = value.get("comment").and_then(Value::as_str).map(str::to_owned);
    let owner = rule_owner(chain, comment.as_deref());
    Ok(RuleLine { owner, comment, json: normal_object(value).into(), text })
}

/// Whether a chain is one of the three filter hooks.
pub fn is_hook(chain: &str) -> bool {
    HookName::ALL.iter().any(|hook| hook.as_str() == chain)
}

/// Whether a chain is one of the two for NAT.
pub fn is_nat_hook(chain: &str) -> bool {
    NatHook::ALL.iter().any(|hook| hook.as_str() == chain)
}

fn object_owner(kind: &str, name: &str) -> Key {
    match (kind, name.split_once('.')) {
        ("chain", _) if is_hook(name) || is_nat_hook(name) => Key::from(name),
        ("chain", _) => keys::chain(name),
        ("set", Some((set, "v4" | "v6"))) => keys::set(set),
        ("set", _) => keys::set(name),
        ("limit", Some((hook, rule))) if is_hook(hook) => keys::rule(hook, rule),
        _ => keys::object(kind, name),
    }
}

/// The resource a rule belongs to. In our hooks a comment of ours names it; everything else is the chain's.
fn rule_owner(chain: &str, comment: Option<&str>) -> Key {
    let name =
        comment.and_then(|comment| comment.strip_prefix(COMMENT)).filter(|name| !name.starts_with(' '));
    match name {
        Some(name) if is_hook(chain) => keys::rule(chain, name),
        Some(name) if is_nat_hook(chain) => keys::nat(name),
        Some(_) | None => object_owner("chain", chain),
    }
}
