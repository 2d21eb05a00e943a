//! Running programs with a time limit, and waiting for conditions with a deadline.

use std::fmt;
use std::io::{Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may run unless its caller knows better.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How long the end of a program's output is waited for once it has ended: its reader may be short of a processor.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// What a program did: its exit code (none when a signal or the limit ended it) and what it wrote.
#[must_use]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output of a program that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Both streams of a program that must fail.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(self.code != Some(0), "should have failed: {self}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "`{}` ended with {code}", self.command)?,
            None => writeln!(f, "`{}` was ended by a signal or its time limit", self.command)?,
        }
        write!(f, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs a program of this machine, with no input, within [`LIMIT`].
pub fn run(command: &[&str]) -> Output {
    run_with(command, b"", LIMIT)
}

/// Runs a program of this machine with the given standard input; it is killed at the limit.
pub fn run_with(command: &[&str], stdin: &[u8], limit: Duration) -> Output {
    let mut program = Command::new(command[0]);
    program.args(&command[1..]).env("LC_ALL", "C.UTF-8");
    complete(program, stdin, limit)
}

/// Runs a prepared command to its end or to the limit.
pub fn complete(mut program: Command, stdin: &[u8], limit: Duration) -> Output {
    let shown = shown(&program);
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}; has `make setup` been run?"));
    let mut input = child.stdin.take().expect("stdin is piped");
    let bytes = stdin.to_vec();
    // A program that ends without reading its input is no fault of the writer.
    thread::spawn(move || input.write_all(&bytes));
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));

    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if Instant::now() >= end {
            child.kill().ok();
            break child.wait().expect("a killed child can be waited for");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL);
    };
    Output { code: status.code(), stdout: text(&stdout), stderr: text(&stderr), command: shown }
}

/// Waits until the condition holds; past the deadline the test fails with `what`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// Runs the end of something that was made. While a test is already failing, a failure here is only told: a second
/// panic would end the process and hide the first.
pub fn clean_up(end: impl FnOnce()) {
    if !thread::panicking() {
        end();
    } else if panic::catch_unwind(AssertUnwindSafe(end)).is_err() {
        eprintln!("cleaning up failed, too; the next run does it");
    }
}

/// A word that the shell reads back as itself.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// ssh with this key, to machines whose host keys nobody knows, and nothing of this machine's own settings.
pub fn ssh(key: &Path, options: &[&str]) -> Vec<String> {
    let key = key.to_str().expect("a path in UTF-8");
    let fixed = ["-F", "none", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"];
    let quiet = ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"];
    [&["ssh"], &fixed[..], &quiet, options].concat().into_iter().map(ToOwned::to_owned).collect()
}

fn shown(program: &Command) -> String {
    let words: Vec<_> = program.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    format!("{} {}", program.get_program().to_string_lossy(), words.join(" "))
}

fn collect(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

/// All that was read. A daemon that the program left behind may hold the pipe open for ever, so the end of the
/// stream is waited for only briefly.
fn text(pieces: &mpsc::Receiver<Vec<u8>>) -> String {
    let mut bytes = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(LAST_WORDS) {
        bytes.extend(piece);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
