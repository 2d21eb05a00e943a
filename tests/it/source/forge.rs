//! Repositories made by a real git, without this machine's git configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use agentd::model::CommitId;
use tempfile::TempDir;

/// A bare repository `fleet.git` and a work tree that pushes to it.
pub struct Forge {
    dir: TempDir,
}

impl Forge {
    /// With one commit on `main`: fleet.toml, hosts/web.toml.
    pub fn new() -> Forge {
        let forge = Forge { dir: TempDir::new().unwrap() };
        git(forge.root(), &["init", "-q", "--bare", "-b", "main", "fleet.git"]);
        git(forge.root(), &["init", "-q", "-b", "main", "work"]);
        git(&forge.work(), &["remote", "add", "origin", "../fleet.git"]);
        forge.commit(&[("fleet.toml", "schema = 1\n"), ("hosts/web.toml", "roles = [\"web\"]\n")], "first");
        forge
    }

    /// The folder that holds `fleet.git`.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn bare(&self) -> PathBuf {
        self.root().join("fleet.git")
    }

    pub fn work(&self) -> PathBuf {
        self.root().join("work")
    }

    /// A place for a store.
    pub fn store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// Writes files, commits and pushes them.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> CommitId {
        for (path, content) in files {
            let path = self.work().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        git(&self.work(), &["add", "-A"]);
        git(&self.work(), &["commit", "-q", "--allow-empty", "-m", message]);
        self.push()
    }

    /// Many empty commits, pushed once.
    pub fn commits(&self, count: usize) -> CommitId {
        for number in 0..count {
            git(&self.work(), &["commit", "-q", "--allow-empty", "-m", &format!("commit {number}")]);
        }
        self.push()
    }

    pub fn push(&self) -> CommitId {
        git(&self.work(), &["push", "-q", "-f", "origin", "HEAD:main"]);
        self.tip()
    }

    pub fn tip(&self) -> CommitId {
        git(&self.bare(), &["rev-parse", "main"]).trim().parse().unwrap()
    }
}

/// Runs git in a folder; gives its output.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = git_command(folder)
        .args(arguments)
        .output()
        .expect("git is needed for these tests: apt-get install git");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn git_command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env_remove("GIT_DIR")
        .envs([
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ])
        .envs([("GIT_AUTHOR_NAME", "Ada Example"), ("GIT_AUTHOR_EMAIL", "ada@example.org")])
        .envs([("GIT_COMMITTER_NAME", "Bob Example"), ("GIT_COMMITTER_EMAIL", "bob@example.org")]);
    command
}
