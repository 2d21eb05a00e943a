//! What systemd noted of units in the journal.
//!
//! Read through `journalctl`, once for all units of a pass and never before a correction: the files of the journal are
//! compressed and documented for programs that link systemd's library, which we do not.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::program::{ProgramError, Programs, Run};

/// One thing systemd noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitNote {
    /// Of which unit.
    pub unit: String,
    /// When.
    pub at: Timestamp,
    /// The job it is about (`stop`), if it is about one.
    pub job: Option<String>,
    /// How its main process ended (`killed 9`), if it is about that.
    pub exit: Option<String>,
}

/// No more than this is read for one question.
const LINES: &str = "500";
/// A journal that takes longer is not waited for: the evidence stays incomplete and says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// What systemd noted of these units since then, oldest first.
pub fn of_units(
    programs: &dyn Programs,
    units: &[&str],
    since: Timestamp,
) -> Result<Vec<UnitNote>, ProgramError> {
    let since = format!("--since=@{}", since.as_second());
    let matches: Vec<String> = units.iter().map(|unit| format!("UNIT={unit}")).collect();
    let mut arguments = vec!["--output=json", "--no-pager", "--quiet", "--lines", LINES, &since, "_PID=1"];
    arguments.extend(matches.iter().map(String::as_str));
    let mut run = Run::new("/usr/bin/journalctl", &arguments);
    run.time_limit = PATIENCE;
    let ran = programs.run(&run)?;
    Ok(String::from_utf8_lossy(&ran.stdout).lines().filter_map(note).collect())
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "UNIT")]
    unit: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    #[serde(rename = "JOB_TYPE")]
    job: Option<String>,
    #[serde(rename = "EXIT_CODE")]
    code: Option<String>,
    #[serde(rename = "EXIT_STATUS")]
    status: Option<String>,
}

fn note(line: &str) -> Option<UnitNote> {
    let Line { unit, at, job, code, status } = serde_json::from_str(line).ok()?;
    let at = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
    let exit = code.map(|code| format!("{code} {}", status.unwrap_or_default()).trim_end().to_owned());
    Some(UnitNote { unit, at, job, exit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_journal_are_read_and_others_passed_over() {
        let line = r#"{"UNIT":"nginx.service","__REALTIME_TIMESTAMP":"1795456800000000","JOB_TYPE":"stop","MESSAGE":"Stopping"}"#;
        let read = note(line).unwrap();
        assert_eq!(
            (read.unit.as_str(), read.job.as_deref(), read.exit),
            ("nginx.service", Some("stop"), None)
        );
        let line =
            r#"{"UNIT":"a.service","__REALTIME_TIMESTAMP":"1","EXIT_CODE":"killed","EXIT_STATUS":"9"}"#;
        assert_eq!(note(line).unwrap().exit.as_deref(), Some("killed 9"));
        assert!(note("{}").is_none() && note("-- No entries --").is_none());
    }
}
