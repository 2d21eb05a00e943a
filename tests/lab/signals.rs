//! What wakes the agent: units, rules and packages are put right as soon as they were changed. Everything is looked at
//! only once an hour here, so that whatever is put right within a test was noticed by a watch.

use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Host, Lab, Suite, run};

/// How long anything may take on a busy machine; far below the interval of the full pass.
pub const LIMIT: Duration = Duration::from_secs(90);

const SETTINGS: &str = r#"
mode = "enabled"
full_pass = "1h"
interval = "1h"
[source]
url = "/srv/fleet"
branch = "main"
[guard]
confirm = "off"
"#;

/// Units that people, crashes and we ourselves start: each start is a line of its own in the journal.
pub fn ship(host: &Host, unit: &str, service: &str) {
    let text = format!(
        "[Unit]\nDescription=the {unit}\n[Service]\nExecStart=/bin/sleep infinity\n{service}\n[Install]\nWantedBy=multi-user.target\n"
    );
    host.write(&format!("/etc/systemd/system/{unit}.service"), &text);
    host.run(&["systemctl", "daemon-reload"]).ok();
}

/// A host with the agent on it, held to a role.
pub fn hold(lab: &Lab, host: &Host, role: &str) {
    declare(lab, host, role);
    host.wait_until("the host was looked at and put right", LIMIT, || {
        // Not of the last pass alone: a watch may have had its say since the full one.
        let status = status(host);
        status["applied"]["commit"].is_string() && status["last_pass"]["failed"] == 0
    });
    host.wait_until("the agent is ready", LIMIT, || condition(host, "Ready") == Some(true));
    host.wait_until("all watches live", LIMIT, || condition(host, "WatchesLive") == Some(true));
}

/// A host with the agent on it, which is told a role.
pub fn declare(lab: &Lab, host: &Host, role: &str) {
    host.install_agent();
    let folder = lab.folder("fleet");
    put(&folder, "fleet.toml", "schema = 1\n");
    put(&folder, "hosts/all.toml", "roles = [\"all\"]\n[match]\nhostname = \"*\"\n");
    put(&folder, "roles/all.toml", role);
    let git = |arguments: &[&str]| {
        let at = folder.to_str().unwrap();
        let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        run(&[&["git", "-C", at], &who[..], arguments].concat()).ok();
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=the fleet"]);
    host.copy_in(&folder, "/srv/fleet");
    host.write("/etc/agentd/agent.toml.d/lab.toml", SETTINGS);
    host.run(&["systemctl", "restart", "agentd"]).ok();
}

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub fn status(host: &Host) -> Json {
    serde_json::from_str(&host.run(&["agentctl", "status", "--json"]).stdout).unwrap_or_default()
}

fn condition(host: &Host, kind: &str) -> Option<bool> {
    let status = status(host);
    status["conditions"].as_array()?.iter().find(|one| one["type"] == kind)?["status"].as_bool()
}

/// How many events a watcher has seen.
fn events(host: &Host, name: &str, method: &str) -> u64 {
    let status = status(host);
    let watches = status["watches"].as_array().cloned().unwrap_or_default();
    let watch = watches.iter().find(|one| one["name"] == name && one["method"] == method);
    watch.unwrap_or_else(|| panic!("no watch {name} by {method}: {watches:?}"))["events"].as_u64().unwrap()
}

fn is(host: &Host, question: &str, unit: &str) -> String {
    host.run(&["systemctl", question, unit]).stdout.trim().to_owned()
}

/// How often systemd started a unit, by its own word.
pub fn starts(host: &Host, unit: &str) -> usize {
    host.run(&["journalctl", "--sync"]).ok();
    let filter = format!("--unit={unit}.service");
    let journal = host.run(&["journalctl", "--quiet", "--output=cat", "--no-pager", &filter]).ok();
    journal.lines().filter(|line| line.starts_with("Started ")).count()
}

#[test]
fn a_unit_that_is_stopped_killed_or_disabled_is_put_right_once() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        ship(&host, "shop", "");
        ship(&host, "steady", "Restart=always\nRestartSec=100ms");
        ship(&host, "brittle", "Restart=on-failure\nStartLimitBurst=1");
        let role = "[services]\nshop = { enabled = true, state = 'running' }\nsteady = { state = 'running' }\n\
                    brittle = { state = 'running' }\n";
        hold(&lab, &host, role);
        let runs = |unit: &str| {
            host.wait_until(&format!("{unit} runs"), LIMIT, || is(&host, "is-active", unit) == "active");
        };
        ["shop", "steady", "brittle"].iter().for_each(|unit| runs(unit));
        assert_eq!(starts(&host, "shop"), 1);

        // A person stops it; a person restarts it, which is no drift.
        host.run(&["systemctl", "stop", "shop"]).ok();
        runs("shop");
        assert_eq!(starts(&host, "shop"), 2, "started once");
        host.run(&["systemctl", "restart", "shop"]).ok();
        runs("shop");
        assert_eq!(starts(&host, "shop"), 3, "by the person");

        // A crash is left to the unit's own restart, until systemd gives up.
        host.run(&["systemctl", "kill", "--signal=KILL", "steady"]).ok();
        host.wait_until("systemd restarts it", LIMIT, || starts(&host, "steady") == 2);
        runs("steady");
        host.run(&["systemctl", "kill", "--signal=KILL", "brittle"]).ok();
        host.wait_until("what systemd gave up on is started", LIMIT, || {
            is(&host, "is-active", "brittle") == "active" && starts(&host, "brittle") >= 2
        });

        host.run(&["systemctl", "disable", "shop"]).ok();
        host.wait_until("it is enabled again", LIMIT, || is(&host, "is-enabled", "shop") == "enabled");

        let before = events(&host, "service", "dbus");
        host.run(&["systemctl", "daemon-reload"]).ok();
        host.wait_until("the reload is heard", LIMIT, || events(&host, "service", "dbus") > before);
        let heard = events(&host, "service", "dbus") - before;
        assert!(heard <= 3, "a reload of all units is {heard} events");
        assert_eq!((starts(&host, "shop"), starts(&host, "steady")), (3, 2), "nothing was done twice");
        host.wait_until("nothing is left to do", LIMIT, || condition(&host, "Ready") == Some(true));
    }
}

