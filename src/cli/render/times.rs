//! Times as people read them.

use std::time::Duration;

use jiff::Timestamp;

use super::Look;
use crate::config::show_duration;

impl Look {
    /// A moment: with its date unless it is today, and how long ago it is.
    pub fn when(&self, then: Timestamp) -> String {
        format!("{} ({})", self.clock(then), self.ago(then))
    }

    /// A moment: with its date unless it is today.
    pub fn clock(&self, then: Timestamp) -> String {
        let (then, now) =
            (then.to_zoned_datetime(self.zone.clone()), self.now.to_zoned_datetime(self.zone.clone()));
        match then.date() == now.date() {
            true => then.strftime("%H:%M:%S").to_string(),
            false => then.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    /// A moment in full, with its zone.
    pub fn exact(&self, then: Timestamp) -> String {
        then.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()
    }

    /// How long ago, or how far ahead.
    pub fn ago(&self, then: Timestamp) -> String {
        let past = self.now.duration_since(then);
        let span = past.unsigned_abs();
        match (span.as_secs(), past.is_negative()) {
            (0, _) => "now".to_owned(),
            (_, false) => format!("{} ago", rough(span)),
            (_, true) => format!("in {}", rough(span)),
        }
    }
}

/// How long something took: `0.42 ms`, `12 ms`, `3.4 s`, `2m5s`.
pub fn took(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.1} s", ms / 1000.0),
        _ => show_duration(span),
    }
}

/// A span in its largest unit, and in the next one while the first is small.
fn rough(span: Duration) -> String {
    let seconds = span.as_secs();
    let whole = match seconds {
        0..60 => seconds,
        60..36_000 => seconds / 60 * 60,
        36_000..259_200 => seconds / 3_600 * 3_600,
        _ => seconds / 86_400 * 86_400,
    };
    show_duration(Duration::from_secs(whole))
}
