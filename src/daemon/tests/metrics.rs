//! What a scraper gets, over the real socket, and what lies in the file for node_exporter.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use super::*;

/// Where the file for node_exporter is to lie, as the host names it.
const TEXTFILE: &str = "/srv/node/agentd.prom";

impl Site {
    fn say(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("metrics.sock")).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn answer(&self, request: &str) -> String {
        let mut answer = String::new();
        self.say(request).read_to_string(&mut answer).unwrap();
        answer
    }

    fn scrape(&self) -> String {
        let answer = self.answer("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
        page.to_owned()
    }

    fn textfile(&self) -> String {
        std::fs::read_to_string(self.file(TEXTFILE)).unwrap_or_default()
    }

    fn warns(&self) {
        self.reload(|setup| setup.mode = DriftMode::Warn);
        until("the mode is shown", || self.status().mode == DriftMode::Warn);
    }
}

/// The value of a sample; none if it is not there.
fn value(page: &str, sample: &str) -> Option<f64> {
    let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn a_drift_that_was_undone_is_counted_and_the_head_of_the_history_leaves_the_host() {
    let site = Site::following(&[(MOTD, "a")]);
    site.sync();
    let before = site.scrape();
    assert_eq!(value(&before, "agentd_drift_corrected_total{kind=\"file\",result=\"corrected\"}"), None);
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    site.sync();
    let page = site.scrape();
    for (sample, expected) in [
        ("agentd_drift_detected_total{kind=\"file\",trigger=\"request\"}", 1.0),
        ("agentd_drift_corrected_total{kind=\"file\",result=\"corrected\"}", 1.0),
        ("agentd_drift_correct_seconds_count{kind=\"file\",trigger=\"request\"}", 1.0),
        ("agentd_drifted_resources{kind=\"file\"}", 0.0),
        ("agentd_resources{kind=\"file\",status=\"Synced\"}", 1.0),
        ("agentd_condition{type=\"Ready\",reason=\"Synced\"}", 1.0),
    ] {
        assert_eq!(value(&page, sample), Some(expected), "{sample}: {page}");
    }
    assert!(value(&page, "agentd_git_request_total{request_type=\"fetch\",result=\"success\"}") >= Some(1.0));
    let head = site.status().history.unwrap();
    let history = format!("{:016x}", head.history.unwrap());
    let head = format!(
        "agentd_history_head_info{{history=\"{history}\",entry=\"{}\",digest=\"{}\"}}",
        head.head.seq, head.head.digest
    );
    assert_eq!(value(&page, &head), Some(1.0), "{page}");
    assert_eq!(page.matches("agentd_history_head_info{").count(), 1, "one head, and not each that was");
}

#[test]
fn what_drifts_and_since_when_is_known_after_a_restart_and_not_counted_or_told_again() {
    let mut site = Site::following(&[(MOTD, "a")]);
    site.warns();
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    site.sync();
    let since = "agentd_drift_since_timestamp_seconds{kind=\"file\"}";
    let before = value(&site.scrape(), since);
    assert!(before.is_some());
    // Later by more than what is told apart.
    std::thread::sleep(Duration::from_millis(5));
    site.restart();
    site.sync();
    let page = site.scrape();
    assert_eq!(value(&page, since), before);
    assert_eq!(value(&page, "agentd_drifted_resources{kind=\"file\"}"), Some(1.0));
    assert!(!page.contains("agentd_drift_detected_total"), "it was seen by the agent before: {page}");
    std::fs::write(site.file(MOTD), "a").unwrap();
    site.sync();
    let page = site.scrape();
    assert_eq!(
        (value(&page, since), value(&page, "agentd_drifted_resources{kind=\"file\"}")),
        (None, Some(0.0))
    );
}

#[test]
fn a_contested_resource_names_its_writer_for_as_long_as_it_is_fought_about() {
    let site = Site::following(&[(MOTD, "a")]);
    for _ in 0..4 {
        std::fs::write(site.file(MOTD), "by hand").unwrap();
        site.sync();
    }
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    // Nobody's word: it has to wait now.
    let looks = || site.running.as_ref().unwrap().sender.send(Event::Reload).unwrap();
    let scope = crate::reconcile::Scope::Full;
    let noticed = crate::trigger::Noticed {
        scope,
        rearm: false,
        events: 1,
        overflows: 0,
        witnesses: Vec::new(),
        gaps: std::collections::BTreeSet::new(),
    };
    site.running.as_ref().unwrap().sender.send(Event::Noticed(noticed)).unwrap();
    let contested = || value(&site.scrape(), "agentd_contested_resources{kind=\"file\"}");
    until("it is contested", || contested() == Some(1.0));
    let page = site.scrape();
    let info = format!(
        "agentd_contested_info{{kind=\"file\",resource=\"file:{MOTD}\",program=\"unknown\",unit=\"\"}}"
    );
    assert_eq!(value(&page, &info), Some(1.0), "{page}");
    assert!(value(&page, "agentd_backoff_seconds{kind=\"file\"}") > Some(1.0), "{page}");
    looks(); // A person's word ends the wait.
    site.shows(MOTD, "a");
    until("it is settled", || contested() == Some(0.0));
    assert!(!site.scrape().contains("agentd_contested_info"));
}

#[test]
fn the_file_is_exchanged_after_each_pass_told_when_it_can_not_be_and_gone_when_not_wanted() {
    let site = Site::following(&[(MOTD, "a")]);
    site.reload(|setup| setup.textfile = Some(TEXTFILE.into()));
    let told =
        || site.status().notes.iter().any(|note| note.contains("the file for node_exporter is not written"));
    until("that its folder is missing is told", told);
    std::fs::create_dir(site.file("/srv/node")).unwrap();
    site.sync();
    until("it is there and nothing is told any more", || !site.textfile().is_empty() && !told());
    assert_eq!(std::fs::metadata(site.file(TEXTFILE)).unwrap().permissions().mode() & 0o7777, 0o644);
    std::fs::write(site.file(MOTD), "by hand").unwrap();
    site.sync();
    let corrected = "agentd_drift_corrected_total{kind=\"file\",result=\"corrected\"}";
    until("the correction is in it", || value(&site.textfile(), corrected) == Some(1.0));
    let inode = || std::fs::metadata(site.file(TEXTFILE)).unwrap().ino();
    let before = inode();
    for _ in 0..5 {
        site.scrape();
        site.status();
    }
    assert_eq!(inode(), before, "nothing changed");
    assert_eq!(std::fs::read_dir(site.file("/srv/node")).unwrap().count(), 1, "nothing is left beside it");
    site.reload(|setup| setup.textfile = None);
    until("it is gone", || !site.file(TEXTFILE).exists());
}

#[test]
fn whoever_asks_nonsense_or_never_ends_hinders_nobody_and_the_socket_has_the_rights_of_the_other() {
    let site = Site::following(&[(MOTD, "a")]);
    let idle: Vec<UnixStream> = (0..3).map(|_| site.say("GET /met")).collect();
    assert!(site.answer("GET /secret HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(site.answer("DELETE /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(site.answer("\0\0\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(site.answer(&"x".repeat(9000)).starts_with("HTTP/1.1 400 "), "no end of a head");
    assert!(site.answer("HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    for _ in 0..20 {
        // Gone before it is answered.
        drop(site.say("GET /metrics HTTP/1.1\r\n\r\n"));
    }
    assert!(site.scrape().contains("agentd_build_info"));
    drop(idle);
    let rights = || {
        let [control, metrics] = ["socket", "metrics.sock"].map(|name| {
            let found = std::fs::metadata(site.path(name)).unwrap();
            (found.permissions().mode() & 0o7777, found.gid())
        });
        assert_eq!(control, metrics);
        metrics
    };
    assert_eq!(rights().0, 0o600);
    site.reload(|setup| setup.access.readers = Some(4242));
    until("the group may ask", || site.path("metrics.sock").metadata().unwrap().gid() == 4242);
    until("with the right to", || rights() == (0o660, 4242));
}
