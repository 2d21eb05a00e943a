//! Versions of packages and their order, as `deb-version(7)` gives it.
//!
//! Own code: the order is thirty lines, and the crate `debversion` (0.5) brings a regular expression engine for
//! it. That it agrees with dpkg is shown against `dpkg --compare-versions` in `tests/it/package.rs`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version as it may be declared: checked, so that it is safe in an argument `name=version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Version(Box<str>);

/// The longest version accepted.
const VERSION_LIMIT: usize = 255;

impl Version {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = String;

    /// `[epoch:]upstream[-revision]`, as strict as dpkg is with a new package (`deb-version(7)`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = |what: &str| Err(format!("{text:?} is no package version: {what}"));
        let (epoch, upstream, revision) = split(text);
        if text.is_empty() || text.len() > VERSION_LIMIT {
            return fault("it has 1 to 255 characters");
        }
        if text.contains(':') && (epoch.is_empty() || epoch.parse::<i32>().is_err()) {
            return fault("what stands before the `:` must be a number");
        }
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return fault("it must start with a digit");
        }
        let common = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
        if !upstream.chars().all(|c| common(c) || c == '-' || (c == ':' && !epoch.is_empty())) {
            return fault("letters, digits and . + - ~ only");
        }
        if text.ends_with('-') || !revision.chars().all(common) {
            return fault("what stands after the last `-` must be letters, digits and . + ~");
        }
        Ok(Version(text.into()))
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Orders two versions as dpkg does. Takes any text: what a host has may be older than the rules.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, upstream_a, revision_a) = split(a);
    let (epoch_b, upstream_b, revision_b) = split(b);
    compare_part(epoch_a.as_bytes(), epoch_b.as_bytes())
        .then_with(|| compare_part(upstream_a.as_bytes(), upstream_b.as_bytes()))
        .then_with(|| compare_part(revision_a.as_bytes(), revision_b.as_bytes()))
}

/// Epoch, upstream version and revision; what is left out is empty, and empty is zero.
fn split(text: &str) -> (&str, &str, &str) {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Text and numbers in turn: text by weight, numbers by value.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        while starts_with_text(a) || starts_with_text(b) {
            match weight(a).cmp(&weight(b)) {
                Ordering::Equal => {}
                different => return different,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (number_a, number_b) = (take_number(&mut a), take_number(&mut b));
        // Without leading zeros the longer number is the larger one: no overflow, however long.
        match number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b)) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    Ordering::Equal
}

fn starts_with_text(part: &[u8]) -> bool {
    part.first().is_some_and(|byte| !byte.is_ascii_digit())
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(part: &[u8]) -> i32 {
    match part.first() {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn take_number<'a>(part: &mut &'a [u8]) -> &'a [u8] {
    let end = part.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(part.len());
    let (number, rest) = part.split_at(end);
    *part = rest;
    let zeros = number.iter().position(|byte| *byte != b'0').unwrap_or(number.len());
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each line ascends from left to right (`deb-version(7)`, Debian policy 5.6.12).
    const ASCENDING: &[&[&str]] = &[
        &["~~", "~~a", "~", "", "a"],
        &["1.0~beta1~svn1245", "1.0~beta1", "1.0", "1.0+b1", "1.0.1"],
        &["1.0~rc1-1", "1.0-1~bpo12+1", "1.0-1", "1.0-1+b1", "1.0-1+deb12u1", "1.0-1.1", "1.0-2", "1.0-10"],
        &["9", "10", "1:0", "1:0.1", "2:0", "10:0"],
        &["1.9", "1.10", "1.010a", "1.11"],
        &["2.2.0", "2.2.0a", "2.2.0+git1", "2.2.0.1"],
        &["1-1", "1-1a", "1-1+", "1-1."],
        &["99999999999999999998", "99999999999999999999", "100000000000000000000"],
    ];

    const EQUAL: &[(&str, &str)] = &[
        ("1.0", "1.0-0"),
        ("0:1.0", "1.0"),
        ("1.0", "1.00"),
        ("1.01", "1.1"),
        ("1.0-1", "1.0-01"),
        ("", "0"),
    ];

    #[test]
    fn policy_examples_are_ordered_as_written() {
        for line in ASCENDING {
            for (i, a) in line.iter().enumerate() {
                for (j, b) in line.iter().enumerate() {
                    assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
                }
            }
        }
        for (a, b) in EQUAL {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} against {b}");
        }
    }

    #[test]
    fn versions_that_dpkg_would_refuse_are_refused() {
        for text in
            ["", "a1", "-1", ":1", "x:1", "1:", "1-", "1 2", "1*", "1_2", "1/2", "1\n", "1=2", "1-a:b", "é"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?} was accepted");
        }
        for text in ["1", "1:2.3-4", "1.22.1-9+deb12u3", "2:1:2-3", "0~", "1.0-1~bpo12+1", "20240101"] {
            assert_eq!(text.parse::<Version>().unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9]?:?[0-9a-c.+~-]{0,6}", b in "[0-9]?:?[0-9a-c.+~-]{0,6}",
                              c in "[0-9a-c.+~-]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert!(compare(&a, &c) != Ordering::Greater);
            }
        }
    }
}
