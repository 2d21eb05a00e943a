//! What may be declared of one firewall resource.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::{Addresses, Peer};
use super::names::{Interface, LogPrefix, Name};
use super::raw::RawText;
use super::traffic::{Limit, Traffic};
use crate::model::Key;

/// What may be declared of one firewall resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Spec {
    /// `firewall:input`: a hook of ours, with its policy.
    Hook(Hook),
    /// `firewall:input/ssh`: one rule.
    Rule(Rule),
    /// `firewall:set/admins`: a named set of addresses.
    Set(Set),
    /// `firewall:nat/out`: address translation.
    Nat(Nat),
    /// `firewall:prerouting`, `firewall:postrouting`: the chains that declared NAT needs.
    NatHook(NatHook),
    /// `firewall:chain/scrub`: a chain written in nft's own words.
    Chain(Chain),
    /// `firewall:tables`: other tables than ours are drift.
    Exclusive(Exclusive),
}

/// One of the three filter hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookName {
    /// What is meant for this host.
    Input,
    /// What passes through it.
    Forward,
    /// What it sends.
    Output,
}

impl HookName {
    /// Every one.
    pub const ALL: [HookName; 3] = [HookName::Input, HookName::Forward, HookName::Output];

    /// The word in a declaration, in nft and in resource ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            HookName::Input => "input",
            HookName::Forward => "forward",
            HookName::Output => "output",
        }
    }
}

/// One of the two chains NAT needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatHook {
    /// Where a destination is changed.
    Prerouting,
    /// Where a source is changed.
    Postrouting,
}

impl NatHook {
    /// Every one.
    pub const ALL: [NatHook; 2] = [NatHook::Prerouting, NatHook::Postrouting];

    /// The word in nft and in resource ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            NatHook::Prerouting => "prerouting",
            NatHook::Postrouting => "postrouting",
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A filter hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Which.
    pub name: HookName,
    /// What becomes of what no rule decides.
    pub policy: Policy,
    /// Among chains of several tables on one hook, lower comes first. 0 is nft's `filter`.
    pub priority: i32,
    /// Accept what belongs to accepted connections; drop what the connection tracking calls invalid (input).
    pub established: bool,
    /// Accept everything on the loopback interface (input, output).
    pub loopback: bool,
    /// Accept what IPv6 needs on a link: neighbour discovery, router advertisements, multicast listener
    /// messages, path MTU, DHCPv6.
    pub neighbour_discovery: bool,
    /// Interfaces whose traffic another table decides (docker, libvirt): accepted here.
    pub accept_foreign: Option<Vec<Interface>>,
    /// Traffic by which this host is managed; a policy that shuts it out is warned about.
    pub management: Vec<Traffic>,
}

/// What becomes of what no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It passes.
    Accept,
    /// It does not.
    Drop,
}

impl Policy {
    /// The word here and in nft.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its hook.
    pub hook: HookName,
    /// Its name.
    pub name: Name,
    /// Rules of a hook stand in the order of this number, then of their names.
    pub order: i32,
    /// What it says.
    pub body: RuleBody,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum RuleBody {
    /// In our words.
    Words(Box<Words>),
    /// In nft's.
    Raw {
        /// Lines, each a rule.
        text: RawText,
    },
}

/// A rule in our words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// What becomes of the traffic.
    pub verdict: Verdict,
    /// Which traffic.
    pub traffic: Vec<Traffic>,
    /// From where; empty means anywhere.
    pub from: Vec<Peer>,
    /// To where; empty means anywhere.
    pub to: Vec<Peer>,
    /// Coming in by these interfaces; empty means any.
    pub in_by: Vec<Interface>,
    /// Going out by these interfaces; empty means any.
    pub out_by: Vec<Interface>,
    /// `allow`: up to this rate. `drop` and `reject`: what exceeds it.
    pub limit: Option<Limit>,
    /// Log what it decides, with this prefix.
    pub log: Option<LogPrefix>,
    /// Count what it decides.
    pub counter: bool,
}

/// What becomes of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It vanishes.
    Drop,
    /// Its sender is told.
    Reject,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Verdict; 3] = [Verdict::Allow, Verdict::Drop, Verdict::Reject];

    /// The word in a declaration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
        }
    }
}

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its name.
    pub name: Name,
    /// What is in it.
    pub body: SetBody,
}

