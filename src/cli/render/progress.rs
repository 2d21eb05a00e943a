//! Progress of long work: one line on a terminal that is written over; nothing elsewhere.

use std::io::Write;

use crate::cli::Outside;
use crate::control::wire::Progress;
use crate::model::escape;

/// A line of progress.
#[derive(Debug, Default)]
pub struct ProgressLine {
    shown: bool,
}

impl ProgressLine {
    /// Shows what it is at.
    pub fn show(&mut self, err: &mut dyn Write, interactive: bool, text: &str) {
        if interactive {
            // Progress that can't be shown is no reason to stop.
            let _ = write!(err, "\r\u{1b}[K{}", escape::line(text));
            let _ = err.flush();
            self.shown = true;
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self, outside: &mut Outside<'_>) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(outside.err, "\r\u{1b}[K");
            let _ = outside.err.flush();
        }
    }
}

/// The words for a report of progress.
pub fn words(progress: &Progress) -> String {
    match progress {
        Progress::Fetching => "asking the remote ...".to_owned(),
        Progress::Fetched { commit, new: true } => format!("fetched {}", commit.short()),
        Progress::Fetched { commit, new: false } => format!("nothing new: {}", commit.short()),
        Progress::Compiling { commit } => format!("compiling {} ...", commit.short()),
        Progress::Observing => "looking at the host ...".to_owned(),
        Progress::Applying { changes: 1 } => "making 1 change ...".to_owned(),
        Progress::Applying { changes } => format!("making {changes} changes ..."),
        Progress::Verifying => "looking once more ...".to_owned(),
    }
}
