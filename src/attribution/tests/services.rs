//! Of units: who called them by name, who changed their links.

use super::*;
use crate::host::logins::SudoNote;

const STOPPED: i64 = 210;

/// systemd's note of a job, some seconds after who asked for it was started.
fn job(kind: &str) -> UnitNote {
    let at = Timestamp::from_second(STOPPED).unwrap();
    UnitNote { unit: "nginx.service".into(), at, job: Some(kind.into()), exit: None }
}

/// What the bus told of a call.
fn called(verb: &'static str, pid: Option<u32>, caught: Caught) -> Testimony {
    let told = witness("/", 0, 209_000, caught);
    let subject = Subject::Unit { unit: "nginx.service".into(), verb };
    Testimony { witness: Witness { subject, source: Evidence::Bus, pid, ..told.witness }, ..told }
}

#[test]
fn a_unit_is_asked_of_whoever_called_it_by_its_name() {
    let nginx = question("service:nginx.service", &["state"]);
    let call = |pid, words: &[&str]| image(pid, "/usr/bin/systemctl", words);
    let at = Timestamp::from_second(200).unwrap();
    let job = UnitNote { unit: "nginx.service".into(), at, job: Some("stop".into()), exit: None };
    let of = |notes: Vec<Executed>| {
        told(&nginx, &Gathered { units: vec![job.clone()], ..gathered(notes, vec![]) })
    };
    assert_eq!(
        of(vec![call(200, &["systemctl", "stop", "nginx"])]),
        "likely: /usr/bin/systemctl as root by alice"
    );
    for words in [
        &["systemctl", "status", "nginx"][..],
        &["systemctl", "stop", "apache2"],
        &["systemctl", "enable", "nginx"],
        &["systemctl", "daemon-reload"],
    ] {
        assert!(of(vec![call(200, words)]).starts_with("unknown"), "{words:?}");
    }
    assert!(
        of(vec![call(60, &["systemctl", "stop", "nginx"])]).starts_with("unknown"),
        "before it was right"
    );
    let dbus = [
        "busctl",
        "call",
        "org.freedesktop.systemd1",
        "/x",
        "y",
        "StopUnit",
        "ss",
        "nginx.service",
        "replace",
    ];
    assert!(of(vec![image(200, "/usr/bin/busctl", &dbus)]).starts_with("likely: /usr/bin/busctl"));
    let script = image(200, "/bin/sh", &["/bin/sh", "/usr/sbin/service", "nginx", "stop"]);
    let inner =
        Executed { parent: 200, parent_started: 20_000, ..call(201, &["systemctl", "stop", "nginx"]) };
    assert!(of(vec![script, inner]).starts_with("likely: /usr/bin/systemctl"), "the innermost");
    let other = Executed { login: Some(1001), ..call(202, &["systemctl", "restart", "nginx"]) };
    let two = of(vec![call(200, &["systemctl", "stop", "nginx"]), other]);
    assert!(two.starts_with("unknown: more than one changed it"), "{two}");
    assert!(of(vec![call(200, &["systemctl", "stop", "ngin*"])]).starts_with("likely"));

    let call_of = |unit: &str| call(200, &["systemctl", "show", "-p", "MainPID", unit]);
    assert!(of(vec![call_of("nginx")]).starts_with("unknown"), "only asked");
    let kill = question("service:held-kill.service", &["state"]);
    assert!(told(&kill, &gathered(vec![call_of("held-kill.service")], vec![])).starts_with("unknown"));
    let ben = Executed { uid: 1001, euid: 1001, ..call(200, &["systemctl", "stop", "nginx"]) };
    assert!(of(vec![ben]).contains("may have been refused"), "he may have been refused");

    let at = Timestamp::from_second(200).unwrap();
    let exit = UnitNote { unit: "nginx.service".into(), at, job: None, exit: Some("killed 9".into()) };
    let again = UnitNote { job: Some("start".into()), exit: None, ..exit.clone() };
    let mut by_signal = gathered(vec![call(200, &["systemctl", "stop", "nginx"])], vec![]);
    by_signal.units = vec![exit.clone(), again.clone()];
    assert!(told(&nginx, &by_signal).starts_with("unknown"), "nobody's job ended it");
    by_signal.units.rotate_left(1);
    assert!(told(&nginx, &by_signal).starts_with("likely"), "a job was noted first");
    let mut sent = gathered(vec![call(200, &["systemctl", "kill", "nginx"])], vec![]);
    sent.units = vec![exit, again];
    assert!(told(&nginx, &sent).starts_with("likely"));

    let mut killed = gathered(vec![], vec![]);
    killed.units =
        vec![UnitNote { unit: "nginx.service".into(), at, job: None, exit: Some("killed 9".into()) }];
    assert!(told(&nginx, &killed).ends_with("its main process ended: killed 9"));
    killed.recent = None;
    assert!(told(&nginx, &killed).contains("which programs were started is not known here"));
}

