//! Which host a host file speaks of: by its own name, by patterns, by facts.

use crate::host::facts::Facts;
use crate::model::Place;

/// A host and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name, in lower case.
    pub name: &'a str,
    /// Its facts.
    pub facts: &'a Facts,
}

/// How closely a file speaks of a host. The closest file counts; two of equal rank are a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// By facts alone.
    Facts,
    /// By a pattern that the name fits.
    Pattern,
    /// By its very name.
    Name,
}

/// The hosts that a file speaks of: those that fit one of its names, if it has any, and all of its conditions.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Names and patterns.
    pub names: Vec<Pattern>,
    /// What the facts must be.
    pub conditions: Vec<Condition>,
    /// Where it is written.
    pub place: Option<Place>,
    /// Whether it could not be read in full: then it speaks of nobody.
    pub faulty: bool,
}

/// A name, or a pattern in which `*` stands for any characters (also dots, also none) and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// What one fact must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of these words.
    Word(Word, Vec<String>),
    /// A label with one of these values.
    Label(String, Vec<String>),
    /// At least this.
    Min(Amount, u64),
    /// At most this.
    Max(Amount, u64),
}

/// A fact that is a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `os`
    Os,
    /// `os_version`
    OsVersion,
    /// `os_codename`
    OsCodename,
    /// `architecture`
    Architecture,
    /// `virtualisation`
    Virtualisation,
}

/// A fact that is an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// `cpus`
    Cpus,
    /// `memory`, in bytes
    Memory,
}

impl Match {
    /// How closely this speaks of a host; none if it does not.
    pub fn rank(&self, host: Candidate<'_>) -> Option<Rank> {
        if self.faulty || !self.conditions.iter().all(|condition| condition.holds(host.facts)) {
            return None;
        }
        if self.names.is_empty() {
            return Some(Rank::Facts);
        }
        let fitting = self.names.iter().filter(|pattern| pattern.fits(host.name));
        fitting.map(|pattern| if pattern.is_name() { Rank::Name } else { Rank::Pattern }).max()
    }
}

