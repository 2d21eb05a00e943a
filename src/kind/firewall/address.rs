//! Addresses: one, a network, or a range, of IPv4 or IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::names::Name;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];
}

/// One address, a network in CIDR form, or a range `first-last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Addresses {
    first: IpAddr,
    extent: Extent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Extent {
    One,
    Prefix(u8),
    To(IpAddr),
}

/// Where traffic comes from or goes to: addresses, or a declared set of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Peer {
    /// Addresses.
    Addresses(Addresses),
    /// `@name`.
    Set(Name),
}

impl Addresses {
    /// Their family.
    pub fn family(&self) -> Family {
        family(self.first)
    }

    /// The single address, if it is one.
    pub fn single(&self) -> Option<IpAddr> {
        match self.extent {
            Extent::One => Some(self.first),
            Extent::Prefix(_) | Extent::To(_) => None,
        }
    }
}

fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::One => write!(f, "{}", self.first),
            Extent::Prefix(length) => write!(f, "{}/{length}", self.first),
            Extent::To(last) => write!(f, "{}-{last}", self.first),
        }
    }
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |text: &str| {
            text.parse::<IpAddr>().map_err(|_| format!("`{}` is no address", text.escape_debug()))
        };
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            return match family(first) == family(last) && first < last {
                true => Ok(Addresses { first, extent: Extent::To(last) }),
                false => Err(format!("`{text}` is no range: the first address must lie below the last")),
            };
        }
        let Some((first, length)) = text.split_once('/') else {
            return Ok(Addresses { first: address(text)?, extent: Extent::One });
        };
        let first = address(first)?;
        let whole = if first.is_ipv4() { 32 } else { 128 };
        let length = length.parse::<u8>().ok().filter(|length| *length <= whole);
        let length = length.ok_or_else(|| format!("`{text}` is no network: /0 to /{whole}"))?;
        let network = masked(first, length);
        match (network == first, length == whole) {
            (true, true) => Ok(Addresses { first, extent: Extent::One }),
            (true, false) => Ok(Addresses { first, extent: Extent::Prefix(length) }),
            (false, _) => Err(format!("`{text}` has bits beyond its prefix: write {network}/{length}")),
        }
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let gap = |whole: u32| whole - u32::from(length);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(gap(32)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(gap(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Addresses(addresses) => addresses.fmt(f),
            Peer::Set(name) => write!(f, "@{name}"),
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('@') {
            Some(name) => name.parse().map(Peer::Set),
            None => text.parse().map(Peer::Addresses),
        }
    }
}

/// Serialisation as the text that is written in a declaration.
macro_rules! as_text {
    ($($ty:ty),*) => {$(
        impl TryFrom<String> for $ty {
            type Error = String;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$ty> for String {
            fn from(value: $ty) -> String {
                value.to_string()
            }
        }
    )*};
}
pub(super) use as_text;

as_text!(Addresses, Peer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_ranges_read_back_what_they_print() {
        for text in
            ["192.0.2.1", "10.0.0.0/8", "::/0", "0.0.0.0/0", "fd00::/8", "::1-::5", "10.0.0.1-10.0.0.9"]
        {
            assert_eq!(text.parse::<Addresses>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.1/32".parse::<Addresses>().unwrap().to_string(), "192.0.2.1");
        assert_eq!("FD00:0::1".parse::<Addresses>().unwrap().to_string(), "fd00::1");
    }

    #[test]
    fn bits_beyond_the_prefix_are_refused_with_the_network() {
        let fault = "10.1.2.3/8".parse::<Addresses>().unwrap_err();
        assert!(fault.ends_with("write 10.0.0.0/8"), "{fault}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "a", "1.1.1.1-::1", "2.2.2.2-1.1.1.1"]
        {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
        assert!("@a b".parse::<Peer>().is_err());
        assert_eq!("@admins".parse::<Peer>().unwrap().to_string(), "@admins");
    }
}
