//! What a person may ask of the installed agent, and let go by a word: judged by the host's own tools.

use serde_json::Value as Json;

use super::{FLEET, LIMIT, held, settings, standing, status};
use crate::harness::{Forge, Host, Suite};

/// Other settings than those the host was enrolled with.
fn set(host: &Host, forge: &Forge, first: &str, replaced: (&str, &str)) {
    let settings = settings(forge).replace(replaced.0, replaced.1);
    host.write("/etc/agentd/agent.toml.d/50-lab.toml", &format!("{first}{settings}"));
    host.run(&["systemctl", "reload", "agentd"]).ok();
}

#[test]
fn what_differs_why_and_since_when_is_told_and_held_removals_wait_for_a_word() {
    for suite in Suite::ALL {
        let (_lab, forge, host) = held(suite);
        what_differs_is_shown(&host, &forge);
        what_is_declared_and_was_done_is_told(&host);
        held_removals_are_let_go(&host, &forge);
    }
}

/// Under `warn` nothing is put right: there is time to look.
fn what_differs_is_shown(host: &Host, forge: &Forge) {
    set(host, forge, "", ("mode = \"enabled\"", "mode = \"warn\""));
    host.wait_until("it only warns", LIMIT, || status(host)["mode"] == "warn");
    host.sh("echo 'by hand' > /root/motd; mv /root/motd /etc/motd").ok();
    host.wait_until("it is seen", LIMIT, || standing(host, "file:/etc/motd").as_deref() == Some("Drifted"));
    let diff = host.run(&["agentctl", "diff"]);
    assert_eq!(diff.code, Some(1), "{diff}");
    for line in ["file:/etc/motd drifted roles/all.toml:1", "-by hand\n", "+held\n"] {
        assert!(diff.stdout.contains(line), "{line}: {diff}");
    }
    assert!(!diff.stdout.contains('\x1b'), "no colours without a terminal: {diff}");
    let coloured = host.run(&["agentctl", "--color", "always", "diff"]).stdout;
    let (red, green) = ("31m-by hand", "32m+held");
    assert!(coloured.contains(red) && coloured.contains(green), "{coloured:?}");
    let plan = host.run(&["agentctl", "plan"]);
    assert_eq!(plan.code, Some(1), "{plan}");
    assert!(plan.stdout.contains("file:/etc/motd"), "{plan}");
    assert_eq!(host.read("/etc/motd"), "by hand\n", "asking changes nothing");

    set(host, forge, "", ("", ""));
    host.wait_until("it is put right", LIMIT, || host.read("/etc/motd") == "held\n");
    host.wait_until("in sync", LIMIT, || host.run(&["agentctl", "status"]).success());
    host.run(&["agentctl", "diff"]).ok();
    host.run(&["agentctl", "plan"]).ok();
}

fn what_is_declared_and_was_done_is_told(host: &Host) {
    let commit = status(host)["applied"]["commit"].as_str().unwrap()[..7].to_owned();
    let page = host.run(&["agentctl", "explain", "file:/etc/motd"]).ok();
    for words in ["roles/all.toml:1", &commit, "Ada Example <ada@example.org>", "as declared", "corrected"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let history = host.run(&["agentctl", "history", "file:/etc/motd", "--json"]).ok();
    let history: Json = serde_json::from_str(&history).unwrap();
    let drift = &history["drifts"][0];
    assert_eq!((&drift["resource"], &drift["verdict"]), (&"file:/etc/motd".into(), &"drifted".into()));
    assert_eq!(drift["fields"][0]["field"], "content", "{drift}");
    // What was there and what is, by their digests.
    for (side, content) in [("observed", "by hand"), ("desired", "held")] {
        let digest = host.sh(&format!("echo '{content}' | sha256sum | cut -d' ' -f1")).ok();
        assert!(drift["fields"][0][side].to_string().contains(digest.trim()), "{side}: {drift}");
    }
    let made = drift["attempts"].as_array().unwrap();
    let made =
        made.iter().find(|one| one["result"]["result"] == "corrected").unwrap_or_else(|| panic!("{drift}"));
    let at = |value: &Json| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&drift["seen"]) <= at(&made["began"]) && at(&made["began"]) <= at(&made["ended"]), "{drift}");
}

fn held_removals_are_let_go(host: &Host, forge: &Forge) {
    let extra = |name: &str| format!("[files.'/srv/{name}']\ncontent = \"extra\\n\"\nprune = true\n");
    let role = FLEET[2].1;
    forge.push(&[("roles/all.toml", &format!("{}{}{role}", extra("one"), extra("two")))]);
    host.run(&["agentctl", "sync"]).ok();
    let there = || host.run(&["ls", "/srv/one", "/srv/two"]).stdout.lines().count();
    host.wait_until("they are laid", LIMIT, || there() == 2);
    set(host, forge, "removal_limit = 1\n", ("", ""));
    let commit = forge.push(&[("roles/all.toml", role)]);
    let _ = host.run(&["agentctl", "sync"]);
    host.wait_until("the removals are held", LIMIT, || {
        let plan = host.run(&["agentctl", "plan"]);
        plan.code == Some(1) && plan.stdout.contains("2 resources would be removed and the limit is 1")
    });
    assert_eq!(status(host)["applied"]["commit"], commit.as_str());
    assert_eq!(there(), 2, "more than the limit: none of them");
    host.run(&["agentctl", "approve", "0000000"]).fails();
    let said = host.run(&["agentctl", "approve", &commit[..7]]).ok();
    assert!(said.contains("2 removals"), "{said}");
    host.wait_until("they are gone", LIMIT, || there() == 0);
    let again = host.run(&["agentctl", "approve", &commit[..7]]).fails();
    assert!(again.contains("nothing waits to be approved"), "{again}");
}
