//! The metrics as a scraper on the host gets them, by curl, and as node_exporter finds them.

use crate::harness::{Archive, Host, Lab, Suite};
use crate::signals::{LIMIT, hold, ship};

const ROLE: &str =
    "[files.'/etc/shop.conf']\ncontent = \"held\\n\"\n[services]\nshop = { state = 'running' }\n";
const TEXTFILE: &str = "/var/lib/prometheus/node-exporter/agentd.prom";

/// Puts curl on the host.
pub fn bring_curl(lab: &Lab, suite: Suite, host: &Host) {
    Archive::of_debian(lab, suite, &["curl"]).publish(host);
    host.run(&["apt-get", "update", "--quiet"]).ok();
    host.run(&["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "curl"]).ok();
}

/// The page of metrics.
pub fn scrape(host: &Host) -> String {
    let socket = ["--unix-socket", "/run/agentd/metrics.sock", "http://localhost/metrics"];
    host.run(&[&["curl", "--silent", "--show-error", "--fail"], &socket[..]].concat()).ok()
}

/// The sum over all samples that begin so.
fn sum(page: &str, sample: &str) -> f64 {
    let values = page.lines().filter(|line| line.starts_with(sample));
    values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn what_was_undone_and_whether_a_watcher_is_blind_is_in_the_metrics() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = lab.boot(suite, "web-1");
        bring_curl(&lab, suite, &host);
        host.run(&["mkdir", "-p", "/var/lib/prometheus/node-exporter"]).ok();
        ship(&host, "shop", "");
        hold(&lab, &host, ROLE);
        assert_eq!(
            host.run(&["stat", "-c", "%a %U %G", "/run/agentd/metrics.sock"]).ok(),
            "660 root agentd\n"
        );

        let corrected = "agentd_drift_corrected_total{kind=\"file\",result=\"corrected\"}";
        assert_eq!(sum(&scrape(&host), corrected), 0.0, "nothing was undone yet");
        host.sh("echo foreign > /etc/shop.conf").ok();
        host.wait_until("it is put right", LIMIT, || host.read("/etc/shop.conf") == "held\n");
        host.wait_until("it is counted", LIMIT, || sum(&scrape(&host), corrected) == 1.0);
        let page = scrape(&host);
        assert_eq!(sum(&page, "agentd_drift_detected_total{kind=\"file\",trigger=\"watch\"}"), 1.0, "{page}");
        assert_eq!(sum(&page, "agentd_drifted_resources"), 0.0, "{page}");
        let watchers = page.lines().filter(|line| line.starts_with("agentd_watcher_up{")).count();
        assert_eq!(sum(&page, "agentd_watcher_up"), watchers as f64, "all see: {page}");
        let head = page.lines().find_map(|line| line.strip_prefix("agentd_history_head_info{")).unwrap();
        let field = |name: &str| head.split(name).nth(1).unwrap().split('"').nth(1).unwrap().to_owned();
        let head = format!("{}/{}:{}", field("history="), field("entry="), field("digest="));
        host.run(&["agentctl", "history", "--verify", "--head", &head]).ok();

        let mounts = "agentd_watch_events_total{watcher=\"mounts\"}";
        let seen = sum(&page, mounts);
        assert!(page.contains("agentd_watcher_up{watcher=\"mounts\"} 1\n"), "{page}");
        host.sh("mkdir -p /srv/other && mount -t tmpfs none /srv/other").ok();
        host.wait_until("the mount is heard", LIMIT, || sum(&scrape(&host), mounts) > seen);

        host.run(&["systemctl", "stop", "dbus.socket", "dbus.service"]).success();
        let up = "agentd_watcher_up{watcher=\"service\"}";
        let blind = "agentd_watcher_blind_since_timestamp_seconds{watcher=\"service\"}";
        host.wait_until("the loss is told", LIMIT, || sum(&scrape(&host), blind) > 0.0);
        let page = scrape(&host);
        assert!(page.contains(&format!("{up} 0\n")), "{page}");
        assert!(page.contains("agentd_condition{type=\"WatchesLive\",reason=\"Blind\"} 0\n"), "{page}");
        host.sh("rm /etc/shop.conf").ok();
        let reads = || host.run(&["cat", "/etc/shop.conf"]).stdout;
        host.wait_until("the others still see", LIMIT, || reads() == "held\n");
        host.run(&["systemctl", "start", "dbus.socket", "dbus.service"]).success();
        host.wait_until("it sees again", LIMIT, || scrape(&host).contains(&format!("{up} 1\n")));

        host.write(
            "/etc/agentd/agent.toml.d/metrics.toml",
            &format!("[metrics]\ntextfile = \"{TEXTFILE}\"\n"),
        );
        host.run(&["systemctl", "reload", "agentd"]).ok();
        let there = || host.run(&["cat", TEXTFILE]).stdout;
        host.wait_until("the file is there", LIMIT, || sum(&there(), corrected) == 2.0);
        assert_eq!(host.run(&["stat", "-c", "%a %U", TEXTFILE]).ok(), "644 root\n");
    }
}
