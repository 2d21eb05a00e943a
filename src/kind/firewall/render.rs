//! The declared table as text for nft, line by line, each line with the resource it is for.

use super::spec::{Hook, Nat, NatBody, NatHook, Rule, RuleBody, Set, SetBody, Spec, Verdict};
use super::standing::standing;
use super::words::{limit_name, nat_lines, rule_lines, set_name};
use super::{COMMENT, TABLE};
use crate::kind::Specs;
use crate::kind::firewall::address::Family;
use crate::model::Key;

/// Text for nft, and whose each line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    text: String,
    owners: Vec<Option<Key>>,
}

impl Source {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which resource a line (from 1) was written for.
    pub fn owner(&self, line: usize) -> Option<&Key> {
        self.owners.get(line.checked_sub(1)?)?.as_ref()
    }

    fn line(&mut self, owner: Option<&Key>, text: &str) {
        for line in text.lines() {
            self.text.push_str(line);
            self.text.push('\n');
            self.owners.push(owner.cloned());
        }
    }
}

/// What replaces the whole table, whatever it was before, in one transaction.
pub const REPLACE: &str = "table inet agentd\ndelete table inet agentd\n";

/// Writes the declared table. The specs must have passed validation.
pub fn render(specs: &Specs<Spec>) -> Source {
    let mut out = Source::default();
    out.line(None, REPLACE);
    out.line(None, &format!("table {TABLE} {{"));
    let specs_in_order = ordered(specs);
    for (key, spec) in &specs_in_order {
        match spec {
            Spec::Set(set) => write_set(&mut out, key, set),
            Spec::Rule(rule) => write_limit(&mut out, key, rule),
            Spec::Hook(_) | Spec::Nat(_) | Spec::NatHook(_) | Spec::Chain(_) | Spec::Exclusive(_) => {}
        }
    }
    for (key, spec) in &specs_in_order {
        match spec {
            Spec::Chain(chain) => {
                out.line(Some(key), &format!("chain {} {{\n{}\n}}", chain.name, chain.text));
            }
            Spec::Hook(hook) => write_hook(&mut out, key, hook, specs, &specs_in_order),
            Spec::NatHook(hook) => write_nat_hook(&mut out, key, *hook, &specs_in_order),
            Spec::Set(_) | Spec::Rule(_) | Spec::Nat(_) | Spec::Exclusive(_) => {}
        }
    }
    out.line(None, "}");
    out
}

/// By order, then by key: the order in which rules stand.
fn ordered(specs: &Specs<Spec>) -> Vec<(&Key, &Spec)> {
    let mut all: Vec<_> = specs.iter().map(|(key, declared)| (key, &declared.spec)).collect();
    all.sort_by_key(|(key, spec)| {
        let order = match spec {
            Spec::Rule(rule) => rule.order,
            Spec::Nat(nat) => nat.order,
            Spec::Hook(_) | Spec::Set(_) | Spec::NatHook(_) | Spec::Chain(_) | Spec::Exclusive(_) => 0,
        };
        (order, *key)
    });
    all
}

fn write_set(out: &mut Source, key: &Key, set: &Set) {
    match &set.body {
        SetBody::Raw { text } => out.line(Some(key), &format!("set {} {{\n{text}\n}}", set.name)),
        SetBody::Elements { elements } => {
            for (family, word) in [(Family::V4, "ipv4_addr"), (Family::V6, "ipv6_addr")] {
                let name = set_name(&set.name, family);
                let of_family = elements.iter().filter(|element| element.family() == family);
                let texts: Vec<String> = of_family.map(ToString::to_string).collect();
                out.line(Some(key), &format!("set {name} {{\ntype {word}\nflags interval\nauto-merge"));
                if !texts.is_empty() {
                    out.line(Some(key), &format!("elements = {{ {} }}", texts.join(", ")));
                }
                out.line(Some(key), "}");
            }
        }
    }
}

fn write_limit(out: &mut Source, key: &Key, rule: &Rule) {
    let RuleBody::Words(words) = &rule.body else { return };
    let Some(limit) = words.limit else { return };
    let name = limit_name(rule.hook, &rule.name);
    let over = match words.verdict {
        Verdict::Allow => "",
        Verdict::Drop | Verdict::Reject => "over ",
    };
    out.line(Some(key), &format!("limit {name} {{\nrate {over}{}\n}}", limit.nft()));
}

fn write_hook(out: &mut Source, key: &Key, hook: &Hook, specs: &Specs<Spec>, ordered: &[(&Key, &Spec)]) {
    let Hook { name, policy, priority, .. } = hook;
    let policy = policy.as_str();
    out.line(Some(key), &format!("chain {name} {{"));
    out.line(Some(key), &format!("type filter hook {name} priority {priority}; policy {policy};"));
    for rule in standing(hook, specs) {
        out.line(Some(key), &format!("{} comment \"{COMMENT} {}\"", rule.line, rule.what));
    }
    for (key, spec) in ordered {
        match spec {
            Spec::Rule(rule) if rule.hook == *name => write_rule(out, key, rule),
            Spec::Rule(_)
            | Spec::Hook(_)
            | Spec::Set(_)
            | Spec::Nat(_)
            | Spec::NatHook(_)
            | Spec::Chain(_)
            | Spec::Exclusive(_) => {}
        }
    }
    out.line(Some(key), "}");
}

fn write_rule(out: &mut Source, key: &Key, rule: &Rule) {
    let name = &rule.name;
    let mut write = |line: &str| out.line(Some(key), &format!("{line} comment \"{COMMENT}{name}\""));
    match &rule.body {
        RuleBody::Raw { text } => text.lines().for_each(write),
        RuleBody::Words(words) => {
            rule_lines(words, rule.hook, name).iter().for_each(|line| write(line));
        }
    }
}

fn write_nat_hook(out: &mut Source, key: &Key, hook: NatHook, ordered: &[(&Key, &Spec)]) {
    // The priorities nft calls dstnat and srcnat.
    let priority = match hook {
        NatHook::Prerouting => -100,
        NatHook::Postrouting => 100,
    };
    let name = hook.as_str();
    out.line(Some(key), &format!("chain {name} {{"));
    out.line(Some(key), &format!("type nat hook {name} priority {priority}; policy accept;"));
    for (key, spec) in ordered {
        match spec {
            Spec::Nat(nat) if nat_hook(nat) == hook => {
                for line in nat_lines(&nat.body) {
                    out.line(Some(key), &format!("{line} comment \"{COMMENT}{}\"", nat.name));
                }
            }
            Spec::Nat(_)
            | Spec::Rule(_)
            | Spec::Hook(_)
            | Spec::Set(_)
            | Spec::NatHook(_)
            | Spec::Chain(_)
            | Spec::Exclusive(_) => {}
        }
    }
    out.line(Some(key), "}");
}

/// The chain a NAT entry stands in.
pub fn nat_hook(nat: &Nat) -> NatHook {
    match &nat.body {
        NatBody::Masquerade { .. } => NatHook::Postrouting,
        NatBody::Forward { .. } => NatHook::Prerouting,
    }
}
