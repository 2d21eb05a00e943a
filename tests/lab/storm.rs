//! Storms: far more changes than anybody could undo one by one. The agent stays small and quiet, does not fight, sees
//! what else happens, and everything is right soon after. `make storm` is the long form, with figures.

use std::fmt::Write;
use std::time::Instant;

use serde_json::Value as Json;

use crate::harness::{Host, Lab, Suite};
use crate::signals::{LIMIT, hold, ship, starts, status};

/// Files that the storm writes; and files that are changed once each, meanwhile.
const HELD: usize = 20;
const LONE: usize = 400;

/// Writes managed files `rate` times a second, in turn and by their names, as far as this machine keeps up, and ten
/// times as often files beside them; for so many seconds. Prints how many writes there were of each.
const STORM: &str = r#"
use strict; use Config;
my $clock = $Config{archname} =~ /x86_64/ ? 228 : 113;
sub now { my $at = pack('q2', 0, 0); syscall($clock, 1, $at) == 0 or die "no clock"; my ($s, $ns) = unpack('q2', $at); $s + $ns / 1e9 }
sub pause { select(undef, undef, undef, $_[0]) }
my ($seconds, $rate) = @ARGV;
my ($begun, $held, $beside) = (now(), 0, 0);
my @beside;
for my $n (0..199) { open(my $file, '>', "/srv/held/beside$n") or die; push @beside, $file; }
while ((my $past = now() - $begun) < $seconds) {
    my $due = $past * $rate - $held;
    $due = 500 if $due > 500;
    if ($due < 1) { pause(0.002); next; }
    for (1..$due) {
        if (open(my $file, '+<', "/srv/held/f" . ($held % 20))) { syswrite $file, "storm $held"; close $file; }
        $held++;
        for (1..10) { my $file = $beside[$beside++ % 200]; sysseek $file, 0, 0; syswrite $file, "beside"; }
    }
}
print "$held written, $beside beside\n";
"#;

/// Changes one file after the other, waits until each is right again, and prints how many milliseconds that took.
const EDITS: &str = r#"
use strict; use Config;
my $clock = $Config{archname} =~ /x86_64/ ? 228 : 113;
sub now { my $at = pack('q2', 0, 0); syscall($clock, 1, $at) == 0 or die "no clock"; my ($s, $ns) = unpack('q2', $at); $s + $ns / 1e9 }
sub pause { select(undef, undef, undef, $_[0]) }
my ($first, $count, $rest) = @ARGV;
for my $n ($first .. $first + $count - 1) {
    my $path = "/srv/lone/l$n";
    my $begun = now();
    open(my $file, '>', $path) or die "$path: $!"; print $file "edited"; close $file;
    while (1) {
        my $text = '';
        if (open(my $file, '<', $path)) { local $/; $text = <$file> // ''; close $file; }
        last if $text eq "lone $n\n";
        die "$path was not put right" if now() - $begun > 60;
        pause(0.0005);
    }
    printf "%.1f\n", (now() - $begun) * 1000;
    pause($rest);
}
"#;

fn role() -> String {
    let mut role =
        "[services]\nshop = { state = 'running', restart_on = ['file:/srv/held/f0'] }\n".to_owned();
    for number in 0..HELD {
        writeln!(role, "[files.'/srv/held/f{number}']\ncontent = \"held {number}\\n\"").unwrap();
    }
    for number in 0..LONE {
        writeln!(role, "[files.'/srv/lone/l{number}']\ncontent = \"lone {number}\\n\"").unwrap();
    }
    role
}

fn prepared(lab: &Lab, suite: Suite) -> Host {
    let host = lab.boot(suite, "web-1");
    ship(&host, "shop", "");
    host.run(&["mkdir", "/srv/held", "/srv/lone"]).ok();
    hold(lab, &host, &role());
    host.write("/srv/storm.pl", STORM);
    host.write("/srv/edits.pl", EDITS);
    host
}

fn begin_storm(host: &Host, seconds: u64, rate: u64) {
    let (seconds, rate) = (seconds.to_string(), rate.to_string());
    let run = ["systemd-run", "--quiet", "--unit=storm", "--property=RemainAfterExit=yes", "--nice=5"];
    host.run(&[&run[..], &["/usr/bin/perl", "/srv/storm.pl", &seconds, &rate]].concat()).ok();
}

fn is_over(host: &Host) -> bool {
    host.run(&["systemctl", "show", "--property=SubState", "--value", "storm"]).stdout.trim() == "exited"
}

/// Milliseconds that each lone edit took.
fn edits(host: &Host, first: usize, count: usize, pause: &str) -> Vec<f64> {
    let (first, count) = (first.to_string(), count.to_string());
    let told = host.run(&["/usr/bin/perl", "/srv/edits.pl", &first, &count, pause]).ok();
    told.lines().map(|line| line.parse().unwrap()).collect()
}

fn wrong(host: &Host) -> usize {
    let check = format!(
        "n=0; for i in $(seq 0 {}); do [ \"$(cat /srv/held/f$i)\" = \"held $i\" ] || n=$((n+1)); done; echo $n",
        HELD - 1
    );
    host.sh(&check).ok().trim().parse().unwrap()
}

/// What the agent said since it was started.
fn lines(host: &Host) -> Vec<String> {
    host.run(&["journalctl", "--sync"]).ok();
    let journal =
        host.run(&["journalctl", "--quiet", "--no-pager", "--output=short-unix", "--unit=agentd"]).ok();
    journal.lines().filter(|line| line.contains("agentd[")).map(str::to_owned).collect()
}

fn number(status: &Json, at: &str) -> u64 {
    status.pointer(at).and_then(Json::as_u64).unwrap_or_else(|| panic!("no {at} in {status}"))
}

fn folders(status: &Json) -> &Json {
    let watches = status["watches"].as_array().unwrap();
    watches.iter().find(|one| one["name"] == "file").unwrap()
}

#[test]
fn a_storm_is_sat_out_and_a_lone_edit_meanwhile_is_undone() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = prepared(&lab, suite);
        assert_eq!(folders(&status(&host))["method"], "fanotify");
        let (passes, said, started) =
            (number(&status(&host), "/last_pass/id"), lines(&host).len(), starts(&host, "shop"));
        begin_storm(&host, 15, 10_000);
        assert_eq!(edits(&host, 0, 20, "0.3").len(), 20);
        host.wait_until("the storm is over", LIMIT, || is_over(&host));
        host.wait_until("what the storm wrote is right again", LIMIT, || wrong(&host) == 0);
        let after = status(&host);
        // Twenty lone edits, four or five attempts on what is stormed at, and a look now and then.
        let passes = number(&after, "/last_pass/id") - passes;
        assert!(passes <= 80, "{passes} passes");
        let starts = starts(&host, "shop") - started;
        assert!(starts <= 5, "{starts} restarts");
        let said = lines(&host).split_off(said);
        assert!(said.len() <= 60, "{} lines:\n{}", said.len(), said.join("\n"));
        host.wait_until("all is well", LIMIT, || status(&host)["sync"] == "Synced");
        assert!(number(folders(&after), "/events") > 0);
    }
}

