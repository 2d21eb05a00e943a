//! One run of apt over a crowd of packages: waited for, seen as what it did and not as a thousand events, and undone by
//! one run of our own.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::harness::{Host, Lab, Suite};
use crate::signals::{LIMIT, hold, status};

const CROWD: usize = 60;

fn names() -> Vec<String> {
    (0..CROWD).map(|number| format!("shop-{number:02}")).collect()
}

/// How many of them dpkg has.
fn installed(host: &Host) -> usize {
    let states = host.run(&["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", "shop-*"]).stdout;
    states.lines().filter(|line| line.ends_with(" installed")).count()
}

/// The command lines of apt's runs, oldest first.
fn runs(host: &Host) -> Vec<String> {
    let history = host.run(&["cat", "/var/log/apt/history.log"]).stdout;
    history.lines().filter(|line| line.starts_with("Commandline: ")).map(str::to_owned).collect()
}

/// What the agent's history has of packages that somebody changed.
fn drifts(host: &Host) -> Vec<Json> {
    let line = ["agentctl", "history", "--json", "--kind", "package", "--verdict", "drifted", "-n", "500"];
    let told: Json = serde_json::from_str(&host.run(&line).ok()).unwrap();
    told["drifts"].as_array().unwrap().clone()
}

fn attempts(drift: &Json) -> &Vec<Json> {
    drift["attempts"].as_array().unwrap()
}

fn last_pass(host: &Host) -> u64 {
    status(host)["last_pass"]["id"].as_u64().unwrap()
}

#[test]
fn one_run_of_apt_over_sixty_packages_is_waited_for_and_undone_by_one_of_ours() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        let mut archive = lab.archive("crowd");
        for name in names() {
            archive.package(&name, "1.0");
        }
        archive.publish(&host);
        host.run(&["apt-get", "update"]).ok();
        let lines: String = names().iter().map(|name| format!("{name} = '*'\n")).collect();
        hold(&lab, &host, &format!("[packages]\n{lines}"));
        assert_eq!(installed(&host), CROWD);
        assert_eq!(drifts(&host), [Json::Null; 0], "nobody changed anything yet");
        let (before, runs_before) = (last_pass(&host), runs(&host).len());

        // dpkg has long written its last word when apt lets go of its lock: once it is told to.
        let linger = "DPkg::Post-Invoke::=touch /srv/removed; while ! test -e /srv/go; do sleep 0.1; done";
        let remove = ["systemd-run", "--quiet", "--unit=person", "apt-get", "-o", linger, "remove", "--yes"];
        let crowd = names();
        let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
        host.run(&[&remove[..], &crowd].concat()).ok();
        host.wait_until("all of them are gone", LIMIT, || host.exists("/srv/removed"));
        assert_eq!(installed(&host), 0);
        // By itself the agent waits for the end; a person has it look at once. Exits with 1: something differs.
        let _ = host.run(&["agentctl", "sync", "--no-fetch"]);
        assert!(!host.exists("/srv/go"), "apt still holds its lock");
        let meanwhile = drifts(&host);
        assert_eq!(meanwhile.len(), CROWD, "all of it was seen");
        assert!(meanwhile.iter().all(|drift| attempts(drift).is_empty()), "{meanwhile:#?}");
        let held = &meanwhile[0]["held"];
        assert_eq!(held["why"], "waiting", "{held}");
        assert!(held["detail"].as_str().unwrap().contains("is held by apt-get (process "), "{held}");
        // The history of a run is written at its end, or as soon as its buffer is full: the person's may be there.
        let meanwhile = (installed(&host), runs(&host).split_off(runs_before));
        assert_eq!(meanwhile.0, 0, "nothing came back meanwhile");
        assert!(
            meanwhile.1.iter().all(|run| run.contains(" remove --yes ")),
            "nothing was tried: {meanwhile:?}"
        );

        host.write("/srv/go", "");
        host.wait_until("all of them are back", LIMIT, || installed(&host) == CROWD);
        host.wait_until("all of it is told", LIMIT, || {
            drifts(&host).iter().all(|drift| !drift["resolved"].is_null())
                && runs(&host).len() > runs_before + 1
        });
        let drifts = drifts(&host);
        let resources: BTreeSet<&str> =
            drifts.iter().map(|drift| drift["resource"].as_str().unwrap()).collect();
        assert_eq!((drifts.len(), resources.len()), (CROWD, CROWD), "one drift each");
        for drift in &drifts {
            assert_eq!(attempts(drift).len(), 1, "{drift:#}");
            assert_eq!(drift["result"]["result"], "corrected", "{drift:#}");
        }
        let passes: BTreeSet<u64> =
            drifts.iter().map(|drift| attempts(drift)[0]["pass"].as_u64().unwrap()).collect();
        assert_eq!(passes.len(), 1, "one pass put all of them right");
        let runs = runs(&host).split_off(runs_before);
        assert_eq!(runs.len(), 2, "the person's and ours: {runs:#?}");
        let passes = last_pass(&host) - before;
        assert!((2..=4).contains(&passes), "{passes} passes: it was noticed, asked about, and undone");
    }
}
