//! Confirm-or-undo by the installed agent: a firewall that cuts the host off from its remote takes itself back.

use std::time::Duration;

use serde_json::Value as Json;

use crate::harness::{Forge, Host, Lab, Suite};

/// How long anything may take on a busy machine. Nothing waits for it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

const BOOT: &str = "/var/lib/agentd/firewall.nft";

fn declare(forge: &Forge, firewall: &str) -> String {
    forge.push(&[
        ("fleet.toml", "schema = 1\n"),
        ("hosts/all.toml", &format!("[match]\nhostname = \"*\"\n{firewall}")),
    ])
}

fn site(lab: &Lab, forge: &Forge, suite: Suite, confirm: &str) -> Host {
    let host = lab.boot(suite, suite.name());
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let url = forge.url_https();
    host.write(
        "/etc/agentd/agent.toml.d/50-lab.toml",
        &format!(
            "mode = \"enabled\"\ninterval = \"10s\"\n[source]\nurl = \"{url}\"\nbranch = \"main\"\n\
             ca_file = \"/etc/agentd/forge.pem\"\n[guard]\nwindow = \"15s\"\nconfirm = \"{confirm}\"\n"
        ),
    );
    host.run(&["systemctl", "restart", "agentd.service"]).ok();
    host
}

fn rules(host: &Host) -> String {
    host.run(&["nft", "--stateless", "list", "ruleset"]).stdout
}

/// What would take a change back by itself.
fn undo_timers(host: &Host) -> String {
    host.run(&["systemctl", "list-units", "--all", "--no-legend", "agentd-firewall-undo-*"]).ok()
}

fn boots(host: &Host) -> String {
    if host.exists(BOOT) { host.read(BOOT) } else { String::new() }
}

