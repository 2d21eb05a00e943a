//! A systemd without systemd: it understands just enough of real unit files (`Type`, `ExecStart`, `Restart`,
//! `RemainAfterExit`, `ConditionPathExists`, `[Install]`) that the same unit files behave alike here and there.
//!
//! A program ending in `/true` or `/false` ends at once, any other runs until it is stopped or killed. Time stands
//! still: a crashed unit waits for its restart until [`FakeUnits::settle`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Units;
use super::name::{UnitKind, UnitName};
use super::types::{
    JobEnd, Scheduled, TransientJob, UnitAction, UnitDetails, UnitError, UnitFileAction, UnitStatus,
};

/// How often a unit may be started before systemd gives up: `DefaultStartLimitBurst`.
const BURST: u32 = 5;

/// Units in memory.
pub struct FakeUnits(Mutex<State>);

struct State {
    units: BTreeMap<UnitName, Unit>,
    reachable: bool,
    transient: Box<dyn Fn(&TransientJob) -> JobEnd + Send>,
    log: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Unit {
    /// The unit file as it lies on disk.
    disk: Option<String>,
    /// The unit file as systemd read it; kept while the unit is in use.
    loaded: Option<String>,
    enabled: bool,
    masked: bool,
    phase: Phase,
    result: &'static str,
    starts: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Dead,
    Running,
    Exited,
    AutoRestart,
    Failed,
    /// A timer that was scheduled.
    Waiting,
}

impl Default for FakeUnits {
    fn default() -> Self {
        FakeUnits(Mutex::new(State {
            units: BTreeMap::new(),
            reachable: true,
            transient: Box::new(|_| JobEnd { result: "success".into(), status: 0 }),
            log: Vec::new(),
        }))
    }
}

impl FakeUnits {
    /// A systemd that knows no unit.
    pub fn new() -> Self {
        FakeUnits::default()
    }

    /// Lays down a unit file.
    pub fn lay(&self, unit: &UnitName, text: &str) {
        self.state().units.entry(unit.clone()).or_default().disk = Some(text.to_owned());
    }

    /// Takes a unit file away.
    pub fn take_away(&self, unit: &UnitName) {
        self.state().units.entry(unit.clone()).or_default().disk = None;
    }

    /// Ends the main process as `kill -9` does.
    pub fn kill(&self, unit: &UnitName) {
        if let Some(unit) = self.state().units.get_mut(unit).filter(|unit| unit.phase == Phase::Running) {
            unit.end("signal");
        }
    }

    /// Lets all restarts that are due happen, over and over, until nothing moves.
    pub fn settle(&self) {
        for unit in self.state().units.values_mut() {
            while unit.phase == Phase::AutoRestart {
                unit.start();
            }
        }
    }

    /// Whether systemd answers.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    /// What transient jobs do and how they end.
    pub fn on_transient(&self, run: impl Fn(&TransientJob) -> JobEnd + Send + 'static) {
        self.state().transient = Box::new(run);
    }

    /// What was done so far: `start nginx.service`, `enable nginx.service`, `daemon-reload`, `run agentd-apt.service`.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> Result<MutexGuard<'_, State>, UnitError> {
        let state = self.state();
        match state.reachable {
            true => Ok(state),
            false => Err(UnitError::Unreachable { message: "the connection was closed".into() }),
        }
    }
}

impl Units for FakeUnits {
    fn status(&self, units: &[UnitName]) -> Result<Vec<UnitStatus>, UnitError> {
        let mut state = self.reached()?;
        Ok(units.iter().map(|name| state.units.entry(name.clone()).or_default().status(name)).collect())
    }

    fn details(&self, name: &UnitName) -> Result<UnitDetails, UnitError> {
        let mut state = self.reached()?;
        let unit = state.units.entry(name.clone()).or_default();
        unit.load();
        let service_type = match name.kind() {
            UnitKind::Service => unit.setting("Type").unwrap_or("simple").to_owned(),
            UnitKind::Socket | UnitKind::Timer | UnitKind::Path | UnitKind::Target | UnitKind::Mount => {
                String::new()
            }
        };
        Ok(UnitDetails { service_type, remain_after_exit: unit.is_set("RemainAfterExit"), refused: None })
    }

    fn act(&self, action: UnitAction, name: &UnitName) -> Result<(), UnitError> {
        let mut state = self.reached()?;
        state.log.push(format!("{} {name}", action.verb()));
        let unit = state.units.entry(name.clone()).or_default();
        unit.load();
        let refused = |message: String| {
            let operation = action.verb().to_owned();
            Err(UnitError::Refused { operation, unit: name.to_string(), message })
        };
        if unit.loaded.is_none() && unit.phase == Phase::Dead {
            return refused(format!("Unit {name} not found."));
        }
        match action {
            UnitAction::Start if unit.masked => refused(format!("Unit {name} is masked.")),
            UnitAction::Start => unit.start_job(action, name),
            UnitAction::Restart | UnitAction::ReloadOrRestart if unit.phase == Phase::Running => {
                unit.phase = Phase::Dead;
                unit.load();
                unit.start_job(action, name)
            }
            UnitAction::Restart | UnitAction::ReloadOrRestart => Ok(()),
            UnitAction::Stop => {
                if unit.phase != Phase::Failed {
                    (unit.phase, unit.result) = (Phase::Dead, "success");
                }
                Ok(())
            }
            UnitAction::ResetFailed => {
                unit.starts = 0;
                if unit.phase == Phase::Failed {
                    (unit.phase, unit.result) = (Phase::Dead, "success");
                }
                Ok(())
            }
        }
    }

