//! Units on real hosts: the contract of `host::units`, and the kind `service` against what people and crashes do.
//! The agent of these tests is the engine in this process, looking into the host from outside.

#[path = "../contract/agent.rs"]
mod agent;
#[path = "../contract/units.rs"]
mod contract;
mod jobs;
mod owed;
mod reactions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentd::host::Host as View;
use agentd::host::accounts::ListedAccounts;
use agentd::host::clock::SystemClock;
use agentd::host::files::Root;
use agentd::host::netfilter::FakeNetfilter;
use agentd::host::program::{FakePrograms, Finished};
use agentd::host::units::{SystemUnits, UnitAction, UnitError, UnitName, Units};
use agentd::kind::Specs;
use agentd::kind::service::{Spec, Wish};
use agentd::model::ResourceStatus;

use crate::harness::{Host, Suite};
use agent::{Agent, message, statuses, unit, up};

const SOON: Duration = Duration::from_secs(90);

/// The file tree of a running host, as this machine sees it.
fn root(host: &Host) -> PathBuf {
    format!("/proc/{}/root", host.leader()).into()
}

fn units(host: &Host) -> SystemUnits {
    SystemUnits::of_host_at(&root(host))
}

/// Runs programs inside the host.
fn programs_inside(leader: u32) -> FakePrograms {
    FakePrograms::answering(move |run| {
        let mut command = std::process::Command::new("nsenter");
        command
            .args(["--target", &leader.to_string(), "--all", "--root", "--wd", "--"])
            .arg(&run.program)
            .args(&run.args);
        let done = command.env_clear().output().expect("nsenter runs");
        Ok(Finished { code: done.status.code(), stdout: done.stdout, stderr: done.stderr })
    })
}

fn agent_of(host: &Host) -> Agent {
    Agent::new(View {
        root: Root::open(root(host)).unwrap(),
        programs: Arc::new(programs_inside(host.leader())),
        units: Arc::new(units(host)),
        netfilter: Arc::new(FakeNetfilter::default()),
        accounts: Arc::new(ListedAccounts::default()),
        clock: Arc::new(SystemClock),
    })
}

fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

/// Lays a unit where packages do, so that it can be masked.
fn ship(host: &Host, unit: &str, text: &str) {
    host.write(&format!("/usr/lib/systemd/system/{unit}"), text);
}

/// The host's own word.
fn show(host: &Host, unit: &str, property: &str) -> String {
    host.run(&["systemctl", "show", "--value", "-p", property, unit]).ok().trim().to_owned()
}

fn is(host: &Host, question: &str, unit: &str) -> String {
    host.run(&["systemctl", question, unit]).stdout.trim().to_owned()
}

struct Ground<'a> {
    host: &'a Host,
    units: SystemUnits,
}

impl contract::Ground for Ground<'_> {
    fn units(&self) -> &dyn Units {
        &self.units
    }

    fn lay(&self, unit: &UnitName, text: &str) {
        self.host.write(&format!("/etc/systemd/system/{unit}"), text);
    }

    fn take_away(&self, unit: &UnitName) {
        self.host.run(&["rm", "--", &format!("/etc/systemd/system/{unit}")]).ok();
    }

    fn kill(&self, unit: &UnitName) {
        self.host.run(&["systemctl", "kill", "--signal=KILL", unit.as_str()]).ok();
    }

    fn wait(&self, turn: u32) -> bool {
        std::thread::sleep(Duration::from_millis(50));
        turn < 1_800
    }
}

#[test]
fn the_real_systemd_keeps_the_contract() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        contract::hold(&Ground { host: &host, units: units(&host) });
    }
}

#[test]
fn units_outlive_a_restarted_bus_and_a_reexecuted_systemd() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    let units = units(&host);
    let cron = name("cron.service");
    let ask = || units.status(std::slice::from_ref(&cron)).unwrap().remove(0).active;
    assert_eq!(ask(), "active");
    host.run(&["systemctl", "daemon-reexec"]).ok();
    assert_eq!(ask(), "active");
    units.act(UnitAction::Restart, &cron).unwrap();
    host.run(&["systemctl", "restart", "dbus.service"]).ok();
    assert_eq!(ask(), "active");
    units.act(UnitAction::Stop, &cron).unwrap();
    assert_eq!(is(&host, "is-active", "cron.service"), "inactive");
    host.run(&["systemctl", "stop", "dbus.socket", "dbus.service"]).ok();
    let away = units.status(std::slice::from_ref(&cron)).unwrap_err();
    assert!(matches!(away, UnitError::Unreachable { .. }), "{away:?}");
    host.run(&["systemctl", "start", "dbus.socket", "dbus.service"]).ok();
    host.wait_until("systemd is on the bus again", SOON, || {
        units.status(std::slice::from_ref(&cron)).is_ok()
    });
}

