//! The one program that is installed. Called `agentctl` it is the command line; by any other name the daemon: parse
//! arguments, start logging, run, map errors to exit codes.

#[path = "agentctl.rs"]
mod agentctl;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentd::daemon::{self, Place};
use agentd::host::memory;
use agentd::host::program::ProgramsOfService;
use agentd::worker::{Means, Worker};
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Holds this host to its declaration in git. Run by systemd; asked by agentctl.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the settings.
    #[arg(long, default_value = agentd::config::FOLDER)]
    config: PathBuf,
    /// Folder of the state.
    #[arg(long, default_value = "/var/lib/agentd")]
    state: PathBuf,
    /// The control socket.
    #[arg(long, default_value = agentd::control::SOCKET)]
    socket: PathBuf,
    /// Start the unprivileged processes, and the checks of files, as children and not as units of systemd: for a host
    /// or a tree without it.
    #[arg(long)]
    by_itself: bool,
    #[command(subcommand)]
    entry: Option<Entry>,
}

#[derive(Subcommand)]
enum Entry {
    /// One of the short-lived unprivileged processes; started by the daemon itself.
    #[command(hide = true)]
    Worker {
        /// Which.
        name: Worker,
    },
}

fn main() -> ExitCode {
    memory::be_small();
    if is_command_line(std::env::args_os().next().as_deref()) {
        return agentctl::main();
    }
    let arguments = Arguments::parse();
    let done: Result<(), Box<dyn std::error::Error>> = match arguments.entry {
        Some(Entry::Worker { name }) => name.main().map_err(Into::into),
        None => run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// By the name it was called by. Only this one: the daemon calls its workers as /proc/self/exe.
fn is_command_line(called: Option<&OsStr>) -> bool {
    called.and_then(|path| Path::new(path).file_name()) == Some(OsStr::new("agentctl"))
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    start_logging();
    let Arguments { config, state, socket, by_itself, entry: _ } = arguments;
    let means = if by_itself { Means::Processes } else { Means::Units };
    let load = Box::new(move || daemon::setup(&config));
    let (window, tuning) = Default::default();
    let kinds = daemon::kinds(&window, &tuning);
    let aside = std::sync::Arc::new(daemon::host_beside()?);
    let workers = std::sync::Arc::new(means);
    let patience = daemon::PATIENCE;
    let place = Place { state, socket, window, tuning, aside, patience, workers, load };
    let mut host = daemon::this_host()?;
    if means == Means::Units {
        host.programs = std::sync::Arc::new(ProgramsOfService);
    }
    daemon::run(host, kinds, place)?;
    Ok(())
}

/// To the journal with its fields where we run under systemd; to standard error elsewhere.
fn start_logging() {
    #[allow(clippy::disallowed_methods)] // the edge: here the environment is read
    let (wanted, in_journal) = (std::env::var("AGENTD_LOG"), std::env::var_os("JOURNAL_STREAM").is_some());
    // By module and level alone: filters that look into fields would bring an engine for regular expressions.
    let filter = wanted.ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    match tracing_journald::layer() {
        Ok(journal) if in_journal => {
            // Fields keep their names (RESOURCE, COMMIT, MESSAGE_ID): people query by them.
            registry.with(journal.with_field_prefix(None).with_syslog_identifier("agentd".to_owned())).init();
        }
        Ok(_) | Err(_) => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).init(),
    }
}

#[allow(clippy::print_stderr)] // the edge: here errors are printed, with their causes
fn complain(error: &dyn std::error::Error) {
    eprintln!("agentd: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        eprintln!("  because: {source}");
        cause = source.source();
    }
}
