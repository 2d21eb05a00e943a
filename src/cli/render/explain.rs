//! Everything about one resource.

use std::fmt::Write;

use serde::Deserialize;

use super::Look;
use super::history;
use super::status::{fields_in_short, revision_in_short, tone_of};
use super::style::Tone;
use crate::control::wire::{DeclaredView, Explanation};
use crate::model::Content;
use crate::model::escape;

/// The page.
pub fn page(explanation: &Explanation, look: &Look) -> String {
    let Explanation { resource, declared, state, last_change, suspension, managed_since, brought } =
        explanation;
    let mut text = format!("{}\n", look.painter.paint(Tone::Strong, &escape::line(&resource.to_string())));
    match declared {
        Some(view) => text.push_str(&declared_part(view, look)),
        None => line(&mut text, look, "Declared", "not by the revision in force"),
    }
    let now = match (state, declared) {
        (Some(state), _) => {
            let status = look.painter.paint(tone_of(state.status), &state.status.to_string());
            let message = state.message.as_deref().map(|message| format!("; {}", escape::line(message)));
            let fields = fields_in_short(&state.fields);
            format!("{status} since {}: {fields}{}", look.when(state.since), message.unwrap_or_default())
        }
        (None, Some(_)) => look.painter.paint(Tone::Good, "as declared"),
        (None, None) => "not looked at".to_owned(),
    };
    line(&mut text, look, "Now", &now);
    let managed = match (managed_since, brought) {
        (Some(since), true) => format!("since {}; the agent brought it", look.when(*since)),
        (Some(since), false) => format!("since {}; it was there before", look.when(*since)),
        (None, _) => "not yet".to_owned(),
    };
    line(&mut text, look, "Managed", &managed);
    if let Some(one) = suspension {
        let until = one.until.map_or_else(|| "resumed".to_owned(), |until| look.when(until));
        let words = format!("until {until} by {}: {}", escape::line(&one.owner), escape::line(&one.reason));
        line(&mut text, look, "Suspended", &words);
    }
    if let Some(drift) = last_change {
        text.push_str("\nlast change by the agent:\n");
        text.push_str(&history::story(drift, &history::More::default(), look));
    }
    text
}

fn declared_part(view: &DeclaredView, look: &Look) -> String {
    let DeclaredView { revision, provenance, spec, mode, prune } = view;
    let mut text = String::new();
    line(&mut text, look, "Declared", &escape::line(&provenance.winner.to_string()));
    for below in provenance.below.iter().rev() {
        line(&mut text, look, "over", &escape::line(&below.to_string()));
    }
    if let Some(revision) = revision {
        line(&mut text, look, "Revision", &revision_in_short(revision, look));
        let by = format!("{}, {}", escape::line(&revision.author), look.when(revision.time));
        line(&mut text, look, "by", &by);
    }
    let prune =
        if *prune { "removed once dropped, if the agent brought it" } else { "left alone once dropped" };
    line(&mut text, look, "Drift", &format!("{mode}; {prune}"));
    for (name, value) in spec.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            other => match Content::deserialize(other) {
                Ok(Content { digest, size }) => format!("{size} bytes, sha256 {}", digest.short()),
                Err(_) => other.to_string(),
            },
        };
        line(&mut text, look, "wants", &escape::line(&format!("{name} = {value}")));
    }
    text
}

fn line(text: &mut String, look: &Look, label: &str, value: &str) {
    let label = look.painter.paint(Tone::Dim, &format!("{label:>9}:"));
    let _ = writeln!(text, "{label} {value}");
}
