//! The heads of the history that the agent noted in the journal.

use std::time::Duration;

use serde::Deserialize;

use crate::host::program::{Programs, Run, SystemPrograms};
use crate::record::{HEAD_MESSAGE, Noted};

/// More than are noted in a year of quiet; of a busy host the newest.
const LINES: &str = "20000";

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "HISTORY_HEAD")]
    head: String,
}

/// The heads that the agent noted in this host's journal, oldest first; why not, if it can't be read. Only what came from
/// the agent's own unit counts: anybody may write into the journal, but not under the name of another unit.
pub fn heads_in_journal() -> Result<Vec<Noted>, String> {
    let message = format!("MESSAGE_ID={HEAD_MESSAGE}");
    let arguments = [
        "--quiet",
        "--no-pager",
        "--output=json",
        "--output-fields=HISTORY_HEAD",
        "--lines",
        LINES,
        "_SYSTEMD_UNIT=agentd.service",
        &message,
    ];
    let mut run = Run::new("/usr/bin/journalctl", &arguments);
    run.time_limit = Duration::from_secs(60);
    let ran = SystemPrograms.run(&run).map_err(|error| error.to_string())?;
    if !ran.succeeded() {
        return Err(ran.complaint());
    }
    Ok(String::from_utf8_lossy(&ran.stdout).lines().filter_map(read).collect())
}

fn read(line: &str) -> Option<Noted> {
    let Line { head } = serde_json::from_str(line).ok()?;
    head.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_heads_are_passed_over() {
        let digest = "ab".repeat(32);
        let noted =
            read(&format!(r#"{{"HISTORY_HEAD":"00000000000000ff/12:{digest}","__CURSOR":"x"}}"#)).unwrap();
        assert_eq!((noted.history, noted.head.seq), (Some(255), 12));
        assert_eq!(noted.to_string(), format!("00000000000000ff/12:{digest}"));
        for line in ["", "{}", "[]", r#"{"HISTORY_HEAD":[1,2]}"#, r#"{"HISTORY_HEAD":"12"}"#] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
