//! Changes against a systemd with semantics.

use super::*;
use crate::host::units::{UnitAction, UnitFileAction, Units};
use crate::kind::service::Before;

fn outcome(ground: &Ground, specs: &Specs<Spec>) -> OutcomeResult {
    ground.apply(specs, &ground.differences(specs, &[], &Hand::default())).remove(0)
}

fn message(result: &OutcomeResult) -> &str {
    match result {
        OutcomeResult::Failed { message } => message,
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn a_batch_of_services_is_enabled_in_one_call_and_started() {
    let ground = Ground::new();
    for unit in ["a.service", "b.service", "c.service"] {
        ground.lay(unit, DAEMON);
    }
    let text =
        ["a", "b", "c"].map(|unit| format!("{unit} = {{ enabled = true, state = 'running' }}\n")).concat();
    let done = ground.converges(&specs(&text));
    let expected = [
        "enable a.service",
        "enable b.service",
        "enable c.service",
        "start a.service",
        "start b.service",
        "start c.service",
    ];
    assert_eq!(done, expected);
}

#[test]
fn a_second_look_right_after_changes_nothing() {
    let ground = Ground::new();
    ground.lay("nginx.service", DAEMON);
    let specs = specs("nginx = { enabled = true, state = 'running' }");
    ground.converges(&specs);
    assert_eq!(ground.converges(&specs), [] as [String; 0]);
}

#[test]
fn every_manual_change_is_undone() {
    let ground = Ground::new();
    ground.lay("nginx.service", DAEMON);
    let specs = specs("nginx = { enabled = true, state = 'running' }");
    ground.converges(&specs);
    let nginx = [name("nginx.service")];
    ground.units.act(UnitAction::Stop, &nginx[0]).unwrap();
    assert_eq!(ground.converges(&specs), ["start nginx.service"]);
    ground.units.change_files(UnitFileAction::Disable, &nginx).unwrap();
    assert_eq!(ground.converges(&specs), ["enable nginx.service"]);
    ground.units.change_files(UnitFileAction::Mask, &nginx).unwrap();
    ground.units.act(UnitAction::Stop, &nginx[0]).unwrap();
    assert_eq!(
        ground.converges(&specs),
        ["unmask nginx.service", "enable nginx.service", "start nginx.service"]
    );
}

#[test]
fn changed_unit_files_are_read_once_for_all_units_before_anything_is_done() {
    let ground = Ground::new();
    ground.lay("a.service", DAEMON);
    ground.lay("b.service", DAEMON);
    let specs = specs("a = { state = 'running' }\nb = { state = 'running' }");
    ground.converges(&specs);
    ground.lay("a.service", &format!("[Unit]\nDescription=other\n{DAEMON}"));
    ground.lay("b.service", &format!("[Unit]\nDescription=other\n{DAEMON}"));
    assert_eq!(ground.converges(&specs), ["daemon-reload"]);
}

#[test]
fn a_restart_reads_a_unit_file_that_was_laid_after_the_look() {
    let ground = Ground::new();
    ground.lay("a.service", DAEMON);
    let specs = specs("a = { state = 'running', restart_on = ['file:/etc/systemd/system/a.service'] }");
    ground.converges(&specs);
    let about_to_change = Hand { changing: true, ..Hand::default() };
    let owed = ground.differences(&specs, &[], &about_to_change);
    assert_eq!(owed[0].changes, [Change::Restart]);
    ground.lay("a.service", &format!("[Unit]\nDescription=other\n{DAEMON}"));
    let before = ground.units.log().len();
    assert_eq!(ground.apply(&specs, &owed), [OutcomeResult::Done]);
    assert_eq!(ground.units.log().split_off(before), ["daemon-reload", "restart a.service"]);
}

#[test]
fn a_unit_that_fails_to_start_is_failed_with_its_journal() {
    let ground = Ground::new();
    ground.lay("a.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    ground.lay("b.service", "[Service]\nExecStart=/bin/false\n");
    let start = Planned { key: Key::from("a.service"), spec: None, change: Change::Start(Before::Off) };
    let a = crate::kind::service::apply::apply(&ground.host, &[start]).remove(0);
    assert!(message(&a).starts_with("start of a.service ended with `failed`"), "{a:?}");
    let b = outcome(&ground, &specs("b = { state = 'running' }"));
    assert!(message(&b).starts_with("b.service ended right after its start (exit-code)"), "{b:?}");
    assert!(message(&b).ends_with("\n  first words\n   [31mlast words"), "no control characters: {b:?}");
}

#[test]
fn a_crashed_unit_is_left_alone_until_systemd_gives_up_and_then_reset_and_started() {
    let ground = Ground::new();
    ground.lay("a.service", &format!("[Service]\nRestart=always\n{DAEMON}"));
    let specs = specs("a = { state = 'running' }");
    ground.converges(&specs);
    ground.units.kill(&name("a.service"));
    let left = ground.differences(&specs, &[], &Hand::default());
    assert_eq!(left[0].changes, []);
    assert!(left[0].failing.is_some());
    ground.units.settle();
    assert_eq!(ground.differences(&specs, &[], &Hand::default()), []);
    // It may be started five times in a row; then systemd gives up.
    for _ in 0..5 {
        ground.units.kill(&name("a.service"));
        ground.units.settle();
    }
    let given_up = ground.differences(&specs, &[], &Hand::default());
    assert_eq!(given_up[0].changes, [Change::Start(Before::Failed("start-limit-hit".into()))]);
    assert_eq!(ground.converges(&specs), ["reset a.service", "start a.service"]);
}

#[test]
fn one_bad_unit_of_a_batch_does_not_hinder_the_others() {
    let ground = Ground::new();
    ground.lay("a.service", DAEMON);
    let specs = specs("a = { enabled = true }\nb = { enabled = true }");
    let changes = [("a.service", Change::Enable(Before::Off)), ("b.service", Change::Enable(Before::Off))];
    let planned = changes.map(|(key, change)| Planned { key: Key::from(key), spec: None, change });
    let results = crate::kind::service::apply::apply(&ground.host, &planned);
    assert_eq!(results[0], OutcomeResult::Done);
    assert!(message(&results[1]).contains("b.service"), "{results:?}");
    assert_eq!(ground.differences(&specs, &[], &Hand::default()).len(), 1);
}

#[test]
fn a_condition_that_does_not_hold_is_told_and_not_called_drift_undone() {
    let ground = Ground::new();
    ground.lay("a.service", &format!("[Unit]\nConditionPathExists=/nonexistent\n{DAEMON}"));
    let result = outcome(&ground, &specs("a = { state = 'running' }"));
    assert!(message(&result).contains("a Condition…= of its unit file does not hold"), "{result:?}");
}

#[test]
fn nothing_is_known_while_systemd_does_not_answer() {
    let ground = Ground::new();
    ground.units.set_reachable(false);
    let specs = specs("a = { state = 'stopped' }");
    let want = Want { specs: &specs, prune: &BTreeSet::new(), only: None };
    let blind = Services::default().observe(&ground.host, &want).unwrap_err();
    assert!(blind.to_string().contains("systemd does not answer"), "{blind}");
}

#[test]
fn what_was_turned_on_by_us_may_be_given_up_and_is_gone_then() {
    let ground = Ground::new();
    ground.lay("a.service", DAEMON);
    let declared = specs("a = { enabled = true, state = 'running' }");
    let differences = ground.differences(&declared, &[], &Hand::default());
    assert!(differences[0].changes.iter().any(crate::kind::Change::brings), "{differences:?}");
    ground.converges(&declared);
    ground.units.act(UnitAction::Stop, &name("a.service")).unwrap();
    let stopped = ground.differences(&declared, &[], &Hand::default());
    assert!(
        !stopped[0].changes.iter().any(crate::kind::Change::brings),
        "it was ours or not before: {stopped:?}"
    );
    ground.converges(&declared);

    let dropped = Specs::new();
    let retire = ground.differences(&dropped, &["a.service"], &Hand::default());
    assert_eq!(retire[0].changes, [Change::Retire]);
    assert_eq!(ground.apply(&dropped, &retire), [OutcomeResult::Done]);
    assert_eq!(ground.differences(&dropped, &["a.service"], &Hand::default()), []);
}

#[test]
fn what_systemd_says_as_before_is_an_echo_and_any_other_word_is_news() {
    let ground = Ground::new();
    ground.lay("a.service", DAEMON);
    ground.lay("b.service", DAEMON);
    let specs = specs("a = { state = 'running' }\nb = { enabled = true }");
    let (a, b) = (Key::from("a.service"), Key::from("b.service"));
    let mut kind = Services::default();
    let untouched = |kind: &Services, key: Option<&Key>| kind.is_untouched(&ground.host, key);
    assert!(!untouched(&kind, None) && !untouched(&kind, Some(&a)), "nothing was read yet");
    let look = |kind: &mut Services, only: Option<&BTreeSet<Key>>| {
        kind.observe(&ground.host, &Want { specs: &specs, prune: &BTreeSet::new(), only }).unwrap();
    };
    look(&mut kind, None);
    assert!(untouched(&kind, None) && untouched(&kind, Some(&a)));
    ground.units.act(UnitAction::Start, &name("a.service")).unwrap();
    assert!(!untouched(&kind, None) && !untouched(&kind, Some(&a)) && untouched(&kind, Some(&b)));
    look(&mut kind, Some(&BTreeSet::from([a.clone()])));
    assert!(untouched(&kind, None), "one look at what moved is enough");
    ground.units.change_files(UnitFileAction::Enable, &[name("b.service")]).unwrap();
    assert!(!untouched(&kind, None) && untouched(&kind, Some(&a)));
    ground.units.set_reachable(false);
    assert!(!untouched(&kind, Some(&a)), "what can't be asked is not proven");
}
