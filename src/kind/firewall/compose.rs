//! The table to load: as declared, except where a difference is to stay as it is (suspended, reported only).

use std::collections::BTreeSet;

use super::listing::{Listing, Object, RuleLine};
use crate::model::Key;

/// The declared table, with the resources in `held` left as they were observed.
pub fn compose(desired: &Listing, observed: &Listing, held: &BTreeSet<Key>) -> Listing {
    let mut objects: Vec<Object> = Vec::new();
    for object in &desired.objects {
        let there = observed.object(&object.kind, &object.name);
        match (held.contains(&object.owner), there) {
            (true, None) => {}
            (true, Some(there)) => {
                objects.push(Object { rules: rules(there, object, held, Base::Observed), ..there.clone() });
            }
            (false, there) => {
                let rules = match there {
                    Some(there) => rules(there, object, held, Base::Desired),
                    None => object.rules.clone(),
                };
                objects.push(Object { rules, ..object.clone() });
            }
        }
    }
    let strays = observed.objects.iter().filter(|object| {
        held.contains(&object.owner) && desired.object(&object.kind, &object.name).is_none()
    });
    // Sets before the chains that may speak of them; a chain may speak of a later one.
    let (chains, others): (Vec<_>, Vec<_>) = strays.cloned().partition(|object| object.kind == "chain");
    Listing { version: desired.version.clone(), objects: [others, objects, chains].concat() }
}

/// Whose order of rules is the base.
enum Base {
    Desired,
    Observed,
}

/// The rules of one chain. Along the base, each resource's rules stand where its first one stood; what the base
/// does not know follows what it follows on the other side.
fn rules(observed: &Object, desired: &Object, held: &BTreeSet<Key>, base: Base) -> Vec<RuleLine> {
    let (first, second) = match base {
        Base::Desired => (&desired.rules, &observed.rules),
        Base::Observed => (&observed.rules, &desired.rules),
    };
    // The chain's own rules (standing ones, and strangers) are single lines; a resource's come as one.
    let taken = |owner: &Key| if held.contains(owner) { &observed.rules } else { &desired.rules };
    let mut order: Vec<&Key> = Vec::new();
    for rule in first.iter() {
        if !order.contains(&&rule.owner) || rule.owner == desired.owner {
            order.push(&rule.owner);
        }
    }
    let mut before: Option<&Key> = None;
    for rule in second.iter().filter(|rule| rule.owner != desired.owner) {
        if !order.contains(&&rule.owner) {
            let at = before.and_then(|before| order.iter().rposition(|known| *known == before));
            order.insert(at.map_or(0, |at| at + 1), &rule.owner);
        }
        before = Some(&rule.owner);
    }
    let mut own = taken(&desired.owner).iter().filter(|rule| rule.owner == desired.owner);
    let mut lines: Vec<RuleLine> = Vec::new();
    for owner in order {
        if *owner == desired.owner {
            lines.extend(own.next().cloned());
        } else {
            lines.extend(taken(owner).iter().filter(|rule| rule.owner == *owner).cloned());
        }
    }
    lines.extend(own.cloned());
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn chain(rules: &[&str]) -> Listing {
        let rules = rules.iter().map(|text| {
            let owner = text.split('=').next().unwrap_or_default();
            let owner = if owner.is_empty() { "input".into() } else { format!("input/{owner}") };
            let json = Value::Null.into();
            RuleLine { owner: Key::from(owner), comment: None, json, text: (*text).to_owned() }
        });
        let object = Object {
            owner: Key::from("input"),
            kind: "chain".into(),
            name: "input".into(),
            json: Value::Null.into(),
            said: Value::Null.into(),
            elements: None,
            head: Vec::new(),
            element_lines: Vec::new(),
            rules: rules.collect(),
        };
        Listing { version: String::new(), objects: vec![object] }
    }

    fn composed(desired: &[&str], observed: &[&str], held: &[&str]) -> Vec<String> {
        let held = held.iter().map(|key| Key::from(*key)).collect();
        let listing = compose(&chain(desired), &chain(observed), &held);
        listing.objects.iter().flat_map(|object| object.rules.iter().map(|rule| rule.text.clone())).collect()
    }

    #[test]
    fn with_nothing_held_the_table_is_as_declared() {
        assert_eq!(composed(&["=lo", "a=1", "b=1"], &["=x", "b=2", "c=1"], &[]), ["=lo", "a=1", "b=1"]);
    }

    #[test]
    fn a_held_rule_stays_as_it_was_and_the_others_are_put_right() {
        assert_eq!(
            composed(&["=lo", "a=1", "b=1", "c=1"], &["=lo", "a=2", "b=2", "c=1"], &["input/b"]),
            ["=lo", "a=1", "b=2", "c=1"]
        );
    }

    #[test]
    fn a_held_rule_that_is_gone_stays_gone() {
        assert_eq!(composed(&["=lo", "a=1", "b=1"], &["=lo", "a=2"], &["input/b"]), ["=lo", "a=1"]);
    }

    #[test]
    fn a_held_hook_keeps_its_strangers_and_its_order() {
        assert_eq!(
            composed(&["=lo", "a=1", "b=1", "c=1"], &["=night fix", "=lo", "b=2", "a=1"], &["input"]),
            ["=night fix", "=lo", "b=1", "c=1", "a=1"]
        );
    }

    #[test]
    fn a_held_stranger_with_a_name_stays() {
        assert_eq!(composed(&["a=1", "b=1"], &["a=1", "x=1", "b=2"], &["input/x"]), ["a=1", "x=1", "b=1"]);
    }
}
