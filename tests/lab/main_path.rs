//! The main path, as an operator walks it: install the package, enrol, converge, tamper, follow a commit, compare.

use std::time::Duration;

use crate::harness::{Archive, Forge, Host, Lab, Suite};

/// How long anything may take on a busy machine. Nothing waits for it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// A small fleet of one class that has every kind in it.
fn fleet(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("fleet.toml", "schema = 1\n".to_owned()),
        (
            "hosts/web.toml",
            format!("roles = [\"web\"]\n[match]\nhostname = \"web-*\"\n[vars]\nport = {port}\n"),
        ),
        (
            "roles/web.toml",
            r#"
[packages]
nginx-light = "*"
curl = "*"

[files."/etc/nginx/sites-enabled/default"]
ensure = "absent"

[files."/etc/nginx/sites-enabled/shop"]
template = "files/shop.conf.j2"
check = ["/usr/sbin/nginx", "-t"]

[files."/srv/shop"]
ensure = "directory"

[files."/srv/shop/index.html"]
content = "hello from the shop\n"

[files."/etc/motd"]
content = "managed\n"
mode = "0640"

[services.nginx]
enabled = true
state = "running"
reload_on = ["file:/etc/nginx/sites-enabled/shop"]

[firewall]
input = "drop"

[firewall.rules.web]
allow = ["tcp/{{ vars.port }}"]

[firewall.rules.ssh]
allow = ["tcp/22"]
"#
            .to_owned(),
        ),
        (
            "files/shop.conf.j2",
            "server { listen {{ vars.port }} default_server; root /srv/shop; }\n".to_owned(),
        ),
    ]
}

fn push(forge: &Forge, port: u16) -> String {
    let files = fleet(port);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    forge.push(&files)
}

/// What a new server is told, once.
fn enrol(host: &Host, forge: &Forge) -> String {
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let line = ["agentctl", "enroll", "--url", &forge.url_https(), "--branch", "main", "--mode", "enabled"];
    host.run(&[&line[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok()
}

/// What a visitor sees.
fn serves(host: &Host, port: u16) -> bool {
    let page = host.sh(&format!("curl -sf --max-time 2 http://127.0.0.1:{port}/ || true"));
    page.stdout.contains("hello from the shop")
}

fn in_sync(host: &Host) {
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
}

/// From nothing to a host that is held, follows a commit, and holds on without its remote and after a reboot.
fn walk(suite: Suite) {
    let lab = Lab::new();
    let forge = lab.forge();
    let archive = Archive::of_debian(&lab, suite, &["nginx-light", "curl"]);
    archive.publish_on(&forge);
    push(&forge, 8080);
    let host = lab.boot(suite, "web-1");
    archive.name_source_on(&host);
    host.install_agent();
    enrol(&host, &forge);
    converges(&host);
    is_put_right(&host);
    follows_a_commit(&host, &forge);
    stands_alone(&host, &forge);
}

fn converges(host: &Host) {
    host.wait_until("the page is served", LIMIT, || serves(host, 8080));
    assert!(installed(host, "nginx-light"));
    assert_eq!(host.sh("stat -c '%a %U %G' /etc/motd").ok().trim(), "640 root root");
    assert!(host.sh("nft list table inet agentd").ok().contains("dport 8080"));
    assert!(host.sh("systemctl is-enabled nginx").ok().contains("enabled"));
    in_sync(host);
    // Only what someone was reached through is loaded at the next boot.
    host.wait_until("the firewall is confirmed", LIMIT, || host.exists("/var/lib/agentd/firewall.nft"));
}

/// A person changes one of each kind.
fn is_put_right(host: &Host) {
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the file is put right", LIMIT, || host.read("/etc/motd") == "managed\n");
    host.sh("nft flush ruleset").ok();
    host.wait_until("the rules are back", LIMIT, || {
        host.sh("nft list ruleset").stdout.contains("dport 8080")
    });
    host.sh("systemctl stop nginx").ok();
    host.wait_until("the service runs again", LIMIT, || host.sh("systemctl is-active nginx").success());
    host.sh("apt-get remove --yes nginx-light").ok();
    host.wait_until("the package is back", LIMIT, || installed(host, "nginx-light") && serves(host, 8080));
    in_sync(host);
}

fn follows_a_commit(host: &Host, forge: &Forge) {
    let commit = push(forge, 9090);
    host.run(&["agentctl", "sync"]).ok();
    host.wait_until("the new port is served", LIMIT, || serves(host, 9090));
    assert!(host.sh("nft list table inet agentd").ok().contains("dport 9090"));
    let status = host.run(&["agentctl", "status", "--json"]).ok();
    assert!(status.contains(&commit), "{status}");
    assert!(host.run(&["agentctl", "status"]).ok().contains(&commit[..7]));
    host.run(&["agentctl", "diff"]).ok();
    let history = host.run(&["agentctl", "history"]).ok();
    for resource in ["file:/etc/motd", "firewall:", "service:nginx.service", "package:nginx-light"] {
        assert!(history.contains(resource), "{resource} is not in the history: {history}");
    }
    host.wait_until("the new firewall is confirmed", LIMIT, || {
        host.read("/var/lib/agentd/firewall.nft").contains("9090")
    });
}

/// The forge goes away: the host is held all the same, also after a reboot.
fn stands_alone(host: &Host, forge: &Forge) {
    forge.stop();
    host.reboot();
    assert!(host.sh("nft list table inet agentd").ok().contains("dport 9090"));
    host.wait_until("the page is served after a reboot", LIMIT, || serves(host, 9090));
    host.sh("echo vandal > /etc/motd").ok();
    host.wait_until("the file is put right without a forge", LIMIT, || host.read("/etc/motd") == "managed\n");
}

fn installed(host: &Host, package: &str) -> bool {
    host.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", package]).stdout == "installed"
}

#[test]
fn a_debian_12_is_installed_enrolled_and_held() {
    walk(Suite::Bookworm);
}

#[test]
fn a_debian_13_is_installed_enrolled_and_held() {
    walk(Suite::Trixie);
}
