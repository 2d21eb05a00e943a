//! The life of the installed agent: stopped in the middle of its work, and told to read its settings again.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Deb, Host, Lab, Suite, run};
use crate::signals::status;

const LIMIT: Duration = Duration::from_secs(120);

/// Looks at everything once an hour: what is put right within a test was noticed, or asked for.
pub const SETTINGS: &str = r#"
mode = "enabled"
full_pass = "1h"
interval = "1h"
[source]
url = "/srv/fleet"
branch = "main"
"#;

/// Waits for a word, and leaves a line each time it runs.
const SLOW: &str = "echo ran >> /var/log/slowd\nuntil [ -e /run/go ]; do sleep 0.1; done\n";

/// Lays a repository of these files on the host.
pub fn declare(lab: &Lab, host: &Host, files: &[(&str, &str)]) {
    let folder = lab.folder("fleet");
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    commit(&folder);
    host.copy_in(&folder, "/srv/fleet");
}

fn commit(folder: &Path) {
    let git = |arguments: &[&str]| {
        let who = ["-C", folder.to_str().unwrap(), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        run(&[&["git"], &who[..], arguments].concat()).ok();
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=the fleet"]);
}

pub fn property(host: &Host, unit: &str, name: &str) -> String {
    let property = format!("--property={name}");
    host.run(&["systemctl", "show", "--value", &property, unit]).ok().trim().to_owned()
}

#[test]
fn stopped_in_the_middle_of_apt_it_ends_well_and_the_next_start_takes_up_the_work() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        archive.add(&Deb::new("slowd", "1.0").postinst(SLOW)).publish(&host);
        host.run(&["apt-get", "update"]).ok();
        host.install_agent();
        declare(
            &lab,
            &host,
            &[
                ("fleet.toml", "schema = 1\n"),
                ("hosts/all.toml", "[match]\nhostname = \"*\"\n[packages]\nslowd = \"*\"\n"),
            ],
        );
        host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
        host.run(&["systemctl", "restart", "--no-block", "agentd"]).ok();
        host.wait_until("apt is at work", LIMIT, || host.exists("/var/log/slowd"));
        let apt = property(&host, "agentd-apt.service", "MainPID");

        host.run(&["systemctl", "stop", "agentd"]).ok();
        // Not `timeout`, and not by a signal.
        assert_eq!(property(&host, "agentd", "Result"), "success", "{suite:?}");
        assert_eq!(property(&host, "agentd", "ExecMainStatus"), "0", "{suite:?}");
        assert_eq!(property(&host, "agentd-apt.service", "MainPID"), apt, "apt goes on: {suite:?}");

        host.run(&["systemctl", "start", "--no-block", "agentd"]).ok();
        host.wait_until("it listens again", LIMIT, || !host.run(&["agentctl", "status"]).stdout.is_empty());
        assert_eq!(property(&host, "agentd-apt.service", "MainPID"), apt, "it is waited for: {suite:?}");
        host.sh("touch /run/go").ok();
        host.wait_until("all is as declared", LIMIT, || host.run(&["agentctl", "status"]).success());
        assert_eq!(host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "slowd"]).ok(), "installed");
        assert_eq!(host.read("/var/log/slowd"), "ran\n", "once: {suite:?}");
    }
}

#[test]
fn settings_that_are_read_again_are_obeyed_without_another_commit() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    let motd = |text: &str| format!("[files.\"/etc/motd\"]\ncontent = \"{text}\\n\"\n");
    declare(
        &lab,
        &host,
        &[
            ("fleet.toml", "schema = 1\n"),
            ("hosts/web-1.toml", &motd("one")),
            ("hosts/web-2.toml", &motd("two")),
        ],
    );
    host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("it follows", LIMIT, || host.read("/etc/motd") == "one\n");
    let pid = property(&host, "agentd", "MainPID");
    host.write("/etc/agentd/agent.toml.d/name.toml", "host = \"web-2\"\n");
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("it is another host now", LIMIT, || host.read("/etc/motd") == "two\n");
    assert_eq!(property(&host, "agentd", "MainPID"), pid, "the same agent");
}

#[test]
fn a_host_of_another_release_is_compiled_for_with_the_next_full_pass() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    let files = [
        ("fleet.toml", "schema = 1\n"),
        (
            "hosts/all.toml",
            "[match]\nhostname = \"*\"\n[files.\"/etc/motd\"]\ntemplate = \"files/motd.j2\"\n",
        ),
        ("files/motd.j2", "{{ facts.os_version }}\n"),
    ];
    declare(&lab, &host, &files);
    host.write(
        "/etc/agentd/agent.toml.d/lab.toml",
        &SETTINGS.replace("full_pass = \"1h\"", "full_pass = \"10s\""),
    );
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("it follows", LIMIT, || host.read("/etc/motd") == "12\n");
    host.sh("sed -i 's/^VERSION_ID=.*/VERSION_ID=\"13\"/' /usr/lib/os-release").ok();
    host.wait_until("it is compiled for the new release", LIMIT, || host.read("/etc/motd") == "13\n");
}

