//! A rule in our words, as nft rules: one for each combination of traffic, source and destination that one nft
//! rule cannot hold. Every piece of text in here comes from a typed value or a constant.

use std::fmt::{Display, Write};

use super::address::{Family, Peer};
use super::names::{Interface, Name};
use super::spec::{Destination, HookName, NatBody, Verdict, Words};
use super::traffic::{Traffic, Transport};

/// A condition, and the address family it can only be true for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    family: Option<Family>,
    text: String,
}

/// Which end of the traffic.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// The nft rules of a filter rule, without comments. Empty if its conditions contradict each other.
pub fn rule_lines(words: &Words, hook: HookName, name: &Name) -> Vec<String> {
    let interfaces = interfaces(&words.in_by, &words.out_by);
    let mut lines = Vec::new();
    for traffic in traffic(&words.traffic) {
        for from in peers(&words.from, End::Source) {
            for to in peers(&words.to, End::Destination) {
                let Some(conditions) = join(&[&from, &to, &traffic.0]) else { continue };
                let mut line = format!("{interfaces}{conditions}");
                act(&mut line, words, traffic.1, hook, name);
                lines.push(line);
            }
        }
    }
    lines
}

/// The name of the object that holds a rule's limit: shared, so that the rate holds for the rule as a whole.
pub fn limit_name(hook: HookName, name: &Name) -> String {
    format!("{hook}.{name}")
}

/// The nft rules of a NAT entry, without comments.
pub fn nat_lines(body: &NatBody) -> Vec<String> {
    match body {
        NatBody::Masquerade { out_by, from } => {
            let interfaces = interfaces(&[], out_by);
            let from = match from.is_empty() {
                // IPv6 is not translated unless somebody says so by an address.
                true => vec![Condition { family: Some(Family::V4), text: "meta nfproto ipv4 ".into() }],
                false => peers(from, End::Source),
            };
            from.iter().map(|from| format!("{interfaces}{}masquerade", from.text)).collect()
        }
        NatBody::Forward { ports, in_by, from, to } => {
            let interfaces = interfaces(in_by, &[]);
            let target = target(to);
            let mut lines = Vec::new();
            for (traffic, _) in traffic(ports) {
                for from in peers(from, End::Source) {
                    // Only what is meant for this host: a router must not capture what merely passes.
                    if let Some(conditions) = join(&[&target.0, &from, &traffic]) {
                        lines.push(format!("{interfaces}{conditions}fib daddr type local {}", target.1));
                    }
                }
            }
            lines
        }
    }
}

/// Several values as nft writes them: one bare, more in braces.
pub fn any_of<T: Display>(values: &[T]) -> String {
    match values {
        [one] => one.to_string(),
        _ => {
            let texts: Vec<String> = values.iter().map(T::to_string).collect();
            format!("{{ {} }}", texts.join(", "))
        }
    }
}

/// Interface names, quoted.
pub fn quoted(interfaces: &[Interface]) -> Vec<String> {
    interfaces.iter().map(|name| format!("\"{name}\"")).collect()
}

fn interfaces(in_by: &[Interface], out_by: &[Interface]) -> String {
    let mut text = String::new();
    for (word, names) in [("iifname", in_by), ("oifname", out_by)] {
        if !names.is_empty() {
            // Writing into a string does not fail.
            let _ = write!(text, "{word} {} ", any_of(&quoted(names)));
        }
    }
    text
}

/// Conditions on the traffic, each with the transport it is of, if it is of one.
fn traffic(traffic: &[Traffic]) -> Vec<(Condition, Option<Transport>)> {
    let mut conditions = Vec::new();
    let mut add = |family, text: String, transport| {
        conditions.push((Condition { family, text }, transport));
    };
    for transport in Transport::ALL {
        let ports = traffic.iter().filter_map(|t| match t {
            Traffic::Ports(of, ports) if *of == transport => Some(*ports),
            Traffic::Any | Traffic::Protocol(_) | Traffic::Ports(..) | Traffic::Icmp(..) => None,
        });
        let ports: Vec<_> = ports.collect();
        if !ports.is_empty() {
            add(None, format!("{} dport {} ", transport.as_str(), any_of(&ports)), Some(transport));
        }
    }
    let protocols = traffic.iter().filter_map(|t| match t {
        Traffic::Protocol(number) => Some(*number),
        Traffic::Any | Traffic::Ports(..) | Traffic::Icmp(..) => None,
    });
    let protocols: Vec<u8> = protocols.collect();
    if !protocols.is_empty() {
        let tcp = (protocols == [Transport::Tcp.number()]).then_some(Transport::Tcp);
        add(None, format!("meta l4proto {} ", any_of(&protocols)), tcp);
    }
    for (family, word) in [(Family::V4, "icmp"), (Family::V6, "icmpv6")] {
        let kinds = traffic.iter().filter_map(|t| match t {
            Traffic::Icmp(of, kind) if *of == family => Some(*kind),
            Traffic::Any | Traffic::Protocol(_) | Traffic::Ports(..) | Traffic::Icmp(..) => None,
        });
        let kinds: Vec<u8> = kinds.collect();
        if !kinds.is_empty() {
            add(Some(family), format!("{word} type {} ", any_of(&kinds)), None);
        }
    }
    if traffic.contains(&Traffic::Any) {
        add(None, String::new(), None);
    }
    conditions
}

