//! What a rule speaks of: `tcp/80`, `udp/1000-2000`, `icmp/echo-request`, `esp`, `protocol/200`, `any`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::address::{Family, as_text};

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Traffic {
    /// Everything.
    Any,
    /// A whole protocol, by its IANA number.
    Protocol(u8),
    /// Ports of a protocol that has them.
    Ports(Transport, Ports),
    /// One type of ICMP or ICMPv6 message.
    Icmp(Family, u8),
}

impl Traffic {
    /// Whether this is all of the other traffic, or more.
    pub fn includes(&self, other: &Traffic) -> bool {
        match (self, other) {
            (Traffic::Any, _) => true,
            (Traffic::Protocol(number), Traffic::Ports(transport, _)) => *number == transport.number(),
            (Traffic::Ports(transport, ports), Traffic::Ports(of, others)) => {
                transport == of && ports.include(others)
            }
            (Traffic::Protocol(_) | Traffic::Ports(..) | Traffic::Icmp(..), _) => self == other,
        }
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// DCCP.
    Dccp,
}

impl Transport {
    /// Every one.
    pub const ALL: [Transport; 4] = [Transport::Tcp, Transport::Udp, Transport::Sctp, Transport::Dccp];

    /// Its word here and in nft.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Sctp => "sctp",
            Transport::Dccp => "dccp",
        }
    }

    /// Its IANA number.
    pub const fn number(self) -> u8 {
        match self {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::Sctp => 132,
            Transport::Dccp => 33,
        }
    }
}

/// A port, or a range of them; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Whether these include all of the others.
    pub fn include(&self, other: &Ports) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The single port, if it is one.
    pub fn single(&self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(port) => write!(f, "{port}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Ports { first, last }),
            _ => Err(format!("`{}` is no port or range: 1 to 65535, lower one first", text.escape_debug())),
        }
    }
}

/// What a protocol without a name is written with: a bare number looks like a port to whoever reads it.
const BY_NUMBER: &str = "protocol";

/// Protocols without ports that have a name here, with their IANA numbers.
const PROTOCOLS: [(&str, u8); 9] = [
    ("icmp", 1),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("ipip", 4),
    ("vrrp", 112),
];

/// Names of ICMP types, as nft has them, with their IANA numbers.
const ICMP: [(&str, u8); 13] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
    ("source-quench", 4),
];

/// Names of ICMPv6 types, as nft has them, with their IANA numbers.
const ICMPV6: [(&str, u8); 17] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("ind-neighbor-solicit", 141),
    ("ind-neighbor-advert", 142),
    ("mld2-listener-report", 143),
];

fn icmp_names(family: Family) -> &'static [(&'static str, u8)] {
    match family {
        Family::V4 => &ICMP,
        Family::V6 => &ICMPV6,
    }
}

/// A number from a table of names, or written as a number.
fn number(text: &str, names: &[(&str, u8)]) -> Option<u8> {
    let named = names.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok())
}

fn name_of(number: u8, names: &[(&'static str, u8)]) -> Option<&'static str> {
    names.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

fn named(number: u8, names: &[(&'static str, u8)]) -> String {
    name_of(number, names).map_or_else(|| number.to_string(), str::to_owned)
}

impl FromStr for Traffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let transport = |word: &str| Transport::ALL.into_iter().find(|known| known.as_str() == word);
        let Some((protocol, rest)) = text.split_once('/') else {
            let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
            let whole = transport(text).map(Transport::number).or(named);
            return match (text, whole) {
                ("any", _) => Ok(Traffic::Any),
                (_, Some(whole)) => Ok(Traffic::Protocol(whole)),
                (_, None) => Err(unknown_traffic(text)),
            };
        };
        if protocol == BY_NUMBER {
            let digits = rest.bytes().all(|b| b.is_ascii_digit());
            let number = rest.parse().ok().filter(|_| digits);
            return number.map(Traffic::Protocol).ok_or_else(|| no_protocol(rest));
        }
        if let Some(transport) = transport(protocol) {
            return rest.parse().map(|ports| Traffic::Ports(transport, ports));
        }
        let family = match protocol {
            "icmp" => Family::V4,
            "icmpv6" => Family::V6,
            _ if transport(rest).is_some() && protocol.parse::<Ports>().is_ok() => {
                return Err(format!("`{protocol}/{rest}` is the wrong way round: write {rest}/{protocol}"));
            }
            _ => return Err(unknown_traffic(protocol)),
        };
        let names = icmp_names(family);
        number(rest, names).map(|kind| Traffic::Icmp(family, kind)).ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            format!("`{}` is no {protocol} type: {}", rest.escape_debug(), known.join(", "))
        })
    }
}

fn unknown_traffic(text: &str) -> String {
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok();
    match (text.parse::<Ports>(), is_number) {
        // Whoever writes a bare number means a port; read as a protocol it would open something else.
        (_, true) => format!(
            "`{text}` says no protocol: write tcp/{text} or udp/{text} for a port, or {BY_NUMBER}/{text} for the IP \
             protocol of this number"
        ),
        (Ok(ports), false) => {
            format!("`{ports}` says no protocol: write tcp/{ports} or udp/{ports}")
        }
        (Err(_), false) => format!(
            "`{}` is no traffic: write tcp/80, udp/1000-2000, icmp/echo-request, a protocol (tcp, udp, sctp, dccp, \
             icmp, icmpv6, igmp, gre, esp, ah, ipip, ospf, vrrp, or {BY_NUMBER}/NUMBER) or any",
            text.escape_debug()
        ),
    }
}

fn no_protocol(text: &str) -> String {
    format!("`{}` is no number of a protocol: write {BY_NUMBER}/0 to {BY_NUMBER}/255", text.escape_debug())
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::Any => f.write_str("any"),
            Traffic::Protocol(number) => match Transport::ALL.iter().find(|t| t.number() == *number) {
                Some(transport) => f.write_str(transport.as_str()),
                None => match name_of(*number, &PROTOCOLS) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{BY_NUMBER}/{number}"),
                },
            },
            Traffic::Ports(transport, ports) => write!(f, "{}/{ports}", transport.as_str()),
            Traffic::Icmp(Family::V4, kind) => write!(f, "icmp/{}", named(*kind, &ICMP)),
            Traffic::Icmp(Family::V6, kind) => write!(f, "icmpv6/{}", named(*kind, &ICMPV6)),
        }
    }
}

