//! What can be done on a machine of the laboratory, whether it is a container ([`Host`](super::Host)) or a virtual
//! machine ([`Vm`](super::Vm)).

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::exec::{Output, quoted, run, wait_until};
use super::lab::Lab;

/// A booted Debian. The three methods without a body are what tells machines apart.
pub trait Inside {
    fn name(&self) -> &str;

    fn lab(&self) -> &Lab;

    /// Runs a program as root, with a clean environment, within two minutes.
    fn run_with(&self, command: &[&str], stdin: &[u8]) -> Output;

    /// Logs in over ssh as a person made by [`Inside::add_person`] and runs a shell script: a real session, with a
    /// login uid and a scope of its own.
    fn login(&self, person: &str, script: &str) -> Output;

    /// Runs a program as root without input.
    fn run(&self, command: &[&str]) -> Output {
        self.run_with(command, b"")
    }

    /// Runs a shell script; it stops at the first command that fails.
    fn sh(&self, script: &str) -> Output {
        self.run(&["bash", "-euo", "pipefail", "-c", script])
    }

    /// Writes a file as an editor does that writes in place; missing folders are made.
    fn write(&self, path: &str, content: &str) {
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\"";
        self.run_with(&["sh", "-c", script, "sh", path], content.as_bytes()).ok();
    }

    /// What a file holds, which must be text.
    fn read(&self, path: &str) -> String {
        self.run(&["cat", "--", path]).ok()
    }

    /// Whether the name exists, also as a link that leads nowhere.
    fn exists(&self, path: &str) -> bool {
        self.run(&["sh", "-c", "test -e \"$1\" || test -L \"$1\"", "sh", path]).success()
    }

    /// Copies a folder of this machine with everything in it to a folder of the other.
    fn copy_in(&self, from: &Path, to: &str) {
        let from = from.to_str().expect("a path in UTF-8");
        let tar = format!("tar --directory {} --owner=0 --group=0 --create . | base64 -w0", quoted(from));
        let packed = run(&["bash", "-o", "pipefail", "-c", &tar]).ok();
        let unpack =
            "mkdir -p \"$1\" && base64 --decode | tar --directory \"$1\" --extract --no-overwrite-dir";
        self.run_with(&["bash", "-o", "pipefail", "-c", unpack, "sh", to], packed.as_bytes()).ok();
    }

    /// Makes an account for a person, who may log in over ssh and become root by sudo without a password.
    fn add_person(&self, name: &str) {
        let key =
            fs::read_to_string(self.lab().people_key().with_extension("pub")).expect("read a public key");
        self.run(&["useradd", "--create-home", "--shell", "/bin/bash", name]).ok();
        self.write(&format!("/etc/sudoers.d/{name}"), &format!("{name} ALL=(ALL) NOPASSWD: ALL\n"));
        let folder = format!("/home/{name}/.ssh");
        self.run(&["install", "--directory", "--owner", name, "--group", name, "--mode=700", &folder]).ok();
        self.write(&format!("{folder}/authorized_keys"), &key);
    }

    /// Waits until the condition holds; past the deadline the test fails with `what`.
    #[track_caller]
    fn wait_until(&self, what: &str, limit: Duration, condition: &mut dyn FnMut() -> bool) {
        wait_until(&format!("{}: {what}", self.name()), limit, condition);
    }
}
