//! Settings from real files.
#![allow(clippy::disallowed_methods)] // lays files as a person would

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::model::DriftMode;
use crate::source::{Caps, Deadlines};

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(bench.0.path().join(FURTHER)).unwrap();
        bench
    }

    fn write(&self, file: &str, text: &str) -> &Self {
        let path = self.0.path().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        self
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        load(self.0.path())
    }

    /// The faults, each as `code file:line`, with the folder taken out.
    fn faults(&self) -> Vec<String> {
        let Err(ConfigError::Faults(faults)) = self.load() else { panic!("{:?}", self.load()) };
        let folder = self.0.path().join("").display().to_string();
        let show = |fault: &Diagnostic| format!("{} {}", fault.code, fault.place).replace(&folder, "");
        faults.iter().map(show).collect()
    }
}

#[test]
fn without_files_nothing_is_corrected_and_nothing_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let settings = load(dir.path()).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!((settings.mode, settings.source), (DriftMode::Warn, None));
}

#[test]
fn fragments_win_over_the_file_key_by_key_in_the_order_of_their_names() {
    let bench = Bench::new();
    bench
        .write("agent.toml", "mode = 'warn'\ninterval = '2m'\n[source]\nurl = 'https://a.example.org/f.git'\nbranch = 'main'\n")
        .write("agent.toml.d/10-a.toml", "mode = 'enabled'\n[source]\nbranch = 'stable'\n[labels]\nsite = 'north'\n")
        .write("agent.toml.d/20-b.toml", "[source]\npath = 'fleet/'\n[labels]\nrack = '7'\n")
        .write("agent.toml.d/README", "not TOML at all")
        .write("agent.toml.d/.30-c.toml.swp", "nor this");
    let settings = bench.load().unwrap();
    assert_eq!((settings.mode, settings.interval), (DriftMode::Enabled, Duration::from_secs(120)));
    let source = settings.source.unwrap();
    assert_eq!((source.url.as_str(), source.branch.as_str()), ("https://a.example.org/f.git", "stable"));
    assert_eq!(source.path.as_deref(), Some("fleet"));
    assert_eq!(settings.labels.len(), 2);
}

#[test]
fn everything_that_can_be_set_is_read() {
    let bench = Bench::new();
    bench.write(
        "agent.toml",
        r#"
            mode = "enabled"
            host = "web-1.example.org"
            interval = "30s"
            full_pass = "1h30m"
            stale_after = "2h"
            removal_limit = 3
            protect = ["/etc/ssh", "/srv/data"]

            [source]
            url = "ssh://git@git.example.org/fleet.git"
            branch = "release/12"
            path = "fleet/prod"
            ssh_key = "/etc/agentd/key"
            known_hosts = "/etc/agentd/known_hosts"
            max_commits = 500
            max_size = "64MiB"
            time_limit = "1m"

            [labels]
            site = "north"

            [keep]
            max_age = "30d"
            max_size = "256MiB"

            [history]
            max_age = "400d"
            max_size = "32MiB"

            [guard]
            window = "2m"
            confirm = "ask"

            [packages]
            index_max_age = "6h"
            lock_wait = "1m"
            time_limit = "2h"

            [metrics]
            textfile = "/var/lib/prometheus/node-exporter/agentd.prom"

            [control]
            readers = "adm"
            changers = "ops"
        "#,
    );
    let settings = bench.load().unwrap();
    let Settings {
        mode,
        host,
        interval,
        full_pass,
        stale_after,
        source,
        labels,
        removal_limit,
        protect,
        keep,
        history,
        readers,
        changers,
        guard_window,
        confirm,
        packages,
        textfile,
    } = settings;
    assert_eq!(textfile, Some("/var/lib/prometheus/node-exporter/agentd.prom".into()));
    assert_eq!((mode, host.as_deref()), (DriftMode::Enabled, Some("web-1.example.org")));
    assert_eq!((interval.as_secs(), full_pass.as_secs(), removal_limit), (30, 5400, 3));
    assert_eq!(protect.len(), 2);
    let source = source.unwrap();
    assert_eq!(source.login, Login::Key("/etc/agentd/key".into()));
    assert_eq!((source.caps.commits, source.caps.bytes), (500, 64 << 20));
    assert_eq!(source.deadlines.total.as_secs(), 60);
    assert_eq!(labels["site"], "north");
    assert_eq!((keep.max_age.as_secs(), keep.max_bytes), (30 * 86_400, 256 << 20));
    assert_eq!((history.age.as_secs(), history.bytes), (400 * 86_400, 32 << 20));
    assert_eq!((guard_window.as_secs(), confirm, stale_after.as_secs()), (120, Confirm::Ask, 7200));
    assert_eq!((packages.index_age.as_secs(), packages.time_limit.as_secs()), (6 * 3600, 7200));
    assert_eq!(packages.lock_pause * packages.lock_tries, std::time::Duration::from_secs(60));
    assert_eq!((readers.as_str(), changers.as_deref()), ("adm", Some("ops")));
}

#[test]
fn all_faults_are_told_at_once_each_in_its_file() {
    let bench = Bench::new();
    bench
        .write("agent.toml", "mdoe = 'enabled'\ninterval = 60\nfull_pass = '1 hour'\nprotect = ['etc/ssh']\n")
        .write(
            "agent.toml.d/a.toml",
            "mode = 'on'\nremoval_limit = -1\nhost = 'Web 1'\n[source]\nbranch = '-x'\n",
        )
        .write(
            "agent.toml.d/b.toml",
            "[labels]\n\"Site!\" = 'x'\nrack = 7\n[keep]\nmax_size = '1 GB'\nfoo = 1\n",
        );
    assert_eq!(
        bench.faults(),
        [
            "unknown-key agent.toml:1",
            "wrong-type agent.toml:2",
            "bad-value agent.toml:3",
            "bad-value agent.toml:4",
            "bad-value agent.toml.d/a.toml:1",
            "bad-value agent.toml.d/a.toml:2",
            "bad-value agent.toml.d/a.toml:3",
            "missing agent.toml.d/a.toml:4",
            "bad-value agent.toml.d/a.toml:5",
            "bad-value agent.toml.d/b.toml:2",
            "wrong-type agent.toml.d/b.toml:3",
            "bad-value agent.toml.d/b.toml:5",
            "unknown-key agent.toml.d/b.toml:6",
        ]
    );
}

