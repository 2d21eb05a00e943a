//! What dpkg noted of what it did to packages: `/var/log/dpkg.log`. It tells what and when, not by whom. Times are the
//! host's local time, in whole seconds.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// One thing dpkg did to a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpkgNote {
    /// When, cut to the second.
    pub at: Timestamp,
    /// `install`, `upgrade`, `remove` or `purge`.
    pub action: String,
    /// Which, without its architecture.
    pub package: String,
}

/// What makes a package another one, or gone. States and triggers are noted besides.
const ACTIONS: [&str; 5] = ["install", "upgrade", "remove", "purge", "disappear"];

/// Reads what was done from the end of a log, oldest first. A line that was cut off is left out.
pub fn parse(text: &str, zone: &TimeZone) -> Vec<DpkgNote> {
    text.lines().filter_map(|line| note(line, zone)).collect()
}

/// `2026-11-23 10:00:00 remove nginx:amd64 1.22.1-9 <none>`
fn note(line: &str, zone: &TimeZone) -> Option<DpkgNote> {
    let mut words = line.split(' ');
    let civil: DateTime = format!("{}T{}", words.next()?, words.next()?).parse().ok()?;
    let action = words.next().filter(|action| ACTIONS.contains(action))?;
    let package = words.next()?.split(':').next()?;
    Some(DpkgNote {
        at: zone.to_timestamp(civil).ok()?,
        action: action.to_owned(),
        package: package.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_read_and_states_are_passed_over() {
        let text = "23 09:59:59 remove cut:amd64 1 <none>\n\
            2026-11-23 10:00:00 startup packages remove\n\
            2026-11-23 10:00:00 status installed nginx:amd64 1.22.1-9\n\
            2026-11-23 10:00:01 remove nginx:amd64 1.22.1-9 <none>\n\
            2026-11-23 10:00:02 upgrade libc6:amd64 2.36 2.37\n";
        let notes = parse(text, &TimeZone::UTC);
        let short: Vec<_> = notes.iter().map(|note| (note.action.as_str(), note.package.as_str())).collect();
        assert_eq!(short, [("remove", "nginx"), ("upgrade", "libc6")]);
        assert_eq!(notes[0].at.to_string(), "2026-11-23T10:00:01Z");
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        proptest::proptest!(|(text in "(2026-11-23|10:00:00|remove|[a-z:]| |\n){0,40}")| {
            parse(&text, &TimeZone::UTC);
        });
    }
}