#[test]
fn what_a_person_does_to_a_service_by_hand_is_undone() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        ship(&host, "web.service", contract::DAEMON);
        let mut agent = agent_of(&host);
        agent.declare(Specs::from([unit("web.service", up())]));
        let converges = |agent: &mut Agent, what: &str, status: ResourceStatus| {
            assert_eq!(statuses(&agent.pass_now()), [("web.service", status)], "{what}");
            assert_eq!(is(&host, "is-active", "web.service"), "active", "{what}");
            assert_eq!(is(&host, "is-enabled", "web.service"), "enabled", "{what}");
            assert_eq!(show(&host, "web.service", "NeedDaemonReload"), "no", "{what}");
            assert_eq!(statuses(&agent.pass_now()), [], "{what}: a second pass");
        };
        converges(&mut agent, "the first pass", ResourceStatus::Synced);
        let link = "/etc/systemd/system/multi-user.target.wants/web.service";
        let deeds = [
            "systemctl stop web",
            "systemctl disable web",
            "systemctl disable --now web",
            "systemctl mask web",
            "systemctl mask --now web",
            "systemctl mask --runtime web",
            "rm /etc/systemd/system/multi-user.target.wants/web.service",
            "rm /etc/systemd/system/multi-user.target.wants/web.service && systemctl enable --runtime web",
            "mkdir -p /etc/systemd/system/web.service.d && printf '[Service]\\nNice=5\\n' > /etc/systemd/system/web.service.d/by-hand.conf",
            "printf '[Service]\\nNice=6\\n' > /etc/systemd/system/web.service.d/by-hand.conf && touch -d '+2 seconds' /etc/systemd/system/web.service.d/by-hand.conf",
            "rm -r /etc/systemd/system/web.service.d",
            "sed s/infinity/100000/ /usr/lib/systemd/system/web.service > /etc/systemd/system/web.service",
            "rm /etc/systemd/system/web.service",
        ];
        for deed in deeds {
            host.sh(deed).ok();
            converges(&mut agent, deed, ResourceStatus::Corrected);
        }
        assert!(host.exists(link));
        // As niced as the host itself, like any service that says nothing of it.
        assert_eq!(show(&host, "web.service", "Nice"), show(&host, "cron.service", "Nice"));
    }
}

#[test]
fn what_is_to_rest_rests_whoever_starts_it() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        ship(&host, "web.service", contract::DAEMON);
        host.sh("systemctl daemon-reload && systemctl enable --now web").ok();
        let mut agent = agent_of(&host);
        let down = Spec { enabled: Some(false), state: Some(Wish::Stopped), ..Spec::default() };
        let masked = Spec { masked: Some(true), state: Some(Wish::Stopped), ..Spec::default() };
        let nothing = unit("not-there.service", down.clone());
        agent.declare(Specs::from([unit("web.service", down), unit("cron.service", masked), nothing]));
        let report = agent.pass_now();
        let synced = ResourceStatus::Synced;
        assert_eq!(statuses(&report), [("cron.service", synced), ("web.service", synced)], "{report:?}");
        assert_eq!(
            (is(&host, "is-active", "web"), is(&host, "is-enabled", "web")),
            ("inactive".into(), "disabled".into())
        );
        assert_eq!(
            (is(&host, "is-active", "cron"), is(&host, "is-enabled", "cron")),
            ("inactive".into(), "masked".into())
        );
        host.sh("systemctl unmask cron && systemctl start cron web").ok();
        assert_eq!(statuses(&agent.pass_now()).len(), 2);
        assert_eq!(
            (is(&host, "is-active", "web"), is(&host, "is-active", "cron")),
            ("inactive".into(), "inactive".into())
        );
        assert_eq!(statuses(&agent.pass_now()), []);
    }
}

#[test]
fn a_killed_service_is_left_to_its_own_restart() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        ship(&host, "web.service", &format!("[Service]\nRestart=always\nRestartSec=2\n{}", contract::DAEMON));
        let mut agent = agent_of(&host);
        agent.declare(Specs::from([unit("web.service", up())]));
        agent.pass();
        host.sh("systemctl kill --signal=KILL web").ok();
        host.wait_until("systemd is about to restart it", SOON, || {
            show(&host, "web", "SubState") == "auto-restart"
        });
        let report = agent.pass_now();
        assert_eq!(statuses(&report), [("web.service", ResourceStatus::Failed)]);
        assert!(
            message(&report, "web.service").contains("it ended (signal) and is left to its own Restart=")
        );
        host.wait_until("systemd restarts it", SOON, || is(&host, "is-active", "web") == "active");
        // A start by hand, or by us, would have set the count to nothing.
        assert_eq!(show(&host, "web", "NRestarts"), "1");
        assert_eq!(statuses(&agent.pass_now()), []);
    }
}

