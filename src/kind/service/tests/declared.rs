//! Reading a declaration.

use super::*;
use crate::kind::service::{Wish, unit_name};

#[test]
fn every_field_is_read() {
    let specs = specs(
        "nginx = { enabled = true, state = 'running', reload_on = ['file:/etc/b', 'file:/etc/a', 'file:/etc/b'] }\n\
         'fstrim.timer' = { masked = true, restart_on = ['package:util-linux'] }\n\
         'php8.2-fpm' = { enabled = false, state = 'stopped' }",
    );
    let names: Vec<&str> = specs.keys().map(Key::as_str).collect();
    assert_eq!(names, ["fstrim.timer", "nginx.service", "php8.2-fpm.service"]);
    let nginx = &specs["nginx.service"].spec;
    assert_eq!((nginx.enabled, nginx.state), (Some(true), Some(Wish::Running)));
    let inputs: Vec<String> = nginx.reload_on.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["file:/etc/a", "file:/etc/b"], "sorted, each once: the fingerprint depends on it");
    assert_eq!(Services::inputs(nginx).len(), 2);
    assert_eq!(specs["php8.2-fpm.service"].spec.masked(), None);
    assert_eq!(nginx.masked(), Some(false), "what runs can't be masked");
}

#[test]
fn faults_are_all_told() {
    let cases = [
        ("nginx = 'running'", "wrong-type: a service must be a table, not a string"),
        ("nginx = { state = 'up' }", "bad-value: `up` is no state of a service"),
        ("nginx = { enable = true }", "unknown-key: unknown key `enable` in a service"),
        ("nginx = { restart_on = ['/etc/a'] }", "bad-resource: `/etc/a` names no resource"),
        ("nginx = { restart_on = ['service:php'] }", "bad-resource: a service does not react to another one"),
        (
            "nginx = { masked = true, enabled = true }",
            "contradiction: `nginx.service` can't be masked and enabled",
        ),
        (
            "nginx = { masked = true, state = 'running' }",
            "contradiction: `nginx.service` can't be masked and running",
        ),
        ("agentd = { state = 'stopped' }", "own-goal: without `agentd.service`"),
        ("agentd = { enabled = false }", "own-goal: without `agentd.service`"),
        ("dbus = { masked = true }", "own-goal: without `dbus.service`"),
        ("'poweroff.target' = { state = 'running' }", "own-goal: starting `poweroff.target`"),
        ("systemd-reboot = { state = 'running' }", "own-goal: starting `systemd-reboot.service`"),
    ];
    for (text, expected) in cases {
        let (_, faults) = parse(text);
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{text}: {faults:?}");
    }
    let (_, twice) = parse("nginx = { enabled = true }\n'nginx.service' = { enabled = false }");
    assert!(twice[0].starts_with("duplicate: `nginx.service` is declared twice"), "{twice:?}");
    let (_, fine) = parse("'poweroff.target' = { masked = true }\nagentd = { enabled = true }");
    assert_eq!(fine, [] as [String; 0]);
}

#[test]
fn sixty_hostile_spellings_are_no_unit() {
    let long = "x".repeat(248);
    let hostile = [
        "",
        " ",
        "*",
        "?",
        "[a-z]*",
        "nginx*",
        "nginx?",
        "ngin[x]",
        "{a,b}",
        "!nginx",
        "-",
        "--now",
        "-H",
        "--root=/tmp",
        "-.mount",
        "-.slice",
        ".",
        "..",
        "...",
        "/",
        "a/b",
        "../x",
        "./nginx",
        "/etc/systemd/system/nginx",
        "nginx/..",
        "nginx ",
        " nginx",
        "nginx\n",
        "nginx\t",
        "nginx\0",
        "a b",
        "a;b",
        "a&b",
        "a|b",
        "a$b",
        "$(reboot)",
        "`id`",
        "%i",
        "a%n",
        "a'b",
        "a\"b",
        "a,b",
        "a=b",
        "a+b",
        "a~b",
        "a#b",
        "a(b",
        "a<b",
        "a>b",
        "naïve",
        "ngi\u{200b}nx",
        "nginx\u{202e}",
        "аgentd",
        "nginx@",
        "nginx@.service",
        "@",
        "@.service",
        "@tty1",
        ".service",
        ".socket",
        "nginx.slice",
        "user.slice",
        "dev-sda.swap",
        "x.scope",
        "x.device",
        "proc.automount",
        "\u{7f}",
        "a\u{85}b",
        "a\\\nb",
        long.as_str(),
    ];
    assert!(hostile.len() >= 60);
    for text in hostile {
        assert!(unit_name(text).is_err(), "{text:?} was taken for a unit");
        let key = text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect::<String>();
        let (specs, faults) = parse(&format!("\"{key}\" = {{ state = 'stopped' }}"));
        assert!(
            specs.is_empty() && faults.len() == 1 && faults[0].starts_with("bad-name"),
            "{text:?}: {faults:?}"
        );
    }
    for text in
        ["nginx", "a.b", "a\\x2db", "getty@tty1", "a:b_c", "9p", "x@y@z", "dbus.socket", "var-lib.mount"]
    {
        assert!(unit_name(text).is_ok(), "{text:?}");
    }
}

#[test]
fn a_desired_state_is_checked_whoever_wrote_it() {
    let place = at(7);
    let declared = |spec| Declared {
        spec,
        provenance: Provenance { winner: place.clone(), below: Vec::new() },
        drift: None,
        prune: false,
    };
    let bad_input = Spec { restart_on: vec!["service:b.service".parse().unwrap()], ..Spec::default() };
    let specs = Specs::from([
        (Key::from("--now"), declared(Spec::default())),
        (Key::from("nginx"), declared(Spec::default())),
        (Key::from("a.service"), declared(bad_input)),
    ]);
    let codes: Vec<String> = Services::validate(&specs).into_iter().map(|fault| fault.code).collect();
    assert_eq!(codes, ["bad-name", "bad-resource", "bad-name"]);
}

#[test]
fn what_is_there_can_be_declared() {
    let ground = Ground::new();
    ground.lay("nginx.service", DAEMON);
    ground.lay("a.b.service", DAEMON);
    let specs = specs("nginx = { enabled = true, state = 'running' }\n'a.b' = { masked = true }");
    ground.converges(&specs);
    let declare = |unit: &str| match ground.reading(&specs, unit) {
        Reading::Present(state) => Services::declare(&Key::from(unit), &state),
        other => panic!("{unit}: {other:?}"),
    };
    assert_eq!(declare("nginx.service"), "[services.nginx]\nenabled = true\nstate = \"running\"\n");
    assert_eq!(declare("a.b.service"), "[services.\"a.b\"]\nmasked = true\nstate = \"stopped\"\n");
}

#[test]
fn watches_cover_what_people_do_by_hand() {
    let specs = specs("nginx = { enabled = true }");
    let folders: Vec<String> =
        Services::watches(&specs).into_iter().map(|watch| watch.folder.display().to_string()).collect();
    assert_eq!(
        folders,
        [
            "/etc/systemd/system",
            "/etc/systemd/system/multi-user.target.wants",
            "/etc/systemd/system/timers.target.wants",
            "/etc/systemd/system/sockets.target.wants",
            "/etc/systemd/system/nginx.service.d",
        ]
    );
}