/// Conditions on one end: literal addresses by family, then each set by family. No peers: no condition.
fn peers(peers: &[Peer], end: End) -> Vec<Condition> {
    if peers.is_empty() {
        return vec![Condition { family: None, text: String::new() }];
    }
    let mut conditions = Vec::new();
    for family in Family::ALL {
        let field = field(family, end);
        let literal = peers.iter().filter_map(|peer| match peer {
            Peer::Addresses(addresses) if addresses.family() == family => Some(*addresses),
            Peer::Addresses(_) | Peer::Set(_) => None,
        });
        let literal: Vec<_> = literal.collect();
        if !literal.is_empty() {
            let text = format!("{field} {} ", any_of(&literal));
            conditions.push(Condition { family: Some(family), text });
        }
        for peer in peers {
            match peer {
                Peer::Addresses(_) => {}
                Peer::Set(name) => {
                    let text = format!("{field} @{} ", set_name(name, family));
                    conditions.push(Condition { family: Some(family), text });
                }
            }
        }
    }
    conditions
}

/// The nft name of one family's half of a named set. The dot keeps it apart from every name that can be declared.
pub fn set_name(name: &Name, family: Family) -> String {
    match family {
        Family::V4 => format!("{name}.v4"),
        Family::V6 => format!("{name}.v6"),
    }
}

const fn field(family: Family, end: End) -> &'static str {
    match (family, end) {
        (Family::V4, End::Source) => "ip saddr",
        (Family::V4, End::Destination) => "ip daddr",
        (Family::V6, End::Source) => "ip6 saddr",
        (Family::V6, End::Destination) => "ip6 daddr",
    }
}

/// All conditions at once; none if they speak of different families.
fn join(conditions: &[&Condition]) -> Option<String> {
    let mut families = conditions.iter().filter_map(|condition| condition.family);
    if let Some(first) = families.next()
        && families.any(|other| other != first)
    {
        return None;
    }
    Some(conditions.iter().map(|condition| condition.text.as_str()).collect())
}

fn act(line: &mut String, words: &Words, transport: Option<Transport>, hook: HookName, name: &Name) {
    if words.limit.is_some() {
        let _ = write!(line, "limit name \"{}\" ", limit_name(hook, name));
    }
    if words.counter {
        line.push_str("counter ");
    }
    if let Some(prefix) = &words.log {
        let _ = write!(line, "log prefix \"{prefix}\" ");
    }
    line.push_str(match (words.verdict, transport) {
        (Verdict::Allow, _) => "accept",
        (Verdict::Drop, _) => "drop",
        (Verdict::Reject, Some(Transport::Tcp)) => "reject with tcp reset",
        (Verdict::Reject, Some(Transport::Udp | Transport::Sctp | Transport::Dccp) | None) => "reject",
    });
}

/// The statement that sends traffic elsewhere, and the family it works for.
fn target(to: &Destination) -> (Condition, String) {
    let condition = |family, text: &str| Condition { family, text: text.to_owned() };
    let port = to.port.map(|port| format!(":{port}")).unwrap_or_default();
    match to.address {
        None => (condition(None, ""), format!("redirect to {port}")),
        Some(std::net::IpAddr::V4(address)) => {
            (condition(Some(Family::V4), "meta nfproto ipv4 "), format!("dnat ip to {address}{port}"))
        }
        Some(std::net::IpAddr::V6(address)) => {
            let address = if port.is_empty() { address.to_string() } else { format!("[{address}]{port}") };
            (condition(Some(Family::V6), "meta nfproto ipv6 "), format!("dnat ip6 to {address}"))
        }
    }
}
