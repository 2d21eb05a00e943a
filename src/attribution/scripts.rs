//! What a program can have done by itself before it gave its process to another one. A shell that was told to run
//! one command and nothing else wrote no file; nor did `env` or `nice`.

use crate::host::exec_cache::Executed;

/// Programs that do nothing but start another one in their own process.
const WRAPPERS: [&str; 18] = [
    "busybox-exec",
    "chroot",
    "chrt",
    "doas",
    "env",
    "ionice",
    "nice",
    "nohup",
    "nsenter",
    "numactl",
    "runuser",
    "setarch",
    "setpriv",
    "setsid",
    "stdbuf",
    "sudo",
    "systemd-executor",
    "taskset",
];
/// Programs whose children prepare a session or a job and then become it.
const STARTERS: [&str; 11] = [
    "atd",
    "cron",
    "login",
    "runuser",
    "sshd",
    "sshd-session",
    "su",
    "sudo",
    "systemd",
    "systemd-executor",
    "systemd-nspawn",
];
/// Programs that take a script as an argument.
const SHELLS: [&str; 8] = ["ash", "bash", "dash", "ksh", "mksh", "rbash", "sh", "zsh"];
/// Other programs that run a script; their names end in a version.
const INTERPRETERS: [&str; 2] = ["perl", "python"];
/// What a shell writes to and nobody sees.
const HARMLESS: [&str; 8] =
    ["2>&1", "1>&2", ">&2", "2>/dev/null", "2> /dev/null", "&>/dev/null", ">/dev/null", "> /dev/null"];
/// Words that make a shell run what is written elsewhere, or write by itself.
const ELSEWHERE: [&str; 6] = [".", "source", "eval", "history", "fc", "trap"];

/// Whether a fork of this program does nothing but become another one, however long it prepares that.
pub(super) fn only_starts(image: &Executed) -> bool {
    // What was there before the notes were is known by its short name alone. Which of the two it was is all that rests
    // on that: the process, its user and its login are the same.
    let program = if image.interpreter.is_empty() { &image.name } else { base(&image.interpreter) };
    STARTERS.contains(&program) || image.interpreter.is_empty() && program.starts_with('(')
}

/// The last part of a path.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The last part of the name of what runs: of the script, where an interpreter runs one. What a program like sudo was
/// told to start is another program.
pub(super) fn program<'a>(executable: &'a str, command: &'a [String]) -> &'a str {
    let own = base(executable);
    let interprets = SHELLS.contains(&own) || INTERPRETERS.iter().any(|one| own.starts_with(one));
    let script = command.get(1).filter(|script| interprets && !script.starts_with('-'));
    script.map_or(own, |script| base(script))
}

/// Whether this program certainly wrote no file before it made room for the next one.
pub(super) fn wrote_nothing(image: &Executed) -> bool {
    let program = base(&image.interpreter);
    if WRAPPERS.contains(&program) || is_executor(image) {
        return true;
    }
    script(image).is_some_and(is_harmless)
}

/// systemd starts `systemd-executor` through a handle it keeps open (`/proc/self/fd/16`), so that its path tells nothing.
fn is_executor(image: &Executed) -> bool {
    let calls_itself = image.command.first().is_some_and(|name| base(name) == "systemd-executor");
    calls_itself && image.parent == 1 && image.uid == 0 && image.interpreter.starts_with("/proc/self/fd/")
}

/// Whether its script redirects something into this path.
pub(super) fn redirects_to(image: &Executed, path: &str) -> bool {
    let Some(script) = script(image) else { return false };
    let script: String = script.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    script.match_indices(path).any(|(at, _)| {
        let before = script[..at].trim_end();
        let after = script[at + path.len()..].chars().next();
        let ends = after.is_none_or(|c| c.is_whitespace() || ";&|)<>\n".contains(c));
        ends && (before.ends_with('>') || before.ends_with(">|"))
    })
}

/// Whether an argument names this path.
pub(super) fn names(image: &Executed, path: &str) -> bool {
    image.command.iter().any(|argument| argument.contains(path))
}

/// The text a shell was given on its command line. One that was cut proves nothing.
fn script(image: &Executed) -> Option<&str> {
    if !SHELLS.contains(&base(&image.interpreter)) {
        return None;
    }
    let mut arguments = image.command.iter().skip(1);
    let option = arguments.find(|argument| !argument.starts_with("--"))?;
    let takes_script = option.starts_with('-') && option.ends_with('c') && !option.starts_with("--");
    let length: usize = image.command.iter().map(|argument| argument.len() + 1).sum();
    (takes_script && length < 255).then(|| arguments.next().map(String::as_str))?
}

fn is_harmless(script: &str) -> bool {
    let mut rest = script.to_owned();
    for word in HARMLESS {
        rest = rest.replace(word, " ");
    }
    let mut words = rest.split(|c: char| c.is_whitespace() || ";&|()`{}$".contains(c));
    !rest.contains('>') && !words.any(|word| ELSEWHERE.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::tests::image;
    use super::*;

    #[test]
    fn a_shell_that_only_starts_one_command_wrote_nothing_and_one_that_redirects_may_have() {
        let shell = |script: &str| image(7, "/bin/bash", &["bash", "-c", script]);
        for script in [
            "sed -i s/a/b/ /etc/motd",
            "cd /etc; sed -i s/a/b/ motd 2>/dev/null",
            "exec cp a b >/dev/null 2>&1",
        ] {
            assert!(wrote_nothing(&shell(script)), "{script}");
        }
        for script in
            ["echo x > /etc/motd; sleep 1", ". /tmp/x; sleep 1", "eval $x; sleep 1", "x 2>/etc/motd; true"]
        {
            assert!(!wrote_nothing(&shell(script)), "{script}");
        }
        assert!(!wrote_nothing(&image(7, "/bin/bash", &["-bash"])));
        assert!(!wrote_nothing(&image(7, "/bin/bash", &["bash", "-c", &"x".repeat(300)])), "it was cut");
        assert!(wrote_nothing(&image(7, "/usr/bin/env", &["env", "A=b", "x"])));
        let handle =
            image(7, "/proc/self/fd/16", &["/usr/lib/systemd/systemd-executor", "--deserialize", "16"]);
        assert!(wrote_nothing(&Executed { parent: 1, ..handle.clone() }));
        assert!(!wrote_nothing(&handle), "not by systemd");
        assert!(!wrote_nothing(&image(7, "/usr/bin/python3", &["python3", "-c", "x"])));
    }

    #[test]
    fn a_redirection_is_told_from_a_mention() {
        let shell = |script: &str| image(7, "/bin/sh", &["sh", "-c", script]);
        for script in ["echo x >/etc/motd", "echo x >> /etc/motd; sleep 1", "echo x > '/etc/motd'"] {
            assert!(redirects_to(&shell(script), "/etc/motd"), "{script}");
        }
        for script in ["cat /etc/motd > /tmp/x", "echo x >/etc/motd.new", "sed -i /etc/motd"] {
            assert!(!redirects_to(&shell(script), "/etc/motd"), "{script}");
        }
    }
}
