//! `make bench`: what a pass costs, how soon a change is undone, and what the idle daemon costs, on a real host.
//! Prints figures; asserts only what is exact.

use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{Host, Lab, Suite};

/// Long enough that a poll of the source falls into it.
const IDLE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "a benchmark, not a test: `make bench` runs it"]
fn figures() {
    let program =
        PathBuf::from(std::env::var_os("BENCH_PROGRAM").expect("BENCH_PROGRAM names the built bench"));
    let lab = Lab::new();
    let host = lab.boot(Suite::Bookworm, "bench");
    std::fs::copy(program, host.disk().join("usr/local/bin/bench-agentd"))
        .expect("copy the bench into the host");
    println!("{}", host.unit(&["/usr/local/bin/bench-agentd"]).ok());

    host.install_agent();
    println!("{}", host.sh("ls -l /usr/sbin/agentd /usr/bin/agentctl | awk '{print $5, $9}'").ok());
    println!("10,000 files, held by the installed daemon");
    enrol(&host, 10_000);
    println!("{}", host.unit(&["/usr/local/bin/bench-agentd", "restore", "/srv/held", "200"]).ok());
    idle(&host);
}

/// A fleet of one host with this many files.
fn enrol(host: &Host, files: usize) {
    let mut text = String::from("[vars]\n");
    for number in 0..files {
        text.push_str(&format!(
            "[files.\"/srv/held/d{}/f{number}\"]\ncontent = \"{}\"\n",
            number % 1000,
            format!("{number} and so on, ").repeat(100)
        ));
    }
    let forge = host.lab().forge();
    forge.push(&[("fleet.toml", "schema = 1\n"), ("hosts/bench.toml", &text)]);
    host.write("/etc/agentd/forge.pem", &forge.ca());
    let enrol = ["agentctl", "enroll", "--url", &forge.url_https(), "--branch", "main", "--mode", "enabled"];
    host.run(&[&enrol[..], &["--ca-file", "/etc/agentd/forge.pem"]].concat()).ok();
    host.wait_until("the host is in sync", Duration::from_secs(300), || {
        host.run(&["agentctl", "status"]).success()
    });
}

fn idle(host: &Host) {
    let pid = host.sh("systemctl show -p MainPID --value agentd").ok().trim().to_owned();
    let sample = format!(
        "grep -hE '^(Rss|Pss|Pss_Anon|Anonymous):' /proc/{pid}/smaps_rollup | tr '\\n' ' '; \
         cat /proc/{pid}/task/*/status | awk '/^voluntary_ctxt/ {{n += $2}} END {{print \"switches\", n}}'; \
         awk '{{print \"cpu ticks\", $14 + $15}}' /proc/{pid}/stat"
    );
    println!("idle, before {IDLE:?}: {}", host.sh(&sample).ok());
    std::thread::sleep(IDLE);
    println!("idle, after  {IDLE:?}: {}", host.sh(&sample).ok());
}
