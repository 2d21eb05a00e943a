//! The text of one file: from byte offsets to places that people can find, and back.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{Diagnostic, Faults, Place};

/// A file of the repository as text.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its path.
    pub file: Arc<str>,
    /// Its content.
    pub text: String,
    line_starts: Vec<usize>,
}

impl Text {
    /// The text in `bytes`; bytes that are no UTF-8 are a fault at their place.
    pub fn of(file: &str, bytes: Vec<u8>, faults: &mut Faults) -> Option<Self> {
        match String::from_utf8(bytes) {
            Ok(text) => Some(Text::new(file, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = Text::new(file, String::from_utf8_lossy(error.as_bytes()).into_owned());
                let fault =
                    Diagnostic::error("not-utf8", &text.place(valid..valid + 1), "this is no UTF-8 text");
                faults.push(fault.hint("save the file as UTF-8"));
                None
            }
        }
    }

    /// From text.
    pub fn new(file: &str, text: String) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Text { file: Arc::from(file), text, line_starts }
    }

    /// The place of a range of bytes; where it goes on over several lines, its part of the first.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = self.floor(span.start);
        let line = self.line_starts.partition_point(|&at| at <= start) - 1;
        let line_start = self.line_starts[line];
        let line_end = line_start + self.line_text(line).len();
        let end = self.floor(span.end).clamp(start, line_end.max(start));
        let count = |range: Range<usize>| self.text[range].chars().count() as u32;
        Place {
            file: Arc::clone(&self.file),
            line: line as u32 + 1,
            column: count(line_start..start) + 1,
            length: count(start..end).max(1),
        }
    }

    /// The byte offset at which a place begins.
    pub fn offset(&self, place: &Place) -> usize {
        let Some(&start) = self.line_starts.get(place.line as usize - 1) else { return self.text.len() };
        let mut chars = self.text[start..].char_indices();
        chars.nth(place.column as usize - 1).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// A line, counted from 1, without its end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = number.checked_sub(1)? as usize;
        (index < self.line_starts.len()).then(|| self.line_text(index))
    }

    fn line_text(&self, index: usize) -> &str {
        let start = self.line_starts[index];
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }

    /// The nearest character boundary at or before `at`.
    fn floor(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        (0..=at).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let text = Text::new("a", "grün = 1\nzwei = \"ü\"\r\n\ndrei".into());
        let at = |needle: &str| {
            let start = text.text.find(needle).unwrap();
            let place = text.place(start..start + needle.len());
            assert_eq!(text.offset(&place), start, "{needle}");
            (place.line, place.column, place.length)
        };
        assert_eq!(at("grün"), (1, 1, 4));
        assert_eq!(at("1"), (1, 8, 1));
        assert_eq!(at("\"ü\""), (2, 8, 3));
        assert_eq!(at("drei"), (4, 1, 4));
        assert_eq!(at("\"ü\"\r\n\nd"), (2, 8, 3), "only the part on the first line");
    }

    #[test]
    fn a_place_beyond_the_end_is_the_end() {
        let text = Text::new("a", "x".into());
        let place = text.place(9..12);
        assert_eq!((place.line, place.column, place.length), (1, 2, 1));
    }

    #[test]
    fn lines_come_without_their_ends() {
        let text = Text::new("a", "one\r\ntwo\n".into());
        assert_eq!(
            (text.line(1), text.line(2), text.line(3), text.line(4)),
            (Some("one"), Some("two"), Some(""), None)
        );
        assert_eq!(text.line(0), None);
    }
}
