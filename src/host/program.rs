//! The one way to run a program: absolute path, argument vector, cleared environment, no terminal, bounded
//! output, a time limit that ends the whole process group. There is no shell.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::apart;
use super::counters::COUNTERS;
pub use super::pipes::OUTPUT_LIMIT;
use super::pipes::{Output, drain, feed};
use super::pulse::PULSE;

/// The search path a program sees. We never search it ourselves: programs are named absolutely.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What has the service manager run a program.
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// How long after its end a program's output is waited for: whatever it left running may keep the pipe for ever.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// So often the wait for a program is told to go on: well within any watchdog's patience.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// One run of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, as they are.
    pub args: Vec<String>,
    /// What it reads from standard input; empty means `/dev/null`.
    pub stdin: Vec<u8>,
    /// Added to the otherwise fixed environment (`PATH`, `LC_ALL=C.UTF-8`, `HOME=/root`).
    pub env: Vec<(String, String)>,
    /// After this it is killed, with everything it started in its process group.
    pub time_limit: Duration,
    /// What others may do with the files it makes.
    pub new_files: NewFiles,
}

/// What others than their owner may do with the files a program makes, unless it says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewFiles {
    /// As with ours: nothing.
    Ours,
    /// As if a person had started it: they may read them.
    AsUsual,
}

impl Run {
    /// A run of `program` with `args` and a limit of one minute.
    pub fn new(program: impl AsRef<Path>, args: &[&str]) -> Self {
        Run {
            program: program.as_ref().to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdin: Vec::new(),
            env: Vec::new(),
            time_limit: Duration::from_secs(60),
            new_files: NewFiles::Ours,
        }
    }
}

/// A program that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output, at most [`OUTPUT_LIMIT`].
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, at most [`OUTPUT_LIMIT`].
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Whether it ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The last lines of standard error (or, if that is empty, of standard output), for a message.
    pub fn complaint(&self) -> String {
        let text = if self.stderr.trim_ascii().is_empty() { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or may not be executed.
    #[error("could not start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {limit:?} and was killed")]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Programs could not be set apart from the host.
    #[error("could not set programs apart from this host: {obstacle}")]
    Apart {
        /// What could not be done, and why.
        obstacle: String,
    },
    /// Talking to it failed.
    #[error("lost contact with {program}")]
    Contact {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Which files programs that are run apart may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// As any other program.
    All,
    /// Programs, libraries and the tables of names they read (`/etc/protocols` and the like). There are no others
    /// in their root. For input that is not to be trusted yet.
    Libraries,
}

/// Work with several programs, one after another; what they said decides what is run next.
pub type Work<'a> = dyn FnMut(&dyn Programs) + Send + 'a;

/// Runs programs.
pub trait Programs: Send + Sync {
    /// Runs one to its end. An exit code other than 0 is no error here: the caller knows what it means.
    fn run(&self, run: &Run) -> Result<Finished, ProgramError>;

    /// Does `work` with programs that share one empty network namespace, gone when the work ends.
    fn apart(&self, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError>;
}

/// Runs real programs, as part of the work that the watchdog watches over: each is proof of progress.
pub struct SystemPrograms;

impl Programs for SystemPrograms {
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        let child =
            spawn(run).map_err(|source| ProgramError::Start { program: run.program.clone(), source })?;
        wait(run, child, &|| PULSE.beat())
    }

    fn apart(&self, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        apart::apart(&SystemPrograms, files, work)
    }
}

/// The same for a confined service: what is a person's is run by the service manager, in a transient unit and so
/// outside of our control group and confinement. What is ours is our child.
pub struct ProgramsOfService;

impl Programs for ProgramsOfService {
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        match run.new_files {
            NewFiles::Ours => SystemPrograms.run(run),
            NewFiles::AsUsual => SystemPrograms.run(&as_unit(run)?),
        }
    }

    fn apart(&self, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        SystemPrograms.apart(files, work)
    }
}

/// The run of a program as a run of `systemd-run` that has it run (systemd-run(1)).
fn as_unit(run: &Run) -> Result<Run, ProgramError> {
    // Told here, where it can be told from a program that fails.
    let start = |source: std::io::Error| ProgramError::Start { program: run.program.clone(), source };
    rustix::fs::access(&run.program, rustix::fs::Access::EXEC_OK).map_err(|errno| start(errno.into()))?;
    let mut args: Vec<String> =
        ["--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"].map(Into::into).into();
    // Ended by the service manager a moment after we gave up on it: it is not in our process group.
    let limit = run.time_limit.as_millis().saturating_add(1000);
    args.extend([format!("--property=RuntimeMaxSec={limit}ms"), "--property=TimeoutStopSec=5s".into()]);
    // Not two lines of the journal for each.
    args.extend(["--property=LogLevelMax=notice".into(), "--property=WorkingDirectory=/".into()]);
    let fixed = [("PATH", PATH), ("LC_ALL", "C.UTF-8"), ("HOME", "/root")];
    args.extend(fixed.map(|(name, value)| format!("--setenv={name}={value}")));
    args.extend(run.env.iter().map(|(name, value)| format!("--setenv={name}={value}")));
    args.push("--".to_owned());
    args.push(run.program.to_string_lossy().into_owned());
    // Variables would be put in for these; there are none for a doubled sign (systemd.service(5)).
    args.extend(run.args.iter().map(|argument| argument.replace('$', "$$")));
    Ok(Run { program: SYSTEMD_RUN.into(), args, env: Vec::new(), new_files: NewFiles::Ours, ..run.clone() })
}

/// Runs real programs beside that work: what they do says nothing about it.
pub struct ProgramsBeside;

impl Programs for ProgramsBeside {
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        let child =
            spawn(run).map_err(|source| ProgramError::Start { program: run.program.clone(), source })?;
        wait(run, child, &|| ())
    }

    fn apart(&self, files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        apart::apart(&ProgramsBeside, files, work)
    }
}