/// The status line of a unit, and the health of the host.
fn told(host: &Host, unit: &str) -> (String, String) {
    let status = status(host);
    let id = format!("service:{unit}.service");
    let lines = status["resources"].as_array().cloned().unwrap_or_default();
    let line = lines.iter().find(|line| line["resource"] == id.as_str() && line["status"] != "Corrected");
    let word = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    (line.map(|line| word(&line["status"])).unwrap_or_default(), word(&status["health"]))
}

/// Each starts without complaint and ends a moment later: with `Restart=no`, with a restart that is far off, and with
/// one that comes at once, until systemd gives up.
#[test]
fn a_service_that_ends_right_after_its_start_makes_the_host_degraded_at_once() {
    let failed = ("Failed".to_owned(), "Degraded".to_owned());
    for (suite, unit, service) in [
        (Suite::Bookworm, "brief", "Restart=no"),
        (Suite::Trixie, "patient", "Restart=on-failure\nRestartSec=1h"),
        (Suite::Bookworm, "patient", "Restart=on-failure\nRestartSec=1h"),
        (
            Suite::Trixie,
            "hasty",
            "Restart=always\nRestartSec=100ms\nStartLimitIntervalSec=1h\nStartLimitBurst=2",
        ),
    ] {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let start =
            "ExecStart=\nExecStart=/bin/sh -c 'test -e /srv/well && exec sleep infinity; sleep 1; exit 3'";
        ship(&host, unit, &format!("{start}\n{service}"));
        host.write("/srv/well", "");
        hold(&lab, &host, &format!("[services]\n{unit} = {{ state = 'running' }}\n"));
        assert_eq!(told(&host, unit), (String::new(), "Healthy".to_owned()));
        let passes = || status(&host)["last_pass"]["triggers"].to_string();
        host.run(&["rm", "/srv/well"]).ok();
        host.run(&["systemctl", "kill", "--signal=KILL", unit]).ok();
        host.wait_until("the host is degraded", LIMIT, || told(&host, unit) == failed);
        assert!(!passes().contains("request"), "nobody asked for a look: {}", passes());
        // Whoever mends it sees that, too, without asking for a look.
        host.write("/srv/well", "");
        host.run(&["systemctl", "reset-failed", unit]).success();
        host.run(&["systemctl", "restart", unit]).ok();
        host.wait_until("the host is well again", LIMIT, || {
            told(&host, unit) == (String::new(), "Healthy".to_owned())
        });
    }
}

#[test]
fn units_are_watched_again_after_the_bus_or_systemd_was_restarted() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        // One unit a situation: what is stopped again and again is left to itself for longer and longer.
        ["first", "second", "third", "last"].iter().for_each(|unit| ship(&host, unit, ""));
        let role = "[services]\nfirst = { state = 'running' }\nsecond = { state = 'running' }\n\
                    third = { state = 'running' }\nlast = { state = 'running' }\n";
        hold(&lab, &host, role);
        let runs_again = |unit: &str| {
            host.wait_until(&format!("{unit} runs again"), LIMIT, || {
                is(&host, "is-active", unit) == "active" && starts(&host, unit) == 2
            });
        };
        for (what, unit) in [
            (&["true"][..], "first"),
            (&["systemctl", "restart", "dbus"], "second"),
            (&["systemctl", "daemon-reexec"], "third"),
        ] {
            host.run(what).ok();
            host.wait_until("all watches live", LIMIT, || condition(&host, "WatchesLive") == Some(true));
            host.run(&["systemctl", "stop", unit]).ok();
            runs_again(unit);
        }
        // Stopped while nobody listens: seen when the agent hears again.
        host.sh("systemctl restart dbus; systemctl stop last").ok();
        runs_again("last");
        assert_eq!(is(&host, "is-active", "agentd"), "active");
    }
}

