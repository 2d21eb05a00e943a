//! Faults across firewall resources, and folly that no resource alone shows.

use super::address::{Addresses, Peer};
use super::look::shuts;
use super::names::Name;
use super::raw::RawText;
use super::spec::{
    Chain, Hook, HookName, Nat, NatBody, NatHook, Policy, Rule, RuleBody, Set, SetBody, Spec, Verdict, keys,
};
use super::traffic::{Ports, Traffic};
use super::words::{nat_lines, rule_lines};
use crate::kind::{Declared, Specs};
use crate::model::Diagnostic;

/// Most addresses in all sets together: far above any declaration by hand, far below what hurts the kernel.
const ELEMENT_LIMIT: usize = 200_000;

/// All faults.
pub fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (key, declared) in specs {
        if declared.spec.key() != *key {
            let message = format!("`firewall:{key}` holds the spec of `firewall:{}`", declared.spec.key());
            faults.push(Diagnostic::error("wrong-key", &declared.provenance.winner, message));
        }
        faults.extend(one(specs, declared));
    }
    faults.extend(locks_out(specs));
    faults.extend(cuts_off(specs));
    faults.extend(too_large(specs));
    faults
}

fn one(specs: &Specs<Spec>, declared: &Declared<Spec>) -> Vec<Diagnostic> {
    match &declared.spec {
        Spec::Rule(rule) => check_rule(specs, declared, rule),
        Spec::Nat(nat) => check_nat(specs, declared, nat),
        Spec::Set(set) => check_set(declared, set),
        Spec::Chain(chain) => check_chain(declared, chain),
        Spec::NatHook(_) | Spec::Hook(_) | Spec::Exclusive(_) => Vec::new(),
    }
}

fn check_rule(specs: &Specs<Spec>, declared: &Declared<Spec>, rule: &Rule) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let (hook, name) = (rule.hook, &rule.name);
    if !specs.contains_key(hook.as_str()) {
        let hint = format!("say what becomes of the rest: [firewall] {hook} = \"drop\" or \"accept\"");
        faults.push(error(
            declared,
            "no-chain",
            format!("rule `{name}` stands in `{hook}`, which has no policy"),
            hint,
        ));
    }
    let words = match &rule.body {
        RuleBody::Raw { text } => {
            faults.extend(check_raw_rule(declared, name, text));
            return faults;
        }
        RuleBody::Words(words) => words,
    };
    faults.extend(check_peers(specs, declared, words.from.iter().chain(&words.to)));
    if words.traffic.is_empty() {
        let hint = "name it: [\"tcp/80\"], or [\"any\"]";
        faults.push(error(declared, "bad-rule", format!("rule `{name}` names no traffic"), hint));
    } else if rule_lines(words, hook, name).is_empty() {
        let hint = "IPv4 and IPv6 do not meet: look at `from`, `to` and the ICMP types";
        faults.push(error(declared, "bad-rule", format!("no packet can match rule `{name}`"), hint));
    }
    for (interfaces, wrong, word) in
        [(&words.in_by, HookName::Output, "in"), (&words.out_by, HookName::Input, "out")]
    {
        if !interfaces.is_empty() && hook == wrong {
            let hint = format!("leave `{word}` out, or say chain = \"forward\"");
            let message =
                format!("rule `{name}`: traffic of `{hook}` has no interface to match `{word}` with");
            faults.push(error(declared, "bad-rule", message, hint));
        }
    }
    faults
}

fn check_raw_rule(declared: &Declared<Spec>, name: &Name, text: &RawText) -> Option<Diagnostic> {
    let fault = text.check_rules().err()?;
    Some(error(declared, "bad-raw", format!("rule `{name}`: {fault}"), "one rule a line, in nft's words"))
}

