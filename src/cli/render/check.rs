//! What a check of a whole fleet repository found.

use super::Look;
use super::style::Tone;
use crate::declaration::CheckReport;
use crate::model::escape;

/// The report, with its last line in colour.
pub fn page(report: &CheckReport, look: &Look) -> String {
    let text = escape::lines(&report.to_string()).into_owned();
    let tone = if report.has_errors() { Tone::Bad } else { Tone::Good };
    match text.trim_end().rsplit_once('\n') {
        Some((before, last)) => format!("{before}\n{}\n", look.painter.paint(tone, last)),
        None => format!("{}\n", look.painter.paint(tone, text.trim_end())),
    }
}