#[test]
fn rules_that_are_flushed_added_or_deleted_are_put_right_and_a_listing_wakes_nobody() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        hold(&lab, &host, "[firewall]\ninput = 'drop'\n[firewall.rules.ssh]\nallow = ['tcp/22']\n");
        let table = || host.run(&["nft", "list", "table", "inet", "agentd"]).stdout;
        let declared = table();
        assert!(declared.contains("dport 22"), "{declared}");
        for change in [
            "flush ruleset",
            "add rule inet agentd input tcp dport 6666 accept",
            "flush chain inet agentd input",
        ] {
            host.run(&["nft", change]).ok();
            host.wait_until(&format!("the rules are as declared after `{change}`"), LIMIT, || {
                table() == declared
            });
        }
        // What is not ours is not touched, and looking is no event.
        host.run(&["nft", "add table inet theirs"]).ok();
        let before = events(&host, "firewall", "netlink");
        assert_eq!(table(), declared);
        assert_eq!(events(&host, "firewall", "netlink"), before);
        assert!(host.run(&["nft", "list", "tables"]).ok().contains("inet theirs"));
    }
}

#[test]
fn a_package_that_is_removed_is_back_once_apt_has_ended() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("shop");
        archive.package("shopd", "1.0").publish(&host);
        host.run(&["apt-get", "update"]).ok();
        hold(&lab, &host, "[packages]\nshopd = '*'\n");
        let installed = || {
            let state = host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "shopd"]).stdout;
            state == "installed"
        };
        assert!(installed());
        let runs = || {
            let history = host.read("/var/log/apt/history.log");
            history.lines().filter(|line| line.starts_with("Commandline:")).count()
        };
        let before = runs();
        // dpkg has long written its last word when apt lets go of its lock.
        let linger = "DPkg::Post-Invoke::=sleep 3";
        host.run(&["apt-get", "-o", linger, "remove", "--yes", "shopd"]).ok();
        host.wait_until("the package is back", LIMIT, installed);
        host.wait_until("the agent's own apt has ended", LIMIT, || {
            is(&host, "is-active", "agentd-apt.service") != "active" && runs() == before + 2
        });
        let passes = status(&host)["last_pass"]["id"].as_u64().unwrap();
        assert!(passes <= 5, "{passes} passes: it was put in force, a removal was waited for and undone");
        host.run(&["dpkg", "--remove", "shopd"]).ok();
        host.wait_until("the package is back after dpkg, too", LIMIT, installed);
        host.wait_until("apt's history is written", LIMIT, || runs() == before + 3);
        assert!(events(&host, "package", "fanotify") > 0);
    }
}

/// Asks for a full pass, and gives its number and what it took.
fn asked_for(host: &Host) -> (u64, Json) {
    host.run(&["agentctl", "sync", "--no-fetch"]).ok();
    let pass = status(host)["last_pass"].clone();
    assert!(pass["full"] == true && pass["triggers"].to_string().contains("request"), "{pass}");
    (pass["id"].as_u64().unwrap(), pass["work"].clone())
}

/// What the agent did itself wakes it no second time; and where nothing moved it opens nothing and starts nothing.
#[test]
fn a_correction_is_one_pass_and_a_quiet_pass_opens_no_file_and_starts_no_program() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        ship(&host, "shop", "");
        let mut archive = lab.archive("shop");
        archive.package("shopd", "1.0").publish(&host);
        host.run(&["apt-get", "update"]).ok();
        let role = "[packages]\nshopd = '*'\n[files.'/etc/shop.conf']\ncontent = \"held\\n\"\n\
                    [files.'/etc/other.conf']\ncontent = \"held\\n\"\n\
                    [services]\nshop = { enabled = true, state = 'running' }\n\
                    [firewall]\ninput = 'drop'\n[firewall.rules.ssh]\nallow = ['tcp/22']\n";
        hold(&lab, &host, role);
        asked_for(&host);
        let (_, work) = asked_for(&host);
        assert_eq!((&work["files_opened"], &work["programs_started"]), (&0.into(), &0.into()), "{work}");
        assert_eq!(work["files_written"], 0, "{work}");

        // The removal of a package is seen while it is under way, too.
        for (deed, question, right, most) in [
            ("echo by hand > /etc/shop.conf", "cat /etc/shop.conf", "held", 1),
            ("rm /etc/other.conf", "cat /etc/other.conf", "held", 1),
            ("systemctl stop shop", "systemctl is-active shop", "active", 1),
            ("nft flush chain inet agentd input", "nft list table inet agentd | grep -c 'dport 22'", "1", 1),
            ("dpkg --remove shopd", "dpkg-query -W -f '${db:Status-Status}' shopd", "installed", 2),
        ] {
            let (before, _) = asked_for(&host);
            host.sh(deed).ok();
            host.wait_until(&format!("`{deed}` is undone, and told"), LIMIT, || {
                let pass = &status(&host)["last_pass"];
                host.sh(question).stdout.trim() == right
                    && pass["id"].as_u64() > Some(before)
                    && pass["changed"].as_u64() > Some(0)
            });
            // One more of our own: whatever woke the agent meanwhile comes before it.
            let (after, _) = asked_for(&host);
            let passes = after - before - 1;
            assert!((1..=most).contains(&passes), "`{deed}` took {passes} passes");
        }
    }
}