fn check_nat(specs: &Specs<Spec>, declared: &Declared<Spec>, nat: &Nat) -> Vec<Diagnostic> {
    let name = &nat.name;
    let mut faults = Vec::new();
    let mut fault = |message: String, hint: &str| faults.push(error(declared, "bad-nat", message, hint));
    let from = match &nat.body {
        NatBody::Masquerade { out_by, from } => {
            if out_by.is_empty() {
                fault(
                    format!("nat `{name}` masquerades by every interface"),
                    "name those that lead out: out = [\"eth0\"]",
                );
            }
            from
        }
        NatBody::Forward { ports, from, to, .. } => {
            let port = |traffic: &Traffic| match traffic {
                Traffic::Ports(_, ports) => Some(*ports),
                Traffic::Any | Traffic::Protocol(_) | Traffic::Icmp(..) => None,
            };
            let known: Option<Vec<Ports>> = ports.iter().map(port).collect();
            let several = |ports: &[Ports]| {
                ports.iter().any(|p| p.single() != ports[0].single() || p.single().is_none())
            };
            match known.as_deref() {
                None | Some([]) => {
                    fault(format!("nat `{name}` forwards something without ports"), "forward = [\"tcp/80\"]")
                }
                Some(ports) if to.port.is_some() && several(ports) => {
                    fault(
                        format!("nat `{name}` forwards several ports to one"),
                        "leave the port out of `to`, or write an entry for each",
                    );
                }
                Some(_) => {}
            }
            if to.address.is_none() && to.port.is_none() {
                fault(format!("nat `{name}` leads nowhere"), "to = \"10.0.0.2:80\"");
            }
            from
        }
    };
    if nat_lines(&nat.body).is_empty() {
        fault(
            format!("no packet can match nat `{name}`"),
            "IPv4 and IPv6 do not meet: look at `from` and `to`",
        );
    }
    let hook = super::render::nat_hook(nat);
    if !specs.contains_key(hook.as_str()) {
        let key = hook.as_str();
        fault(
            format!("nat `{name}` stands in `firewall:{key}`, which is missing"),
            "compile the declaration again",
        );
    }
    faults.extend(check_peers(specs, declared, from.iter()));
    faults
}

fn check_peers<'a>(
    specs: &'a Specs<Spec>,
    declared: &'a Declared<Spec>,
    peers: impl Iterator<Item = &'a Peer> + 'a,
) -> impl Iterator<Item = Diagnostic> + 'a {
    peers.filter_map(|peer| {
        let Peer::Set(name) = peer else { return None };
        let found = specs.get(keys::set(name.as_str()).as_str()).map(|declared| &declared.spec);
        match found {
            Some(Spec::Set(Set { body: SetBody::Elements { .. }, .. })) => None,
            Some(_) => {
                let hint = "speak of it in a raw rule, or give it `elements`";
                Some(error(
                    declared,
                    "bad-set",
                    format!("`@{name}` is a raw set, whose family is not known"),
                    hint,
                ))
            }
            None => {
                let hint = format!("declare it: [firewall.sets.{name}] elements = [\"10.0.0.0/8\"]");
                Some(error(declared, "no-set", format!("there is no set `{name}`"), hint))
            }
        }
    })
}

fn check_set(declared: &Declared<Spec>, set: &Set) -> Vec<Diagnostic> {
    match &set.body {
        SetBody::Elements { .. } => Vec::new(),
        SetBody::Raw { text } => check_block(declared, "set", &set.name, text),
    }
}

fn check_chain(declared: &Declared<Spec>, chain: &Chain) -> Vec<Diagnostic> {
    let Chain { name, text } = chain;
    let mut faults = check_block(declared, "chain", name, text);
    let hooks = HookName::ALL.map(HookName::as_str);
    let taken = hooks.into_iter().chain(NatHook::ALL.map(NatHook::as_str));
    if taken.into_iter().any(|taken| taken == name.as_str()) {
        let hint = format!(
            "give it another name, or declare [firewall] {name} = … and rules with chain = \"{name}\""
        );
        faults.push(error(declared, "bad-raw", format!("the chain `{name}` is the agent's own"), hint));
    }
    faults
}

