//! What every `Units` must do, whichever systemd is behind it. Run against the fake and against real booted hosts.

use agentd::host::units::{UnitAction, UnitError, UnitFileAction, UnitName, UnitStatus, Units};

/// The ground a contract runs on: a systemd and hands to change its host.
pub trait Ground {
    /// The systemd.
    fn units(&self) -> &dyn Units;
    /// Lays a unit file into /etc/systemd/system.
    fn lay(&self, unit: &UnitName, text: &str);
    /// Removes the unit file again.
    fn take_away(&self, unit: &UnitName);
    /// `kill -9` of the main process.
    fn kill(&self, unit: &UnitName);
    /// Lets time pass; false when the deadline for waiting has come.
    fn wait(&self, turn: u32) -> bool;
}

/// A service that runs until it is stopped.
pub const DAEMON: &str = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
/// A service that cannot start and says so by its job.
pub const FAILING: &str = "[Service]\nType=oneshot\nExecStart=/bin/false\n";

/// The whole contract.
pub fn hold(ground: &dyn Ground) {
    a_unit_that_is_not_there_is_not_found(ground);
    start_and_stop_are_done_when_they_return(ground);
    enable_disable_mask_and_unmask_show_at_once(ground);
    a_file_laid_over_a_running_unit_needs_a_reload(ground);
    a_failed_start_is_said_and_stays_failed_until_reset(ground);
    a_killed_unit_is_failed_by_signal(ground);
    a_killed_unit_with_restart_comes_back_by_itself(ground);
    a_crash_loop_ends_with_systemd_giving_up(ground);
    a_oneshot_that_remains_is_active(ground);
    a_condition_that_does_not_hold_is_told(ground);
    restart_and_reload_start_nothing_that_is_stopped(ground);
    a_batch_keeps_its_order(ground);
}

fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

fn status(ground: &dyn Ground, unit: &UnitName) -> UnitStatus {
    ground.units().status(std::slice::from_ref(unit)).unwrap().remove(0)
}

fn eventually(ground: &dyn Ground, unit: &UnitName, what: &str, holds: impl Fn(&UnitStatus) -> bool) {
    for turn in 0.. {
        let now = status(ground, unit);
        if holds(&now) {
            return;
        }
        assert!(ground.wait(turn), "{unit} never became {what}: {now:?}");
    }
}

fn a_unit_that_is_not_there_is_not_found(ground: &dyn Ground) {
    let unit = name("contract-nothing.service");
    let now = status(ground, &unit);
    assert_eq!((now.load.as_str(), now.active.as_str(), now.file.as_str()), ("not-found", "inactive", ""));
    let refused = ground.units().act(UnitAction::Start, &unit).unwrap_err();
    assert!(matches!(refused, UnitError::Refused { .. }), "{refused:?}");
    let refused = ground.units().change_files(UnitFileAction::Enable, &[unit]).unwrap_err();
    assert!(matches!(refused, UnitError::Refused { .. }), "{refused:?}");
}

fn start_and_stop_are_done_when_they_return(ground: &dyn Ground) {
    let unit = name("contract-daemon.service");
    ground.lay(&unit, DAEMON);
    let before = status(ground, &unit);
    assert_eq!((before.load.as_str(), before.active.as_str()), ("loaded", "inactive"));
    ground.units().act(UnitAction::Start, &unit).unwrap();
    let now = status(ground, &unit);
    assert_eq!(
        (now.active.as_str(), now.sub.as_str(), now.result.as_str()),
        ("active", "running", "success")
    );
    ground.units().act(UnitAction::Start, &unit).unwrap();
    ground.units().act(UnitAction::Restart, &unit).unwrap();
    assert_eq!(status(ground, &unit).active, "active");
    ground.units().act(UnitAction::Stop, &unit).unwrap();
    assert_eq!(status(ground, &unit).active, "inactive");
    ground.units().act(UnitAction::Stop, &unit).unwrap();
}

fn enable_disable_mask_and_unmask_show_at_once(ground: &dyn Ground) {
    let unit = name("contract-daemon.service");
    let file = |wanted: &str| assert_eq!(status(ground, &unit).file, wanted);
    let change = |action| ground.units().change_files(action, std::slice::from_ref(&unit));
    file("disabled");
    change(UnitFileAction::Enable).unwrap();
    file("enabled");
    change(UnitFileAction::Enable).unwrap();
    file("enabled");
    change(UnitFileAction::Disable).unwrap();
    file("disabled");
    // What a person laid under /etc is theirs: a mask would overwrite it.
    let shipped = name("contract-static.service");
    ground.lay(&shipped, "[Service]\nExecStart=/bin/sleep infinity\n");
    assert_eq!(status(ground, &shipped).file, "static");
}

