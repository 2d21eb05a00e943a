//! `[firewall]` of the declaration into specs.

use std::fmt::Display;
use std::str::FromStr;

use super::names::Name;
use super::parse_rule::{parse_nat, parse_rule, parse_set};
use super::raw::RawText;
use super::render::nat_hook;
use super::spec::{Chain, Exclusive, Hook, HookName, Policy, Spec};
use crate::kind::fields::{At, Fields};
use crate::kind::{Declared, ParseCx, Specs};
use crate::model::{Diagnostic, DriftMode, Located, Place, Value};

/// What parts the two halves of a fault of one of our types.
const HINT: &str = ": write ";

/// Reads the whole table.
pub fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
    let mut specs = Specs::new();
    let Some(mut fields) = Fields::of("the firewall", table, cx) else { return specs };
    for name in HookName::ALL {
        if let Some(located) = fields.get(name.as_str()) {
            specs.extend(hook(name, located, cx).map(|declared| (declared.spec.key(), declared)));
        }
    }
    each(&mut fields, "rules", cx, &mut specs, parse_rule);
    each(&mut fields, "sets", cx, &mut specs, parse_set);
    each(&mut fields, "nat", cx, &mut specs, parse_nat);
    each(&mut fields, "chains", cx, &mut specs, chain);
    nat_hooks(&mut specs);
    exclusive(table, &mut fields, cx, &mut specs);
    let drift = fields.string("drift", cx);
    if let Some(mode) = drift.and_then(|text| parsed::<DriftMode>(text, cx)) {
        specs.values_mut().for_each(|declared| declared.drift = declared.drift.or(Some(mode)));
    }
    fields.finish(cx);
    specs
}

/// A value of one of our types, or a fault at its place.
pub fn parsed<T: FromStr<Err: Display>>(text: At<'_, &str>, cx: &mut ParseCx<'_>) -> Option<T> {
    match text.value.parse() {
        Ok(value) => Some(value),
        Err(fault) => {
            let fault = fault.to_string();
            // Our types tell what is wrong and then what to write instead.
            cx.faults.push(match fault.rsplit_once(HINT) {
                Some((message, hint)) => {
                    Diagnostic::error("bad-value", text.place, message).hint(format!("write {hint}"))
                }
                None => Diagnostic::error("bad-value", text.place, fault),
            });
            None
        }
    }
}

/// A list of values of one of our types; left out means empty. A single string stands for a list of one.
pub fn list<T: FromStr<Err: Display>>(
    fields: &mut Fields<'_>,
    key: &'static str,
    cx: &mut ParseCx<'_>,
) -> Vec<T> {
    optional_list(fields, key, cx).unwrap_or_default()
}

/// A list that may be left out, which is not the same as empty.
pub fn optional_list<T: FromStr<Err: Display>>(
    fields: &mut Fields<'_>,
    key: &'static str,
    cx: &mut ParseCx<'_>,
) -> Option<Vec<T>> {
    let single = matches!(fields.get(key)?.value, Value::String(_));
    let texts = match single {
        true => fields.string(key, cx).map(|text| vec![text]),
        false => fields.strings(key, cx),
    };
    Some(texts?.into_iter().filter_map(|text| parsed(text, cx)).collect())
}

/// An integer that fits.
pub fn integer(fields: &mut Fields<'_>, key: &'static str, cx: &mut ParseCx<'_>) -> Option<i32> {
    let value = fields.integer(key, cx)?;
    match i32::try_from(value.value) {
        Ok(fits) => Some(fits),
        Err(_) => {
            cx.error("bad-value", value.place, format!("`{key}` is too large"), "a small number will do");
            None
        }
    }
}

