//! What apt noted of its runs: `/var/log/apt/history.log`, one stanza a run, written when the run has ended. Times are
//! the host's local time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::counters::COUNTERS;

/// One run of apt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptRun {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it was called, words joined by blanks; none if a program used the library.
    pub command: Option<String>,
    /// Who asked for it, as `sudo` or `pkexec` told apt: name and user id.
    pub requested_by: Option<(String, u32)>,
    /// The packages it changed, without their architecture.
    pub packages: Vec<String>,
}

/// How much of the end of the log is read.
const TAIL: u64 = 256 << 10;

/// The end of a log.
pub fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    COUNTERS.file_opened();
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads runs from the end of a log, oldest first. A stanza that was cut off at the beginning is left out.
pub fn parse(text: &str, zone: &TimeZone) -> Vec<AptRun> {
    text.split("\n\n").filter_map(|stanza| run(stanza, zone)).collect()
}

fn run(stanza: &str, zone: &TimeZone) -> Option<AptRun> {
    let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let time = |name: &str| time(field(name)?, zone);
    let started = time("Start-Date")?;
    let packages = ["Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge"].into_iter();
    Some(AptRun {
        started,
        ended: time("End-Date")?,
        command: field("Commandline").map(str::to_owned),
        requested_by: field("Requested-By").and_then(person),
        packages: packages.filter_map(field).flat_map(names).collect(),
    })
}

/// `2026-11-23  17:04:05`, with one blank or two.
fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let civil: DateTime = format!("{}T{}", words.next()?, words.next()?).parse().ok()?;
    zone.to_timestamp(civil).ok()
}

/// `alice (1000)`.
fn person(text: &str) -> Option<(String, u32)> {
    let (name, rest) = text.rsplit_once(" (")?;
    Some((name.to_owned(), rest.strip_suffix(')')?.parse().ok()?))
}

/// `nginx:amd64 (1.22.1-9), libx:amd64 (1, automatic)`: the brackets hold commas, too.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some((name, after)) = rest.split_once(" (") {
        let name = name.trim_start_matches([',', ' ']);
        names.push(name.split(':').next().unwrap_or(name).to_owned());
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_read_with_who_asked_and_what_changed() {
        let text = "ommandline: cut off\nEnd-Date: 2026-11-23  09:00:00\n\n\
            Start-Date: 2026-11-23  10:00:00\nCommandline: apt-get remove -y nginx\nRequested-By: alice (1000)\n\
            Remove: nginx:amd64 (1.22.1-9), nginx-common:all (1.22.1-9)\nEnd-Date: 2026-11-23  10:00:02\n\n\
            Start-Date: 2026-11-23  11:00:00\nCommandline: /usr/bin/unattended-upgrade\n\
            Upgrade: libssl3:amd64 (3.0.1, 3.0.2), curl:amd64 (7.88.1-9, 7.88.1-10, automatic)\n\
            End-Date: 2026-11-23  11:00:09\n\nStart-Date: 2026-11-23  12:00:00\nInstall: x:amd64 (1)\n";
        let runs = parse(text, &TimeZone::UTC);
        assert_eq!(runs.len(), 2, "the third has not ended: {runs:?}");
        assert_eq!(runs[0].command.as_deref(), Some("apt-get remove -y nginx"));
        assert_eq!(runs[0].requested_by, Some(("alice".to_owned(), 1000)));
        assert_eq!(runs[0].packages, ["nginx", "nginx-common"]);
        assert_eq!(runs[0].ended.to_string(), "2026-11-23T10:00:02Z");
        assert_eq!(
            (runs[1].requested_by.clone(), runs[1].packages.clone()),
            (None, vec!["libssl3".into(), "curl".into()])
        );
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        proptest::proptest!(|(text in "(Start-Date: |End-Date: |Install: |Requested-By: |2026-11-23  10:00:00|[ ():,a-z0-9]|\n){0,40}")| {
            parse(&text, &TimeZone::UTC);
        });
    }
}
