//! Rules, sets and NAT entries of the declaration into specs.

use std::net::IpAddr;

use super::names::{LogPrefix, Name};
use super::parse::{integer, list, optional_list, parsed, raw};
use super::spec::{Destination, HookName, Nat, NatBody, Rule, RuleBody, Set, SetBody, Spec, Verdict, Words};
use super::traffic::{Limit, Traffic};
use crate::kind::ParseCx;
use crate::kind::fields::Fields;
use crate::model::{Located, Value};

/// `[firewall.rules.NAME]`.
pub fn parse_rule(
    name: Name,
    located: &Located,
    fields: &mut Fields<'_>,
    cx: &mut ParseCx<'_>,
) -> Option<Spec> {
    let hook = hook(fields, cx);
    let order = integer(fields, "order", cx).unwrap_or(0);
    let body = match fields.get("raw") {
        Some(_) => raw(fields, cx).map(|text| RuleBody::Raw { text }),
        None => words(&name, located, fields, cx).map(|words| RuleBody::Words(Box::new(words))),
    };
    Some(Spec::Rule(Rule { hook: hook?, name, order, body: body? }))
}

fn hook(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<HookName> {
    let Some(text) = fields.string("chain", cx) else { return Some(HookName::Input) };
    let found = HookName::ALL.into_iter().find(|hook| hook.as_str() == text.value);
    if found.is_none() {
        let message = format!("`{}` is no chain for rules", text.value.escape_debug());
        cx.error("bad-value", text.place, message, "write \"input\", \"forward\" or \"output\"");
    }
    found
}

fn words(name: &Name, located: &Located, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<Words> {
    let mut said = Vec::new();
    for verdict in Verdict::ALL {
        if let Some(traffic) = optional_list::<Traffic>(fields, verdict.as_str(), cx) {
            said.push((verdict, traffic));
        }
    }
    let words = |verdict, traffic, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>| Words {
        verdict,
        traffic,
        from: list(fields, "from", cx),
        to: list(fields, "to", cx),
        in_by: list(fields, "in", cx),
        out_by: list(fields, "out", cx),
        limit: fields.string("limit", cx).and_then(|text| parsed::<Limit>(text, cx)),
        log: fields.string("log", cx).and_then(|text| parsed::<LogPrefix>(text, cx)),
        counter: fields.boolean("counter", cx).unwrap_or(false),
    };
    let mut said = said.into_iter();
    match (said.next(), said.next()) {
        (Some((verdict, traffic)), None) => {
            // That nothing is left of what was said is no fault of its own.
            let said_something = !traffic.is_empty() || is_empty_list(fields, verdict.as_str());
            Some(words(verdict, traffic, fields, cx)).filter(|_| said_something)
        }
        (first, _) => {
            // Read all the same, so that their own faults are told and none of them is called unknown.
            let _ = words(Verdict::Drop, Vec::new(), fields, cx);
            let hint = "write one of allow = […], drop = […], reject = […], or raw = \"…\"";
            let fault = if first.is_none() { "decides nothing" } else { "decides twice" };
            cx.error("bad-rule", &located.place, format!("rule `{name}` {fault}"), hint);
            None
        }
    }
}

fn is_empty_list(fields: &mut Fields<'_>, key: &'static str) -> bool {
    matches!(fields.get(key).map(|located| &located.value), Some(Value::Array(values)) if values.is_empty())
}

/// `[firewall.sets.NAME]`.
pub fn parse_set(
    name: Name,
    located: &Located,
    fields: &mut Fields<'_>,
    cx: &mut ParseCx<'_>,
) -> Option<Spec> {
    let elements = optional_list(fields, "elements", cx);
    let body = match (elements, fields.get("raw")) {
        (Some(elements), None) => SetBody::Elements { elements },
        (None, Some(_)) => SetBody::Raw { text: raw(fields, cx)? },
        (Some(_), Some(_)) | (None, None) => {
            let hint = "write elements = [\"10.0.0.0/8\", …], or raw = \"type …\", and not both";
            cx.error("bad-set", &located.place, format!("it is not clear what is in set `{name}`"), hint);
            return None;
        }
    };
    Some(Spec::Set(Set { name, body }))
}

/// `[firewall.nat.NAME]`.
pub fn parse_nat(
    name: Name,
    located: &Located,
    fields: &mut Fields<'_>,
    cx: &mut ParseCx<'_>,
) -> Option<Spec> {
    let order = integer(fields, "order", cx).unwrap_or(0);
    let masquerade = fields.boolean("masquerade", cx).unwrap_or(false);
    let ports = optional_list::<Traffic>(fields, "forward", cx);
    let from = list(fields, "from", cx);
    let body = match (masquerade, ports) {
        (true, None) => NatBody::Masquerade { out_by: list(fields, "out", cx), from },
        (false, Some(ports)) => {
            let in_by = list(fields, "in", cx);
            let to = fields.string("to", cx);
            if to.is_none() {
                let hint = "write to = \"10.0.0.2:80\", or to = \":8080\" for a port of this host";
                cx.error("missing-key", &located.place, format!("nat `{name}` leads nowhere"), hint);
            }
            NatBody::Forward { ports, in_by, from, to: parsed::<Destination>(to?, cx)? }
        }
        (true, Some(_)) | (false, None) => {
            let hint = "write masquerade = true with out = […], or forward = [\"tcp/80\"] with to = \"…\"";
            cx.error("bad-nat", &located.place, format!("it is not clear what nat `{name}` does"), hint);
            for key in ["in", "out", "to"] {
                let _ = fields.get(key);
            }
            return None;
        }
    };
    Some(Spec::Nat(Nat { name, order, body }))
}

impl std::str::FromStr for Destination {
    type Err = String;

    /// `10.0.0.2`, `10.0.0.2:80`, `:8080`, `[fd00::2]:80`, `fd00::2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || {
            let text = text.escape_debug();
            format!("`{text}` is no destination: write 10.0.0.2:80, [fd00::2]:80, an address, or :8080")
        };
        let port = |text: &str| text.parse().map(Some).map_err(|_| fault());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Destination { address: Some(address), port: None });
        }
        let (address, number) = text.rsplit_once(':').ok_or_else(fault)?;
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let address = match (bare, address) {
            (None, "") => None,
            (Some(inner), _) => Some(IpAddr::V6(inner.parse().map_err(|_| fault())?)),
            (None, v4) => Some(IpAddr::V4(v4.parse().map_err(|_| fault())?)),
        };
        Ok(Destination { address, port: port(number)? })
    }
}
