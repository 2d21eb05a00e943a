//! The remote is taken away, frozen, slow, rewritten and damaged, over https and ssh from real servers: the last good
//! revision stays in force all the while, and the status says since when and why.

use serde_json::Value as Json;

use crate::harness::{Forge, Host, Lab, Suite};
use crate::signals::{LIMIT, status};

/// A branch is asked for as often as may be set; a fetch has little time. Everything is looked at once an hour.
const SETTINGS: &str = "\
mode = 'enabled'
full_pass = '1h'
interval = '5s'
stale_after = '12s'
[guard]
confirm = 'off'
[source]
branch = 'main'
time_limit = '8s'
";

/// One a situation: what is changed again and again is left for longer and longer.
const HELD: [&str; 6] = ["away", "frozen", "slow", "rewritten", "damaged", "suspended"];

const FIREWALL: &str = "[firewall]\noutput = 'accept'\n[firewall.rules.all]\nchain = 'output'\nallow = ['any']\ncounter = true\n";

fn push(forge: &Forge, number: u32) -> String {
    let files = HELD.map(|name| format!("[files.'/srv/{name}']\ncontent = \"held\\n\"\n"));
    let files = format!("{}[files.'/srv/number']\ncontent = '{number}'\n", files.concat());
    forge.push(&[
        ("fleet.toml", "schema = 1\n"),
        ("hosts/all.toml", "roles = ['all']\n[match]\nhostname = '*'\n"),
        ("roles/all.toml", &format!("{files}{FIREWALL}")),
    ])
}

/// A host that follows the forge with these settings of its source.
fn follower(lab: &Lab, forge: &Forge, suite: Suite, source: &str) -> Host {
    let host = lab.boot(suite, suite.name());
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    host.write("/etc/agentd/known_hosts", &forge.known_hosts());
    host.write("/etc/agentd/key", &forge.ssh_key());
    host.run(&["chmod", "600", "/etc/agentd/key"]).ok();
    host.write("/etc/agentd/agent.toml.d/50-lab.toml", &format!("{SETTINGS}{source}\n"));
    host.run(&["systemctl", "restart", "agentd"]).ok();
    host
}

fn https(forge: &Forge) -> String {
    format!("url = '{}'\nca_file = '/etc/agentd/forge.pem'", forge.url_https())
}

fn ssh(forge: &Forge) -> String {
    let url = forge.url_ssh();
    format!("url = '{url}'\nssh_key = '/etc/agentd/key'\nknown_hosts = '/etc/agentd/known_hosts'")
}

fn follows(host: &Host, number: u32, commit: &str) {
    host.wait_until(&format!("revision {number} is in force"), LIMIT, || {
        let status = status(host);
        let is_well = status["source"]["failing_since"].is_null() && status["source"]["error"].is_null();
        host.run(&["cat", "/srv/number"]).stdout == number.to_string()
            && status["applied"]["commit"] == commit
            && is_well
    });
}

/// The status says why it fails, in one of these words, and since when; the revision stays in force.
fn fails(host: &Host, name: &str, words: &[&str], commit: &str) -> Json {
    let told = |status: &Json| {
        let error = status["source"]["error"].as_str().unwrap_or_default().to_owned();
        words.iter().any(|word| error.contains(word))
    };
    let mut last = Json::Null;
    host.wait_until(&format!("it is said that the remote is {name}: {words:?}"), LIMIT, || {
        last = status(host);
        let is_new = last["source"]["error"].is_string();
        assert!(!is_new || told(&last), "{name}: {}", last["source"]);
        is_new
    });
    let since = last["source"]["failing_since"].as_str().expect("since when is said").to_owned();
    let since: jiff::Timestamp = since.parse().unwrap();
    let success: jiff::Timestamp = last["source"]["last_success"].as_str().unwrap().parse().unwrap();
    assert!(since >= success, "{}", last["source"]);
    assert_eq!(last["applied"]["commit"], commit, "{name}: the last good one stays in force");
    let page = host.run(&["agentctl", "status"]).stdout;
    assert!(page.contains("failing since "), "{page}");

    let file = format!("/srv/{name}");
    host.sh(&format!("echo vandal > {file}")).ok();
    host.wait_until("the host is held all the same", LIMIT, || host.read(&file) == "held\n");
    assert_eq!(status(host)["applied"]["commit"], commit);
    last
}

/// It goes on failing since the same time, and is asked less and less often.
fn backs_off(host: &Host, first: &Json) {
    let mut due: Vec<jiff::Timestamp> = Vec::new();
    host.wait_until("it is tried again and again", LIMIT, || {
        let source = &status(host)["source"];
        assert_eq!(source["failing_since"], first["source"]["failing_since"], "the beginning is kept");
        if let Some(next) = source["next"].as_str().map(|next| next.parse::<jiff::Timestamp>().unwrap()) {
            // The same moment is told in other fractions of a second each time.
            if due.last().is_none_or(|last| next.duration_since(*last).as_secs() >= 2) {
                due.push(next);
            }
        }
        due.len() >= 3
    });
    let stale = |status: &Json| {
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["type"] == "SourceStale").is_some_and(|one| one["status"] == true)
    };
    host.wait_until("the source is stale", LIMIT, || stale(&status(host)));
    let waits: Vec<_> = due.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect();
    assert!(waits[1] > waits[0], "each wait is longer than the one before: {waits:?}");
}

