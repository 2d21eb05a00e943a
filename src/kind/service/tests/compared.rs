//! Declared against observed: one line each.

use super::*;
use crate::kind::service::{Activity, Boot, Load, Spec, diff};

fn state(boot: Boot, activity: Activity) -> State {
    State { load: Load::Loaded, boot, activity, stale: false, passing: false, start_owed: false }
}

fn spec(text: &str) -> Spec {
    specs(&format!("x = {{ {text} }}")).remove("x.service").unwrap().spec
}

/// `fields -> changes`, with what it waits for or fails by.
fn compare(spec: &Spec, state: Option<&State>, levels: &Hand) -> String {
    let Some(difference) = diff::difference(&Key::from("x.service"), spec, state, levels) else {
        return "as declared".into();
    };
    let fields: Vec<&str> = difference.fields.iter().map(|field| field.field.as_str()).collect();
    let changes: Vec<String> = difference.changes.iter().map(ToString::to_string).collect();
    let mut line = format!("{} -> {}", fields.join(", "), changes.join(", "));
    if let Some(waiting) = difference.waiting {
        line += &format!(" waits for {waiting}");
    }
    if let Some(failing) = difference.failing {
        line += &format!(" fails: {failing}");
    }
    line
}

#[track_caller]
fn check(declared: &str, boot: Boot, activity: Activity, expected: &str) {
    assert_eq!(compare(&spec(declared), Some(&state(boot, activity)), &Hand::default()), expected);
}

const UP: &str = "enabled = true, state = 'running'";

#[test]
fn what_should_run_is_started() {
    check(UP, Boot::Enabled, Activity::Running, "as declared");
    check(UP, Boot::Enabled, Activity::Stopped, "state -> start");
    check(UP, Boot::Enabled, Activity::Stopping, "state -> start");
    check(UP, Boot::Disabled, Activity::Stopped, "enabled, state -> enable, start");
    check(UP, Boot::EnabledForNow, Activity::Running, "enabled -> enable");
    check(UP, Boot::Masked, Activity::Stopped, "masked, state -> unmask, enable, start");
    check(UP, Boot::MaskedForNow, Activity::Running, "masked -> unmask, enable");
    check(UP, Boot::Enabled, Activity::Starting, "state ->  waits for its start, which is under way");
}

#[test]
fn what_crashed_is_left_to_its_own_restart_and_then_started_again() {
    let restarting = Activity::Restarting("signal".into());
    let left = "state ->  fails: it ended (signal) and is left to its own Restart=";
    check(UP, Boot::Enabled, restarting, left);
    let given_up = Activity::Failed("start-limit-hit".into());
    check(
        UP,
        Boot::Enabled,
        given_up,
        "state -> start again (it failed: start-limit-hit) \
         fails: it failed (start-limit-hit): `journalctl -u x.service` says why",
    );
}

#[test]
fn what_should_rest_is_stopped() {
    let down = "enabled = false, state = 'stopped'";
    check(down, Boot::Disabled, Activity::Stopped, "as declared");
    check(down, Boot::Disabled, Activity::Failed("signal".into()), "as declared");
    check(down, Boot::Enabled, Activity::Running, "enabled, state -> disable, stop");
    check(down, Boot::Masked, Activity::Restarting("signal".into()), "state -> stop");
    check(down, Boot::Disabled, Activity::Stopping, "state ->  waits for its stop, which is under way");
    check("masked = true", Boot::Enabled, Activity::Running, "masked -> mask");
    check("masked = true", Boot::MaskedForNow, Activity::Stopped, "masked -> mask");
    check("masked = false", Boot::Masked, Activity::Stopped, "masked -> unmask");
}

#[test]
fn a_field_that_is_left_out_is_not_managed() {
    for activity in [Activity::Running, Activity::Stopped, Activity::Failed("signal".into())] {
        check("enabled = true", Boot::Enabled, activity.clone(), "as declared");
        check("", Boot::Masked, activity, "as declared");
    }
    for boot in [Boot::Enabled, Boot::Disabled, Boot::Fixed("static".into())] {
        check("state = 'running'", boot.clone(), Activity::Running, "as declared");
        check("state = 'stopped'", boot, Activity::Stopped, "as declared");
    }
}