    fn change_files(&self, action: UnitFileAction, names: &[UnitName]) -> Result<(), UnitError> {
        let mut state = self.reached()?;
        for name in names {
            state.log.push(format!("{} {name}", action.verb()));
            let unit = state.units.entry(name.clone()).or_default();
            let refused = |message: String| {
                let operation = action.verb().to_owned();
                Err(UnitError::Refused { operation, unit: name.to_string(), message })
            };
            match action {
                UnitFileAction::Enable if unit.masked => {
                    return refused(format!("Unit file /etc/systemd/system/{name} is masked."));
                }
                UnitFileAction::Enable if unit.disk.is_none() => {
                    return refused(format!("Unit file {name} does not exist."));
                }
                UnitFileAction::Enable => unit.enabled = unit.is_installable(),
                UnitFileAction::Disable => unit.enabled = false,
                UnitFileAction::Mask => unit.masked = true,
                UnitFileAction::Unmask => unit.masked = false,
            }
        }
        state.reload();
        Ok(())
    }

    fn daemon_reload(&self) -> Result<(), UnitError> {
        let mut state = self.reached()?;
        state.log.push("daemon-reload".into());
        state.reload();
        Ok(())
    }

    fn run_transient(&self, job: &TransientJob) -> Result<JobEnd, UnitError> {
        let mut state = self.reached()?;
        state.log.push(format!("run {}", job.unit));
        Ok((state.transient)(job))
    }

    fn schedule(&self, what: &Scheduled) -> Result<(), UnitError> {
        let mut state = self.reached()?;
        state.log.push(format!("schedule {}", what.stem));
        let name: UnitName = format!("{}.timer", what.stem).parse().map_err(|message| {
            UnitError::Refused { operation: "schedule".into(), unit: what.stem.clone(), message }
        })?;
        let unit = Unit { phase: Phase::Waiting, result: "success", ..Unit::default() };
        state.units.insert(name, unit);
        Ok(())
    }
}

impl State {
    fn reload(&mut self) {
        for unit in self.units.values_mut() {
            unit.loaded = unit.disk.clone();
        }
    }
}

impl Unit {
    fn status(&mut self, name: &UnitName) -> UnitStatus {
        self.load();
        let (active, sub) = match self.phase {
            Phase::Dead => ("inactive", "dead"),
            Phase::Running => ("active", "running"),
            Phase::Exited => ("active", "exited"),
            Phase::AutoRestart => ("activating", "auto-restart"),
            Phase::Failed => ("failed", "failed"),
            Phase::Waiting => ("active", "waiting"),
        };
        let load = match (self.masked, &self.loaded, self.phase) {
            (true, ..) => "masked",
            (false, None, Phase::Dead) => "not-found",
            (false, Some(_), _) | (false, None, _) => "loaded",
        };
        let file = match (self.masked, &self.disk, self.enabled) {
            (true, ..) => "masked",
            (false, None, _) => "",
            (false, Some(_), true) => "enabled",
            (false, Some(_), false) if self.is_installable() => "disabled",
            (false, Some(_), false) => "static",
        };
        UnitStatus {
            name: name.clone(),
            load: load.into(),
            active: active.into(),
            sub: sub.into(),
            file: file.into(),
            result: if self.result.is_empty() { "success" } else { self.result }.into(),
            need_daemon_reload: !self.masked && self.loaded != self.disk,
            job: String::new(),
        }
    }

    /// systemd reads a unit that is not in use anew whenever it is asked about it.
    fn load(&mut self) {
        if self.phase == Phase::Dead || self.loaded.is_none() {
            self.loaded = self.disk.clone();
        }
    }

    fn start_job(&mut self, action: UnitAction, name: &UnitName) -> Result<(), UnitError> {
        if matches!(self.phase, Phase::Running | Phase::Exited | Phase::Waiting) {
            return Ok(());
        }
        let failed = |result: &str| {
            let (operation, unit) = (action.verb().to_owned(), name.to_string());
            Err(UnitError::JobFailed { operation, unit, result: result.to_owned() })
        };
        if self.setting("ConditionPathExists").is_some_and(|path| path.contains("nonexistent")) {
            return failed("condition");
        }
        self.start();
        // Only a oneshot's job lasts until its program has ended.
        match (self.phase, self.setting("Type")) {
            (Phase::Failed | Phase::AutoRestart, Some("oneshot")) => failed("failed"),
            (Phase::Dead | Phase::Running | Phase::Exited | Phase::Waiting, _)
            | (Phase::Failed | Phase::AutoRestart, _) => Ok(()),
        }
    }

    fn start(&mut self) {
        if self.starts >= BURST {
            (self.phase, self.result) = (Phase::Failed, "start-limit-hit");
            return;
        }
        self.starts += 1;
        self.result = "success";
        let program =
            self.setting("ExecStart").and_then(|line| line.split(' ').next()).unwrap_or("").to_owned();
        if program.ends_with("/false") {
            self.end("exit-code");
        } else if !program.ends_with("/true") {
            self.phase = Phase::Running;
        } else if self.is_set("RemainAfterExit") {
            self.phase = Phase::Exited;
        } else {
            self.phase = Phase::Dead;
        }
    }

    /// The main process ended badly.
    fn end(&mut self, result: &'static str) {
        self.result = result;
        self.phase = match self.setting("Restart") {
            Some("always" | "on-failure") => Phase::AutoRestart,
            Some(_) | None => Phase::Failed,
        };
    }

    fn setting(&self, key: &str) -> Option<&str> {
        let text = self.loaded.as_deref()?;
        text.lines()
            .filter_map(|line| line.split_once('='))
            .rfind(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    fn is_set(&self, key: &str) -> bool {
        self.setting(key) == Some("yes")
    }

    fn is_installable(&self) -> bool {
        self.disk.as_deref().is_some_and(|text| text.contains("WantedBy="))
    }
}
