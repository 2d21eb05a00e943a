//! Text that others wrote (process names, paths, commit messages, contents), made harmless for a terminal: what it
//! would obey, what it would hide, and what would turn the reading order round is shown as an escape. Everything that
//! prints text of others for people goes through here, the lines of the journal included.

use std::borrow::Cow;

/// One line of somebody else's text. Line breaks and tabs are shown as escapes, too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A line of contents: tabs stay.
pub fn content_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\t')
}

/// Several lines of somebody else's text.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n' || c == '\t')
}

fn escaped(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && !allowed(c);
    if !text.chars().any(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match harmful(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen, Arabic letter mark, Mongolian vowel separator.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width, marks of direction, separators of lines and paragraphs, embeddings and overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotation.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_not_done() {
        for (text, shown) in [
            ("plain text, umlaut ü, emoji 🦀", "plain text, umlaut ü, emoji 🦀"),
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("bell\u{7} back\u{8} del\u{7f}", "bell\\u{7} back\\u{8} del\\u{7f}"),
            ("overwrite\rme", "overwrite\\rme"),
            ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("\u{2066}a\u{2069}\u{200f}", "\\u{2066}a\\u{2069}\\u{200f}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("line\u{2028}separator", "line\\u{2028}separator"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(content_line("a\tb\u{1b}"), "a\tb\\u{1b}");
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
    }
}
