//! The life of the installed agent: stopped in the middle of its work, and told to read its settings again.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Deb, Host, Lab, Suite, run};

const LIMIT: Duration = Duration::from_secs(120);

/// Looks at everything once an hour: what is put right within a test was noticed, or asked for.
const SETTINGS: &str = r#"
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
fn declare(lab: &Lab, host: &Host, files: &[(&str, &str)]) {
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

fn property(host: &Host, unit: &str, name: &str) -> String {
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
