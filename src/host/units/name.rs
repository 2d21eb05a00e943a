//! Names of units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The full name of a unit, suffix included: `nginx.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnitName(String);

/// What kind of unit a name's suffix says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// `.service`
    Service,
    /// `.socket`
    Socket,
    /// `.timer`
    Timer,
    /// `.path`
    Path,
    /// `.target`
    Target,
    /// `.mount`
    Mount,
}

impl UnitKind {
    const ALL: [(&'static str, UnitKind); 6] = [
        (".service", UnitKind::Service),
        (".socket", UnitKind::Socket),
        (".timer", UnitKind::Timer),
        (".path", UnitKind::Path),
        (".target", UnitKind::Target),
        (".mount", UnitKind::Mount),
    ];
}

/// The longest name systemd takes, suffix included (`UNIT_NAME_MAX` and its terminating zero).
const LONGEST: usize = 255;

impl UnitName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind of unit it is.
    pub fn kind(&self) -> UnitKind {
        UnitKind::ALL
            .into_iter()
            .find(|(suffix, _)| self.0.ends_with(suffix))
            .map_or(UnitKind::Service, |(_, kind)| kind)
    }

    /// Whether it is an instance of a template (`getty@tty1.service`), whose file has another name.
    pub fn is_instance(&self) -> bool {
        self.0.contains('@')
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = String;

    /// The grammar of `systemd.unit(5)`: at most 255 characters of `[A-Za-z0-9:_.\\@-]`, with a known suffix.
    /// Templates without an instance (`x@.service`) and globs are no names of one unit.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
        let Some(stem) = UnitKind::ALL.iter().find_map(|(suffix, _)| text.strip_suffix(suffix)) else {
            let suffixes = UnitKind::ALL.map(|(suffix, _)| suffix);
            return Err(format!("`{text}` is no unit name: it must end in one of {}", suffixes.join(", ")));
        };
        if stem.is_empty() || !text.chars().all(allowed) || text.starts_with(['-', '.', '@']) {
            return Err(format!(
                "`{text}` is no unit name: letters, digits and :_.\\@- only, and neither - nor . nor @ in front"
            ));
        }
        if text.len() > LONGEST {
            return Err(format!("a unit name of {} characters is too long: {LONGEST} at most", text.len()));
        }
        match stem.split_once('@') {
            Some((_, "")) => Err(format!("`{text}` is a template: name an instance, such as {stem}1")),
            Some(_) | None => Ok(UnitName(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