/// The page as a person reads it, its lines in one.
fn page(host: &Host) -> String {
    host.run(&["agentctl", "status"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn status(host: &Host) -> Json {
    serde_json::from_str(&host.run(&["agentctl", "status", "--json"]).stdout).unwrap_or_default()
}

/// What the status says of a firewall that was undone.
const UNDONE: &str = "loaded and undone because nobody confirmed it in time";

const FIRST: &str = "[firewall]\ninput = \"drop\"\n[firewall.rules.first]\nallow = [\"tcp/22\"]\n";
const CUT_OFF: &str =
    "[firewall]\ninput = \"drop\"\noutput = \"drop\"\n[firewall.rules.second]\nallow = [\"tcp/22\"]\n";

#[test]
fn a_firewall_through_which_the_remote_is_reached_is_confirmed_by_that() {
    let lab = Lab::new();
    let forge = lab.forge();
    declare(&forge, FIRST);
    let host = site(&lab, &forge, Suite::Trixie, "auto");
    host.wait_until("the table is in force", LIMIT, || rules(&host).contains("agentd:first"));
    host.wait_until("it is confirmed", LIMIT, || boots(&host).contains("agentd:first"));
    assert_eq!(undo_timers(&host), "");
    what_is_loaded_at_boot_is_seen_to(&host);
}

/// Somebody takes the file away, and somebody writes another one: a full pass sees it, tells of it, and is done with it.
fn what_is_loaded_at_boot_is_seen_to(host: &Host) {
    let (before, in_force) = (boots(host), rules(host));
    for harm in ["rm $F", "sed -i s/first/other/ $F", "echo 'flush ruleset' > $F", "chmod 666 $F"] {
        host.run(&["sh", "-c", &harm.replace("$F", BOOT)]).ok();
        host.run(&["agentctl", "sync"]).ok();
        assert_eq!((boots(host), rules(host)), (before.clone(), in_force.clone()), "{harm}");
        assert_eq!(host.run(&["stat", "--format=%a", BOOT]).ok().trim(), "600", "{harm}");
    }
    let told = host.run(&["agentctl", "history", "firewall:boot", "--json"]).ok();
    let told: Json = serde_json::from_str(&told).unwrap();
    let drifts = told["drifts"].as_array().unwrap();
    assert_eq!(drifts.len(), 4, "{told}");
    for drift in drifts {
        assert_eq!(drift["attribution"]["confidence"], "unknown", "nobody is named for it: {drift}");
    }
    assert_eq!(undo_timers(host), "", "there is nothing to confirm");
}

#[test]
fn a_firewall_that_cuts_off_the_remote_takes_itself_back_and_stays_away() {
    let lab = Lab::new();
    let forge = lab.forge();
    declare(&forge, FIRST);
    let host = site(&lab, &forge, Suite::Bookworm, "auto");
    host.wait_until("the first table is confirmed", LIMIT, || boots(&host).contains("agentd:first"));
    let before = rules(&host);
    declare(&forge, CUT_OFF);
    host.wait_until("the second table is in force", LIMIT, || rules(&host).contains("agentd:second"));
    host.wait_until("the first one is back", LIMIT, || rules(&host) == before);
    assert!(boots(&host).contains("agentd:first"));
    // The agent looks again (it heard of the change), does not load it again, and says so by itself.
    host.wait_until("it says why", LIMIT, || page(&host).contains(UNDONE));
    assert_eq!(host.run(&["agentctl", "status"]).code, Some(1));
    let told = status(&host);
    let notes = told["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains(UNDONE)), "{told}");
    let resources = told["resources"].as_array().unwrap();
    for name in ["firewall:output", "firewall:input/second"] {
        let line = resources.iter().find(|line| line["resource"] == name).unwrap_or_else(|| panic!("{told}"));
        assert_eq!(line["status"], "Failed", "{line}");
        assert!(line["message"].as_str().unwrap().contains("not confirmed in time"), "{line}");
    }
    // Nobody else is asked who that was.
    let told = host.run(&["agentctl", "history", "firewall:input/second", "--json", "--limit", "1"]).ok();
    let told: Json = serde_json::from_str(&told).unwrap();
    let unit = &told["drifts"][0]["attribution"]["actor"]["unit"];
    assert!(unit.as_str().is_some_and(|unit| unit.starts_with("agentd-firewall-undo-")), "{told}");
    assert_eq!(rules(&host), before);
    // Until then the host is held to what was confirmed.
    host.run(&["nft", "flush", "ruleset"]).ok();
    host.wait_until("the first one is back again", LIMIT, || rules(&host) == before);
    // The way out is another revision.
    declare(&forge, &FIRST.replace("first", "third"));
    host.wait_until("another one is confirmed", LIMIT, || boots(&host).contains("agentd:third"));
    host.wait_until("nothing is said of it any more", LIMIT, || !page(&host).contains(UNDONE));
}

#[test]
fn a_revision_that_takes_the_undone_firewall_back_ends_the_matter() {
    let lab = Lab::new();
    let forge = lab.forge();
    declare(&forge, FIRST);
    let host = site(&lab, &forge, Suite::Bookworm, "auto");
    host.wait_until("the first table is confirmed", LIMIT, || boots(&host).contains("agentd:first"));
    declare(&forge, CUT_OFF);
    host.wait_until("it is undone", LIMIT, || page(&host).contains(UNDONE));
    declare(&forge, FIRST);
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    host.wait_until("nothing is said of it any more", LIMIT, || !page(&host).contains(UNDONE));
}

/// The very file that the timer loads is broken while the clock runs: the agent sees that nothing was taken back, does
/// it itself, and says so.
#[test]
fn a_firewall_whose_undo_is_broken_meanwhile_is_taken_back_by_the_agent() {
    let lab = Lab::new();
    let forge = lab.forge();
    declare(&forge, FIRST);
    let host = site(&lab, &forge, Suite::Bookworm, "auto");
    host.wait_until("the first table is confirmed", LIMIT, || boots(&host).contains("agentd:first"));
    let before = rules(&host);
    // Broken at once when it is there: the host is slower than the clock of the change.
    let breaker = "while ! grep -qs agentd:first $U; do sleep 0.1; done; printf 'table inet agentd {' > $U";
    let breaker = breaker.replace("$U", "/var/lib/agentd/firewall-undo.nft");
    host.run(&["systemd-run", "--quiet", "--unit=breaker", "sh", "-c", &breaker]).ok();
    declare(&forge, CUT_OFF);
    host.wait_until("the second table is in force", LIMIT, || rules(&host).contains("agentd:second"));
    host.wait_until("the timer fails", LIMIT, || {
        let failed = host.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout;
        failed.contains("agentd-firewall-undo-")
    });
    host.wait_until("the first table is back", LIMIT, || rules(&host) == before);
    assert!(boots(&host).contains("agentd:first"));
    host.wait_until("it says why", LIMIT, || page(&host).contains(UNDONE));
    let told = host.run(&["agentctl", "history", "--json"]).ok();
    assert!(told.contains("the undo failed"), "{told}");
    // The way out is another revision.
    declare(&forge, &FIRST.replace("first", "third"));
    host.wait_until("another one is confirmed", LIMIT, || boots(&host).contains("agentd:third"));
}

fn a_person_must_confirm(suite: Suite) {
    let lab = Lab::new();
    let forge = lab.forge();
    declare(&forge, FIRST);
    let host = site(&lab, &forge, suite, "ask");
    host.wait_until("the table is in force", LIMIT, || rules(&host).contains("agentd:first"));
    host.wait_until("it is gone again", LIMIT, || rules(&host).is_empty());
    assert_eq!(boots(&host), "");

    declare(&forge, &FIRST.replace("first", "second"));
    host.wait_until("the next one is in force", LIMIT, || rules(&host).contains("agentd:second"));
    let page = || host.run(&["agentctl", "status"]).stdout;
    host.wait_until("it is said that it waits", LIMIT, || page().contains("Unconfirmed"));
    let said = host.run(&["agentctl", "confirm"]).ok();
    assert!(said.starts_with("confirmed, it stays"), "{said}");
    assert!(rules(&host).contains("agentd:second") && boots(&host).contains("agentd:second"));
    assert_eq!(undo_timers(&host), "", "nothing takes it back any more");
    host.wait_until("it waits no longer", LIMIT, || !page().contains("Unconfirmed"));
    let again = host.run(&["agentctl", "confirm"]).fails();
    assert!(again.contains("nothing waits for a confirmation"), "{again}");
}

#[test]
fn a_firewall_that_a_person_must_confirm_is_undone_without_one_and_stays_with_one_on_debian_12() {
    a_person_must_confirm(Suite::Bookworm);
}

#[test]
fn a_firewall_that_a_person_must_confirm_is_undone_without_one_and_stays_with_one_on_debian_13() {
    a_person_must_confirm(Suite::Trixie);
}