#[test]
fn events_that_were_lost_while_the_agent_was_stopped_are_one_full_pass() {
    for suite in Suite::ALL {
        let lab = Lab::new();
        let host = prepared(&lab, suite);
        let agent = host.run(&["systemctl", "show", "--property=MainPID", "--value", "agentd"]).ok();
        let agent = agent.trim();
        host.run(&["kill", "-STOP", agent]).ok();
        host.sh("cd /srv/held; seq 20000 | xargs -n 5000 touch; echo edited > /srv/lone/l7").ok();
        host.run(&["kill", "-CONT", agent]).ok();
        host.wait_until("the edit is undone", LIMIT, || host.read("/srv/lone/l7") == "lone 7\n");
        host.wait_until("the loss is told", LIMIT, || number(folders(&status(&host)), "/overflows") == 1);
        let made_up =
            || lines(&host).iter().filter(|line| line.contains("events were lost: one full pass")).count();
        host.wait_until("the full pass is made", LIMIT, || made_up() == 1);
        // It still sees, and nothing more was made of it.
        assert_eq!(edits(&host, 8, 1, "0").len(), 1);
        assert_eq!((made_up(), number(folders(&status(&host)), "/overflows")), (1, 1));
    }
}

/// What the agent costs, by the kernel's count: ticks of processor time, and KiB of its own memory.
fn cost(host: &Host) -> (f64, u64) {
    let read = "pid=$(systemctl show --property=MainPID --value agentd); \
                awk '{print $14 + $15}' /proc/$pid/stat; awk '/^RssAnon/ {print $2}' /proc/$pid/status; \
                awk '/^VmRSS/ {print $2}' /proc/$pid/status";
    let told = host.sh(read).ok();
    let mut numbers = told.lines().map(|line| line.trim().parse::<f64>().unwrap());
    let ticks = numbers.next().unwrap();
    (ticks, numbers.fold(0.0, f64::max) as u64)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

/// `make storm`. `STORM_SECONDS` makes it shorter.
#[test]
#[ignore = "a benchmark, not a test: `make storm` runs it"]
fn figures() {
    let seconds = std::env::var("STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let lab = Lab::new();
    let host = prepared(&lab, Suite::Trixie);
    let (said, passes) = (lines(&host).len(), number(&status(&host), "/last_pass/id"));
    begin_storm(&host, seconds, 10_000);
    let begun = Instant::now();
    let (before, mut memory) = cost(&host);
    let mut took = Vec::new();
    while !is_over(&host) {
        if took.len() < LONE - 1 {
            took.extend(edits(&host, took.len(), 1, "1.3"));
        }
        memory = memory.max(cost(&host).1);
    }
    let over = Instant::now();
    let length = over - begun;
    host.wait_until("what the storm wrote is right again", LIMIT, || wrong(&host) == 0);
    let right_after = over.elapsed();
    let (after, _) = cost(&host);
    took.sort_by(f64::total_cmp);
    let said = lines(&host).split_off(said);
    let minutes = said.iter().filter_map(|line| line.split('.').next()?.trim().parse::<u64>().ok());
    let times: Vec<u64> = minutes.collect();
    let worst_minute =
        times.iter().map(|from| times.iter().filter(|at| (*from..from + 60).contains(*at)).count());
    println!("{}", host.sh("journalctl --quiet --output=cat --unit=storm").ok().trim());
    println!(
        "cpu {:.3} of a core over {length:.0?} (budget 0.25)",
        (after - before) / 100.0 / length.as_secs_f64()
    );
    println!("memory at most {:.1} MiB (budget 48)", memory as f64 / 1024.0);
    println!("lines at most {} a minute (budget 60), {} in all", worst_minute.max().unwrap_or(0), said.len());
    println!(
        "{} lone edits undone: p50 {:.1} ms, p99 {:.1} ms (budget 2000), worst {:.1} ms",
        took.len(),
        percentile(&took, 50),
        percentile(&took, 99),
        took[took.len() - 1]
    );
    println!("all right {:.1} s after the storm (budget 5)", right_after.as_secs_f64());
    println!("{} passes, {}", number(&status(&host), "/last_pass/id") - passes, folders(&status(&host)));
}
