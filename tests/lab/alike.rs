//! Two hosts that are held to the same are told to be the same, whatever release of Debian they run.

use std::time::Duration;

use serde_json::Value as Json;

use crate::firewall::EVERYTHING;
use crate::harness::{Forge, Host, Lab, Suite};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The firewall of a whole fleet: what stands for itself elsewhere is a table of it here.
fn fleet() -> String {
    format!("[firewall]\n{EVERYTHING}").replace("\n[", "\n[firewall.").replacen(
        "[firewall.firewall]",
        "[firewall]",
        1,
    )
}

fn held(lab: &Lab, forge: &Forge, suite: Suite) -> Host {
    let host = lab.boot(suite, suite.name());
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let line = ["agentctl", "enroll", "--url", &forge.url_https(), "--branch", "main", "--mode", "enabled"];
    host.run(&[&line[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok();
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    // What is shown was observed by a full pass.
    host.run(&["agentctl", "sync"]).ok();
    host
}

fn fingerprint(host: &Host) -> Json {
    serde_json::from_str(&host.run(&["agentctl", "fingerprint", "--all", "--json"]).ok()).unwrap()
}

fn firewall<'a>(fingerprint: &'a Json, of: &str) -> &'a Json {
    let kinds = fingerprint[of]["kinds"].as_array().unwrap();
    kinds.iter().find(|kind| kind["kind"] == "firewall").unwrap()
}

#[test]
fn one_firewall_is_found_alike_on_two_releases_of_debian() {
    let lab = Lab::new();
    let forge = lab.forge();
    let files = [
        ("fleet.toml", "schema = 1\n"),
        ("hosts/all.toml", "roles = [\"all\"]\n[match]\nhostname = \"*\"\n"),
        ("roles/all.toml", &fleet()),
    ];
    forge.push(&files);
    let [one, other] = [Suite::Bookworm, Suite::Trixie].map(|suite| held(&lab, &forge, suite));
    assert_ne!(one.run(&["nft", "--version"]).ok(), other.run(&["nft", "--version"]).ok());
    let [first, second] = [&one, &other].map(fingerprint);
    assert_eq!(firewall(&first, "declared"), firewall(&second, "declared"));
    let (here, there) = (firewall(&first, "observed"), firewall(&second, "observed"));
    assert_eq!(here, there);
    assert!(here["resources"].as_array().is_some_and(|all| all.len() > 15), "{here}");

    // Names of protocols, which one of them has, are no difference either.
    other.write("/etc/protocols", "tcp 6 TCP\nudp 17 UDP\ngre 47 GRE\nesp 50 ESP\n");
    other.sh("nft list ruleset | grep esp > /dev/null").ok();
    other.run(&["systemctl", "restart", "agentd"]).ok();
    other.wait_until("in sync", LIMIT, || other.run(&["agentctl", "sync"]).success());
    assert_eq!(firewall(&fingerprint(&other), "observed"), here);
}
