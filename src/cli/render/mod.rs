//! How answers are shown: text for people, JSON for programs. Nothing here asks anybody anything.

pub mod check;
pub mod diff;
pub mod error;
pub mod events;
pub mod explain;
pub mod fingerprint;
pub mod history;
pub mod json;
pub mod plan;
pub mod progress;
pub mod status;
pub mod style;
pub mod table;
pub mod times;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::outside::Outside;
use style::Painter;

/// How to show things to whoever looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Colours, or none.
    pub painter: Painter,
    /// Columns; none means that lines are not broken.
    pub width: Option<usize>,
    /// Now.
    pub now: Timestamp,
    /// The zone in which times are shown.
    pub zone: TimeZone,
}

impl Look {
    /// As the world outside wants it.
    pub fn of(outside: &Outside<'_>) -> Look {
        Look {
            painter: Painter { colour: outside.terminal.colour },
            width: outside.terminal.width,
            now: outside.now(),
            zone: outside.zone.clone(),
        }
    }
}