fn check_block(declared: &Declared<Spec>, what: &str, name: &Name, text: &RawText) -> Vec<Diagnostic> {
    match text.lines().next() {
        Some(_) => Vec::new(),
        None => vec![error(declared, "bad-raw", format!("{what} `{name}` is empty"), "write what is in it")],
    }
}

/// A policy that keeps out what no rule lets in, while nothing lets the managing person in.
fn locks_out(specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let Some(hook) = shuts(specs, HookName::Input) else { return Vec::new() };
    let Some(declared) = specs.get(HookName::Input.as_str()) else { return Vec::new() };
    let closed = hook.management.iter().filter(|ports| !lets_in(specs, ports));
    let fault = |wanted: &Traffic| {
        let message = format!("`input` drops by policy, and no rule lets {wanted} in: nobody could log in");
        let hint = format!(
            "add [firewall.rules.ssh] allow = [\"{wanted}\"]; if you manage this host otherwise, name its ports: \
             input = {{ policy = \"drop\", management = [] }}"
        );
        Diagnostic::warning("locks-out", &declared.provenance.winner, message).hint(hint)
    };
    closed.map(fault).collect()
}

/// Whether some rule may let this in. A raw rule may do anything, and so it may do that.
fn lets_in(specs: &Specs<Spec>, wanted: &Traffic) -> bool {
    specs.values().any(|declared| match &declared.spec {
        Spec::Rule(rule) if rule.hook == HookName::Input => match &rule.body {
            RuleBody::Raw { text } => text.as_str().contains("accept") || text.as_str().contains("jump"),
            RuleBody::Words(words) => {
                let covers = |traffic: &Traffic| traffic.includes(wanted);
                words.verdict == Verdict::Allow && words.traffic.iter().any(covers)
            }
        },
        Spec::Rule(_)
        | Spec::Hook(_)
        | Spec::Set(_)
        | Spec::Nat(_)
        | Spec::NatHook(_)
        | Spec::Chain(_)
        | Spec::Exclusive(_) => false,
    })
}

/// A `forward` that drops by policy also drops what docker's or libvirt's own tables accept.
fn cuts_off(specs: &Specs<Spec>) -> Option<Diagnostic> {
    let declared = specs.get(HookName::Forward.as_str())?;
    match &declared.spec {
        Spec::Hook(Hook { policy: Policy::Drop, accept_foreign: None, .. }) => {
            let message =
                "`firewall:forward` drops by policy also what other tables (docker, libvirt) accept";
            let hint = "name their interfaces: forward = { policy = \"drop\", accept_foreign = [\"docker0\", \"virbr*\"] }, \
                        or accept_foreign = [] if there are none";
            Some(Diagnostic::warning("drops-foreign", &declared.provenance.winner, message).hint(hint))
        }
        Spec::Hook(_)
        | Spec::Rule(_)
        | Spec::Set(_)
        | Spec::Nat(_)
        | Spec::NatHook(_)
        | Spec::Chain(_)
        | Spec::Exclusive(_) => None,
    }
}

fn too_large(specs: &Specs<Spec>) -> Option<Diagnostic> {
    let elements = |declared: &Declared<Spec>| -> usize {
        match &declared.spec {
            Spec::Set(Set { body: SetBody::Elements { elements }, .. }) => Vec::<Addresses>::len(elements),
            Spec::Set(_)
            | Spec::Hook(_)
            | Spec::Rule(_)
            | Spec::Nat(_)
            | Spec::NatHook(_)
            | Spec::Chain(_)
            | Spec::Exclusive(_) => 0,
        }
    };
    let (_, largest) = specs.iter().max_by_key(|(_, declared)| elements(declared))?;
    let all: usize = specs.values().map(elements).sum();
    let message = format!("{all} addresses in all sets together: the limit is {ELEMENT_LIMIT}");
    (all > ELEMENT_LIMIT)
        .then(|| error(largest, "too-large", message, "use networks instead of single addresses"))
}

fn error(declared: &Declared<Spec>, code: &str, message: String, hint: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, &declared.provenance.winner, message).hint(hint)
}