fn a_file_laid_over_a_running_unit_needs_a_reload(ground: &dyn Ground) {
    let unit = name("contract-edited.service");
    ground.lay(&unit, DAEMON);
    ground.units().act(UnitAction::Start, &unit).unwrap();
    assert!(!status(ground, &unit).need_daemon_reload);
    // Timestamps tick: systemd compares whole files by theirs.
    eventually_changed(ground, &unit);
    ground.units().daemon_reload().unwrap();
    assert!(!status(ground, &unit).need_daemon_reload);
    ground.units().act(UnitAction::Stop, &unit).unwrap();
}

fn eventually_changed(ground: &dyn Ground, unit: &UnitName) {
    for turn in 0.. {
        ground.lay(unit, &format!("[Unit]\nDescription=turn {turn}\n{DAEMON}"));
        if status(ground, unit).need_daemon_reload {
            return;
        }
        assert!(ground.wait(turn), "a changed file of {unit} was never noticed");
    }
}

fn a_failed_start_is_said_and_stays_failed_until_reset(ground: &dyn Ground) {
    let unit = name("contract-failing.service");
    ground.lay(&unit, FAILING);
    let failed = ground.units().act(UnitAction::Start, &unit).unwrap_err();
    assert!(matches!(&failed, UnitError::JobFailed { result, .. } if result == "failed"), "{failed:?}");
    let now = status(ground, &unit);
    assert_eq!((now.active.as_str(), now.result.as_str()), ("failed", "exit-code"));
    ground.units().act(UnitAction::ResetFailed, &unit).unwrap();
    assert_eq!(status(ground, &unit).active, "inactive");
}

fn a_killed_unit_is_failed_by_signal(ground: &dyn Ground) {
    let unit = name("contract-killed.service");
    ground.lay(&unit, DAEMON);
    ground.units().act(UnitAction::Start, &unit).unwrap();
    ground.kill(&unit);
    eventually(ground, &unit, "failed by signal", |now| now.active == "failed" && now.result == "signal");
    ground.units().act(UnitAction::ResetFailed, &unit).unwrap();
}

fn a_killed_unit_with_restart_comes_back_by_itself(ground: &dyn Ground) {
    let unit = name("contract-restarting.service");
    ground.lay(&unit, "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=1\n");
    ground.units().act(UnitAction::Start, &unit).unwrap();
    ground.kill(&unit);
    eventually(ground, &unit, "about to be restarted", |now| {
        now.active == "activating" && now.sub == "auto-restart" && now.result == "signal"
    });
    eventually(ground, &unit, "running again", |now| now.active == "active" && now.result == "success");
    ground.units().act(UnitAction::Stop, &unit).unwrap();
}

fn a_crash_loop_ends_with_systemd_giving_up(ground: &dyn Ground) {
    let unit = name("contract-looping.service");
    ground.lay(&unit, "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=50ms\n");
    ground.units().act(UnitAction::Start, &unit).unwrap();
    eventually(ground, &unit, "given up", |now| now.active == "failed");
    ground.units().act(UnitAction::ResetFailed, &unit).unwrap();
}

fn a_oneshot_that_remains_is_active(ground: &dyn Ground) {
    let unit = name("contract-remains.service");
    ground.lay(&unit, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
    ground.units().act(UnitAction::Start, &unit).unwrap();
    let now = status(ground, &unit);
    assert_eq!((now.active.as_str(), now.sub.as_str()), ("active", "exited"));
    ground.units().act(UnitAction::Stop, &unit).unwrap();
    let gone = name("contract-once.service");
    ground.lay(&gone, "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    ground.units().act(UnitAction::Start, &gone).unwrap();
    assert_eq!(status(ground, &gone).active, "inactive");
    let details = ground.units().details(&gone).unwrap();
    assert_eq!((details.service_type.as_str(), details.remain_after_exit), ("oneshot", false));
}

fn a_condition_that_does_not_hold_is_told(ground: &dyn Ground) {
    let unit = name("contract-conditional.service");
    ground.lay(&unit, &format!("[Unit]\nConditionPathExists=/nonexistent\n{DAEMON}"));
    let called_off = ground.units().act(UnitAction::Start, &unit).unwrap_err();
    assert!(
        matches!(&called_off, UnitError::JobFailed { result, .. } if result == "condition"),
        "{called_off:?}"
    );
    assert_eq!(status(ground, &unit).active, "inactive");
}

fn restart_and_reload_start_nothing_that_is_stopped(ground: &dyn Ground) {
    let unit = name("contract-daemon.service");
    for action in [UnitAction::Restart, UnitAction::ReloadOrRestart] {
        ground.units().act(action, &unit).unwrap();
        assert_eq!(status(ground, &unit).active, "inactive", "{action:?}");
    }
}

fn a_batch_keeps_its_order(ground: &dyn Ground) {
    let units = ["contract-static.service", "contract-nothing.service", "contract-daemon.service"].map(name);
    let asked: Vec<UnitName> =
        ground.units().status(&units).unwrap().into_iter().map(|now| now.name).collect();
    assert_eq!(asked, units);
    assert_eq!(ground.units().status(&[]).unwrap(), []);
    ground.take_away(&units[0]);
    ground.units().daemon_reload().unwrap();
    assert_eq!(status(ground, &units[0]).load, "not-found");
}
