//! `agentctl enroll`: checks the remote, writes the settings, starts the agent, shows what would change. Also for
//! cloud-init: it asks nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::{ask, plan, say, sync};
use crate::cli::args::{Arguments, Enroll};
use crate::cli::render::progress::ProgressLine;
use crate::cli::render::{Look, json};
use crate::cli::scratch::Scratch;
use crate::cli::{CliError, Exit, Outside};
use crate::config::{self, Enrolment, EnrolmentSource, Settings};
use crate::control::wire::{DoneReply, FetchFirst, PlanReply, SyncReply};
use crate::control::{ClientError, Request};
use crate::host::units::{UnitAction, UnitFileAction, UnitName};
use crate::model::escape;
use crate::model::{CommitId, DriftMode};
use crate::source::Care;
use crate::worker::{fetch, survey};

/// The agent's unit.
const UNIT: &str = "agentd.service";

/// How long the agent may take to listen after its start; it has nothing to look at yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is told in JSON.
#[derive(serde::Serialize)]
struct Enrolled {
    settings: PathBuf,
    tip: Option<CommitId>,
    sync: Option<SyncReply>,
    plan: Option<PlanReply>,
}

/// Follows a branch from now on.
pub fn run(common: &Arguments, options: &Enroll, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    // Taken silently, they would be believed to be verified.
    if !options.signers.is_empty() || !options.signer.is_empty() {
        return Err(CliError::Unsigned);
    }
    let enrolment = enrolment(options, outside)?;
    let tip = match options.offline {
        true => None,
        false => Some(check_remote(common, &enrolment, outside)?),
    };
    let (written, settings) = config::write_enrolment(&common.config, &enrolment)?;
    let mut told = Enrolled { settings: written, tip, sync: None, plan: None };
    if options.offline {
        return tell(common, &told, &settings, outside);
    }
    start(common, outside)?;
    told.sync = Some(sync::order(common, FetchFirst::Yes, outside)?);
    if settings.mode != DriftMode::Enabled {
        told.plan = Some(ask::agent(common, &Request::Plan)?);
    }
    tell(common, &told, &settings, outside)
}

fn enrolment(options: &Enroll, outside: &Outside<'_>) -> Result<Enrolment, CliError> {
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| outside.here.join(path));
    Ok(Enrolment {
        mode: options.mode,
        host: options.host.clone(),
        source: EnrolmentSource {
            url: options.url.clone(),
            branch: options.branch.clone(),
            path: options.path.clone(),
            token_file: absolute(&options.token_file),
            basic_file: absolute(&options.basic_file),
            ssh_key: absolute(&options.ssh_key),
            ca_file: absolute(&options.ca_file),
            known_hosts: absolute(&options.known_hosts),
        },
        labels: options.labels.iter().cloned().collect(),
    })
}

/// Has the tip alone fetched, into a scratch folder: a wrong address, key or branch is told before anything is written.
/// By the same unprivileged processes as the agent's: whoever enrols is root, and nobody knows the remote yet.
fn check_remote(
    common: &Arguments,
    enrolment: &Enrolment,
    outside: &mut Outside<'_>,
) -> Result<CommitId, CliError> {
    let settings = config::preview(&common.config, enrolment)?;
    let Some(source) = &settings.source else {
        return Err(CliError::Usage("the settings name no source".to_owned()));
    };
    let mut remote = source.remote()?;
    remote.caps.commits = 1;
    let subfolder = remote.subfolder.clone();
    let mut line = ProgressLine::default();
    let text = format!("asking {} ...", source.url.as_str());
    line.show(outside.err, outside.terminal.interactive, &text);
    let scratch = Scratch::for_workers(outside.workers)?;
    let request = fetch::Request { store: scratch.path(), remote, last: None, care: Care::Quick };
    let fetched = outside.workers.fetch(&request);
    line.clear(outside);
    let tip = fetched??.tip;
    is_fleet(scratch.path(), subfolder, &tip, outside)?;
    Ok(tip)
}

/// Whether there is a declaration where it is said to be.
fn is_fleet(
    store: PathBuf,
    folder: Option<String>,
    tip: &CommitId,
    outside: &Outside<'_>,
) -> Result<(), CliError> {
    let request = survey::Request { store, commit: tip.clone(), subfolder: folder };
    match outside.workers.survey(&request)? {
        survey::Answer::Here => Ok(()),
        survey::Answer::Missing { elsewhere } => {
            Err(CliError::NoFleet { tip: tip.clone(), folder: request.subfolder, elsewhere })
        }
        survey::Answer::Unreadable { message } => Err(CliError::Unusable(message)),
    }
}

/// Makes the agent read the settings: by asking it, or by starting it.
fn start(common: &Arguments, outside: &mut Outside<'_>) -> Result<(), CliError> {
    match ask::agent::<DoneReply>(common, &Request::Reload) {
        Ok(_) => return Ok(()),
        Err(CliError::Agent(ClientError::NotRunning { .. })) => {}
        Err(error) => return Err(error),
    }
    let host = (outside.host)().map_err(CliError::Host)?;
    let unit: UnitName = UNIT.parse().map_err(CliError::Usage)?;
    host.units.change_files(UnitFileAction::Enable, std::slice::from_ref(&unit)).map_err(CliError::Start)?;
    host.units.act(UnitAction::Start, &unit).map_err(CliError::Start)?;
    // Its socket is there when it listens; `Type=notify` waits for more than we need.
    let begun = host.clock.since_boot();
    loop {
        match ask::agent::<serde_json::Value>(common, &Request::Status) {
            Err(CliError::Agent(ClientError::NotRunning { .. }))
                if host.clock.since_boot().saturating_sub(begun) < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            // It may have been enrolled before: only this says that what the branch has now is accepted.
            Err(CliError::Agent(ClientError::Refused(_))) | Ok(_) => {
                return ask::agent::<DoneReply>(common, &Request::Reload).map(drop);
            }
            Err(error) => return Err(error),
        }
    }
}

fn tell(
    common: &Arguments,
    told: &Enrolled,
    settings: &Settings,
    outside: &mut Outside<'_>,
) -> Result<Exit, CliError> {
    if common.json {
        json::write(outside, told)?;
        return Ok(Exit::Good);
    }
    let look = Look::of(outside);
    let mut text = format!("enrolled: {} is written\n", told.settings.display());
    if let Some(tip) = &told.tip {
        text.push_str(&format!("the remote answers; the branch is at {}\n", tip.short()));
    }
    if let Some(reply) = &told.sync {
        text.push_str(&sync::page(reply, &look));
    }
    say(outside, &text)?;
    if let Some(reply) = &told.plan {
        plan::show(common, reply, outside)?;
    }
    let next = match (settings.mode, told.sync.is_some()) {
        (_, false) => "the agent follows it from its next start\n".to_owned(),
        (DriftMode::Enabled, true) => {
            "the host is held to its declaration; `agentctl status` tells how it is\n".to_owned()
        }
        (DriftMode::Warn | DriftMode::Disabled, true) => format!(
            "nothing is changed in the mode {}; `agentctl diff` shows more; the same enroll with --mode enabled corrects\n",
            escape::line(&settings.mode.to_string())
        ),
    };
    say(outside, &next)?;
    Ok(Exit::Good)
}
