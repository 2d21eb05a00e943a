//! The real `agentctl`: what it makes of pipes, terminals and the environment.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const AGENTCTL: &str = env!("CARGO_BIN_EXE_agentctl");
const AGENTD: &str = env!("CARGO_BIN_EXE_agentd");

fn agentctl(line: &[&str]) -> Command {
    let mut command = Command::new(AGENTCTL);
    command.args(line).env_clear().current_dir("/").stdin(Stdio::null());
    command
}

/// On a terminal of its own, by util-linux's `script`, which is on every Debian.
fn on_a_terminal(line: &str, env: &[(&str, &str)]) -> Output {
    Command::new("/usr/bin/script")
        .args(["-qec", &format!("{AGENTCTL} {line}"), "/dev/null"])
        .env_clear()
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script, of the package bsdutils, is needed")
}

fn fleet() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("hosts")).unwrap();
    std::fs::write(dir.path().join("fleet.toml"), "schema = 1\n").unwrap();
    std::fs::write(dir.path().join("hosts/db.toml"), "[files.\"/etc/motd\"]\nmoed = \"0644\"\n").unwrap();
    dir
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let dir = fleet();
    let folder = dir.path().display().to_string();
    let piped = agentctl(&["check", &folder]).output().unwrap();
    assert_eq!(piped.status.code(), Some(1));
    assert!(!piped.stdout.contains(&0x1b) && !piped.stdout.is_empty());
    let asked_for = agentctl(&["check", &folder, "--color", "always"]).output().unwrap();
    assert!(asked_for.stdout.contains(&0x1b));
    let check = format!("check {folder}");
    assert!(on_a_terminal(&check, &[]).stdout.contains(&0x1b));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let out = on_a_terminal(&check, &[(name, value)]).stdout;
        assert!(!out.contains(&0x1b) && !out.is_empty(), "{name}");
    }
    // By the convention an empty NO_COLOR says nothing.
    assert!(on_a_terminal(&check, &[("NO_COLOR", "")]).stdout.contains(&0x1b));
}

#[test]
fn a_reader_that_ends_early_is_no_failure() {
    let mut child = agentctl(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(complaint, "");
}

#[test]
fn output_that_can_not_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let dir = fleet();
    let out = agentctl(&["check", &dir.path().display().to_string()]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn every_example_is_accepted_from_where_it_lies() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("fleet.toml").exists() {
            continue;
        }
        let out = agentctl(&["check", "."]).current_dir(&folder).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(0), "{}: {text}", folder.display());
        count += 1;
    }
    assert!(count >= 3, "{count}");
}

/// Runs agentctl as nobody, who may read what is in `folder`.
fn as_nobody(folder: &Path, line: &[&str]) -> Output {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let set_mode =
        |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    set_mode(folder);
    // The target folder may be root's alone: the binary goes where everybody can run it.
    let copy = folder.join("agentctl");
    // By another process: a child that another test starts meanwhile would hold our copy open, and nobody could run it.
    assert!(Command::new("/bin/cp").arg(AGENTCTL).arg(&copy).status().unwrap().success());
    set_mode(&copy);
    let mut command = Command::new(&copy);
    command.args(line).env_clear().uid(65_534).gid(65_534).current_dir("/").stdin(Stdio::null());
    command.output().expect("this test needs root")
}

#[test]
fn nobody_special_can_plan_what_they_can_read_without_an_agent() {
    let dir = fleet();
    let held = dir.path().join("held");
    std::fs::write(&held, "another text\n").unwrap();
    let host = format!("[files.\"{}\"]\ncontent = \"a text\\n\"\nowner = \"root\"\n", held.display());
    std::fs::write(dir.path().join("hosts/db.toml"), &host).unwrap();
    let (folder, settings) =
        (dir.path().display().to_string(), dir.path().join("none").display().to_string());
    let line = ["--config", &settings, "plan", "--repo", &folder, "--host", "db"];
    let out = as_nobody(dir.path(), &line);
    let (said, complaint) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{said}{complaint}");
    assert!(said.contains(&format!("file:{}", held.display())), "{said}");
    assert_eq!(std::fs::read_to_string(&held).unwrap(), "another text\n");
    // What may not be read is unknown, and never guessed.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&held, std::fs::Permissions::from_mode(0o600)).unwrap();
    let out = as_nobody(dir.path(), &line);
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stdout));
    // A host that the repository does not know is a located fault, not a crash.
    let out = as_nobody(dir.path(), &["--config", &settings, "plan", "--repo", &folder, "--host", "web"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no-host-file"), "{out:?}");
}

#[test]
fn nobody_special_can_check() {
    let dir = fleet();
    let out = as_nobody(dir.path(), &["check", &dir.path().display().to_string(), "--json"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["findings"][0]["diagnostic"]["place"]["file"], "hosts/db.toml");
}

#[test]
fn one_program_answers_to_both_names() {
    let dir = tempfile::tempdir().unwrap();
    let answer = |program: &Path, line: &[&str]| {
        let out = Command::new(program).args(line).output().unwrap();
        String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap()
    };
    let installed = dir.path().join("agentctl");
    std::os::unix::fs::symlink(AGENTD, &installed).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(answer(&installed, &["--version"]), format!("agentctl {version}\n"));
    assert_eq!(answer(Path::new(AGENTD), &["--version"]), format!("agentd {version}\n"));
    // What is built for those who work on it is the same command line.
    let whole = answer(&installed, &["--help"]);
    assert!(whole.contains("enroll") && whole == answer(Path::new(AGENTCTL), &["--help"]), "{whole}");
    // Any other name, as that of the workers, is the daemon.
    let other = dir.path().join("agentctl-of-old");
    std::os::unix::fs::symlink(AGENTD, &other).unwrap();
    let no_worker = answer(&other, &["worker", "none"]);
    assert!(no_worker.contains("`none` is no worker"), "{no_worker}");
}

/// What the real shell of `program` offers after `agentctl `, by a script that is handed the file of completions.
fn offered(program: &str, script: &str, file: &Path) -> Vec<String> {
    let shell =
        Command::new(program).args(["-c", script]).arg("shell").arg(file).stdin(Stdio::null()).output();
    let output = shell.unwrap_or_else(|error| panic!("{program} is needed (make setup): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words: Vec<String> =
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    words.retain(|word| !word.starts_with('-'));
    words.sort();
    words
}

#[test]
fn each_shell_completes_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let made = agentctl(&["generate", "completions", &folder.path().display().to_string()]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let help = String::from_utf8(agentctl(&["--help"]).output().unwrap().stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.map_while(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let commands: Vec<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    assert!(commands.len() > 10, "{commands:?}");

    let bash = r#"source "$1"; COMP_WORDS=(agentctl ""); COMP_CWORD=1; _agentctl agentctl "" agentctl
        printf '%s\n' "${COMPREPLY[@]}""#;
    let fish = r#"source $argv[2]; complete -C "agentctl ""#;
    // Its completion runs in the line editor alone: what that would hand to `_describe` is printed instead.
    let zsh = r#"autoload -U compinit; compdef() { :; }; source "$1"
        _describe() { print -l -- ${(P)${@[-2]}} ${(P)${@[-1]}} }; _agentctl_commands | cut -d: -f1"#;
    for (shell, script, name) in
        [("bash", bash, "agentctl"), ("fish", fish, "agentctl.fish"), ("zsh", zsh, "_agentctl")]
    {
        let offered = offered(shell, script, &folder.path().join(name));
        for command in &commands {
            assert!(
                offered.iter().any(|word| word == command),
                "{shell} does not offer {command}: {offered:?}"
            );
        }
    }
}
