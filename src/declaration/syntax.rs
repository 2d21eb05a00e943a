//! From the text of a TOML file to values that know their places. All faults of the file at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::limits;
use super::text::Text;
use crate::model::diagnostic::is_hidden;
use crate::model::located::Entry;
use crate::model::{Diagnostic, Faults, Located, Table, Value};

/// The document as a table; none if the file has a fault that could hide or feign others.
pub fn parse(text: &Text, faults: &mut Faults) -> Option<Located> {
    let mut reader = Reader { text, faults, sound: true, parsed: true };
    reader.hidden_characters();
    let (document, mut errors) = DeTable::parse_recoverable(&text.text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    reader.parsed = errors.is_empty();
    reader.sound &= errors.is_empty();
    let open = reader.open_bracket(document.get_ref(), &errors);
    let mut last_line = 0;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        if open.as_ref().is_some_and(|open| span.start >= open.start) {
            break;
        }
        // The first fault of a line explains the others.
        let line = text.place(span).line;
        if line != last_line {
            reader.syntax(error);
        }
        last_line = line;
    }
    let value = Value::Table(reader.table(document.get_ref(), 0));
    let sound = reader.sound;
    sound.then(|| Located { value, place: text.place(0..0), below: Vec::new() })
}

struct Reader<'a> {
    text: &'a Text,
    faults: &'a mut Faults,
    sound: bool,
    /// Whether the parser had nothing to say: what it made of a fault is not worth another one.
    parsed: bool,
}

impl Reader<'_> {
    fn fault(&mut self, code: &str, span: Range<usize>, message: impl Into<String>, hint: &str) {
        self.sound = false;
        let mut fault = Diagnostic::error(code, &self.text.place(span), message);
        if !hint.is_empty() {
            fault = fault.hint(hint);
        }
        self.faults.push(fault);
    }

    /// Refuses what makes a file show other than it reads, also in comments: a reviewer must see what the host
    /// will be told.
    fn hidden_characters(&mut self) {
        let text = self.text;
        // A byte order mark at the very beginning is allowed by TOML and harmless.
        let hidden =
            text.text.char_indices().filter(|(at, c)| is_hidden(*c) && !(*at == 0 && *c == '\u{FEFF}'));
        for (at, c) in hidden {
            let message = format!("the hidden character U+{:04X} is not allowed here", c as u32);
            let hint = "it makes the text show other than it reads: delete it";
            self.fault("hidden-character", at..at + c.len_utf8(), message, hint);
        }
    }

    /// A bracket that is not closed swallows what follows, and the parser complains about every line of it: it is
    /// told once, where it begins.
    fn open_bracket(&mut self, document: &DeTable<'_>, errors: &[Error]) -> Option<Range<usize>> {
        let last = errors.iter().rfind(|error| error.message().starts_with("unclosed"))?.span()?.start;
        let mut all = Vec::new();
        brackets(document, &mut all);
        let open = all.into_iter().find(|bracket| {
            let source = &self.text.text[bracket.clone()];
            bracket.end >= last && source.starts_with(['[', '{']) && !source.starts_with("[[")
        })?;
        self.fault("syntax", open.start..open.start + 1, "this bracket is not closed", "");
        Some(open)
    }

    fn syntax(&mut self, error: &Error) {
        let span = error.span().unwrap_or(0..0);
        let word = self.text.text.get(span.clone()).unwrap_or_default();
        let next = self.text.text.get(span.end..).and_then(|rest| rest.chars().next());
        let Advice { code, message, hint } = advise(error.message(), word, next);
        self.fault(code, span, message, &hint);
    }

    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Table {
        let mut entries = Table::new();
        for (key, value) in table {
            self.characters(key.get_ref(), key.span(), "a key", &[]);
            if key.get_ref().contains("{{") {
                let hint = "only values are: write the key as it is, or use one host file per name";
                self.fault("template-in-key", key.span(), "a key is not rendered as a template", hint);
            }
            let entry = Entry { key_place: self.text.place(key.span()), value: self.value(value, depth + 1) };
            entries.insert(key.get_ref().clone().into_owned(), entry);
        }
        entries
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Located {
        let span = value.span();
        let place = self.text.place(span.clone());
        let value = if depth > limits::DEPTH {
            let message = format!("tables and arrays within each other go no deeper than {}", limits::DEPTH);
            self.fault("too-deep", span, message, "");
            Value::Boolean(false)
        } else {
            self.bare(value.get_ref(), span, depth)
        };
        Located { value, place, below: Vec::new() }
    }

    fn bare(&mut self, value: &DeValue<'_>, span: Range<usize>, depth: usize) -> Value {
        match value {
            DeValue::String(string) => {
                self.characters(string, span, "a string", &['\n', '\t']);
                Value::String(string.clone().into_owned())
            }
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) if !self.parsed => Value::Integer(0),
                Err(_) => {
                    self.fault("number-too-large", span, "the number does not fit into 64 bits", "");
                    Value::Integer(0)
                }
            },
            DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(value) => Value::Datetime(value.to_string()),
            DeValue::Array(elements) => {
                Value::Array(elements.iter().map(|element| self.value(element, depth + 1)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, depth)),
        }
    }

    /// Refuses control characters that an escape smuggled into a string or key.
    fn characters(&mut self, string: &str, span: Range<usize>, what: &str, allowed: &[char]) {
        // Written out they are the parser's business; only an escape gets one past it.
        let escaped = |c: &char| (c.is_control() || is_hidden(*c)) && !allowed.contains(c);
        let Some(c) = string.chars().find(escaped) else { return };
        if self.text.text.get(span.clone()).is_some_and(|source| source.contains(c)) {
            return;
        }
        let message = format!("{what} may not hold the control character U+{:04X}", c as u32);
        let hint = "put such content into a file of the repository and name it with `source`";
        self.fault("control-character", span, message, hint);
    }
}

