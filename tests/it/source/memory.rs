//! What a fetch takes of memory, over a long history: the peak of its process, as the kernel counts it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use super::child;
use super::forge::{Forge, git_command};
use super::remote;
use super::server::Server;

/// With the first one as many commits as are fetched unless the settings say otherwise.
const COMMITS: usize = 19_999;

/// What a long history may cost beyond a short one, in KiB. The whole budget is held to in the laboratory, by the program
/// as it is installed: this one carries a test harness and no optimisation.
const BEYOND: u64 = 16 << 10;

/// A repository in which each commit changes a line of one of 200 files in 20 folders, packed as git packs it.
fn long_history() -> Forge {
    let forge = Forge::new();
    let mut stream = String::new();
    for number in 0..COMMITS {
        let file = number * 7919 % 200;
        let text = format!(
            "[vars]\nnumber = {number}\nname = \"host-{file}\"\n{}",
            "# a line that stays\n".repeat(10)
        );
        write!(
            stream,
            "commit refs/heads/main\ncommitter Ada Example <ada@example.org> {} +0000\ndata 12\na change {:03}\n{}\
             M 100644 inline hosts/group-{}/host-{file}.toml\ndata {}\n{text}\n",
            1_700_000_000 + number,
            number % 1000,
            if number == 0 { "from refs/heads/main^0\n" } else { "" },
            file % 20,
            text.len(),
        )
        .unwrap();
    }
    let mut import = git_command(&forge.bare());
    let mut child = import.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    super::forge::git(&forge.bare(), &["repack", "-a", "-d", "-q"]);
    forge
}

#[test]
fn a_long_history_costs_little_memory_beyond_a_short_one() {
    let forge = long_history();
    let server = Server::git(forge.root(), None);
    let mut trusted = remote(&server.url());
    trusted.ca_file = Some(server.ca_file());
    // Some twenty seconds on a machine of its own; memory is what is asked for here.
    trusted.deadlines.total = std::time::Duration::from_secs(900);
    let mut local = remote(&forge.bare().display().to_string());
    local.deadlines.total = trusted.deadlines.total;
    let short = Forge::new();
    let nearby = Server::git(short.root(), None);
    let mut trusted_short = remote(&nearby.url());
    trusted_short.ca_file = Some(nearby.ca_file());
    let local_short = remote(&short.bare().display().to_string());
    for (name, remote, short_one) in [("https", trusted, trusted_short), ("local", local, local_short)] {
        let base = child::run(&short.root().join(name), &short_one, None);
        base.result.unwrap();
        let long = child::run(&forge.root().join(name), &remote, None);
        let fetched = long.result.unwrap();
        assert_eq!((fetched.tip, fetched.history_complete), (forge.tip(), true), "{name}");
        let told = format!("{name}: {} KiB, {} KiB for one commit", long.peak_kib, base.peak_kib);
        println!("{told}");
        assert!(long.peak_kib <= base.peak_kib + BEYOND, "{told}");
    }
}
