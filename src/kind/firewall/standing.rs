//! Rules every hook has unless it says otherwise: what people expect to work behind a policy of `drop`.

use super::spec::{Hook, HookName, NatBody, Spec};
use super::words::{any_of, quoted};
use crate::kind::Specs;

/// One standing rule: the words in its comment, and the rule.
pub struct Standing {
    /// What it is for.
    pub what: &'static str,
    /// The nft rule, without comment.
    pub line: String,
}

/// ICMPv6 messages without which a link does not work: errors and path MTU (1 to 4), multicast listeners (130 to
/// 132, 143), router solicitation and advertisement, neighbour solicitation and advertisement (133 to 136).
/// RFC 4890, sections 4.4.1 and 4.3.1.
const ESSENTIAL_ICMPV6: &str = "icmpv6 type { 1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 143 } accept";

/// The standing rules of a hook, in order.
pub fn standing(hook: &Hook, specs: &Specs<Spec>) -> Vec<Standing> {
    let mut rules = Vec::new();
    let mut add = |what, line: String| rules.push(Standing { what, line });
    match (hook.loopback, hook.name) {
        (true, HookName::Input) => add("loopback", "iifname \"lo\" accept".into()),
        (true, HookName::Output) => add("loopback", "oifname \"lo\" accept".into()),
        (true, HookName::Forward) | (false, _) => {}
    }
    if hook.established {
        add("established", "ct state established,related accept".into());
    }
    if hook.neighbour_discovery {
        match hook.name {
            HookName::Input => {
                add("neighbour discovery", ESSENTIAL_ICMPV6.into());
                // Answers come from another address than was asked, so connection tracking does not know them.
                add("DHCPv6", "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept".into());
            }
            HookName::Output => {
                add("neighbour discovery", ESSENTIAL_ICMPV6.into());
                add("DHCPv6", "ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept".into());
            }
            HookName::Forward => {}
        }
    }
    // After neighbour discovery, which is not tracked; not in `forward`, where routes may be asymmetric.
    if hook.established && hook.name == HookName::Input {
        add("invalid", "ct state invalid drop".into());
    }
    if takes_port_forwards(hook.name, specs) {
        add("port forwards", "ct status dnat accept".into());
    }
    foreign(hook).into_iter().for_each(|line| add("other tables decide", line));
    rules
}

/// Whether a declared port forward ends in this hook: in `forward` for another host, in `input` for this one.
fn takes_port_forwards(hook: HookName, specs: &Specs<Spec>) -> bool {
    specs.values().any(|declared| match &declared.spec {
        Spec::Nat(nat) => match &nat.body {
            NatBody::Masquerade { .. } => false,
            NatBody::Forward { to, .. } => match hook {
                HookName::Forward => to.address.is_some(),
                HookName::Input => to.address.is_none(),
                HookName::Output => false,
            },
        },
        Spec::Hook(_)
        | Spec::Rule(_)
        | Spec::Set(_)
        | Spec::NatHook(_)
        | Spec::Chain(_)
        | Spec::Exclusive(_) => false,
    })
}

fn foreign(hook: &Hook) -> Vec<String> {
    let Some(interfaces) = hook.accept_foreign.as_deref().filter(|names| !names.is_empty()) else {
        return Vec::new();
    };
    let names = any_of(&quoted(interfaces));
    let words: &[&str] = match hook.name {
        HookName::Input => &["iifname"],
        HookName::Forward => &["iifname", "oifname"],
        HookName::Output => &["oifname"],
    };
    words.iter().map(|word| format!("{word} {names} accept")).collect()
}