#[test]
fn an_agent_that_dies_in_whatever_way_is_back_and_holds_the_host() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Trixie, "web-1");
    host.install_agent();
    let files = [
        ("fleet.toml", "schema = 1\n"),
        ("hosts/all.toml", "[match]\nhostname = \"*\"\n[files.\"/etc/motd\"]\ncontent = \"held\\n\"\n"),
    ];
    declare(&lab, &host, &files);
    host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("it follows", LIMIT, || host.read("/etc/motd") == "held\n");
    // A panic aborts; the kernel kills; and more often than any limit on starts would let pass. Not by SEGV: the
    // language's own handler takes one that comes from outside for nothing.
    for signal in ["ABRT", "KILL", "ILL", "ABRT", "KILL", "ILL"] {
        let pid = property(&host, "agentd", "MainPID");
        host.run(&["systemctl", "kill", "--kill-whom=main", &format!("--signal={signal}"), "agentd"]).ok();
        host.wait_until("another one runs", LIMIT, || {
            let now = property(&host, "agentd", "MainPID");
            now != pid && now != "0" && property(&host, "agentd", "ActiveState") == "active"
        });
    }
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the file is put right", LIMIT, || host.read("/etc/motd") == "held\n");
}

/// A shorter patience than in life, for the length of a test.
fn impatient(host: &Host, seconds: u32) {
    host.write(
        "/etc/systemd/system/agentd.service.d/patience.conf",
        &format!("[Service]\nWatchdogSec={seconds}s\n"),
    );
    host.run(&["systemctl", "daemon-reload"]).ok();
}

pub const MOTD: [(&str, &str); 2] = [
    ("fleet.toml", "schema = 1\n"),
    ("hosts/all.toml", "[match]\nhostname = \"*\"\n[files.\"/etc/motd\"]\ncontent = \"held\\n\"\n"),
];

/// The thread of the agent that touches the host, by its number outside the host.
fn pass_thread(host: &Host) -> String {
    // Every process of the host is a child of its leader, however far down.
    let found =
        run(&["pgrep", "--ns", &host.leader().to_string(), "--nslist", "pid", "--exact", "agentd"]).ok();
    let threads = found.lines().flat_map(|pid| {
        let folder = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        folder.flatten().map(|entry| entry.path())
    });
    let named: Vec<_> = threads
        .filter(|path| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "pass\n"))
        .collect();
    let [one] = &named[..] else { panic!("one thread of that name: {named:?}") };
    one.file_name().unwrap().to_string_lossy().into_owned()
}

/// The remote is asked all the while, which proves nothing about the pass that hangs.
#[test]
fn a_pass_that_hangs_is_ended_by_the_watchdog_and_the_next_one_puts_the_host_right() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    declare(&lab, &host, &MOTD);
    impatient(&host, 20);
    host.write(
        "/etc/agentd/agent.toml.d/lab.toml",
        &SETTINGS.replace("interval = \"1h\"", "interval = \"5s\""),
    );
    host.run(&["systemctl", "restart", "agentd"]).ok();
    host.wait_until("it follows", LIMIT, || host.read("/etc/motd") == "held\n");
    host.wait_until("all is well", LIMIT, || host.run(&["agentctl", "status"]).success());
    assert_eq!(property(&host, "agentd", "NRestarts"), "0");

    // From now on nothing that the thread reads of the host is answered.
    let mut hang = std::process::Command::new("strace");
    hang.args(["--quiet=all", "--output=/dev/null", "--attach", &pass_thread(&host)]);
    hang.args(["--inject=statx,openat,openat2:delay_enter=600s"]);
    let mut hang = hang.spawn().expect("strace holds the thread up");
    let is_held = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", pass_thread(&host))).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    host.wait_until("the thread is held", LIMIT, is_held);
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the watchdog ends it", LIMIT, || property(&host, "agentd", "Result") == "watchdog");
    // Held up like this, a thread can't even end.
    hang.kill().expect("strace is ended");
    hang.wait().expect("strace ends");
    host.wait_until("another one runs", LIMIT, || property(&host, "agentd", "NRestarts") != "0");
    host.wait_until("the file is put right", LIMIT, || host.read("/etc/motd") == "held\n");
    host.run(&["journalctl", "--sync"]).ok();
    let journal = host.run(&["journalctl", "--unit=agentd", "--output=cat", "--no-pager"]).ok();
    assert!(journal.contains("with result 'watchdog'"), "{journal}");
    assert_eq!(property(&host, "agentd", "NRestarts"), "1");
}