#[test]
fn a_crash_loop_is_started_once_more_when_systemd_has_given_up() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let text = "[Service]\nExecStart=/bin/sh -c 'echo run >> /root/runs; echo the port is taken; exit 1'\n\
                Restart=always\nRestartSec=10ms\n";
        ship(&host, "loop.service", text);
        host.sh("systemctl daemon-reload && systemctl start loop").ok();
        host.wait_until("systemd gives up", SOON, || is(&host, "is-active", "loop") == "failed");
        let runs = || host.read("/root/runs").lines().count();
        let before = runs();
        let mut agent = agent_of(&host);
        agent.declare(Specs::from([unit("loop.service", Spec { enabled: None, ..up() })]));
        // It looks well for the moment in which it runs.
        agent.pass();
        host.wait_until("systemd gives up again", SOON, || is(&host, "is-active", "loop") == "failed");
        // The first start followed the declaration and counts as no fight; from then on each one waits longer.
        let began = std::time::Instant::now();
        let (mut started, mut held) = (0, 0);
        for turn in 0..20 {
            let report = agent.pass();
            let [("loop.service", status)] = statuses(&report)[..] else { panic!("turn {turn}: {report:?}") };
            let is_told = matches!(
                status,
                ResourceStatus::Corrected | ResourceStatus::Failed | ResourceStatus::NotConverging
            );
            assert!(is_told, "turn {turn}: {status:?}");
            // A start that fails at once is a start all the same.
            match report.outcomes.is_empty() {
                true => held += 1,
                false => started += 1,
            }
            host.wait_until("systemd gives up again", SOON, || is(&host, "is-active", "loop") == "failed");
        }
        let elapsed = began.elapsed().as_secs();
        let allowed = 1 + [2, 8, 26, 80].iter().filter(|wait| elapsed >= **wait).count();
        assert!(started <= allowed && held > 0, "{started} starts in {elapsed} s, {held} times held");
        // Each start of ours and what systemd makes of it: five runs, as its start limit allows.
        let most = before + 6 * (1 + started);
        assert!((before + 1..=most).contains(&runs()), "{before} runs before, {} after", runs());
    }
}

#[test]
fn a_service_that_does_not_start_says_why() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        ship(
            &host,
            "a.service",
            "[Service]\nType=notify\nExecStart=/bin/sh -c 'echo the port is taken; exit 1'\n",
        );
        ship(&host, "b.service", "[Service]\nType=exec\nExecStart=/nonexistent/program\n");
        ship(&host, "c.service", &format!("[Unit]\nConditionPathExists=/nonexistent\n{}", contract::DAEMON));
        ship(&host, "d.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo run >> /root/d'\n");
        ship(&host, "e.service", "[Service]\nType=simple\n");
        ship(&host, "f.service", "[Service]\nExecStart=/bin/sleep infinity\n");
        host.sh("ln -s /lib/systemd/system/cron.service /etc/systemd/system/kron.service; systemctl daemon-reload").ok();
        let running = || Spec { enabled: None, ..up() };
        let mut agent = agent_of(&host);
        let static_unit = unit("f.service", up());
        let alias = unit("kron.service", Spec { state: None, ..up() });
        let wrong = ["a", "b", "c", "d", "e"].map(|stem| unit(&format!("{stem}.service"), running()));
        agent.declare(wrong.into_iter().chain([static_unit, alias]).collect());
        agent.pass();
        let report = agent.pass_now();
        let expected = [
            ("a.service", "the port is taken"),
            ("b.service", "status=203/EXEC"),
            ("c.service", "a Condition…= of its unit file does not hold"),
            ("d.service", "is a oneshot that is over when its program ends"),
            ("e.service", "bad-setting"),
            ("f.service", "can't be enabled (static)"),
            ("kron.service", "it is another name of a unit: declare that one"),
        ];
        for (unit, words) in expected {
            assert!(message(&report, unit).contains(words), "{unit}: {:?}", message(&report, unit));
        }
        let failed =
            statuses(&report).into_iter().filter(|(_, status)| *status == ResourceStatus::Failed).count();
        assert_eq!(failed, expected.len(), "{:?}", statuses(&report));
        assert!(!host.exists("/root/d"), "a oneshot is not run to make it run");
        assert_eq!(is(&host, "is-active", "f.service"), "active", "what is possible is done");
    }
}

#[test]
fn a_quiet_pass_over_thirty_services_is_one_call() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    let mut specs = Specs::new();
    for number in 0..30 {
        let file = format!("w{number}.service");
        ship(&host, &file, contract::DAEMON);
        specs.extend([unit(&file, up())]);
    }
    host.sh("systemctl daemon-reload").ok();
    let mut agent = agent_of(&host);
    agent.declare(specs);
    let first = agent.pass();
    assert_eq!(first.failed(), 0, "{first:?}");
    // Other tests of this process call their own systemd meanwhile, which can only add to the count.
    let mut fewest = None;
    host.wait_until("a pass of one call", SOON, || {
        let work = agent.pass().work;
        fewest = fewest.min(Some(work.bus_calls)).or(Some(work.bus_calls));
        fewest == Some(1)
    });
}

#[test]
fn the_names_of_hostile_units_reach_nothing() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    let before = host.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend"]).ok();
    for text in
        ["*", "--now", "cron.service cron.service", "../cron.service", "cron*.service", "getty@.service"]
    {
        assert!(text.parse::<UnitName>().is_err(), "{text:?}");
        let mut agent = agent_of(&host);
        agent.declare(Specs::from([unit(text, Spec { state: Some(Wish::Stopped), ..Spec::default() })]));
        let report = agent.pass();
        assert!(report.plan.is_empty() && report.unknown.len() == 1, "{text:?}: {report:?}");
    }
    assert_eq!(host.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend"]).ok(), before);
}
