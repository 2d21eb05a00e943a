//! What needs no agent: checking, planning from a folder, enrolling, help.

use super::*;

const FLEET: [(&str, &str); 3] = [
    ("fleet.toml", "schema = 1\n"),
    ("hosts/web.toml", "[files.\"/etc/motd\"]\ncontent = \"hello\\n\"\n"),
    ("README.md", "# not TOML"),
];

fn lay(folder: &std::path::Path, files: &[(&str, &str)]) {
    let root = crate::host::files::Root::open(folder).unwrap();
    let ours = |mode| crate::host::files::Attributes {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode,
    };
    for (path, text) in files {
        root.create_dirs(std::path::Path::new(path).parent().unwrap(), ours(0o755)).unwrap();
        root.write(path, text.as_bytes(), ours(0o644)).unwrap();
    }
}

#[test]
fn check_finds_all_faults_of_a_folder() {
    let bench = Bench::alone();
    lay(bench.dir.path(), &FLEET);
    let done = bench.run(&["check", "."]);
    assert_eq!((done.exit, plain(&done)), (Exit::Good, "checked 1 host: 0 errors, 0 warnings\n"));
    lay(bench.dir.path(), &[("hosts/db.toml", "[files.\"/etc/motd\"]\nmoed = \"0644\"\n[packges]\n")]);
    let done = bench.run(&["check"]);
    assert_eq!(done.exit, Exit::Differs);
    insta::assert_snapshot!(plain(&done));
    let report: crate::declaration::CheckReport =
        serde_json::from_str(&bench.run(&["check", "--json"]).out).unwrap();
    assert!(report.has_errors());
    let done = bench.run(&["check", "nowhere"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.err.contains("could not read DIR/nowhere"), "{}", done.err);
}

#[test]
fn a_plan_from_a_folder_tells_faults_of_the_declaration_first() {
    let bench = Bench::alone();
    lay(bench.dir.path(), &[("fleet.toml", "schema = 1\n"), ("hosts/db.toml", "[packges]\n")]);
    let done = bench.run(&["plan", "--repo", ".", "--host", "db"]);
    assert_eq!(done.exit, Exit::Failed);
    assert!(
        done.err.contains("hosts/db.toml:1") && done.err.contains("the declaration is refused"),
        "{}",
        done.err
    );
}

#[test]
fn enrolling_offline_writes_the_settings_and_asks_nobody() {
    let bench = Bench::alone();
    let line = [
        "enroll",
        "--url",
        "https://git.example.org/f.git",
        "--branch",
        "main",
        "--offline",
        "--label",
        "site=north",
    ];
    let done = bench.run(&line);
    assert_eq!(done.exit, Exit::Good, "{}", done.err);
    insta::assert_snapshot!(plain(&done));
    let settings = crate::config::load(&bench.dir.path().join("config")).unwrap();
    assert_eq!(settings.mode, crate::model::DriftMode::Warn);
    assert_eq!(settings.labels["site"], "north");
}

#[test]
fn enrolling_with_settings_that_make_no_sense_writes_nothing() {
    let bench = Bench::alone();
    for url in ["http://git.example.org/f.git", "ssh://git@git.example.org/f.git", "/nowhere/at/all"] {
        let done = bench.run(&["enroll", "--url", url, "--branch", "main"]);
        assert_eq!(done.exit, Exit::Failed, "{url}");
        assert_eq!(crate::config::load(&bench.dir.path().join("config")).unwrap().source, None, "{url}");
    }
}

#[test]
fn help_of_every_command_fits_and_has_an_example_of_nothing_internal() {
    let bench = Bench::alone();
    let mut all = bench.run(&["--help"]).out;
    for name in [
        "enroll",
        "status",
        "diff",
        "plan",
        "sync",
        "suspend",
        "resume",
        "confirm",
        "approve",
        "history",
        "events",
        "explain",
        "check",
        "fingerprint",
        "restore",
    ] {
        let done = bench.run(&[name, "--help"]);
        assert_eq!(done.exit, Exit::Good, "{name}");
        all.push_str(&format!("\n$ agentctl {name} --help\n{}", done.out));
    }
    assert!(all.lines().all(|line| line.chars().count() <= 100));
    assert!(!all.contains("--socket") && !all.contains("generate"));
    insta::assert_snapshot!(all);
}

#[test]
fn man_pages_and_completions_are_made_for_every_command() {
    let bench = Bench::alone();
    let folder = bench.dir.path().join("made");
    let name = folder.display().to_string();
    assert_eq!(bench.run(&["generate", "man", &name]).exit, Exit::Good);
    assert_eq!(bench.run(&["generate", "completions", &name]).exit, Exit::Good);
    let root = crate::host::files::Root::open(&folder).unwrap();
    let names: Vec<String> =
        root.list("").unwrap().unwrap().into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    assert_eq!(names.len(), 16 + 3, "{names:?}");
    assert!(
        ["agentctl", "_agentctl", "agentctl.fish", "agentctl.1", "agentctl-status.1"]
            .iter()
            .all(|name| names.iter().any(|known| known == name))
    );
}