/// Where the arrays and inline tables of a document are, the outer ones first.
fn brackets(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for value in table.values() {
        bracket(value, found);
    }
}

fn bracket(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Array(elements) => {
            found.push(value.span());
            elements.iter().for_each(|element| bracket(element, found));
        }
        DeValue::Table(table) => {
            found.push(value.span());
            brackets(table, found);
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

struct Advice {
    code: &'static str,
    message: String,
    hint: String,
}

/// What the parser's words mean to a person who did not study TOML. `word` is the text that it stumbled over,
/// `next` the character behind it.
fn advise(message: &str, word: &str, next: Option<char>) -> Advice {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let syntax = |message: String, hint: &str| Advice { code: "syntax", message, hint: hint.to_owned() };
    match what {
        "duplicate key" => Advice {
            code: "duplicate-key",
            message: format!("`{word}` is defined twice"),
            hint: "a key may stand only once in a table: merge the two".into(),
        },
        "string values must be quoted" if word.is_empty() => {
            syntax("a value is missing after `=`".into(), "")
        }
        "string values must be quoted" | "invalid boolean" | "invalid float" => quoting(word),
        "unexpected leading zero" => syntax(
            "a number can't begin with 0".into(),
            "a file mode is a string: write it in quotes, such as \"0644\"",
        ),
        "key with no value" if next == Some(':') => {
            syntax("a key with no value".into(), "TOML writes `key = value`, not `key: value`")
        }
        "invalid unquoted key" if word == ":" => {
            syntax("`:` in place of `=`".into(), "TOML writes `key = value`, not `key: value`")
        }
        "invalid unquoted key" => syntax(
            "a key may hold only letters, digits, `-` and `_`".into(),
            "write any other key in quotes, such as \"/etc/motd\"",
        ),
        _ if expected.contains("visible characters") || expected.contains("printable characters") => Advice {
            code: "control-character",
            message: "a control character may not stand here".into(),
            hint: "put such content into a file of the repository and name it with `source`".into(),
        },
        "key with no value" => syntax("a key with no value".into(), "write `key = value`"),
        "missing escaped value" | "too few unicode value digits" => syntax(
            "an escape that TOML does not know".into(),
            "write a backslash as `\\\\`, or put the string in single quotes: '…'",
        ),
        "invalid basic string" if expected == "`\"`" => {
            syntax("the string is not closed".into(), "close it with `\"`; several lines need \"\"\"…\"\"\"")
        }
        "invalid multi-line basic string" if expected == "`\"`" => {
            syntax("the string is not closed".into(), "close it with \"\"\"")
        }
        "invalid multi-line literal string" => syntax("the string is not closed".into(), "close it with '''"),
        "invalid literal string" => {
            syntax("the string is not closed".into(), "close it with `'`; several lines need '''…'''")
        }
        "cannot recurse further; max recursion depth met" | "recursion limit" => {
            Advice { code: "too-deep", message: "tables and arrays go too deep".into(), hint: String::new() }
        }
        _ if expected.is_empty() || expected == "nothing" => syntax(what.to_owned(), ""),
        _ => syntax(format!("{what}, expected {expected}"), ""),
    }
}

fn quoting(word: &str) -> Advice {
    let truth = match word.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => Some("true"),
        "no" | "off" | "false" => Some("false"),
        _ => None,
    };
    Advice {
        code: "syntax",
        message: format!("`{word}` is no value"),
        hint: match truth {
            Some(truth) => format!("TOML writes `{truth}`"),
            None if word.starts_with(['\u{201c}', '\u{2018}', '\u{201e}']) => {
                "use straight quotes: \"…\"".into()
            }
            None => format!("if it is a string, write it in quotes: \"{word}\""),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<String> {
        let mut faults = Faults::default();
        let text = Text::new("roles/x.toml", source.into());
        let parsed = parse(&text, &mut faults);
        assert_eq!(parsed.is_none(), faults.has_errors(), "a file is whole or has faults");
        let line = |d: Diagnostic| format!("{}:{} {}", d.place.line, d.place.column, d.code);
        faults.into_sorted().into_iter().map(line).collect()
    }

    #[test]
    fn all_faults_of_a_file_are_told_at_once() {
        let source = "a = 1\na = 2\nb = yes\nc = 0644\nd = \"\\q\"\ne: 3\n";
        let expected = ["2:1 duplicate-key", "3:5 syntax", "4:5 syntax", "5:7 syntax", "6:2 syntax"];
        assert_eq!(faults(source), expected);
    }

    #[test]
    fn a_bracket_that_is_not_closed_is_told_once_where_it_begins() {
        assert_eq!(faults("a = 1\nb = [1, 2\nc = 3\n[d]\ne = 4\n"), ["2:5 syntax"]);
        assert_eq!(faults("a = yes\nb = { c = [1, 2\n[d]\n"), ["1:5 syntax", "2:5 syntax"]);
        assert_eq!(faults("[[a]]\nb = 1\n[c\n"), ["3:3 syntax"]);
    }

    #[test]
    fn hidden_and_control_characters_are_refused_wherever_they_stand() {
        assert_eq!(faults("a = 1 # \u{202e}evil"), ["1:9 hidden-character"]);
        assert_eq!(faults("a = \"\\u001b[31m\""), ["1:5 control-character"]);
        assert_eq!(faults("\"a\\u0007\" = 1"), ["1:1 control-character"]);
        assert_eq!(faults("\u{feff}a = \"line\\n\\ttab\""), [""; 0]);
    }

    #[test]
    fn depth_is_bounded_for_tables_arrays_and_dotted_keys() {
        let deep = |n: usize| format!("a = {}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(faults(&deep(limits::DEPTH)), [""; 0]);
        assert_eq!(faults(&deep(limits::DEPTH + 1)), ["1:21 too-deep"]);
        assert!(!faults(&deep(100_000)).is_empty());
        assert!(!faults(&format!("{}b = 1", "a.".repeat(100_000))).is_empty());
        assert!(!faults(&format!("[{}b]", "a.".repeat(100_000))).is_empty());
    }

    #[test]
    fn the_place_of_a_table_is_its_header() {
        let text = Text::new("x", "[files.\"/etc/x\"]\nmode = \"0644\"\n".into());
        let Value::Table(top) = parse(&text, &mut Faults::default()).unwrap().value else { unreachable!() };
        let Value::Table(files) = &top["files"].value.value else { unreachable!() };
        let entry = &files["/etc/x"];
        assert_eq!((entry.value.place.line, entry.value.place.column, entry.value.place.length), (1, 1, 16));
        assert_eq!((entry.key_place.column, entry.key_place.length), (8, 8));
    }
}
