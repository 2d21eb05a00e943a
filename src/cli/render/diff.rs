//! Differences: field by field, contents as a unified diff. Secrets are never shown: what the agent hands over
//! has none, and this has no way to ask for them.

use std::fmt::Write;

use similar::{DiffTag, group_diff_ops};

use super::Look;
use super::style::Tone;
use crate::control::wire::{ContentPair, ContentText, DiffReply, ResourceDiff, Unread};
use crate::model::escape;
use crate::model::lines::{self, DiffOp};

/// Everything that differs.
pub fn page(reply: &DiffReply, look: &Look) -> String {
    let mut text = String::new();
    if reply.differences.is_empty() && reply.unknown.is_empty() {
        text.push_str("nothing differs\n");
    }
    for (number, difference) in reply.differences.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(&resource(difference, look));
    }
    text.push_str(&unread(&reply.unknown, look));
    text
}

/// What could not be read.
pub fn unread(unread: &[Unread], look: &Look) -> String {
    let mut text = String::new();
    for one in unread {
        let what = look.painter.paint(Tone::Bad, &format!("could not read {}", escape::line(&one.what)));
        let _ = writeln!(text, "{what}: {}", escape::lines(&one.why));
    }
    text
}

fn resource(difference: &ResourceDiff, look: &Look) -> String {
    let ResourceDiff { resource, verdict, fields, declared, held, content } = difference;
    let place = declared.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
    let mut text = format!(
        "{} {}{}\n",
        look.painter.paint(Tone::Strong, &escape::line(&resource.to_string())),
        look.painter.paint(Tone::Warn, &verdict.to_string()),
        look.painter.paint(Tone::Dim, &escape::line(&place)),
    );
    if let Some(held) = held {
        let _ = writeln!(text, "  {}", look.painter.paint(Tone::Dim, &escape::line(held)));
    }
    let both = content.as_ref().is_some_and(is_shown);
    // Its digests say nothing that the lines below do not.
    let fields: Vec<_> = fields.iter().filter(|field| !(both && field.field == "content")).collect();
    let width = fields.iter().map(|field| field.field.chars().count()).max().unwrap_or(0);
    for field in fields {
        let _ = writeln!(
            text,
            "  {:width$}  {} -> {}",
            escape::line(&field.field),
            look.painter.paint(Tone::Bad, &escape::line(&field.observed.to_string())),
            look.painter.paint(Tone::Good, &escape::line(&field.desired.to_string())),
        );
    }
    if let Some(pair) = content {
        text.push_str(&contents(pair, look));
    }
    text
}

fn is_shown(pair: &ContentPair) -> bool {
    why_not(&pair.observed).or_else(|| why_not(&pair.desired)).is_none()
}

/// Why a content can't be shown, if it can't.
const fn why_not(content: &ContentText) -> Option<&'static str> {
    match content {
        ContentText::Absent | ContentText::Text(_) => None,
        ContentText::Binary => Some("it is not text"),
        ContentText::TooLarge => Some("it is too large"),
        ContentText::Secret => Some("it is secret"),
        ContentText::Gone => Some("it could not be read"),
    }
}

/// Both contents as a unified diff, or why they are not shown.
pub fn contents(pair: &ContentPair, look: &Look) -> String {
    if let Some(why) = why_not(&pair.observed).or_else(|| why_not(&pair.desired)) {
        return format!("  {}\n", look.painter.paint(Tone::Dim, &format!("(content not shown: {why})")));
    }
    let text = |content: &ContentText| match content {
        ContentText::Text(text) => text.clone(),
        ContentText::Absent
        | ContentText::Binary
        | ContentText::TooLarge
        | ContentText::Secret
        | ContentText::Gone => String::new(),
    };
    unified(&text(&pair.observed), &text(&pair.desired), look)
}

/// Lines around a change that are shown as well.
const CONTEXT: usize = 3;

/// A unified diff from what is there to what is declared, indented.
fn unified(observed: &str, desired: &str, look: &Look) -> String {
    let (old, new) = (lines::split(observed.as_bytes()), lines::split(desired.as_bytes()));
    let mut text = format!(
        "  {}\n  {}\n",
        look.painter.paint(Tone::Strong, "--- on this host"),
        look.painter.paint(Tone::Strong, "+++ declared")
    );
    for hunk in group_diff_ops(lines::compare(&old, &new), CONTEXT) {
        let _ = writeln!(text, "  {}", look.painter.paint(Tone::Place, &head(&hunk)));
        for op in hunk {
            let (tag, gone, come) = op.as_tag_tuple();
            match tag {
                DiffTag::Equal => change(&mut text, ' ', Tone::Plain, &old[gone], look),
                DiffTag::Delete | DiffTag::Insert | DiffTag::Replace => {
                    change(&mut text, '-', Tone::Bad, &old[gone], look);
                    change(&mut text, '+', Tone::Good, &new[come], look);
                }
            }
        }
    }
    text
}

/// `@@ -1,3 +1,4 @@`: which lines of both sides follow.
fn head(hunk: &[DiffOp]) -> String {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return String::new() };
    let place = |begin: usize, end: usize| match end - begin {
        // Where nothing is, the line before it is named.
        0 => format!("{begin},0"),
        1 => format!("{}", begin + 1),
        length => format!("{},{length}", begin + 1),
    };
    let old = place(first.old_range().start, last.old_range().end);
    let new = place(first.new_range().start, last.new_range().end);
    format!("@@ -{old} +{new} @@")
}

/// Lines that stay, go or come.
fn change(text: &mut String, sign: char, tone: Tone, lines: &[&[u8]], look: &Look) {
    for line in lines {
        let whole = String::from_utf8_lossy(line);
        let line = whole.strip_suffix('\n');
        let shown = format!("{sign}{}", escape::content_line(line.unwrap_or(&whole)));
        let _ = writeln!(text, "  {}", look.painter.paint(tone, &shown));
        if line.is_none() {
            let _ = writeln!(text, "  {}", look.painter.paint(Tone::Dim, "\\ no line break at the end"));
        }
    }
}
