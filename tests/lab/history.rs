//! The history as an operator asks for it: in the journal by message id, checked against the heads noted there, and
//! followed while two writers fight about a file.

use rusqlite::Connection;
use serde_json::Value as Json;

use crate::harness::{Host, Lab, Suite};
use crate::metrics::{bring_curl, scrape};
use crate::signals::{LIMIT, hold, status};

const CORRECTED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f201";
const CONTESTED: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f203";
const HEAD: &str = "4b1f0d7c5e2a4c0f9a3ad1c6b7e8f205";

const ROLE: &str = "[files.'/etc/shop.conf']\ncontent = \"declared\\n\"\n[files.'/etc/fought.conf']\ncontent = \"ours\\n\"\n";

/// The lines of the journal with a message id, as journalctl itself finds them.
fn journal(host: &Host, id: &str) -> Vec<Json> {
    host.run(&["journalctl", "--sync"]).ok();
    let filter = format!("MESSAGE_ID={id}");
    let lines = host.run(&["journalctl", "--quiet", "--no-pager", "--output=json", &filter]).ok();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The pass that put something right has a line of its own, with its number, its revision and who wrote that.
fn one_line_a_pass(host: &Host, change: &Json) {
    let pass = change["PASS"].as_str().unwrap();
    assert!(pass.parse::<u64>().is_ok(), "{change}");
    let filter = format!("PASS={pass}");
    let lines = host.run(&[
        "journalctl",
        "--quiet",
        "--no-pager",
        "--output=json",
        "_SYSTEMD_UNIT=agentd.service",
        &filter,
    ]);
    let lines: Vec<Json> = lines.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starts = format!("pass {pass} (");
    let of_pass = |line: &&Json| line["MESSAGE"].as_str().unwrap().starts_with(&starts);
    let told: Vec<&Json> = lines.iter().filter(of_pass).collect();
    assert_eq!((told.len(), lines.len()), (1, 2), "one line a pass and one a change: {lines:?}");
    assert_eq!((&told[0]["COMMIT"], &told[0]["AUTHOR"]), (&change["COMMIT"], &change["AUTHOR"]));
    assert_eq!(
        (&told[0]["PRIORITY"], &change["PRIORITY"]),
        (&"5".into(), &"5".into()),
        "info, which the journal calls notice"
    );
}

fn verify(host: &Host) -> (bool, Json) {
    let output = host.run(&["agentctl", "history", "--verify", "--json"]);
    (output.success(), serde_json::from_str(&output.stdout).unwrap_or_default())
}

#[test]
fn a_correction_is_one_line_of_the_journal_and_a_tampered_record_does_not_fit_the_heads_noted_there() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        hold(&lab, &host, ROLE);
        assert_eq!(journal(&host, CORRECTED).len(), 0, "nothing was undone yet");
        host.sh("echo foreign > /etc/shop.conf").ok();
        host.wait_until("it is put right", LIMIT, || host.read("/etc/shop.conf") == "declared\n");
        host.wait_until("it is told", LIMIT, || !journal(&host, CORRECTED).is_empty());
        let lines = journal(&host, CORRECTED);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!((&line["RESOURCE"], &line["KIND"]), (&"file:/etc/shop.conf".into(), &"file".into()));
        assert_eq!(line["VERDICT"], "drifted");
        assert_eq!(line["COMMIT"].as_str().unwrap().len(), 40);
        assert!(line["AUTHOR"].as_str().unwrap().contains("ada@example.org"), "{line}");
        assert!(line["CONFIDENCE"].is_string(), "somebody looked: {line}");
        if line["CONFIDENCE"] != "unknown" {
            assert!(line["EXE"].is_string() && line["USER"] == "root", "{line}");
        }
        one_line_a_pass(&host, line);
        let drift = line["DRIFT"].as_str().unwrap();
        let story = host.run(&["agentctl", "history", "--id", drift]).ok();
        assert!(story.contains("file:/etc/shop.conf") && story.contains("corrected"), "{story}");

        host.wait_until("a head is noted", LIMIT, || !journal(&host, HEAD).is_empty());
        let (whole, told) = verify(&host);
        assert!(whole && told["verification"]["result"] == "whole", "{told}");
        assert!(told["verification"]["noted"].as_u64() > Some(0), "{told}");

        // Someone who is root makes the past look better, and the chain fit again is not enough: what was noted stays.
        host.run(&["systemctl", "stop", "agentd"]).ok();
        let copy = tempfile::tempdir().unwrap();
        // With its log: the agent ends without folding that into the file.
        for entry in std::fs::read_dir(host.disk().join("var/lib/agentd/record")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let file = copy.path().join("record.db");
        let db = Connection::open(&file).unwrap();
        let changed = db
            .execute("UPDATE entries SET body = replace(body, 'drifted', 'behind') WHERE what = 'seen'", []);
        assert!(changed.unwrap() > 0);
        db.close().unwrap();
        host.copy_in(copy.path(), "/srv/forged");
        host.sh("rm -f /var/lib/agentd/record/record.db*; cp /srv/forged/record.db /var/lib/agentd/record/")
            .ok();
        let (whole, told) = verify(&host);
        assert!(!whole && told["verification"]["result"] == "broken", "{told}");
        // A record that is begun anew does not hide it either.
        host.sh("rm -rf /var/lib/agentd/record; systemctl start agentd").ok();
        host.wait_until("the new record is there", LIMIT, || {
            verify(&host).1["verification"]["result"] == "whole"
        });
        let (whole, told) = verify(&host);
        assert!(!whole && told["others"].as_array().is_some_and(|others| !others.is_empty()), "{told}");
    }
}

