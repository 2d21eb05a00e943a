//! Text in nft's own words, held inside the place where it is written.
//!
//! This is the first of two fences, and it works without root: no word that opens a file or a variable, no
//! comment that could swallow what follows, braces and quotes that close where they were opened. The second is
//! the kernel's own listing of the text, loaded where it can reach nothing (`compile`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Raw text of a rule, a set or a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RawText(String);

/// Longest raw text of one resource, in bytes.
const LIMIT: usize = 64 << 10;

/// Words that reach beyond the rule set, or that hold something other than what was written.
const REFUSED_WORDS: [&str; 5] = ["include", "define", "redefine", "undefine", "comment"];

impl RawText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its lines that say something.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// Whether each of its lines can only be read as one rule. A semicolon would begin another statement; braces
    /// must close in the line in which they opened, for each line gets a comment of ours at its end.
    pub fn check_rules(&self) -> Result<(), String> {
        for line in self.lines() {
            let shape = scan(line)?;
            if shape.semicolon {
                return Err("a raw rule takes no `;`: write one rule a line".into());
            }
        }
        match self.lines().next() {
            Some(_) => Ok(()),
            None => Err("a raw rule needs at least one line".into()),
        }
    }
}

impl FromStr for RawText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LIMIT {
            return Err(format!("raw text is limited to {LIMIT} bytes"));
        }
        scan(text)?;
        Ok(RawText(text.to_owned()))
    }
}

impl TryFrom<String> for RawText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RawText> for String {
    fn from(text: RawText) -> String {
        text.0
    }
}

impl fmt::Display for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Shape {
    semicolon: bool,
}

/// Walks over the text as nft's scanner does: quoted strings (which know no escape), words, and single signs.
fn scan(text: &str) -> Result<Shape, String> {
    let mut depth = 0usize;
    let mut shape = Shape { semicolon: false };
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        rest = &rest[sign.len_utf8()..];
        match sign {
            '"' => rest = after_string(rest)?,
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or("a `}` closes more than was opened here")?,
            ';' => shape.semicolon = true,
            '#' => return Err("`#` is refused: write comments in TOML, outside the string".into()),
            '$' => return Err("`$` is refused: there are no variables here".into()),
            '\\' => return Err("`\\` is refused: write the line as one".into()),
            '\n' | '\t' => {}
            control if control.is_control() => return Err("control characters are refused".into()),
            letter if letter.is_alphabetic() => {
                let length = rest.find(|c: char| !in_word(c)).unwrap_or(rest.len());
                let word = format!("{letter}{}", &rest[..length]);
                if REFUSED_WORDS.contains(&word.as_str()) {
                    return Err(format!("the word `{word}` is refused in raw text"));
                }
                rest = &rest[length..];
            }
            _ => {}
        }
    }
    match depth {
        0 => Ok(shape),
        _ => Err("a `{` is never closed".into()),
    }
}

fn after_string(rest: &str) -> Result<&str, String> {
    match rest.split_once('"') {
        Some((string, after)) if !string.contains(|c: char| c.is_control() || "$\\".contains(c)) => Ok(after),
        _ => Err("a quoted string must close in its line, without $ and \\".into()),
    }
}

/// What nft's scanner takes into a word after its first letter.
fn in_word(c: char) -> bool {
    c.is_alphanumeric() || "_-./".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match text.parse::<RawText>() {
            Ok(raw) => raw.check_rules().unwrap_err(),
            Err(fault) => fault,
        }
    }

    #[test]
    fn text_that_reaches_out_of_its_place_is_refused() {
        for text in [
            "include \"/etc/shadow\"",
            "accept\ninclude \"x\"",
            "accept }",
            "accept } chain evil { accept",
            "{ accept",
            "accept; flush ruleset",
            "accept # rest",
            "tcp dport $x accept",
            "log prefix \"a",
            "log prefix \"a\" \"",
            "log prefix \"a\nb\"",
            "accept \\\n drop",
            "accept comment \"agentd:other\"",
            "accept \u{0} drop",
            "",
            "  \n ",
        ] {
            assert!(!fault(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn ordinary_rules_pass() {
        for text in [
            "tcp flags & (fin|syn) == (fin|syn) drop",
            "ip saddr { 10.0.0.0/8, 192.168.0.0/16 } accept\n\n  ct state new log prefix \"new: \" accept",
            "update @seen { ip saddr limit rate over 5/minute } drop",
            "iifname \"include\" accept",
        ] {
            text.parse::<RawText>().unwrap().check_rules().unwrap();
        }
    }
}
