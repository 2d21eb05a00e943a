//! A fetch in a process of its own, as the agent runs it: so that it can be killed, and its memory measured from outside.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use agentd::model::CommitId;
use agentd::source::{Care, FetchError, Fetched, Remote, fetch};
use serde::{Deserialize, Serialize};

/// What the child did, and what it took.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub result: Result<Fetched, FetchError>,
    /// Peak resident memory in KiB, beyond the pages of the program file: of those the kernel maps as many as it has at
    /// hand, and a test binary is large.
    pub peak_kib: u64,
    /// User and system time in milliseconds.
    pub cpu_ms: u64,
}

/// Starts the child: this test binary, told to run the one test below.
pub fn start(store: &Path, remote: &Remote, last: Option<&CommitId>) -> Child {
    let task = serde_json::to_string(&(store, remote, last)).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "source::child::as_a_process_of_its_own",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("AGENTD_TEST_FETCH", task)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs the child to its end.
pub fn run(store: &Path, remote: &Remote, last: Option<&CommitId>) -> Report {
    let output = start(store, remote, last).wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = output
        .lines()
        .find_map(|line| line.split_once("REPORT "))
        .unwrap_or_else(|| panic!("no report: {output}"));
    serde_json::from_str(line.1).unwrap()
}

#[test]
#[ignore = "it is the child of other tests"]
fn as_a_process_of_its_own() {
    let task = std::env::var("AGENTD_TEST_FETCH").unwrap();
    let (store, remote, last): (std::path::PathBuf, Remote, Option<CommitId>) =
        serde_json::from_str(&task).unwrap();
    let before = cpu_ms();
    let result = fetch(&store, &remote, last.as_ref(), Care::Quick);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // What the fetch itself had mapped is let go by now.
    let peak_kib = field("VmHWM:") - field("RssFile:");
    println!(
        "REPORT {}",
        serde_json::to_string(&Report { result, peak_kib, cpu_ms: cpu_ms() - before }).unwrap()
    );
}

fn cpu_ms() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    u64::try_from((micros(usage.user_time()) + micros(usage.system_time())) / 1000).unwrap()
}
