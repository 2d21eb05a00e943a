//! Events, a line each.

use super::Look;
use super::status::{fields_in_short, tone_of};
use super::style::Tone;
use super::times::took;
use crate::model::escape;
use crate::status::ResourceLine;
use crate::status::event::{About, Event, Found, Happening, OnHost, Turn, Watching};

/// Words for what happened stand in a column of this width.
const WORD: usize = 14;

/// One line: when, what, about what.
pub fn line(event: &Event, look: &Look) -> String {
    let (word, tone, about) = match &event.what {
        Happening::Resource { turn, about } => of_resource(*turn, about, look),
        Happening::Found(Found::Unread { what, message }) => {
            ("unread", Tone::Bad, format!("{}: {}", escape::line(what), escape::line(message)))
        }
        Happening::Found(Found::RightAgain { resource }) => {
            ("right again", Tone::Good, name(look, &resource.to_string()))
        }
        Happening::Host(what) => of_host(what),
    };
    let word = look.painter.paint(tone, &format!("{word:WORD$}"));
    format!("{} {word} {about}\n", look.clock(event.at)).replace(" \n", "\n")
}

/// A word, how it looks, and what is told.
type Told = (&'static str, Tone, String);

fn of_resource(turn: Turn, about: &About, look: &Look) -> Told {
    match turn {
        Turn::DriftSeen => ("drifted", Tone::Warn, seen(about, look)),
        Turn::BehindSeen => ("behind", Tone::Warn, seen(about, look)),
        Turn::Corrected => ("corrected", Tone::Good, done(about, look)),
        Turn::Applied => ("applied", Tone::Good, done(about, look)),
        Turn::Failed => ("failed", Tone::Bad, told(about, look)),
        Turn::NotConverging => ("not converging", Tone::Bad, told(about, look)),
        Turn::Contested => ("contested", Tone::Bad, told(about, look)),
        Turn::Held => {
            let status = about.line.status.to_string().to_lowercase();
            ("held", tone_of(about.line.status), format!("{}: {status}", told(about, look)))
        }
    }
}

fn of_host(what: &OnHost) -> Told {
    match what {
        OnHost::RevisionInForce { commit, author, subject } => {
            let words = format!("{} {} ({})", commit.short(), escape::line(subject), escape::line(author));
            ("revision", Tone::Strong, words)
        }
        OnHost::RevisionRefused { commit, reason, message } => (
            "refused",
            Tone::Bad,
            format!("{} {}: {}", commit.short(), escape::line(reason), escape::line(message)),
        ),
        OnHost::SourceFailing { message } => {
            ("source failing", Tone::Bad, escape::line(message).into_owned())
        }
        OnHost::SourceBack => ("source back", Tone::Good, String::new()),
        OnHost::WatcherLost(one) => ("watcher lost", Tone::Bad, watching(one)),
        OnHost::WatcherBack(one) => ("watcher back", Tone::Good, watching(one)),
        OnHost::WatcherOverflowed(one) => ("events lost", Tone::Warn, watching(one)),
        OnHost::Suspended { target, owner, reason } => {
            let words =
                format!("{} by {}: {}", escape::line(target), escape::line(owner), escape::line(reason));
            ("suspended", Tone::Warn, words)
        }
        OnHost::Resumed { target } => ("resumed", Tone::Plain, escape::line(target).into_owned()),
    }
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
