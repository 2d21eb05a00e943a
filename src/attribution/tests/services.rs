//! Of units: who called them by name, who changed their links.

use super::*;

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
