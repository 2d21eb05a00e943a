//! Events, a line each.

use super::Look;
use super::status::{fields_in_short, tone_of};
use super::style::Tone;
use super::times::took;
use crate::model::escape;
use crate::status::ResourceLine;
use crate::status::event::{About, Event, Happening, Watching};

/// Words for what happened stand in a column of this width.
const WORD: usize = 14;

/// One line: when, what, about what.
pub fn line(event: &Event, look: &Look) -> String {
    let (word, tone, about) = match &event.what {
        Happening::DriftSeen(about) => ("drifted", Tone::Warn, seen(about, look)),
        Happening::BehindSeen(about) => ("behind", Tone::Warn, seen(about, look)),
        Happening::Corrected(about) => ("corrected", Tone::Good, done(about, look)),
        Happening::Applied(about) => ("applied", Tone::Good, done(about, look)),
        Happening::Failed(about) => ("failed", Tone::Bad, told(about, look)),
        Happening::NotConverging(about) => ("not converging", Tone::Bad, told(about, look)),
        Happening::Contested(about) => ("contested", Tone::Bad, told(about, look)),
        Happening::Held(about) => {
            let status = about.line.status.to_string().to_lowercase();
            ("held", tone_of(about.line.status), format!("{}: {status}", told(about, look)))
        }
        Happening::Unread { what, message } => {
            ("unread", Tone::Bad, format!("{}: {}", escape::line(what), escape::line(message)))
        }
        Happening::RightAgain { resource } => ("right again", Tone::Good, name(look, &resource.to_string())),
        Happening::RevisionInForce { commit, author, subject } => {
            let words = format!("{} {} ({})", commit.short(), escape::line(subject), escape::line(author));
            ("revision", Tone::Strong, words)
        }
        Happening::RevisionRefused { commit, reason, message } => (
            "refused",
            Tone::Bad,
            format!("{} {}: {}", commit.short(), escape::line(reason), escape::line(message)),
        ),
        Happening::SourceFailing { message } => {
            ("source failing", Tone::Bad, escape::line(message).into_owned())
        }
        Happening::SourceBack => ("source back", Tone::Good, String::new()),
        Happening::WatcherLost(one) => ("watcher lost", Tone::Bad, watching(one)),
        Happening::WatcherBack(one) => ("watcher back", Tone::Good, watching(one)),
        Happening::WatcherOverflowed(one) => ("events lost", Tone::Warn, watching(one)),
        Happening::Suspended { target, owner, reason } => {
            let words =
                format!("{} by {}: {}", escape::line(target), escape::line(owner), escape::line(reason));
            ("suspended", Tone::Warn, words)
        }
        Happening::Resumed { target } => ("resumed", Tone::Plain, escape::line(target).into_owned()),
    };
    let word = look.painter.paint(tone, &format!("{word:WORD$}"));
    format!("{} {word} {about}\n", look.clock(event.at)).replace(" \n", "\n")
}

fn name(look: &Look, name: &str) -> String {
    look.painter.paint(Tone::Strong, &escape::line(name))
}

fn head(about: &About, look: &Look) -> String {
    let fields = fields_in_short(&about.line.fields);
    let name = name(look, &about.line.resource.to_string());
    if fields.is_empty() { name } else { format!("{name} {fields}") }
}

fn seen(about: &About, look: &Look) -> String {
    format!("{}{}{}", head(about, look), who(&about.line), place(&about.line))
}

fn done(about: &About, look: &Look) -> String {
    let ms = about.line.corrected_ms.unwrap_or_default();
    let after = took(std::time::Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default());
    format!("{} in {after}{}{}", head(about, look), who(&about.line), place(&about.line))
}

fn told(about: &About, look: &Look) -> String {
    let message = about.line.message.as_deref().map(|text| text.strip_prefix("contested: ").unwrap_or(text));
    let message = message.map(|message| format!(": {}", escape::line(message))).unwrap_or_default();
    format!("{}{message}{}", head(about, look), place(&about.line))
}

fn who(line: &ResourceLine) -> String {
    let who = line.attribution.as_ref().map(|who| format!("; {}", escape::line(&who.to_string())));
    who.unwrap_or_default()
}

fn place(line: &ResourceLine) -> String {
    let place = line.declared.as_ref().map(|place| format!(" [{}]", escape::line(&place.to_string())));
    place.unwrap_or_default()
}

fn watching(one: &Watching) -> String {
    let message = one.message.as_deref().map(|message| format!(": {}", escape::line(message)));
    format!("{} by {}{}", escape::line(&one.name), escape::line(&one.method), message.unwrap_or_default())
}
