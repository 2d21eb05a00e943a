//! What a person does with the installed agent: enrol it, hold it back, bring something back, plan without it, change
//! its settings.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Forge, Host, Lab, Suite};

mod enrol;
mod examples;
mod questions;
mod secrets;

/// How long anything may take on a busy machine; far below the interval of the full pass.
const LIMIT: Duration = Duration::from_secs(120);

const FLEET: [(&str, &str); 3] = [
    ("fleet.toml", "schema = 1\n"),
    ("hosts/all.toml", "roles = [\"all\"]\n[match]\nhostname = \"*\"\n"),
    (
        "roles/all.toml",
        "[files.\"/etc/motd\"]\ncontent = \"held\\n\"\n[services]\nshop = { state = 'running' }\n",
    ),
];

/// Everything is looked at once an hour: what happens within a test was noticed, asked for or due.
fn settings(forge: &Forge) -> String {
    let url = forge.url_https();
    format!(
        "mode = \"enabled\"\nfull_pass = \"1h\"\ninterval = \"1h\"\n[source]\nurl = \"{url}\"\nbranch = \"main\"\n\
         ca_file = \"/etc/agentd/forge.pem\"\n"
    )
}

/// A host that is held to [`FLEET`].
fn held(suite: Suite) -> (Lab, Forge, Host) {
    let lab = Lab::new();
    let forge = lab.forge();
    forge.push(&FLEET);
    let host = lab.boot(suite, "web-1");
    host.write(
        "/etc/systemd/system/shop.service",
        "[Unit]\nDescription=the shop\n[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    host.write("/etc/agentd/agent.toml.d/50-lab.toml", &settings(&forge));
    host.run(&["systemctl", "restart", "agentd.service"]).ok();
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    assert_eq!(host.read("/etc/motd"), "held\n");
    (lab, forge, host)
}

fn status(host: &Host) -> Json {
    serde_json::from_str(&host.run(&["agentctl", "status", "--json"]).stdout).unwrap_or_default()
}

/// How a resource is, by the status; nothing if it is simply as declared.
fn standing(host: &Host, resource: &str) -> Option<String> {
    let status = status(host);
    let lines = status["resources"].as_array()?;
    let line = lines.iter().find(|line| line["resource"] == resource && line["status"] != "Corrected")?;
    line["status"].as_str().map(str::to_owned)
}

fn is_active(host: &Host, unit: &str) -> bool {
    host.run(&["systemctl", "is-active", unit]).success()
}

#[test]
fn what_was_overwritten_is_restored_stays_and_the_command_says_for_how_long() {
    for suite in Suite::ALL {
        let (_lab, _forge, host) = held(suite);
        // In one step: an editor that writes in place may be interrupted between emptying a file and filling it.
        host.sh("cd /etc; echo 'a person wrote this' > /root/motd; chmod 600 /root/motd; mv /root/motd motd")
            .ok();
        host.wait_until("it is put right", LIMIT, || host.read("/etc/motd") == "held\n");
        let said = host.run(&["agentctl", "restore", "/etc/motd", "--for", "3h"]).ok();
        assert_eq!(host.read("/etc/motd"), "a person wrote this\n");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "file:/etc/motd is as it was", "{said}");
        assert!(lines[1].starts_with("it is suspended until "), "{said}");
        assert!(lines[1].ends_with(", then the declaration holds again"), "{said}");
        assert!(lines[2].starts_with("what it replaced was kept as "), "{said}");
        let told = status(&host);
        let suspension = &told["suspensions"][0];
        assert_eq!((&suspension["target"], &suspension["owner"]), (&"file:/etc/motd".into(), &"root".into()));
        let at = |key: &str| suspension[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(at("until").duration_since(at("since")).as_secs(), 3 * 3600);
        // A full pass that a person asks for leaves it, and says so.
        assert_eq!(host.run(&["agentctl", "sync"]).code, Some(1));
        assert_eq!(host.read("/etc/motd"), "a person wrote this\n");
        assert_eq!(standing(&host, "file:/etc/motd").as_deref(), Some("Suspended"));
        // What the restore replaced is kept, too: it is taken back by its end.
        let said = host.run(&["agentctl", "resume", "file:/etc/motd"]).ok();
        assert_eq!(said, "file:/etc/motd is held to its declaration again\n");
        host.wait_until("the declaration holds again", LIMIT, || host.read("/etc/motd") == "held\n");
        let never = host.run(&["agentctl", "restore", "/etc/hostname"]).fails();
        assert!(never.contains("nothing was kept of /etc/hostname"), "{never}");
    }
}

#[test]
fn what_is_suspended_is_left_alone_until_its_time_is_over_or_it_is_resumed() {
    for suite in Suite::ALL {
        let (_lab, _forge, host) = held(suite);
        let suspend = |what: &str, span: &str| {
            host.run(&["agentctl", "suspend", what, "--for", span, "--reason", "a deployment"]).ok()
        };
        let said = suspend("service:shop.service", "1h");
        assert!(said.starts_with("service:shop.service is suspended until "), "{said}");
        assert!(said.ends_with("; `agentctl resume service:shop.service` ends it before\n"), "{said}");
        host.run(&["systemctl", "stop", "shop"]).ok();
        host.wait_until("it is seen and left alone", LIMIT, || {
            standing(&host, "service:shop.service").as_deref() == Some("Suspended")
        });
        // A reaction of the agent, which came after the one that it left out.
        host.sh("echo vandal > /etc/motd").ok();
        host.wait_until("others are still put right", LIMIT, || host.read("/etc/motd") == "held\n");
        assert!(!is_active(&host, "shop"));
        let page = host.run(&["agentctl", "status"]).fails();
        assert!(page.contains("a deployment") && page.contains("root"), "{page}");
        let said = host.run(&["agentctl", "resume", "service:shop.service"]).ok();
        assert_eq!(said, "service:shop.service is held to its declaration again\n");
        host.wait_until("it runs again", LIMIT, || is_active(&host, "shop"));
        let said = host.run(&["agentctl", "resume", "service:shop.service"]).ok();
        assert!(said.starts_with("service:shop.service was not suspended"), "{said}");

        // One that nobody ends ends by itself, at its time and not at the next full pass.
        suspend("file", "5s");
        host.sh("echo vandal > /etc/motd").ok();
        host.wait_until("the suspension is over", LIMIT, || host.read("/etc/motd") == "held\n");
        host.wait_until("none is left", LIMIT, || status(&host)["suspensions"] == Json::Array(Vec::new()));
    }
}

#[test]
fn settings_that_are_read_again_hold_for_the_socket_and_for_what_is_kept() {
    let (_lab, forge, host) = held(Suite::Trixie);
    let socket = || host.run(&["stat", "-c", "%a %G", "/run/agentd/control.sock"]).ok().trim().to_owned();
    assert_eq!(socket(), "660 agentd");
    host.sh("groupadd ops; useradd -G ops ada; useradd -G agentd bob").ok();
    let may_look = |who: &str| {
        host.run(&["runuser", "-u", who, "--", "agentctl", "status"]).code.is_some_and(|code| code < 2)
    };
    assert_eq!((may_look("ada"), may_look("bob")), (false, true));
    let new = format!("{}[control]\nreaders = \"ops\"\n[keep]\nmax_size = \"1KiB\"\n", settings(&forge));
    host.write("/etc/agentd/agent.toml.d/50-lab.toml", &new);
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("the socket is handed over", LIMIT, || socket() == "660 ops");
    assert_eq!((may_look("ada"), may_look("bob")), (true, false));
    // More than may be kept now is not overwritten: it would be lost.
    host.sh("head -c 4096 /dev/zero | tr '\\0' x > /root/motd; mv /root/motd /etc/motd").ok();
    host.wait_until("it is not overwritten", LIMIT, || {
        standing(&host, "file:/etc/motd").as_deref() == Some("Failed")
    });
    assert_eq!(host.read("/etc/motd").len(), 4096);
    host.write("/etc/agentd/agent.toml.d/50-lab.toml", &settings(&forge));
    host.run(&["systemctl", "reload", "agentd"]).ok();
    host.wait_until("it is put right", LIMIT, || host.read("/etc/motd") == "held\n");
    assert_eq!(socket(), "660 agentd");
}

/// The program alone is there: no agent runs, none is installed.
#[test]
fn a_plan_is_made_without_an_agent_and_changes_nothing() {
    let lab = Lab::new();
    for suite in Suite::ALL {
        let host = lab.boot(suite, suite.name());
        host.install_agent();
        host.sh("install -m755 /usr/bin/agentctl /root/agentctl; apt-get purge --yes agentd; test ! -e /etc/agentd").ok();
        for (path, text) in FLEET {
            host.write(&format!("/srv/fleet/{path}"), text);
        }
        host.write(
            "/srv/fleet/roles/all.toml",
            "[packages]\nno-such-package = '*'\n[files.\"/etc/motd\"]\ncontent = \"held\\n\"\n[services]\n\
             cron = { state = 'stopped' }\n[firewall]\ninput = 'drop'\nforward = 'drop'\n[firewall.rules.ssh]\nallow = ['tcp/22']\n",
        );
        // Another's chain that the declared policy would overrule.
        let docker = "add table ip docker; \
                      add chain ip docker FORWARD { type filter hook forward priority filter; policy accept; }";
        host.run(&["nft", docker]).ok();
        let rules = host.run(&["nft", "list", "ruleset"]).ok();
        let motd = host.sh("stat -c '%i %Z' /etc/motd").ok();
        let plan = ["/root/agentctl", "plan", "--repo", "/srv/fleet", "--host", "web-1"];
        let planned = host.run(&plan);
        assert_eq!(planned.code, Some(1), "{planned}");
        for resource in
            ["package:no-such-package", "file:/etc/motd", "service:cron.service", "firewall:input/ssh"]
        {
            assert!(planned.stdout.contains(resource), "{resource}: {planned}");
        }
        for words in ["FORWARD", "docker", "accept_foreign"] {
            assert!(planned.stdout.contains(words), "{words} is not warned of: {planned}");
        }
        let json = host.run(&[&plan[..], &["--json"]].concat()).stdout;
        let json: Json = serde_json::from_str(&json).unwrap();
        assert_eq!(json["unknown"], Json::Array(Vec::new()), "everything could be read");
        assert_eq!(host.sh("stat -c '%i %Z' /etc/motd").ok(), motd);
        assert!(is_active(&host, "cron"));
        assert_eq!(host.run(&["nft", "list", "ruleset"]).ok(), rules);
        assert_eq!(host.sh("find /var/lib /run -maxdepth 1 -name 'agent*'").ok().trim(), "");
        // Nothing to do is said by the exit code; a fault in the repository is told with its place.
        host.write("/srv/fleet/roles/all.toml", "[services]\ncron = { state = 'running' }\n");
        assert_eq!(host.run(&plan).code, Some(0));
        host.write("/srv/fleet/roles/all.toml", "[services]\ncron = { state = 'started' }\n");
        let refused = host.run(&plan);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("roles/all.toml:2:"), "{refused}");
    }
}
