//! `agentctl enroll` against real servers: what is right is followed, what is wrong is told and leaves nothing behind.

use super::{FLEET, LIMIT};
use crate::harness::{Forge, Host, Lab, PASSWORD, Suite, TOKEN, USER};

const CA: &str = "/etc/agentd/forge.pem";
const SECRET: &str = "/root/secret";
pub(super) const KEY: &str = "/root/deploy";
pub(super) const KNOWN: &str = "/root/known_hosts";

/// A host with the agent, not enrolled, and what a person has to enrol it with.
pub(super) fn ready(lab: &Lab, forge: &Forge, suite: Suite) -> Host {
    let host = lab.boot(suite, suite.name());
    host.install_agent();
    host.write(
        "/etc/systemd/system/shop.service",
        "[Unit]\nDescription=the shop\n[Service]\nExecStart=/bin/sleep infinity\n",
    );
    host.write(CA, &forge.ca());
    host.write(KEY, &forge.ssh_key());
    host.write(KNOWN, &forge.known_hosts());
    host.write(SECRET, TOKEN);
    host.run(&["chmod", "600", SECRET, KEY]).ok();
    host
}

fn enroll(host: &Host, url: &str, more: &[&str]) -> crate::harness::Output {
    host.run(&[&["agentctl", "enroll", "--url", url], more].concat())
}

/// Everything that enrolling could leave.
fn traces(host: &Host) -> String {
    host.sh(
        "find /etc/agentd /var/lib/agentd/source /run/agentctl.* /run/agentd-workers/scratch/* -printf '%p %s\\n' 2>/dev/null | sort || true\n\
         stat -c '%i' /etc/motd",
    )
    .ok()
}

/// It must be refused with all of these words, and have written nothing.
#[track_caller]
fn refused(host: &Host, url: &str, more: &[&str], words: &[&str]) {
    let before = traces(host);
    let said = enroll(host, url, more).fails();
    for word in words {
        assert!(said.contains(word), "`{word}` is not said of {url} {more:?}:\n{said}");
    }
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(traces(host), before, "{said}");
    assert!(host.run(&["agentctl", "status"]).fails().contains("agentctl enroll"), "it is not enrolled");
}

fn followed(host: &Host, said: &str, commit: &str) {
    assert!(said.contains(&format!("the branch is at {}", &commit[..7])), "{said}");
    assert!(said.contains("file:/etc/motd"), "the plan is shown: {said}");
    assert!(said.contains("nothing is changed in the mode warn"), "{said}");
    let status = super::status(host);
    assert_eq!(status["applied"]["commit"], commit);
    assert_eq!(status["mode"], "warn");
    assert_ne!(host.read("/etc/motd"), "held\n");
}

#[test]
fn over_https_with_a_token_and_an_authority_of_ones_own() {
    let lab = Lab::new();
    let forge = lab.forge();
    let commit = forge.push(&FLEET);
    for suite in Suite::ALL {
        let host = ready(&lab, &forge, suite);
        let url = forge.url_https_private();
        let main = ["--branch", "main", "--ca-file", CA, "--token-file", SECRET];
        refused(&host, &url, &main[..4], &["credentials", "renew the token"]);
        host.write(SECRET, "another-token");
        refused(&host, &url, &main, &["credentials", "renew the token"]);
        host.write(SECRET, TOKEN);
        let without_ca = ["--branch", "main", "--token-file", SECRET];
        refused(&host, &url, &without_ca, &["certificate is not trusted", "CA file"]);
        host.run(&["chmod", "644", SECRET]).ok();
        refused(&host, &url, &main, &[SECRET, "600"]);
        host.run(&["chmod", "600", SECRET]).ok();
        let lost = ["--branch", "main", "--ca-file", CA, "--token-file", "/root/lost"];
        refused(&host, &url, &lost, &["/root/lost"]);
        let other = ["--branch", "production", "--ca-file", CA, "--token-file", SECRET];
        refused(&host, &url, &other, &["no such branch", "push it, or name another branch"]);
        let nowhere = url.replace("fleet.git", "float.git");
        refused(&host, &nowhere, &main, &["no repository at this address"]);
        let closed = url.replace("git.example.org", "git.example.org:8443");
        refused(&host, &closed, &main, &["can't be reached", "check network"]);
        followed(&host, &enroll(&host, &url, &main).ok(), &commit);
        // And once more, with a password; the one who is sure says so.
        host.write(SECRET, &format!("{USER}:{PASSWORD}"));
        let sure = ["--branch", "main", "--ca-file", CA, "--basic-file", SECRET, "--mode", "enabled"];
        let said = enroll(&host, &url, &sure).ok();
        assert!(said.contains("the host is held to its declaration"), "{said}");
        host.wait_until("it is held", LIMIT, || host.read("/etc/motd") == "held\n");
    }
}

#[test]
fn over_ssh_with_a_key_and_a_pinned_host_key() {
    let lab = Lab::new();
    let forge = lab.forge();
    let commit = forge.push(&FLEET);
    for suite in Suite::ALL {
        let host = ready(&lab, &forge, suite);
        let url = forge.url_ssh();
        let main = ["--branch", "main", "--ssh-key", KEY, "--known-hosts", KNOWN];
        // A key that the server does not know.
        host.sh("ssh-keygen -q -t ed25519 -N '' -f /root/other; cut -d' ' -f1,2 /root/other.pub > /root/other.part").ok();
        let stranger = ["--branch", "main", "--ssh-key", "/root/other", "--known-hosts", KNOWN];
        refused(&host, &url, &stranger, &["credentials", "key"]);
        // A server that is another one.
        host.sh("echo git.example.org $(cat /root/other.part) > /root/wrong_hosts; : > /root/no_hosts").ok();
        for pins in ["/root/wrong_hosts", "/root/no_hosts"] {
            let pinned = ["--branch", "main", "--ssh-key", KEY, "--known-hosts", pins];
            refused(&host, &url, &pinned, &["host key is not the pinned one", "known_hosts"]);
        }
        let other = ["--branch", "production", "--ssh-key", KEY, "--known-hosts", KNOWN];
        refused(&host, &url, &other, &["no such branch"]);
        followed(&host, &enroll(&host, &url, &main).ok(), &commit);
    }
}

#[test]
fn a_repository_without_a_declaration_is_refused_and_where_there_is_one_is_named() {
    let lab = Lab::new();
    let forge = lab.forge();
    let host = ready(&lab, &forge, Suite::Bookworm);
    let (url, main) = (forge.url_https(), ["--branch", "main", "--ca-file", CA]);
    refused(&host, &url, &main, &["no such branch or no commit on it"]);
    forge.push(&[("README", "nothing of ours\n")]);
    refused(
        &host,
        &url,
        &main,
        &["no fleet.toml in its top folder", "push a fleet.toml that says `schema = 1`"],
    );
    let moved = FLEET.map(|(path, text)| (format!("ops/fleet/{path}"), text));
    let commit = forge.push(&moved.each_ref().map(|(path, text)| (path.as_str(), *text)));
    refused(&host, &url, &main, &["no fleet.toml in its top folder", "say --path ops/fleet"]);
    let wrong = [&main[..], &["--path", "ops"]].concat();
    refused(&host, &url, &wrong, &["no fleet.toml in `ops`", "say --path ops/fleet"]);
    let lost = [&main[..], &["--path", "operations"]].concat();
    refused(&host, &url, &lost, &["no folder `operations`"]);
    followed(&host, &enroll(&host, &url, &[&main[..], &["--path", "ops/fleet"]].concat()).ok(), &commit);
}