#[test]
fn a_unit_that_was_disabled_by_hand_is_asked_of_who_removed_the_link() {
    let link = "/etc/systemd/system/multi-user.target.wants/nginx.service";
    let nginx = question("service:nginx.service", &["enabled"]);
    let named = Deeds { named: true, ..Deeds::default() };
    let rm = image(200, "/bin/rm", &["rm", link]);
    let by_hand = doing(named, witness(link, 200, 201_000, Caught::Gone(None)));
    assert_eq!(told(&nginx, &gathered(vec![rm], vec![by_hand])), "certain: /bin/rm as root by alice");

    let systemd = ProcessFacts {
        pid: 1,
        executable: Some("/usr/lib/systemd/systemd".into()),
        ..ProcessFacts::default()
    };
    let by_systemd = doing(named, witness(link, 1, 201_000, Caught::Alive(Box::new(systemd))));
    let call = image(200, "/usr/bin/systemctl", &["systemctl", "disable", "nginx"]);
    assert_eq!(
        told(&nginx, &gathered(vec![call], vec![by_systemd.clone()])),
        "likely: /usr/bin/systemctl as root by alice"
    );
    assert!(
        told(&nginx, &gathered(vec![], vec![by_systemd])).starts_with("unknown"),
        "systemd does it for somebody"
    );
}

#[test]
fn whom_the_bus_named_with_the_call_did_it_whatever_its_arguments_are() {
    let nginx = question("service:nginx.service", &["state"]);
    let tool = image(200, "/opt/orchestrate", &["orchestrate", "all"]);
    let alive = Caught::Alive(Box::new(facts(&tool)));
    let seen = |verb| called(verb, Some(200), alive.clone());
    let of = |notes: Vec<Executed>, calls: Vec<Testimony>| {
        let known = Gathered { units: vec![job("stop")], ..gathered(notes, calls) };
        (told(&nginx, &known), attribute(&nginx, &known))
    };
    let (who, attribution) = of(vec![tool.clone()], vec![seen("stop")]);
    assert_eq!(who, "certain: /opt/orchestrate as root by alice");
    assert_eq!(attribution.evidence, [Evidence::Bus, Evidence::Journal]);
    assert_eq!(attribution.reason, "D-Bus named it with the call (process 200); systemd noted the job");
    assert_eq!(attribution.at, Some(Timestamp::from_second(209).unwrap()));
    // What it was by the kernel's notes, if it had ended by then.
    assert!(
        of(vec![tool.clone()], vec![called("stop", Some(200), Caught::Gone(None))]).0.starts_with("certain")
    );
    assert!(
        of(vec![tool.clone()], vec![seen("enable")]).0.starts_with("unknown"),
        "it asked for something else"
    );
    // Two who asked; one who is known by both.
    let call = image(201, "/usr/bin/systemctl", &["systemctl", "stop", "nginx"]);
    let other = Executed { login: Some(1001), ..call };
    let (both, _) = of(vec![tool.clone(), other], vec![seen("stop")]);
    assert!(both.starts_with("unknown: more than one changed it"), "{both}");
    let busctl = image(
        200,
        "/usr/bin/busctl",
        &["busctl", "call", "x", "y", "z", "StopUnit", "ss", "nginx.service", "replace"],
    );
    let by_busctl = called("stop", Some(200), Caught::Alive(Box::new(facts(&busctl))));
    assert!(of(vec![busctl.clone()], vec![by_busctl]).0.starts_with("certain: /usr/bin/busctl"));
    // Nobody could be asked: busctl's arguments tell, systemctl's don't, since root's does not take the bus.
    let gone = || vec![called("stop", None, Caught::Gone(None))];
    assert!(of(vec![busctl], gone()).0.starts_with("likely: /usr/bin/busctl"));
    let systemctl = image(201, "/usr/bin/systemctl", &["systemctl", "stop", "nginx"]);
    assert!(
        of(vec![systemctl], gone())
            .0
            .starts_with("unknown: systemd was asked for it over D-Bus by one who had gone")
    );
    // Not root: it may have been refused.
    let ben = Executed { uid: 1001, euid: 1001, ..tool };
    let by_ben = called("stop", Some(200), Caught::Alive(Box::new(facts(&ben))));
    assert!(of(vec![ben], vec![by_ben]).0.contains("may have been refused"));
}