#[test]
fn what_can_be_neither_enabled_nor_disabled_is_said_once_and_never_tried() {
    let fixed = |word: &str| Boot::Fixed(word.into());
    let fails = |word: &str| {
        let line =
            compare(&spec("enabled = true"), Some(&state(fixed(word), Activity::Running)), &Hand::default());
        assert!(
            line.starts_with(&format!("enabled ->  fails: x.service can't be enabled ({word}): ")),
            "{line}"
        );
    };
    let words = ["static", "indirect", "alias", "generated", "transient", "bad", "without a unit file"];
    words.into_iter().for_each(fails);
    check("enabled = false", fixed("static"), Activity::Stopped, "as declared");
    check("enabled = false", fixed("indirect"), Activity::Stopped, "as declared");
    let generated = compare(
        &spec("enabled = false"),
        Some(&state(fixed("generated"), Activity::Running)),
        &Hand::default(),
    );
    assert!(generated.contains("can't be disabled (generated)"), "{generated}");
}

#[test]
fn a_unit_that_is_not_there_is_waited_for_or_missed_by_nobody() {
    let none = |declared: &str| compare(&spec(declared), None, &Hand::default());
    let waits = "waits for the unit x.service, which a package or a file must bring";
    assert_eq!(none(UP), format!("enabled, state ->  {waits}"));
    assert_eq!(none("enabled = false, state = 'stopped'"), "as declared");
    assert_eq!(none("masked = true, state = 'stopped'"), "masked -> mask");
    assert_eq!(none("restart_on = ['file:/a']"), "as declared");
}

#[test]
fn files_that_changed_are_read_again_and_a_broken_unit_is_said() {
    let stale = State { stale: true, ..state(Boot::Enabled, Activity::Running) };
    assert_eq!(compare(&spec(UP), Some(&stale), &Hand::default()), "unit file -> read its unit file again");
    let broken =
        State { load: Load::Broken("bad-setting".into()), ..state(Boot::Enabled, Activity::Stopped) };
    let line = compare(&spec(UP), Some(&broken), &Hand::default());
    assert!(
        line.starts_with("unit file ->  fails: systemd can't read its unit file (bad-setting)"),
        "{line}"
    );
    let mended = State { stale: true, ..broken };
    assert_eq!(
        compare(&spec(UP), Some(&mended), &Hand::default()),
        "unit file, state -> read its unit file again, start"
    );
}

#[test]
fn a_oneshot_that_does_not_stay_is_never_run_to_make_it_run() {
    let passing = State { passing: true, ..state(Boot::Enabled, Activity::Stopped) };
    let line = compare(&spec(UP), Some(&passing), &Hand::default());
    assert!(line.starts_with("state ->  fails: x.service is a oneshot"), "{line}");
}

#[test]
fn reactions_are_levels() {
    let both = "state = 'running', restart_on = ['file:/a'], reload_on = ['file:/b']";
    let reload = "state = 'running', reload_on = ['file:/b']";
    let running = state(Boot::Enabled, Activity::Running);
    let seen = |level| BTreeMap::from([(Reaction::Restart, level), (Reaction::Reload, level)]);
    let levels = |changing, now, seen| Hand { changing, now, seen };
    let line = |declared: &str, state: &State, levels: Hand| compare(&spec(declared), Some(state), &levels);

    assert_eq!(line(reload, &running, levels(false, 3, seen(3))), "as declared");
    assert_eq!(line(reload, &running, levels(false, 4, seen(3))), "reload_on -> reload");
    assert_eq!(line(reload, &running, levels(true, 3, seen(3))), "reload_on -> reload");
    assert_eq!(
        line(reload, &running, levels(false, 3, BTreeMap::new())),
        "as declared",
        "a baseline is taken"
    );
    assert_eq!(
        line(both, &running, levels(false, 4, seen(3))),
        "restart_on -> restart",
        "it covers the reload"
    );

    let stopped = state(Boot::Enabled, Activity::Stopped);
    assert_eq!(line(both, &stopped, levels(false, 4, seen(3))), "state -> start", "a start takes notice");
    let resting = "state = 'stopped', restart_on = ['file:/a']";
    assert_eq!(line(resting, &running, levels(false, 4, seen(3))), "state -> stop");
    assert_eq!(
        line(resting, &stopped, levels(false, 4, seen(3))),
        "as declared",
        "nothing is owed to what rests"
    );
    let unmanaged = "restart_on = ['file:/a']";
    assert_eq!(line(unmanaged, &running, levels(false, 4, seen(3))), "restart_on -> restart");
    assert_eq!(line(unmanaged, &stopped, levels(false, 4, seen(3))), "as declared");
}

#[test]
fn what_is_no_longer_declared_is_stopped_and_disabled_if_it_is_on() {
    let key = Key::from("x.service");
    let retire = diff::pruned(&key, Some(&state(Boot::Enabled, Activity::Stopped))).unwrap();
    assert_eq!(retire.changes, [Change::Retire]);
    assert_eq!(diff::pruned(&key, None), None);
}
