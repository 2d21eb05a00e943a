//! Names and strings that reach the packet filter. Each is a type whose grammar leaves no way out of the place
//! where it is written: there is no string of any of these types that nft could read as something else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Declares a string type whose values satisfy a grammar, however they came in.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text).map(|()| $name(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a rule, an address set, a chain or a NAT entry: what stands in a resource id and in the comment
    /// by which the kernel's rule is known again.
    Name, check_name
}

text_type! {
    /// A network interface, or the beginning of one with `*` at its end: `eth0`, `virbr*`.
    Interface, check_interface
}

text_type! {
    /// What a logged packet's line begins with.
    LogPrefix, check_log_prefix
}

/// Longest name: with its prefix it must fit into a comment (128 bytes) and an object name.
const NAME_LIMIT: usize = 64;
/// `IFNAMSIZ` without the closing zero.
const INTERFACE_LIMIT: usize = 15;
/// `NF_LOG_PREFIXLEN` without the closing zero.
const LOG_PREFIX_LIMIT: usize = 127;

fn check_name(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let well_formed =
        text.bytes().all(allowed) && text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    match well_formed && text.len() <= NAME_LIMIT {
        true => Ok(()),
        false => Err(format!(
            "`{}` is no name: a letter, then letters, digits, - and _, at most {NAME_LIMIT}",
            text.escape_debug()
        )),
    }
}

fn check_interface(text: &str) -> Result<(), String> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    match !stem.is_empty() && text.len() <= INTERFACE_LIMIT && stem.bytes().all(allowed) {
        true => Ok(()),
        false => Err(format!(
            "`{}` is no interface: letters, digits and -_.:@, at most {INTERFACE_LIMIT}, `*` only at the end",
            text.escape_debug()
        )),
    }
}

fn check_log_prefix(text: &str) -> Result<(), String> {
    // nft has no escapes: a quote would end the string, a dollar would begin a variable, and a backslash is
    // written back doubled by some versions.
    let allowed = |c: char| (c.is_ascii_graphic() || c == ' ') && !"\"\\$".contains(c);
    match !text.is_empty() && text.len() <= LOG_PREFIX_LIMIT && text.chars().all(allowed) {
        true => Ok(()),
        false => Err(format!(
            "`{}` is no log prefix: 1 to {LOG_PREFIX_LIMIT} printable ASCII characters without \" \\ $",
            text.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_end_its_place_is_a_name() {
        for text in ["", "a b", "a\"", "a;b", "a\nb", "a{", "1a", "-a", "a.b", "a#", "é", &"a".repeat(65)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        for text in ["web", "Web-1", "a_b"] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn an_interface_may_end_in_a_star_and_nothing_else() {
        for text in ["eth0", "virbr*", "br-3f2a", "eth0.12", "wg0"] {
            assert!(text.parse::<Interface>().is_ok(), "{text}");
        }
        for text in ["", "*", "e*0", "eth0\"", "a/b", "a b", "sixteen-letters-x"] {
            assert!(text.parse::<Interface>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_log_prefix_has_no_quote_backslash_or_variable() {
        assert!("dropped: ".parse::<LogPrefix>().is_ok());
        for text in ["", "a\"b", "a\\b", "a$b", "a\nb", "ü", &"a".repeat(128)] {
            assert!(text.parse::<LogPrefix>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_crossed_a_process_is_checked_again() {
        assert!(serde_json::from_str::<Name>("\"a;b\"").is_err());
        assert!(serde_json::from_str::<Interface>("\"a\\\"\"").is_err());
    }
}