/// How often: `10/second`, `10/second burst 20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    rate: NonZeroU32,
    per: Unit,
    burst: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [Unit; 4] = [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day];

    const fn as_str(self) -> &'static str {
        match self {
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
        }
    }
}

impl Limit {
    /// As nft writes it after `rate` or `rate over`.
    pub fn nft(&self) -> String {
        let Limit { rate, per, burst } = self;
        match burst {
            Some(burst) => format!("{rate}/{} burst {burst} packets", per.as_str()),
            None => format!("{rate}/{}", per.as_str()),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || {
            format!("`{}` is no limit: write \"10/second\" or \"10/minute burst 20\"", text.escape_debug())
        };
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.parse().map_err(|_| fault())?)),
            None => (text, None),
        };
        let (rate, unit) = rate.split_once('/').ok_or_else(fault)?;
        let per = Unit::ALL.into_iter().find(|known| known.as_str() == unit).ok_or_else(fault)?;
        Ok(Limit { rate: rate.parse().map_err(|_| fault())?, per, burst })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.nft().trim_end_matches(" packets"))
    }
}

as_text!(Traffic, Limit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_reads_back_what_it_prints() {
        for text in [
            "any",
            "tcp",
            "udp/53",
            "tcp/1000-2000",
            "icmp/echo-request",
            "icmpv6/140",
            "esp",
            "icmp",
            "protocol/200",
        ] {
            assert_eq!(text.parse::<Traffic>().unwrap().to_string(), text);
        }
        assert_eq!("protocol/6".parse::<Traffic>().unwrap().to_string(), "tcp");
    }

    #[test]
    fn a_bare_number_is_neither_a_port_nor_a_protocol() {
        for (text, told) in [
            ("80", "write tcp/80 or udp/80 for a port, or protocol/80"),
            ("0", "protocol/0"),
            ("443", "`443` says no protocol: write tcp/443 or udp/443"),
            ("8000-8010", "write tcp/8000-8010 or udp/8000-8010"),
            ("80/tcp", "is the wrong way round: write tcp/80"),
            ("protocol/256", "write protocol/0 to protocol/255"),
            ("protocol/+6", "write protocol/0 to protocol/255"),
            ("protocol/", "write protocol/0 to protocol/255"),
        ] {
            let fault = text.parse::<Traffic>().expect_err(text);
            assert!(fault.contains(told), "{text}: {fault}");
        }
    }

    #[test]
    fn what_is_no_traffic_is_refused() {
        for text in [
            "",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/9-8",
            "http",
            "icmp/256",
            "icmp/nonsense",
            "esp/80",
            "tcp/80 ",
        ] {
            assert!(text.parse::<Traffic>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn limits_read_back_what_they_print() {
        for text in ["10/second", "1/day burst 20"] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
        for text in ["", "0/second", "10", "10/fortnight", "10/second burst 0", "10/second burst"] {
            assert!(text.parse::<Limit>().is_err(), "{text:?}");
        }
    }
}
