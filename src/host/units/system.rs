//! The real systemd.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zbus::OwnedObjectPath;

use super::bus::{self, Bus, BusError, Peer, SYSTEM_BUS, UNIT, object_of};
use super::files::{Files, Identity};
use super::name::{UnitKind, UnitName};
use super::stale::{Loaded, is_stale};
use super::types::{
    JobEnd, Scheduled, TransientJob, UnitAction, UnitDetails, UnitError, UnitFileAction, UnitStatus,
};
use super::{Units, jobs, transient};

/// Talks to the systemd of one host over its system bus. Holds a connection and the proof of what it knows of unit
/// files; both are made anew whenever they do not hold.
pub struct SystemUnits {
    root: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    bus: Bus,
    files: Files,
}

impl SystemUnits {
    /// The systemd of this host. Connects when first asked something.
    pub fn new() -> Self {
        SystemUnits::of_host_at(Path::new("/"))
    }

    /// The systemd of the host whose file tree is seen at `root`, such as a container's.
    pub fn of_host_at(root: &Path) -> Self {
        let socket = root.join(SYSTEM_BUS.trim_start_matches('/'));
        let inner = Inner { bus: Bus::at(socket), files: Files::below(root) };
        SystemUnits { root: root.to_owned(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind is a connection and a cache that prove themselves anew.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SystemUnits {
    fn default() -> Self {
        SystemUnits::new()
    }
}

impl Units for SystemUnits {
    fn status(&self, units: &[UnitName]) -> Result<Vec<UnitStatus>, UnitError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        self.inner().status(units).map_err(|error| error.telling("list", "units"))
    }

    fn details(&self, unit: &UnitName) -> Result<UnitDetails, UnitError> {
        let asked = self.inner().bus.run(async |peer| details(&peer, unit).await);
        asked.map_err(|error| error.telling("describe", unit.as_str()))
    }

    fn act(&self, action: UnitAction, unit: &UnitName) -> Result<(), UnitError> {
        let done = self.inner().bus.run(async |peer| jobs::act(&peer, action, unit).await);
        jobs::judge(done, action.verb(), unit)
    }

    fn change_files(&self, action: UnitFileAction, units: &[UnitName]) -> Result<(), UnitError> {
        let names = units.iter().map(UnitName::as_str).collect::<Vec<_>>();
        let done = self.inner().bus.run(async |peer| jobs::change_files(&peer, action, &names).await);
        done.map_err(|error| error.telling(action.verb(), &names.join(", ")))
    }

    fn daemon_reload(&self) -> Result<(), UnitError> {
        let done = self.inner().bus.run(async |peer| jobs::reload(&peer).await);
        done.map_err(|error| error.telling("reload", "all unit files"))
    }

    fn run_transient(&self, job: &TransientJob) -> Result<JobEnd, UnitError> {
        transient::make_log(&self.root, &job.log).map_err(|error| UnitError::Refused {
            operation: "run".into(),
            unit: job.unit.to_string(),
            message: format!("its log {} can't be made: {error}", job.log.display()),
        })?;
        let done = self.inner().bus.run(async |peer| transient::run(&peer, job).await);
        done.map_err(|error| error.telling("run", job.unit.as_str()))
    }

    fn schedule(&self, what: &Scheduled) -> Result<(), UnitError> {
        let done = self.inner().bus.run(async |peer| transient::schedule(&peer, what).await);
        done.map_err(|error| error.telling("schedule", &what.stem))
    }
}

/// A row of `ListUnitsByNames`: name, description, load, active, sub, followed unit, object, job id, job type, job.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Inner {
    fn status(&mut self, units: &[UnitName]) -> Result<Vec<UnitStatus>, BusError> {
        let now = wall_clock();
        let Inner { bus, files } = self;
        files.look(now);
        let mut statuses = bus.run(async |peer| list(&peer, units).await)?;
        let unknown: Vec<_> =
            statuses.iter().filter(|row| files.known(&row.name).is_none()).cloned().collect();
        let asked = match unknown.is_empty() {
            true => HashMap::new(),
            false => bus.run(async |peer| ask_files(&peer, files, &unknown).await)?,
        };
        for status in &mut statuses {
            match (asked.get(&status.name), files.known(&status.name)) {
                (Some(answer), _) => {
                    status.file = answer.state.clone();
                    status.need_daemon_reload = answer.need_daemon_reload;
                }
                (None, Some(known)) => status.file = known.state.clone(),
                (None, None) => {}
            }
        }
        for (unit, answer) in asked.into_iter().filter(|(_, answer)| !answer.need_daemon_reload) {
            files.remember(&unit, &answer.state, answer.files, now);
        }
        let results = bus.run(async |peer| results_of(&peer, &statuses).await)?;
        for status in &mut statuses {
            if let Some(result) = results.get(&status.name) {
                status.result.clone_from(result);
            }
        }
        Ok(statuses)
    }
}

async fn list(peer: &Peer, units: &[UnitName]) -> Result<Vec<UnitStatus>, BusError> {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    let rows: Vec<Row> = peer.manager("ListUnitsByNames", &(names,)).await?;
    if rows.len() != units.len() {
        let message = format!("asked for {} units and told of {}", units.len(), rows.len());
        return Err(BusError::Strange(message));
    }
    let status = |(unit, row): (&UnitName, Row)| {
        let (_, _, load, active, sub, _, _, _, job, _) = row;
        UnitStatus {
            name: unit.clone(),
            load,
            active,
            sub,
            file: String::new(),
            result: "success".into(),
            need_daemon_reload: false,
            job,
        }
    };
    Ok(units.iter().zip(rows).map(status).collect())
}

/// What systemd said of the files of one unit just now.
struct FileAnswer {
    state: String,
    need_daemon_reload: bool,
    files: Vec<(PathBuf, Identity)>,
}

/// Asks for the unit file states of these units. Their files are identified before the states are asked for, so
/// that a change in between shows next time.
async fn ask_files(
    peer: &Peer,
    files: &Files,
    units: &[UnitStatus],
) -> Result<HashMap<UnitName, FileAnswer>, BusError> {
    let there = |unit: &&UnitStatus| unit.load != "not-found";
    let paths = units.iter().filter(there).map(|unit| paths_of(peer.clone(), unit.name.clone())).collect();
    let (mut identities, mut overtaken) = (HashMap::new(), HashSet::new());
    for found in bus::all(paths).await? {
        let (unit, loaded) = found?;
        // What is masked or can't be read has no drop-ins that count.
        let is_loaded = units.iter().any(|status| status.name == unit && status.load == "loaded");
        if is_loaded && is_stale(files.root(), &unit, &loaded) {
            overtaken.insert(unit.clone());
        }
        identities.insert(unit, loaded.paths().map(|path| files.identify(path)).collect());
    }
    let stale =
        units.iter().filter(there).map(|unit| needs_reload(peer.clone(), unit.name.clone())).collect();
    let stale = bus::all(stale).await?.into_iter().collect::<Result<HashMap<_, _>, _>>()?;
    let mut states = states_of(peer, units).await?;
    let answer = |unit: &UnitStatus| FileAnswer {
        state: states.remove(&unit.name).unwrap_or_default(),
        need_daemon_reload: stale.get(&unit.name).copied().unwrap_or(false) || overtaken.contains(&unit.name),
        files: identities.remove(&unit.name).unwrap_or_default(),
    };
    let names = units.iter().map(|unit| unit.name.clone());
    Ok(names.zip(units.iter().map(answer)).collect())
}

/// The files a unit was read from: the fragment, what it was generated from, its drop-ins.
async fn paths_of(peer: Peer, unit: UnitName) -> Result<(UnitName, Loaded), BusError> {
    let object = object_of(unit.as_str());
    let fragment: String = peer.property(&object, UNIT, "FragmentPath").await?;
    let source: String = peer.property(&object, UNIT, "SourcePath").await?;
    let drop_ins: Vec<String> = peer.property(&object, UNIT, "DropInPaths").await?;
    Ok((unit, Loaded { fragment, source, drop_ins }))
}

async fn needs_reload(peer: Peer, unit: UnitName) -> Result<(UnitName, bool), BusError> {
    let need = peer.property(&object_of(unit.as_str()), UNIT, "NeedDaemonReload").await?;
    Ok((unit, need))
}

/// The unit file states, as they are on disk now: one call for all, and one for each instance of a template, which
/// a listing of files does not have.
async fn states_of(peer: &Peer, units: &[UnitStatus]) -> Result<HashMap<UnitName, String>, BusError> {
    let (instances, plain): (Vec<&UnitName>, Vec<&UnitName>) =
        units.iter().map(|unit| &unit.name).partition(|unit| unit.is_instance());
    let mut states = HashMap::new();
    if !plain.is_empty() {
        let patterns: Vec<&str> = plain.iter().map(|unit| unit.as_str()).collect();
        let none: Vec<&str> = Vec::new();
        let rows: Vec<(String, String)> = peer.manager("ListUnitFilesByPatterns", &(none, patterns)).await?;
        let named = rows.into_iter().filter_map(|(path, state)| {
            let name = path.rsplit('/').next()?.parse().ok()?;
            Some((name, state))
        });
        states.extend(named);
    }
    for unit in instances {
        match peer.manager("GetUnitFileState", &(unit.as_str(),)).await {
            Ok(state) => states.insert(unit.clone(), state),
            // There is no file: no state.
            Err(BusError::Refused(..)) => None,
            Err(other) => return Err(other),
        };
    }
    Ok(states)
}

/// Why it ended, of what failed or is about to be restarted; what runs or rests has ended well.
async fn results_of(peer: &Peer, statuses: &[UnitStatus]) -> Result<HashMap<UnitName, String>, BusError> {
    let mut results = HashMap::new();
    for status in statuses {
        let ended_badly = status.active == "failed" || status.sub.starts_with("auto-restart");
        if let (true, Some(interface)) = (ended_badly, interface_of(status.name.kind())) {
            let result = peer.property(&object_of(status.name.as_str()), interface, "Result").await?;
            results.insert(status.name.clone(), result);
        }
    }
    Ok(results)
}

async fn details(peer: &Peer, unit: &UnitName) -> Result<UnitDetails, BusError> {
    let object = object_of(unit.as_str());
    let mut details = UnitDetails::default();
    if unit.kind() == UnitKind::Service {
        let interface = "org.freedesktop.systemd1.Service";
        details.service_type = peer.property(&object, interface, "Type").await?;
        details.remain_after_exit = peer.property(&object, interface, "RemainAfterExit").await?;
    }
    let held: bool = peer.property(&object, UNIT, "ConditionResult").await?;
    let looked: u64 = peer.property(&object, UNIT, "ConditionTimestamp").await?;
    details.refused = (!held && looked > 0).then(|| Duration::from_micros(looked));
    Ok(details)
}

fn interface_of(kind: UnitKind) -> Option<&'static str> {
    match kind {
        UnitKind::Service => Some("org.freedesktop.systemd1.Service"),
        UnitKind::Socket => Some("org.freedesktop.systemd1.Socket"),
        UnitKind::Timer => Some("org.freedesktop.systemd1.Timer"),
        UnitKind::Path => Some("org.freedesktop.systemd1.Path"),
        UnitKind::Mount => Some("org.freedesktop.systemd1.Mount"),
        UnitKind::Target => None,
    }
}

/// Wall-clock time since 1970: the clock of file timestamps.
fn wall_clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
