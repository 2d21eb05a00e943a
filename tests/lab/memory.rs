//! What the fetching process takes of memory, as installed: the budget holds for a history as long as is ever fetched.

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::{Host, Lab, Suite};

/// As many commits as are fetched unless the settings say otherwise.
const COMMITS: usize = 20_000;

/// Resident at most, at any time, in KiB. Memory is a count: it does not depend on how busy the machine is.
const BUDGET: u64 = 24 << 10;

const REPOSITORY: &str = "/srv/git/fleet.git";

/// Runs a program to its end and prints the peak of its resident memory in KiB: the fifth number of struct rusage, of
/// getrusage(RUSAGE_CHILDREN), which is system call 98. Perl is on every Debian, time(1) is not.
const MEASURED: &str = r#"
my $child = fork // die;
if (!$child) { open STDIN, "<", shift or die; open STDOUT, ">", shift or die; exec @ARGV or die }
waitpid $child, 0;
die "it ended with $?\n" if $?;
my $usage = "\0" x 256;
syscall(98, -1, $usage) == 0 or die;
print +(unpack "q*", $usage)[4], "\n";
"#;

/// Each commit changes one of 200 files in 20 folders: five new objects.
fn history() -> String {
    let mut stream = "reset refs/heads/main\n".to_owned();
    for number in 0..COMMITS {
        let file = number * 7919 % 200;
        let text =
            format!("[vars]\nnumber = {number}\nname = \"host-{file}\"\n{}", "# it stays\n".repeat(10));
        write!(
            stream,
            "commit refs/heads/main\ncommitter Ada Example <ada@example.org> {} +0000\ndata 12\na change {:03}\n\
             M 100644 inline hosts/group-{}/host-{file}.toml\ndata {}\n{text}\n",
            1_700_000_000 + number,
            number % 1000,
            file % 20,
            text.len(),
        )
        .unwrap();
    }
    stream
}

/// One first fetch by the installed program, as the daemon runs it; the peak in KiB.
fn peak(host: &Host, url: &str) -> u64 {
    host.sh("rm -rf /var/lib/agentd/source/*").ok();
    let authority = host.read("/etc/agentd/forge.pem");
    let request = json!({
        "request": {
            "store": "/var/lib/agentd/source",
            "remote": {
                "url": url, "branch": "main", "subfolder": null, "credentials": "none",
                "ca_file": "/etc/agentd/forge.pem", "known_hosts": null, "caps": {}, "deadlines": {},
            },
            "last": null,
            "care": "quick",
        },
        "files": [{ "part": "authorities", "size": authority.len() }],
    });
    let version = host.run(&["agentd", "--version"]).ok().replace("agentd ", "");
    host.write("/root/request", &format!("agentd-worker fetch {version}{request}{authority}"));
    let program =
        ["perl", "-e", MEASURED, "/root/request", "/root/answer", "/usr/sbin/agentd", "worker", "fetch"];
    let peak = host.run(&program).ok().trim().parse().unwrap();
    let answer = host.read("/root/answer");
    let answer = answer.strip_prefix("answer\n").unwrap_or_else(|| panic!("{answer}"));
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["Ok"]["history_complete"], true, "{answer}");
    peak
}

#[test]
fn a_history_of_20_000_commits_is_fetched_within_the_budget() {
    let lab = Lab::new();
    let forge = lab.forge();
    let git = ["runuser", "-u", "git", "--", "git", "-C", REPOSITORY];
    forge.run_with(&[&git[..], &["fast-import", "--quiet", "--force"]].concat(), history().as_bytes()).ok();
    forge.run(&[&git[..], &["repack", "-a", "-d", "-q"]].concat()).ok();
    let host = lab.boot(Suite::Bookworm, "web-1");
    host.install_agent();
    host.write("/etc/agentd/forge.pem", &forge.ca());
    host.copy_in(&forge.disk().join(REPOSITORY.trim_start_matches('/')), "/srv/fleet.git");
    for url in [forge.url_https().as_str(), "/srv/fleet.git"] {
        let peak = peak(&host, url);
        println!("{url}: {peak} KiB");
        assert!(peak <= BUDGET, "{url}: {peak} KiB of {BUDGET}");
    }
}