/// How often the agent tried to put the file right that somebody else writes, as the history has it.
fn tries(host: &Host) -> usize {
    let told = host.run(&["agentctl", "history", "file:/etc/fought.conf", "--json"]).ok();
    let told: Json = serde_json::from_str(&told).unwrap();
    let drifts = told["drifts"].as_array().unwrap().iter();
    let fought = drifts.filter(|drift| drift["verdict"] != "behind");
    fought.map(|drift| drift["attempts"].as_array().unwrap().len()).sum()
}

/// By its program and its unit, wherever somebody is told of it: in the status, in the journal, and to whoever scrapes.
fn the_rival_is_named(host: &Host, message: &str, line: &Json, program: &str) {
    let named = |text: &str| text.contains(program) && text.contains("in rival.service, ");
    assert!(named(message), "{message}");
    assert!(message.contains(", certain.") || message.contains(", likely."), "{message}");
    assert!(named(line["MESSAGE"].as_str().unwrap()), "{line}");
    assert!(line["CONFIDENCE"].is_string(), "somebody looked: {line}");
    if line["CONFIDENCE"] != "unknown" {
        assert_eq!((&line["EXE"], &line["BY_UNIT"]), (&program.into(), &"rival.service".into()), "{line}");
    }
    let page = scrape(host);
    let series: Vec<&str> = page.lines().filter(|line| line.starts_with("agentd_contested_info{")).collect();
    let expected = format!(
        "agentd_contested_info{{kind=\"file\",resource=\"file:/etc/fought.conf\",program=\"{program}\",\
         unit=\"rival.service\"}} 1"
    );
    assert_eq!(series, [expected.as_str()]);
}

#[test]
fn two_writers_of_one_file_are_told_of_with_how_to_settle_it() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        bring_curl(&lab, suite, &host);
        hold(&lab, &host, ROLE);
        host.sh("systemd-run --unit=follower agentctl events --follow --json file:/etc/fought.conf").ok();
        let rival = "while sleep 0.2; do echo theirs > /etc/fought.conf; done";
        host.run(&["systemd-run", "--unit=rival", "/bin/sh", "-c", rival]).ok();
        let contested = || {
            let resources = status(&host)["resources"].as_array().cloned().unwrap_or_default();
            resources
                .into_iter()
                .find(|one| one["resource"] == "file:/etc/fought.conf" && one["status"] == "Contested")
        };
        host.wait_until("it is contested", LIMIT, || contested().is_some());
        let message = contested().unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("agentctl suspend file:/etc/fought.conf"), "{message}");
        let lines = journal(&host, CONTESTED);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let shell = host.run(&["readlink", "-f", "/bin/sh"]).ok();
        the_rival_is_named(&host, &message, &lines[0], shell.trim());
        // One that the rival overwrote before the second look is no correction: the tries are counted.
        assert_eq!(tries(&host), 4, "at once, and after 2, 6 and 18 seconds");

        host.run(&["systemctl", "stop", "rival"]).ok();
        // Exits with 0 in sync, with 1 if something else differs.
        let _ = host.run(&["agentctl", "sync"]);
        assert_eq!(host.read("/etc/fought.conf"), "ours\n", "a person is not kept waiting");
        host.run(&["systemctl", "stop", "follower"]).ok();
        let followed = host.run(&["journalctl", "--quiet", "--output=cat", "--unit=follower"]).ok();
        let events: Vec<Json> = followed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let word = |word: &str| events.iter().filter(|event| event["event"] == word).count();
        let done = word("corrected") + word("not-converging");
        assert!(done >= 5 && word("corrected") > 0 && word("contested") == 1, "{followed}");
    }
}