/// Runs a program to its end and hands its standard output to `consume` while it is written, however long it is.
/// What `consume` leaves unread is dropped with the pipe. No proof of progress of the work that the watchdog watches over.
pub fn stream<T>(
    run: &Run,
    consume: impl FnOnce(&mut dyn Read) -> std::io::Result<T>,
) -> Result<(Finished, T), ProgramError> {
    let contact = |source| ProgramError::Contact { program: run.program.clone(), source };
    let mut child =
        spawn(run).map_err(|source| ProgramError::Start { program: run.program.clone(), source })?;
    let Some(mut stdout) = child.stdout.take() else {
        return Err(contact(std::io::ErrorKind::BrokenPipe.into()));
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| wait(run, child, &|| ()));
        // A child that is killed for its time closes the pipe, which ends this read.
        let consumed = consume(&mut stdout);
        drop(stdout);
        let finished = ended.join().unwrap_or_else(|_| Err(contact(std::io::ErrorKind::Other.into())))?;
        match consumed {
            Ok(value) => Ok((finished, value)),
            // A program that died says more by its complaint than the pipe by its end.
            Err(source) if finished.succeeded() => Err(contact(source)),
            Err(_) => Err(contact(std::io::Error::other(finished.complaint()))),
        }
    })
}

#[allow(clippy::disallowed_methods)] // this is the door
fn spawn(run: &Run) -> std::io::Result<Child> {
    if !run.program.is_absolute() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "its path is not absolute"));
    }
    let mut command = Command::new(&run.program);
    command
        .args(&run.args)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/root")
        .envs(run.env.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(if run.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    COUNTERS.program_started();
    match run.new_files {
        NewFiles::Ours => command.spawn(),
        NewFiles::AsUsual => spawn_as_usual(&mut command),
    }
}

/// By a thread that has a mask of its own, which its child inherits: the process keeps the strict one.
#[allow(clippy::disallowed_methods)] // this is the door
fn spawn_as_usual(command: &mut Command) -> std::io::Result<Child> {
    use nix::sched::{CloneFlags, unshare};
    let in_thread = || {
        unshare(CloneFlags::CLONE_FS)?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        command.spawn()
    };
    std::thread::scope(|scope| match scope.spawn(in_thread).join() {
        Ok(child) => child,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[allow(clippy::disallowed_methods)] // a deadline for a real process is real time
fn wait(run: &Run, mut child: Child, alive: &dyn Fn()) -> Result<Finished, ProgramError> {
    let contact = |source| ProgramError::Contact { program: run.program.clone(), source };
    let deadline = Instant::now() + run.time_limit;
    let stdin = child.stdin.take().map(|pipe| feed(pipe, run.stdin.clone()));
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_child(&child),
        rustix::process::PidfdFlags::empty(),
    )
    .map_err(|errno| contact(errno.into()))?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if readable_within(&pidfd, left.min(SIGN_OF_LIFE)).map_err(contact)? {
            break;
        }
        if left <= SIGN_OF_LIFE {
            end_group(&mut child);
            return Err(ProgramError::TimedOut { program: run.program.clone(), limit: run.time_limit });
        }
        // A wait that has an end of its own is no hang.
        alive();
    }
    let status = child.wait().map_err(contact)?;
    drop(stdin);
    let until = deadline.min(Instant::now() + LEFT_OPEN);
    let collect = |output: Option<Output>| output.map(|output| output.until(until)).unwrap_or_default();
    let finished = Finished { code: status.code(), stdout: collect(stdout), stderr: collect(stderr) };
    alive();
    Ok(finished)
}

fn readable_within(fd: &impl std::os::fd::AsFd, limit: Duration) -> std::io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec::try_from(limit).ok();
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn end_group(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    // Both may find it gone already, which is what we want.
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    let _ = child.wait();
}

/// Answers from a closure instead of running anything, and remembers what was asked.
pub struct FakePrograms {
    answer: Box<Answer>,
    asked: Arc<Mutex<Vec<Run>>>,
}

type Answer = dyn Fn(&Run) -> Result<Finished, ProgramError> + Send + Sync;

impl FakePrograms {
    /// Programs that answer with `answer`.
    pub fn answering(
        answer: impl Fn(&Run) -> Result<Finished, ProgramError> + Send + Sync + 'static,
    ) -> Self {
        FakePrograms { answer: Box::new(answer), asked: Arc::default() }
    }

    /// Every run so far.
    pub fn asked(&self) -> Vec<Run> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Programs for FakePrograms {
    fn run(&self, run: &Run) -> Result<Finished, ProgramError> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(run.clone());
        (self.answer)(run)
    }

    fn apart(&self, _files: Files, work: &mut Work<'_>) -> Result<(), ProgramError> {
        work(self);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Run {
        Run::new("/bin/sh", &["-c", script])
    }

    #[test]
    fn what_a_program_leaves_running_does_not_hold_up_its_end() {
        let run = Run { time_limit: Duration::from_secs(50), ..sh("sleep 60 & echo $!; exit 3") };
        // Had it waited for what was left behind, that had ended by itself and could not be ended any more.
        let done = SystemPrograms.run(&run).unwrap();
        let left = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL).unwrap();
        assert_eq!(done.code, Some(3));
    }

    #[test]
    fn output_input_and_exit_code_come_back() {
        let mut run = sh("cat; echo err >&2; exit 3");
        run.stdin = b"hello".to_vec();
        let done = SystemPrograms.run(&run).unwrap();
        assert_eq!(
            (done.code, done.stdout.as_slice(), done.complaint()),
            (Some(3), &b"hello"[..], "err".into())
        );
    }

    #[test]
    fn the_environment_is_cleared() {
        let done = SystemPrograms.run(&sh("env | cut -d= -f1 | sort | tr '\\n' ' '")).unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "HOME LC_ALL PATH PWD");
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let mut run = sh("sleep 1000 & sleep 1000");
        run.time_limit = Duration::from_millis(100);
        assert!(matches!(SystemPrograms.run(&run), Err(ProgramError::TimedOut { .. })));
    }

    #[test]
    fn a_stream_is_read_while_it_is_written_and_ends_with_its_program() {
        let read_all = |pipe: &mut dyn Read| std::io::copy(pipe, &mut std::io::sink());
        let (done, bytes) = stream(&sh("head -c 50000000 /dev/zero"), read_all).unwrap();
        assert_eq!((done.code, bytes), (Some(0), 50_000_000));
        let mut run = sh("echo begun; sleep 1000");
        run.time_limit = Duration::from_millis(100);
        assert!(matches!(stream(&run, read_all), Err(ProgramError::TimedOut { .. })));
    }

    #[test]
    fn files_of_a_program_may_be_kept_from_others_or_be_as_usual() {
        let mask = |new_files| {
            let run = Run { new_files, ..sh("umask") };
            String::from_utf8(SystemPrograms.run(&run).unwrap().stdout).unwrap()
        };
        // A thread with a mask of its own stands for the agent, which the service manager gives this one.
        let told = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            [mask(NewFiles::Ours), mask(NewFiles::AsUsual), mask(NewFiles::Ours)]
        });
        assert_eq!(told.join().unwrap(), ["0077\n", "0022\n", "0077\n"]);
    }

    #[test]
    fn a_relative_path_is_refused() {
        assert!(matches!(SystemPrograms.run(&Run::new("sh", &[])), Err(ProgramError::Start { .. })));
    }
}