#[test]
fn an_unknown_key_comes_with_its_line_and_the_nearest_known_one() {
    let bench = Bench::new();
    bench.write("agent.toml", "intervall = \"60s\"\n");
    let text = bench.load().unwrap_err().to_string();
    assert!(text.contains("intervall = \"60s\"") && text.contains("did you mean `interval`?"), "{text}");
}

#[test]
fn broken_toml_is_located_and_refuses_everything() {
    let bench = Bench::new();
    bench.write("agent.toml", "mode = 'enabled'\n").write("agent.toml.d/x.toml", "a = 1\nb = = 2\n");
    assert!(
        bench.faults().iter().any(|fault| fault.ends_with("agent.toml.d/x.toml:2")),
        "{:?}",
        bench.faults()
    );
}

#[test]
fn settings_that_others_can_write_are_refused() {
    let bench = Bench::new();
    bench.write("agent.toml", "mode = 'enabled'\n");
    let path = bench.0.path().join(FIRST);
    for mode in [0o664, 0o646] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(bench.faults(), ["writable-settings agent.toml:1"], "{mode:o}");
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), None).expect("this test needs root");
    assert_eq!(bench.faults(), ["writable-settings agent.toml:1"]);
}

#[test]
fn addresses_and_their_credentials_must_fit() {
    let cases = [
        ("url = 'http://git.example.org/f.git'", false),
        ("url = 'https://u:p@git.example.org/f.git'", false),
        ("url = 'https://git.example.org/f.git'\nssh_key = '/k'", false),
        ("url = 'ssh://git@git.example.org/f.git'\nssh_key = '/k'", false),
        ("url = 'ssh://git@git.example.org/f.git'\nssh_key = '/k'\nknown_hosts = '/h'", true),
        ("url = 'ssh://git@git.example.org/f.git'\ntoken_file = '/k'\nknown_hosts = '/h'", false),
        ("url = 'https://git.example.org/f.git'\ntoken_file = '/k'\nbasic_file = '/p'", false),
        ("url = 'https://git.example.org/f.git'\ntoken_file = 'k'", false),
        ("url = 'https://git.example.org/f.git'\npath = '../x'", false),
        ("url = '/srv/git/fleet.git'", true),
    ];
    for (source, good) in cases {
        let bench = Bench::new();
        bench.write("agent.toml", &format!("[source]\n{source}\n"));
        assert_eq!(bench.load().is_ok(), good, "{source}: {:?}", bench.load().err().map(|e| e.to_string()));
    }
}

fn enrolment(url: &str) -> Enrolment {
    Enrolment {
        mode: DriftMode::Enabled,
        host: Some("web-1".into()),
        source: EnrolmentSource { url: url.into(), branch: "main".into(), ..EnrolmentSource::default() },
        labels: [("site".to_owned(), "no\"rth".to_owned())].into(),
    }
}

#[test]
fn an_enrolment_is_written_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("agentd");
    let (path, settings) = write_enrolment(&root, &enrolment("https://git.example.org/f.git")).unwrap();
    assert!(path.ends_with("agentd/agent.toml.d/enroll.toml"));
    assert_eq!(settings, load(&root).unwrap());
    assert_eq!(settings.labels["site"], "no\"rth");
    write_enrolment(&root, &enrolment("https://other.example.org/f.git")).unwrap();
    assert_eq!(load(&root).unwrap().source.unwrap().url.as_str(), "https://other.example.org/f.git");
}

#[test]
fn a_refused_enrolment_leaves_the_earlier_one_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("agentd");
    assert!(write_enrolment(&root, &enrolment("http://plain.example.org")).is_err());
    assert_eq!(load(&root).unwrap(), Settings::default());
    write_enrolment(&root, &enrolment("https://git.example.org/f.git")).unwrap();
    assert!(write_enrolment(&root, &enrolment("http://plain.example.org")).is_err());
    assert_eq!(load(&root).unwrap().source.unwrap().url.as_str(), "https://git.example.org/f.git");
}

#[test]
fn the_settings_that_are_shipped_say_what_is_true_anyway() {
    let shipped = include_str!("../../packaging/agent.toml");
    let dir = tempfile::tempdir().unwrap();
    let uncommented: String = shipped
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        })
        .filter(|line| !line.starts_with("ssh_key"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(dir.path().join(FIRST), &uncommented).unwrap();
    let all = load(dir.path()).unwrap_or_else(|error| panic!("{error}\n{uncommented}"));
    let default = Settings::default();
    assert_eq!(
        (all.mode, all.interval, all.full_pass, all.stale_after, all.removal_limit, all.keep, all.history),
        (
            default.mode,
            default.interval,
            default.full_pass,
            default.stale_after,
            default.removal_limit,
            default.keep,
            default.history
        )
    );
    assert_eq!(
        (all.guard_window, all.confirm, all.packages, all.readers),
        (default.guard_window, default.confirm, default.packages, default.readers)
    );
    let source = all.source.unwrap();
    assert_eq!((source.caps, source.deadlines), (Caps::default(), Deadlines::default()));
}