#[test]
fn whatever_becomes_of_the_remote_the_last_good_revision_stays_in_force_and_the_status_says_why() {
    let lab = Lab::new();
    let forge = lab.forge();
    let mut commit = push(&forge, 1);
    let hosts = [
        follower(&lab, &forge, Suite::Bookworm, &https(&forge)),
        follower(&lab, &forge, Suite::Trixie, &ssh(&forge)),
    ];
    let all_follow = |number: u32, commit: &str| hosts.iter().for_each(|host| follows(host, number, commit));
    let sync = || hosts.iter().for_each(|host| _ = host.run(&["agentctl", "sync"]));
    all_follow(1, &commit);
    one_declaration_has_one_fingerprint(&hosts);

    forge.stop();
    for host in &hosts {
        let first = fails(host, "away", &["can't be reached"], &commit);
        backs_off(host, &first);
    }
    forge.start();
    commit = push(&forge, 2);
    sync();
    all_follow(2, &commit);

    forge.freeze();
    hosts
        .iter()
        .for_each(|host| drop(fails(host, "frozen", &["sent nothing for", "not done after"], &commit)));
    forge.thaw();
    commit = push(&forge, 3);
    sync();
    all_follow(3, &commit);

    // More than the line carries in the time that a fetch has.
    forge.slow_down(20_000);
    let noise = forge.sh("head -c 150000 /dev/urandom | base64").ok();
    forge.write("/srv/work/files/noise", &noise);
    let next = push(&forge, 4);
    hosts.iter().for_each(|host| drop(fails(host, "slow", &["not done after", "sent nothing for"], &commit)));
    forge.speed_up();
    commit = next;
    sync();
    all_follow(4, &commit);

    forge.write("/srv/work/files/noise", "less\n");
    forge.rewrite_history();
    hosts.iter().for_each(|host| drop(fails(host, "rewritten", &["the branch was rewritten"], &commit)));
    forge.git(&["reset", "--quiet", "--hard", &commit]).ok();
    commit = push(&forge, 5);
    sync();
    all_follow(5, &commit);

    // The server has a commit whose tree can't be read.
    let next = push(&forge, 6);
    let tree = forge.git(&["rev-parse", "HEAD^{tree}"]).ok();
    let object = format!("/srv/git/fleet.git/objects/{}/{}", &tree[..2], tree[2..].trim());
    forge.sh(&format!("cp -p {object} /root/object; chmod u+w {object}; printf damaged > {object}")).ok();
    hosts.iter().for_each(|host| drop(fails(host, "damaged", &["what the remote sent is damaged"], &commit)));
    forge.sh(&format!("cp -p /root/object {object}")).ok();
    commit = next;
    sync();
    all_follow(6, &commit);

    hosts.iter().for_each(a_history_that_is_cut_off_is_said);
}

fn a_history_that_is_cut_off_is_said(host: &Host) {
    assert_eq!(status(host)["source"]["shallow"], false);
    host.sh("systemctl stop agentd; rm -r /var/lib/agentd/source/*").ok();
    host.sh("echo 'max_commits = 2' >> /etc/agentd/agent.toml.d/50-lab.toml; systemctl start agentd").ok();
    host.wait_until("it is fetched anew", LIMIT, || status(host)["source"]["shallow"] == true);
    let page = host.run(&["agentctl", "status"]).stdout;
    assert!(page.contains("history cut off: older lines have no author"), "{page}");
}

fn fingerprint(host: &Host) -> Json {
    // The observed one is of the last full pass.
    let _ = host.run(&["agentctl", "sync", "--no-fetch"]);
    serde_json::from_str(&host.run(&["agentctl", "fingerprint", "--json"]).ok()).unwrap()
}

fn one_declaration_has_one_fingerprint(hosts: &[Host; 2]) {
    let [one, other] = hosts.each_ref().map(fingerprint);
    assert_eq!(one["declared"], other["declared"], "of every resource");
    assert!(one["declared"]["root"].as_str().is_some_and(|root| root.len() == 64), "{one}");
    assert_eq!(one["observed"]["root"], other["observed"]["root"]);
    // Time and counters move: no fingerprint does.
    let host = &hosts[0];
    let counted = || host.run(&["nft", "list", "chain", "inet", "agentd", "output"]).ok();
    let before = counted();
    host.sh("touch /srv/suspended; ping -c 1 -q git.example.org").ok();
    assert_ne!(counted(), before, "packets were counted");
    assert_eq!(fingerprint(host), one);
    host.run(&["agentctl", "suspend", "file:/srv/suspended", "--for", "1h", "--reason", "a test"]).ok();
    host.sh("echo by hand > /srv/suspended").ok();
    let changed = fingerprint(host);
    assert_eq!(changed["declared"], one["declared"]);
    assert_ne!(changed["observed"]["root"], one["observed"]["root"]);
    let files = |tree: &Json| -> Vec<Json> {
        let kinds = tree["observed"]["kinds"].as_array().unwrap();
        kinds.iter().find(|kind| kind["kind"] == "file").unwrap()["resources"].as_array().unwrap().clone()
    };
    let differing: Vec<Json> = files(&changed)
        .into_iter()
        .zip(files(&one))
        .filter(|(now, then)| now != then)
        .map(|pair| pair.0)
        .collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert_eq!(differing[0][0], "/srv/suspended");
    host.run(&["agentctl", "resume", "file:/srv/suspended"]).ok();
    host.wait_until("it is held again", LIMIT, || host.read("/srv/suspended") == "held\n");
}