/// Raw text.
pub fn raw(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<RawText> {
    fields.string("raw", cx).and_then(|text| parsed(text, cx))
}

type One = fn(Name, &Located, &mut Fields<'_>, &mut ParseCx<'_>) -> Option<Spec>;

/// A table of named things of one sort.
fn each(fields: &mut Fields<'_>, key: &'static str, cx: &mut ParseCx<'_>, specs: &mut Specs<Spec>, one: One) {
    let Some(located) = fields.get(key) else { return };
    let Value::Table(table) = &located.value else {
        let message = format!("`{key}` must be a table of tables, not {}", located.value.type_name());
        cx.faults.push(Diagnostic::error("wrong-type", &located.place, message));
        return;
    };
    for (name, entry) in table {
        let Some(name) = parsed::<Name>(At { value: name, place: &entry.key_place }, cx) else { continue };
        let what = format!("[firewall.{key}.{name}]");
        let Some(mut fields) = Fields::of(&what, &entry.value, cx) else { continue };
        let spec = one(name, &entry.value, &mut fields, cx);
        let common = cx.declared((), &entry.value, &mut fields);
        fields.finish(cx);
        if let Some(spec) = spec {
            specs.insert(spec.key(), with(common, spec));
        }
    }
}

fn with(common: Declared<()>, spec: Spec) -> Declared<Spec> {
    let Declared { spec: (), provenance, drift, prune } = common;
    Declared { spec, provenance, drift, prune }
}

/// `input = "drop"`, or a table that says more.
fn hook(name: HookName, located: &Located, cx: &mut ParseCx<'_>) -> Option<Declared<Spec>> {
    if let Value::String(text) = &located.value {
        let policy = policy(At { value: text, place: &located.place }, cx)?;
        return Some(cx.declared_plain(Spec::Hook(plain_hook(name, policy)), located));
    }
    let what = format!("[firewall.{name}]");
    let mut fields = Fields::of(&what, located, cx)?;
    let text = fields.string("policy", cx);
    if text.is_none() {
        let hint = "write policy = \"drop\" or policy = \"accept\"";
        cx.error("missing-key", &located.place, format!("{what} has no policy"), hint);
    }
    let plain = plain_hook(name, Policy::Accept);
    let hook = Hook {
        name,
        policy: text.and_then(|text| policy(text, cx)).unwrap_or(plain.policy),
        priority: integer(&mut fields, "priority", cx).unwrap_or(plain.priority),
        established: fields.boolean("established", cx).unwrap_or(plain.established),
        loopback: fields.boolean("loopback", cx).unwrap_or(plain.loopback),
        neighbour_discovery: fields.boolean("neighbour_discovery", cx).unwrap_or(plain.neighbour_discovery),
        accept_foreign: optional_list(&mut fields, "accept_foreign", cx),
        management: match name {
            HookName::Input => optional_list(&mut fields, "management", cx).unwrap_or(plain.management),
            HookName::Forward | HookName::Output => plain.management,
        },
    };
    let declared = cx.declared((), located, &mut fields);
    fields.finish(cx);
    Some(with(declared, Spec::Hook(hook)))
}

fn policy(text: At<'_, &str>, cx: &mut ParseCx<'_>) -> Option<Policy> {
    match text.value {
        "accept" => Some(Policy::Accept),
        "drop" => Some(Policy::Drop),
        other => {
            let message = format!("`{}` is no policy", other.escape_debug());
            cx.error("bad-value", text.place, message, "write \"drop\" or \"accept\"");
            None
        }
    }
}

/// A hook of which nothing but the policy is said.
pub fn plain_hook(name: HookName, policy: Policy) -> Hook {
    let ssh = "tcp/22".parse().ok().filter(|_| name == HookName::Input);
    Hook {
        name,
        policy,
        priority: 0,
        established: true,
        loopback: true,
        neighbour_discovery: true,
        accept_foreign: None,
        management: ssh.into_iter().collect(),
    }
}

fn chain(name: Name, located: &Located, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<Spec> {
    match fields.get("raw") {
        Some(_) => raw(fields, cx).map(|text| Spec::Chain(Chain { name, text })),
        None => {
            let hint = "chains are written in nft's own words: raw = \"…\"";
            cx.error("missing-key", &located.place, format!("chain `{name}` has no raw text"), hint);
            None
        }
    }
}

/// The chains that declared NAT needs, declared by the first entry that needs them.
fn nat_hooks(specs: &mut Specs<Spec>) {
    let needed: Vec<_> = specs
        .values()
        .filter_map(|declared| match &declared.spec {
            Spec::Nat(nat) => Some(Declared { spec: Spec::NatHook(nat_hook(nat)), ..declared.clone() }),
            Spec::Hook(_)
            | Spec::Rule(_)
            | Spec::Set(_)
            | Spec::NatHook(_)
            | Spec::Chain(_)
            | Spec::Exclusive(_) => None,
        })
        .collect();
    for declared in needed {
        specs.entry(declared.spec.key()).or_insert(declared);
    }
}

fn exclusive(table: &Located, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>, specs: &mut Specs<Spec>) {
    let place =
        |located: Option<&Located>, or: &Place| located.map_or(or.clone(), |located| located.place.clone());
    let located = fields.get("exclusive");
    let exclusive = fields.boolean("exclusive", cx).unwrap_or(false);
    let at = fields.get("ignore");
    let ignore = optional_list(fields, "ignore", cx);
    match (exclusive, ignore) {
        (false, None) => {}
        (false, Some(_)) => {
            let hint = "write exclusive = true beside it, or leave `ignore` out: other tables are left alone";
            cx.error(
                "useless-key",
                &place(at, &table.place),
                "`ignore` means nothing without `exclusive`",
                hint,
            );
        }
        (true, None) => {
            let hint = "name the tables that may stay, such as ignore = [\"ip docker*\"]; [] if none may";
            let at = place(located, &table.place);
            cx.error(
                "missing-key",
                &at,
                "`exclusive` removes other tables and needs an explicit `ignore`",
                hint,
            );
        }
        (true, Some(ignore)) => {
            let spec = Spec::Exclusive(Exclusive { ignore });
            specs.insert(spec.key(), cx.declared_plain(spec, located.unwrap_or(table)));
        }
    }
}