/// What is in a named set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum SetBody {
    /// Addresses of both families.
    Elements {
        /// The addresses.
        elements: Vec<Addresses>,
    },
    /// In nft's own words: what stands between the braces of `set NAME { … }`.
    Raw {
        /// The text.
        text: RawText,
    },
}

/// Address translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Its name.
    pub name: Name,
    /// Entries of a chain stand in the order of this number, then of their names.
    pub order: i32,
    /// What it does.
    pub body: NatBody,
}

/// What a NAT entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "kebab-case")]
pub enum NatBody {
    /// Traffic that leaves by an interface gets the interface's own address as its source.
    Masquerade {
        /// The interfaces.
        out_by: Vec<Interface>,
        /// Of these sources only; empty means every IPv4 source.
        from: Vec<Peer>,
    },
    /// Traffic to a port of this host goes to another host, or to another port of this one.
    Forward {
        /// Which ports.
        ports: Vec<Traffic>,
        /// Coming in by these interfaces; empty means any.
        in_by: Vec<Interface>,
        /// From where; empty means anywhere.
        from: Vec<Peer>,
        /// Where to.
        to: Destination,
    },
}

/// Where forwarded traffic goes. Without an address: to this host; without a port: to the same port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The host.
    pub address: Option<std::net::IpAddr>,
    /// The port.
    pub port: Option<std::num::NonZeroU16>,
}

/// A chain in nft's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: Name,
    /// What stands between the braces of `chain NAME { … }`.
    pub text: RawText,
}

/// Other tables than ours are drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusive {
    /// Tables that may stay, as `FAMILY NAME`; `*` at the end of the name stands for any ending.
    pub ignore: Vec<TablePattern>,
}

/// `FAMILY NAME` of a table, `*` at the end of the name standing for any ending: `ip docker*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TablePattern(String);

/// nft's table families.
const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

impl TablePattern {
    /// Whether a table is meant.
    pub fn matches(&self, family: &str, table: &str) -> bool {
        let Some((own_family, name)) = self.0.split_once(' ') else { return false };
        own_family == family
            && match name.strip_suffix('*') {
                Some(stem) => table.starts_with(stem),
                None => table == name,
            }
    }
}

impl std::str::FromStr for TablePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        match text.split_once(' ') {
            Some((family, name)) if FAMILIES.contains(&family) && named(name) => {
                Ok(TablePattern(text.to_owned()))
            }
            _ => Err(format!(
                "`{}` is no table: write family and name, such as \"ip docker*\" (families: {})",
                text.escape_debug(),
                FAMILIES.join(", ")
            )),
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::address::as_text!(TablePattern);

impl Spec {
    /// The key under which this is declared.
    pub fn key(&self) -> Key {
        match self {
            Spec::Hook(hook) => Key::from(hook.name.as_str()),
            Spec::Rule(rule) => keys::rule(rule.hook.as_str(), rule.name.as_str()),
            Spec::Set(set) => keys::set(set.name.as_str()),
            Spec::Nat(nat) => keys::nat(nat.name.as_str()),
            Spec::NatHook(hook) => Key::from(hook.as_str()),
            Spec::Chain(chain) => keys::chain(chain.name.as_str()),
            Spec::Exclusive(_) => Key::from(keys::TABLES),
        }
    }
}

/// How keys of this kind are made.
pub mod keys {
    use crate::model::Key;

    /// The resource that stands for "no other tables".
    pub const TABLES: &str = "tables";
    /// What stands for the table as it is loaded at boot. Nobody declares it: what is declared is.
    pub const BOOT: &str = "boot";

    /// A rule of a hook.
    pub fn rule(hook: &str, name: &str) -> Key {
        Key::from(format!("{hook}/{name}"))
    }

    /// A named set.
    pub fn set(name: &str) -> Key {
        Key::from(format!("set/{name}"))
    }

    /// A NAT entry.
    pub fn nat(name: &str) -> Key {
        Key::from(format!("nat/{name}"))
    }

    /// A chain in nft's own words.
    pub fn chain(name: &str) -> Key {
        Key::from(format!("chain/{name}"))
    }

    /// Another object of our table (a counter, a quota) that somebody made.
    pub fn object(kind: &str, name: &str) -> Key {
        Key::from(format!("{kind}/{name}"))
    }

    /// A table that is not ours.
    pub fn table(family: &str, name: &str) -> Key {
        Key::from(format!("table/{family} {name}"))
    }
}
