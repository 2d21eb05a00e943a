//! One run of apt or dpkg: as a unit of systemd's own, so that a restart, an upgrade or the sandbox of the agent
//! never reaches a half-run dpkg; its output in a root-only file; and no word on success, since that is read
//! from dpkg's database.

use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::host::files::{Attributes, FilesError};
use crate::host::program::{Finished, ProgramError, Run};
use crate::host::units::{TransientJob, UnitError, UnitName};

use super::apt::{APT_GET, Allowed, DPKG, ENVIRONMENT, Verb, arguments};

/// The unit that changes packages. One at a time on a host.
pub const UNIT: &str = "agentd-apt.service";

/// Where its output goes.
pub const LOG_FOLDER: &str = "/var/log/agentd";
const LOG: &str = "/var/log/agentd/apt.log";
const OLD_LOG: &str = "/var/log/agentd/apt.log.1";

/// Beyond this the log is put aside before the next run (one old one is kept).
const LOG_LIMIT: u64 = 1 << 20;

/// How much of one run's output is looked at: its end.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// How long a question to apt (a simulation, a policy) may take: it reads an index of some 60,000 packages.
const QUESTION_LIMIT: Duration = Duration::from_secs(120);

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it printed.
    pub output: String,
    /// Whether systemd had to end it.
    pub timed_out: bool,
    /// Whether it says that it did everything. What it did is read from dpkg's database.
    pub succeeded: bool,
}

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its log can't be written.
    #[error("could not prepare the log {LOG}")]
    Log(#[source] FilesError),
    /// systemd did not take the job.
    #[error("could not run {UNIT}")]
    Unit(#[source] UnitError),
    /// A question to apt could not be asked.
    #[error("could not ask {APT_GET}")]
    Question(#[source] ProgramError),
}

/// Asks apt what it would do.
pub fn simulate(host: &Host, verb: Verb, allowed: Allowed, words: &[String]) -> Result<Finished, RunError> {
    let mut args = cache_options(host);
    args.push("--simulate".to_owned());
    args.extend(arguments(verb, allowed, words));
    ask(host, APT_GET, args)
}

/// apt believes its cache if dpkg's database has the same size and the same time in whole seconds: a package
/// changed by hand within the second of the last apt run is invisible to it, and stays so (1.0 and 1.1 are
/// equally long). Where the two were written in the same second, apt is told to do without.
pub fn cache_options(host: &Host) -> Vec<String> {
    let second = |path: &str| {
        let stat = host.root.stat(path).ok().flatten()?;
        Some(stat.identity.mtime.div_euclid(1_000_000_000))
    };
    let (database, cache) = (second("/var/lib/dpkg/status"), second("/var/cache/apt/pkgcache.bin"));
    match database.is_some() && database == cache {
        true => ["-o", "Dir::Cache::pkgcache="].map(str::to_owned).into(),
        false => Vec::new(),
    }
}

/// Runs a program that changes nothing, and that may die with us.
pub fn ask(host: &Host, program: &str, args: Vec<String>) -> Result<Finished, RunError> {
    let env = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let run = Run { args, env, time_limit: QUESTION_LIMIT, ..Run::new(program, &[]) };
    host.programs.run(&run).map_err(RunError::Question)
}

/// Sets what dpkg calls selections (`name:arch hold`), a line each.
pub fn set_selections(host: &Host, lines: &str) -> Result<Finished, RunError> {
    let env = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let stdin = lines.as_bytes().to_vec();
    let run = Run { stdin, env, ..Run::new(DPKG, &["--set-selections"]) };
    host.programs.run(&run).map_err(RunError::Question)
}

/// All that a program printed.
pub fn text(done: &Finished) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// Runs a program that changes packages, and waits for its end.
pub fn run(host: &Host, what: &str, argv: Vec<String>, time_limit: Duration) -> Result<Ran, RunError> {
    let unit = unit()?;
    let begin = prepare_log(host).map_err(RunError::Log)?;
    let job = TransientJob {
        unit,
        description: format!("agentd: {what}"),
        argv,
        env: ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        log: LOG.into(),
        time_limit,
    };
    let end = host.units.run_transient(&job).map_err(RunError::Unit)?;
    Ok(Ran {
        output: output_since(host, begin).map_err(RunError::Log)?,
        timed_out: end.result == "timeout",
        succeeded: end.result == "success",
    })
}

/// Waits for a run that an earlier life of the agent began. Says whether there was one.
pub fn adopt(host: &Host, time_limit: Duration) -> Result<bool, RunError> {
    let unit = unit()?;
    let status = host.units.status(std::slice::from_ref(&unit)).map_err(RunError::Unit)?;
    let runs = |active: &str| matches!(active, "activating" | "active" | "deactivating" | "reloading");
    if !status.iter().any(|status| runs(&status.active)) {
        return Ok(false);
    }
    prepare_log(host).map_err(RunError::Log)?;
    // Adopted by its name. Should it end in this very moment, what starts instead does nothing.
    let job = TransientJob {
        unit,
        description: "agentd: waiting for an earlier package transaction".to_owned(),
        argv: vec!["/bin/true".to_owned()],
        env: Vec::new(),
        log: LOG.into(),
        time_limit,
    };
    host.units.run_transient(&job).map_err(RunError::Unit)?;
    Ok(true)
}

fn unit() -> Result<UnitName, RunError> {
    let refused = |message| {
        let (operation, unit) = ("name".to_owned(), UNIT.to_owned());
        RunError::Unit(UnitError::Refused { operation, unit, message })
    };
    UNIT.parse().map_err(refused)
}

/// Makes the log's folder, puts a long log aside, and says where the next output begins.
fn prepare_log(host: &Host) -> Result<u64, FilesError> {
    host.root.create_dirs(LOG_FOLDER, Attributes::root(0o700))?;
    let size = host.root.stat(LOG)?.map_or(0, |stat| stat.size);
    if size <= LOG_LIMIT {
        return Ok(size);
    }
    host.root.remove(OLD_LOG)?;
    let (folder, name) = host.root.parent(Path::new(LOG))?;
    let (old_folder, old_name) = host.root.parent(Path::new(OLD_LOG))?;
    folder.move_to(name, &old_folder, old_name)?;
    Ok(0)
}

fn output_since(host: &Host, begin: u64) -> Result<String, FilesError> {
    let bytes = host.root.read(LOG, OUTPUT_LIMIT)?.unwrap_or_default();
    let begin = usize::try_from(begin).unwrap_or(0).min(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[begin..]).into_owned())
}

/// The command line of a run of apt-get.
pub fn apt_get(host: &Host, verb: Verb, allowed: Allowed, words: &[String]) -> Vec<String> {
    let mut argv = vec![APT_GET.to_owned()];
    argv.extend(cache_options(host));
    argv.extend(arguments(verb, allowed, words));
    argv
}
