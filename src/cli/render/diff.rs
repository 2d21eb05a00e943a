//! Differences: field by field, contents as a unified diff. Secrets are never shown: what the agent hands over
//! has none, and this has no way to ask for them.

use std::fmt::Write;

use similar::{ChangeTag, TextDiff};

use super::Look;
use super::escape;
use super::style::Tone;
use crate::control::wire::{ContentPair, ContentText, DiffReply, ResourceDiff, Unread};

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

fn contents(pair: &ContentPair, look: &Look) -> String {
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

/// A unified diff from what is there to what is declared, indented.
fn unified(observed: &str, desired: &str, look: &Look) -> String {
    let diff = TextDiff::from_lines(observed, desired);
    let mut text = format!(
        "  {}\n  {}\n",
        look.painter.paint(Tone::Strong, "--- on this host"),
        look.painter.paint(Tone::Strong, "+++ declared")
    );
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(text, "  {}", look.painter.paint(Tone::Place, hunk.header().to_string().trim_end()));
        for change in hunk.iter_changes() {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ('-', Tone::Bad),
                ChangeTag::Insert => ('+', Tone::Good),
                ChangeTag::Equal => (' ', Tone::Plain),
            };
            let value = change.value();
            let line = value.strip_suffix('\n').unwrap_or(value);
            let shown = format!("{sign}{}", escape::content_line(line));
            let _ = writeln!(text, "  {}", look.painter.paint(tone, &shown));
            if change.missing_newline() {
                let _ = writeln!(text, "  {}", look.painter.paint(Tone::Dim, "\\ no line break at the end"));
            }
        }
    }
    text
}