#[test]
fn a_long_run_of_apt_is_no_hang_and_a_pass_tells_how_the_host_stands() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        archive.add(&Deb::new("slowd", "1.0").postinst(SLOW)).publish(&host);
        host.run(&["apt-get", "update"]).ok();
        host.install_agent();
        let role = format!("{}[packages]\nslowd = \"*\"\n", MOTD[1].1);
        declare(&lab, &host, &[MOTD[0], (MOTD[1].0, &role)]);
        impatient(&host, 30);
        host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
        // Ready as soon as the host was looked at, although the pass goes on.
        host.run(&["systemctl", "restart", "agentd"]).ok();
        host.wait_until("apt is at work", LIMIT, || host.exists("/var/log/slowd"));
        let began = std::time::Instant::now();
        // One and a half times the watchdog's patience.
        host.wait_until("apt was long at work", LIMIT, || began.elapsed() > Duration::from_secs(45));
        assert_eq!(property(&host, "agentd", "NRestarts"), "0", "{suite:?}");
        host.sh("touch /run/go").ok();
        host.wait_until("all is as declared", LIMIT, || host.run(&["agentctl", "status"]).success());
        assert_eq!(property(&host, "agentd", "NRestarts"), "0", "{suite:?}");
        // The manager is told a moment after those who ask.
        let text = || property(&host, "agentd", "StatusText");
        host.wait_until("the manager is told", LIMIT, || text().starts_with("Synced, Healthy, at "));
        assert_eq!(text().rsplit(' ').next().map(str::len), Some(12), "{}", text());
        host.write("/etc/agentd/agent.toml.d/warn.toml", "mode = \"warn\"\n");
        host.run(&["systemctl", "reload", "agentd"]).ok();
        // Until the settings are read, and the pass after that is over, it would be put right.
        host.wait_until("it only warns", LIMIT, || status(&host)["mode"] == "warn");
        host.run(&["agentctl", "sync"]).ok();
        host.sh("echo vandal > /etc/motd").ok();
        host.wait_until("it is told", LIMIT, || {
            property(&host, "agentd", "StatusText").starts_with("OutOfSync (Drifted), Healthy, at ")
        });
    }
}

/// Programs that compile as they run need memory that is written and executed; those that leave files for others make
/// them readable.
#[test]
fn a_check_is_run_as_a_person_would_run_it() {
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    let script = "use strict; my $p = syscall(9, 0, 4096, 7, 34, -1, 0); die \"mmap: $!\" if $p == -1;                   umask() == 022 or die 'umask'; exit 0;";
    let role = format!(
        "{}check = ['/usr/bin/perl', '-e', '{}', '{{new}}']\n",
        MOTD[1].1,
        script.replace('\'', "\"")
    );
    declare(&lab, &host, &[MOTD[0], (MOTD[1].0, &role)]);
    host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("the check passed", LIMIT, || {
        let status = host.run(&["agentctl", "status"]);
        assert!(!status.stdout.contains("refused it"), "{status}");
        host.read("/etc/motd") == "held\n"
    });
}

/// Dependents wait for a look at the host, and not for what is to be changed on it.
#[test]
fn it_is_ready_once_it_has_looked_and_not_before() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        host.install_agent();
        // The check waits for a word when it is told to.
        let check = "#!/bin/sh\nuntil [ ! -e /run/wait ]; do sleep 0.1; done\n";
        host.write("/usr/local/bin/slow-check", check);
        host.run(&["chmod", "755", "/usr/local/bin/slow-check"]).ok();
        let all = "[match]\nhostname = \"*\"\n[services]\ncron = { state = \"running\" }\n[files.\"/etc/motd\"]\n\
                   content = \"held\\n\"\ncheck = [\"/usr/local/bin/slow-check\", \"{new}\"]\n";
        declare(&lab, &host, &[("fleet.toml", "schema = 1\n"), ("hosts/all.toml", all)]);
        host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
        host.run(&["systemctl", "reload", "agentd"]).ok();
        host.wait_until("it follows", LIMIT, || host.run(&["agentctl", "status"]).success());
        assert_eq!(host.read("/etc/motd"), "held\n");

        host.sh("touch /run/wait; systemctl stop agentd; echo by hand > /etc/motd").ok();
        host.run(&["systemctl", "start", "agentd"]).ok();
        assert_eq!(property(&host, "agentd", "ActiveState"), "active", "the pass is not over");
        assert_eq!(host.read("/etc/motd"), "by hand\n", "the check still waits");
        host.sh("rm /run/wait").ok();
        host.wait_until("it is put right", LIMIT, || host.read("/etc/motd") == "held\n");
        host.wait_until("all is well", LIMIT, || host.run(&["agentctl", "status"]).success());

        // A first look that can't be made yet: the bus that it asks does not answer.
        host.sh("systemctl kill --signal=STOP dbus; systemctl restart --no-block agentd").ok();
        host.wait_until("it answers", LIMIT, || !host.run(&["agentctl", "status"]).stdout.is_empty());
        let state = property(&host, "agentd", "ActiveState");
        host.sh("systemctl kill --signal=CONT dbus").ok();
        assert_eq!(state, "activating", "it has not looked yet");
        host.wait_until("it is ready", LIMIT, || property(&host, "agentd", "ActiveState") == "active");
    }
}