impl Pattern {
    /// Reads a pattern; what it says is what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.*?".contains(c);
        match text.chars().find(|c| !allowed(*c)) {
            _ if text.is_empty() || text.len() > 253 => {
                Err("a host name has between 1 and 253 characters".into())
            }
            Some(c) if c.is_ascii_uppercase() => Err("host names are written in lower case".into()),
            Some(c) => Err(format!("`{}` can't be part of a host name", c.escape_debug())),
            None => Ok(Pattern(text.to_owned())),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name and no pattern.
    pub fn is_name(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether a name fits. Linear in both lengths but for the last star, which is all that has to be retried.
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut retry = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match retry {
                    Some((star, taken)) => {
                        retry = Some((star, taken + 1));
                        p = star + 1;
                        n = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

impl Condition {
    /// Whether it holds for these facts.
    pub fn holds(&self, facts: &Facts) -> bool {
        match self {
            Condition::Word(word, values) => values.iter().any(|value| value == word.of(facts)),
            Condition::Label(name, values) => {
                facts.labels.get(name).is_some_and(|label| values.contains(label))
            }
            Condition::Min(Amount::Cpus, least) => u64::from(facts.cpus) >= *least,
            Condition::Max(Amount::Cpus, most) => u64::from(facts.cpus) <= *most,
            // Firmware and kernel keep a part of the memory for themselves, up to an eighth on small machines:
            // a host that was bought with 4 GiB is one of 4 GiB.
            Condition::Min(Amount::Memory, least) => facts.memory_bytes >= least - least / 8,
            Condition::Max(Amount::Memory, most) => facts.memory_bytes <= *most,
        }
    }

    /// Changes facts so that it holds: for a host that stands for its class.
    pub fn satisfy(&self, facts: &mut Facts) {
        match self {
            Condition::Word(word, values) => {
                if let (Some(first), false) = (values.first(), self.holds(facts)) {
                    first.clone_into(word.of_mut(facts));
                }
            }
            Condition::Label(name, values) => {
                if let Some(first) = values.first() {
                    facts.labels.insert(name.clone(), first.clone());
                }
            }
            Condition::Min(Amount::Cpus, least) => {
                facts.cpus = facts.cpus.max(u32::try_from(*least).unwrap_or(u32::MAX));
            }
            Condition::Max(Amount::Cpus, most) => {
                facts.cpus = facts.cpus.min(u32::try_from(*most).unwrap_or(u32::MAX));
            }
            Condition::Min(Amount::Memory, least) => facts.memory_bytes = facts.memory_bytes.max(*least),
            Condition::Max(Amount::Memory, most) => facts.memory_bytes = facts.memory_bytes.min(*most),
        }
    }
}

impl Word {
    /// Every one, with its key.
    pub const ALL: [(&'static str, Word); 5] = [
        ("os", Word::Os),
        ("os_version", Word::OsVersion),
        ("os_codename", Word::OsCodename),
        ("architecture", Word::Architecture),
        ("virtualisation", Word::Virtualisation),
    ];

    fn of(self, facts: &Facts) -> &String {
        match self {
            Word::Os => &facts.os,
            Word::OsVersion => &facts.os_version,
            Word::OsCodename => &facts.os_codename,
            Word::Architecture => &facts.architecture,
            Word::Virtualisation => &facts.virtualisation,
        }
    }

    /// The fact itself.
    pub fn of_mut(self, facts: &mut Facts) -> &mut String {
        match self {
            Word::Os => &mut facts.os,
            Word::OsVersion => &mut facts.os_version,
            Word::OsCodename => &mut facts.os_codename,
            Word::Architecture => &mut facts.architecture,
            Word::Virtualisation => &mut facts.virtualisation,
        }
    }
}

/// A host name in its canonical form, lower case; or what is wrong with it (RFC 1123, section 2.1).
pub fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(name)
    } else {
        Err(format!("`{}` is no host name: use letters, digits, `-` and `.`", text.escape_debug()))
    }
}

/// Bytes of an amount such as `4GiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let fault =
        || format!("`{}` is no amount of memory: write it as \"512MiB\" or \"4GiB\"", text.escape_debug());
    let (digits, shift) = UNITS
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), shift)))
        .ok_or_else(fault)?;
    let number: u64 = digits.parse().map_err(|_| fault())?;
    number.checked_mul(1 << shift).filter(|_| !digits.starts_with('+')).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            os: "debian".into(),
            os_version: "12".into(),
            os_codename: "bookworm".into(),
            architecture: "amd64".into(),
            cpus: 4,
            memory_bytes: 3_900 << 20,
            virtualisation: "kvm".into(),
            labels: [("site".to_owned(), "fra".to_owned())].into(),
        }
    }

    #[test]
    fn patterns_fit_whole_names() {
        let fits = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().fits(name);
        assert!(fits("web-*", "web-1") && fits("web-*", "web-") && fits("web-*", "web-1.example.org"));
        assert!(fits("*", "anything") && fits("*-db-?", "shop-db-1") && fits("a*b*c", "axxbyybzc"));
        assert!(
            !fits("web-*", "web1")
                && !fits("web-?", "web-")
                && !fits("web", "web-1")
                && !fits("*-db-?", "shop-db-10")
        );
        assert!(!fits("web-*", "xweb-1"));
        let nasty = format!("{}b", "*a".repeat(100));
        assert!(!fits(&nasty, &"a".repeat(253)), "and it ends soon");
    }

    #[test]
    fn patterns_with_foreign_characters_are_refused() {
        for text in ["", "Web-*", "web/1", "web 1", "wéb", "web[12]", "a\0"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_beat_patterns_and_patterns_beat_facts() {
        let facts = facts();
        let host = Candidate { name: "web-1", facts: &facts };
        let of = |names: &[&str]| Match {
            names: names.iter().map(|name| Pattern::parse(name).unwrap()).collect(),
            ..Match::default()
        };
        assert_eq!(of(&["web-1", "web-*"]).rank(host), Some(Rank::Name));
        assert_eq!(of(&["db-1", "web-*"]).rank(host), Some(Rank::Pattern));
        assert_eq!(of(&[]).rank(host), Some(Rank::Facts));
        assert_eq!(of(&["db-*"]).rank(host), None);
        assert!(Rank::Name > Rank::Pattern && Rank::Pattern > Rank::Facts);
    }

    #[test]
    fn conditions_hold_or_can_be_made_to_hold() {
        let words = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let cases = [
            (Condition::Word(Word::OsVersion, words(&["12", "13"])), true),
            (Condition::Word(Word::OsVersion, words(&["13"])), false),
            (Condition::Label("site".into(), words(&["fra"])), true),
            (Condition::Label("site".into(), words(&["ber"])), false),
            (Condition::Label("tier".into(), words(&["1"])), false),
            (Condition::Min(Amount::Cpus, 4), true),
            (Condition::Max(Amount::Cpus, 3), false),
            (Condition::Min(Amount::Memory, 4 << 30), true), // 3900 MiB are sold as 4 GiB
            (Condition::Min(Amount::Memory, 8 << 30), false),
            (Condition::Max(Amount::Memory, 4 << 30), true),
        ];
        for (condition, expected) in cases {
            let mut facts = facts();
            assert_eq!(condition.holds(&facts), expected, "{condition:?}");
            condition.satisfy(&mut facts);
            assert!(condition.holds(&facts), "{condition:?}");
        }
    }

    #[test]
    fn host_names_are_plain_and_canonical() {
        assert_eq!(host_name("Web-1.Example.org"), Ok("web-1.example.org".into()));
        for text in ["", ".", "a..b", "-a", "a-", "a/b", "a\0b", "wéb", "a_b", &"a".repeat(64), "../etc"] {
            assert!(host_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_of_memory_have_binary_units() {
        assert_eq!((bytes("4GiB"), bytes("512 MiB")), (Ok(4 << 30), Ok(512 << 20)));
        for text in ["4", "4GB", "GiB", "-1GiB", "+1GiB", "1.5GiB", "99999999999TiB", ""] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
