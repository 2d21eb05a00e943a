//! Faults of a declaration: each with its place, what is wrong, and what to write instead.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::place::Place;

/// How bad a diagnostic is. An error refuses the declaration; a warning is told and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The declaration is refused.
    Error,
    /// Worth knowing; the declaration stands.
    Warning,
}

/// One located fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code in kebab case, such as `unknown-key`. Part of the interface: never renamed.
    pub code: String,
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// A second place that belongs to the story (the other role, the first definition) and what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<(Place, String)>,
    /// The text of the line, filled in by whoever has the file at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &str, place: &Place, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code: code.to_owned(),
            place: place.clone(),
            message: message.into(),
            hint: None,
            related: Vec::new(),
            excerpt: None,
        }
    }

    /// A warning.
    pub fn warning(code: &str, place: &Place, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, place, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, place: &Place, what: impl Into<String>) -> Self {
        self.related.push((place.clone(), what.into()));
        self
    }
}

impl fmt::Display for Diagnostic {
    /// The shape compilers taught everyone to read: message, place, line, caret, help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Place { file, line, column, length } = &self.place;
        let number = line.to_string();
        let pad = " ".repeat(number.len());
        let message = displayable(&self.message);
        write!(f, "{severity}[{}]: {message}\n{pad}--> {file}:{line}:{column}", self.code)?;
        if let Some(excerpt) = &self.excerpt {
            let shown = displayable(excerpt);
            let room = shown.chars().count().saturating_sub(*column as usize - 1).max(1);
            let carets = "^".repeat((*length as usize).clamp(1, room));
            let lead = " ".repeat(*column as usize - 1);
            write!(f, "\n{pad} |\n{number} | {shown}\n{pad} | {lead}{carets}")?;
        }
        for (place, what) in &self.related {
            write!(f, "\n{pad} = note: {}: {place}", displayable(what))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{pad} = help: {}", displayable(hint)),
            None => Ok(()),
        }
    }
}

/// Whether a character makes a text show other than it reads: it turns the direction of writing or has no width.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
        | '\u{FEFF}' | '\u{E0001}'..='\u{E007F}')
}

/// What may reach a terminal of a text from the repository: one visible character for each, so that columns stay
/// true. A tab is one column for us and several for the terminal.
fn displayable(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' | '\n' => ' ',
        c if c.is_control() || is_hidden(c) => '\u{FFFD}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Collects diagnostics, so that all faults are told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Diagnostic>);

impl Faults {
    /// How many diagnostics are kept: a file of a million faults must not fill the memory.
    pub const LIMIT: usize = 200;

    /// Adds one; beyond [`Faults::LIMIT`] it is dropped (the first ones explain the rest).
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.0.len() < Self::LIMIT {
            self.0.push(diagnostic);
        }
    }

    /// Whether any of them refuses the declaration.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Sorted by place, without repetitions.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by(|a, b| (&a.place, a.severity, &a.message).cmp(&(&b.place, b.severity, &b.message)));
        self.0.dedup();
        self.0
    }

    /// What was collected so far.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_line_caret_and_hint() {
        let place = Place { file: "roles/web.toml".into(), line: 12, column: 1, length: 4 };
        let mut fault = Diagnostic::error("unknown-key", &place, "unknown key `moed` in a file")
            .hint("did you mean `mode`?");
        fault.excerpt = Some("moed = \"0644\"".into());
        let expected = "error[unknown-key]: unknown key `moed` in a file\n  \
                        --> roles/web.toml:12:1\n   |\n12 | moed = \"0644\"\n   | ^^^^\n   \
                        = help: did you mean `mode`?";
        assert_eq!(fault.to_string(), expected);
    }
}