#[test]
fn a_call_is_certain_only_if_a_job_followed_and_whoever_does_not_take_the_bus_would_be_known() {
    let nginx = question("service:nginx.service", &["state"]);
    let tool = image(200, "/opt/orchestrate", &["orchestrate", "all"]);
    let call = || vec![called("stop", Some(200), Caught::Alive(Box::new(facts(&tool))))];
    let no_job = gathered(vec![tool.clone()], call());
    assert_eq!(told(&nginx, &no_job), "likely: /opt/orchestrate as root by alice");
    let in_container = Gathered { units: vec![job("stop")], recent: None, ..gathered(vec![], call()) };
    assert_eq!(told(&nginx, &in_container), "likely: /opt/orchestrate as root by alice");
}

#[test]
fn where_programs_are_not_noted_sudo_tells_what_it_started_just_before_the_job() {
    let nginx = question("service:nginx.service", &["state"]);
    let note = |pid, at: i64, command: &str| SudoNote {
        pid,
        at: Timestamp::from_second(at).unwrap(),
        login: Some(1000),
        caller: Some(1000),
        session: Some(3),
        runs_as: "root".to_owned(),
        command: command.to_owned(),
    };
    let of = |notes: Vec<SudoNote>, calls: Vec<Testimony>| {
        let mut known = Gathered { units: vec![job("stop")], recent: None, ..gathered(vec![], calls) };
        known.logins.sudo = notes;
        (told(&nginx, &known), attribute(&nginx, &known))
    };
    let stop = "/usr/bin/systemctl --quiet stop nginx";
    let (who, attribution) = of(vec![note(40, STOPPED - 1, stop)], vec![]);
    assert_eq!(who, "likely: /usr/bin/systemctl as root by alice");
    assert_eq!(attribution.evidence, [Evidence::Journal]);
    assert_eq!(
        attribution.reason,
        "sudo was asked to start it with nginx.service and such a verb as its arguments; systemd noted the job; \
         sudo noted the command"
    );
    let (twice, _) = of(vec![note(40, STOPPED - 1, stop), note(40, STOPPED - 1, stop)], vec![]);
    assert_eq!(twice, who, "what is known twice is one");
    let reason = of(vec![note(40, STOPPED - 1, stop); 2], vec![]).1.reason;
    assert!(!reason.contains("processes of the same program"), "{reason}");
    let session = attribution.actor.unwrap().session.unwrap();
    assert_eq!((session.id, session.sudo.as_deref()), (Some(3), Some(stop)));
    for (at, command) in [
        (STOPPED - 60, stop),
        (STOPPED + 1, stop),
        (STOPPED - 1, "/usr/bin/systemctl status nginx"),
        (STOPPED - 1, "/usr/bin/systemctl stop apache2"),
        (STOPPED - 1, "/usr/bin/sh -c systemctl stop nginx"),
    ] {
        assert!(of(vec![note(40, at, command)], vec![]).0.starts_with("unknown"), "{at} {command}");
    }
    let other = SudoNote { login: Some(1001), session: Some(4), ..note(41, STOPPED - 1, stop) };
    assert!(of(vec![note(40, STOPPED - 1, stop), other], vec![]).0.starts_with("unknown: more than one"));
    // The bus named what runs below the very same sudo.
    let call = "/usr/bin/busctl call x y z StopUnit ss nginx.service replace";
    let busctl =
        image(200, "/usr/bin/busctl", &["busctl", "call", "x", "y", "z", "StopUnit", "ss", "nginx.service"]);
    let named = called("stop", Some(200), Caught::Alive(Box::new(facts(&busctl))));
    let (who, attribution) = of(vec![note(30, STOPPED - 1, call)], vec![named]);
    assert_eq!(
        (who.as_str(), attribution.evidence[0]),
        ("likely: /usr/bin/busctl as root by alice", Evidence::Bus)
    );
}
