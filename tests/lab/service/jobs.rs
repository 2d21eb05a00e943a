//! What PID 1 does for us: jobs that outlive us, and what is scheduled.

use std::time::Duration;

use agentd::host::units::{Scheduled, TransientJob, UnitAction, Units};

use super::{SOON, is, name, show, units};
use crate::harness::{Host, Suite};

#[test]
fn a_transient_job_runs_outside_of_us_and_is_adopted_by_the_next_who_asks() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let (one, two) = (units(&host), units(&host));
        let job = |script: &str, limit| TransientJob {
            unit: name("agentd-apt.service"),
            description: "work for a test".into(),
            argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            env: vec![("GREETING".into(), "a b".into())],
            log: "/var/log/agentd-apt.log".into(),
            time_limit: Duration::from_secs(limit),
        };
        let failing =
            one.run_transient(&job("echo \"$GREETING %n $$HOME\" | sed 's/[0-9]*HOME/HOME/'; exit 3", 30));
        assert_eq!(failing.map(|end| (end.result, end.status)).unwrap(), ("exit-code".into(), 3));
        assert_eq!(host.read("/var/log/agentd-apt.log"), "a b %n HOME\n");
        assert_eq!(host.run(&["stat", "-c", "%a", "/var/log/agentd-apt.log"]).ok().trim(), "600");

        // Two ask for it, as an agent does that comes back while its earlier self's job runs: it runs once.
        let held = job("echo run >> /root/runs; sleep 5", 60);
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| one.run_transient(&held));
            host.wait_until("the job runs", SOON, || host.exists("/root/runs"));
            let second = two.run_transient(&job("echo again >> /root/runs", 60));
            (first.join().unwrap().unwrap(), second.unwrap())
        });
        assert_eq!((first.result.as_str(), first.status), ("success", 0));
        assert!(matches!(second.result.as_str(), "success" | "unknown"), "{second:?}");
        assert_eq!(host.read("/root/runs"), "run\n");

        let late = one.run_transient(&job("sleep 1000", 1)).unwrap();
        assert_eq!(late.result, "timeout");
        assert_eq!(show(&host, "agentd-apt.service", "LoadState"), "not-found", "nothing is left behind");
    }
}

#[test]
fn what_is_scheduled_happens_without_us_unless_it_is_called_off() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let undo = |after, file: &str| Scheduled {
            stem: "agentd-undo".into(),
            description: "undo what cut us off".into(),
            after,
            argv: ["/usr/bin/touch", file].map(str::to_owned).into(),
        };
        let hour = Duration::from_secs(3600);
        units(&host).schedule(&undo(hour, "/root/too-early")).unwrap();
        // Scheduled anew, it takes the place of the first; whoever scheduled it is gone by then.
        units(&host).schedule(&undo(Duration::from_millis(300), "/root/undone")).unwrap();
        host.wait_until("the switch fires", SOON, || host.exists("/root/undone"));
        units(&host).schedule(&undo(hour, "/root/too-early")).unwrap();
        assert_eq!(is(&host, "is-active", "agentd-undo.timer"), "active");
        units(&host).act(UnitAction::Stop, &name("agentd-undo.timer")).unwrap();
        assert_eq!(is(&host, "is-active", "agentd-undo.timer"), "inactive");
        assert!(!host.exists("/root/too-early"));
    }
}
