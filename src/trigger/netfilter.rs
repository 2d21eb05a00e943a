//! Watches the packet filter: the kernel tells of every new generation of its rules. Our own changes are told as
//! well; the kind knows their generation and lets nothing follow from them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::gauge::Gauge;
use super::inbox::Inbox;
use crate::host::clock::Clock;
use crate::host::netfilter::{Announced, Heard, Monitor, Waiting};
use crate::host::process::{self, Numbers};
use crate::kind::LookAt;
use crate::model::{Caught, Deeds, Evidence, KindName, Subject, Witness};
use crate::status::WatchHealth;

/// Of a burst of generations so many makers are looked at, the newest first.
const WITNESSES: usize = 16;
/// A process that is at least so old when the news is read was there when it was made, and is no later bearer of the
/// same number.
const OLDER: Duration = Duration::from_secs(5);

/// Watches the packet filter of this network namespace while it is armed.
pub struct FirewallWatch {
    gauge: Arc<Gauge>,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    task: Option<JoinHandle<()>>,
}

impl FirewallWatch {
    /// A watcher that puts what it notices into `inbox`; not armed.
    pub fn new(inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        FirewallWatch { gauge: Arc::new(Gauge::new("firewall", "netlink")), inbox, clock, task: None }
    }

    /// Watches from now on, if it does not already. On a runtime.
    pub fn arm(&mut self) {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let now = self.clock.now();
        match Monitor::open().and_then(Waiting::on_runtime) {
            Ok(monitor) => {
                self.gauge.live(now, 1);
                let (gauge, inbox) = (Arc::clone(&self.gauge), Arc::clone(&self.inbox));
                let clock = Arc::clone(&self.clock);
                self.task = Some(tokio::spawn(async move {
                    let error = listen(&monitor, &gauge, &inbox, &*clock).await;
                    gauge
                        .blind(clock.now(), &format!("the kernel tells nothing more of its rules ({error})"));
                    inbox.rearm(std::iter::once(&LookAt::Kind(KindName::Firewall)));
                }));
            }
            Err(error) => self.blind(now, &error),
        }
    }

    /// Watches no more.
    pub fn disarm(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// How it is; none while it is not armed.
    pub fn health(&self) -> Option<WatchHealth> {
        let health = self.gauge.health();
        (self.task.is_some() || health.blind_since.is_some()).then_some(health)
    }

    fn blind(&mut self, now: Timestamp, error: &std::io::Error) {
        self.task = None;
        self.gauge.blind(now, &format!("the kernel does not tell of changes of its rules ({error})"));
    }
}

impl Drop for FirewallWatch {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Listens until the socket fails.
async fn listen(monitor: &Waiting, gauge: &Gauge, inbox: &Inbox, clock: &dyn Clock) -> std::io::Error {
    let firewall = LookAt::Kind(KindName::Firewall);
    let numbers = Numbers::ours();
    loop {
        match monitor.hear().await {
            Ok(Heard::Generations(generations)) if generations.is_empty() => continue,
            Ok(Heard::Generations(generations)) => {
                generations.iter().for_each(|_| gauge.event());
                if generations.len() > WITNESSES {
                    inbox.missed(Evidence::Netfilter);
                }
                let newest = generations.iter().rev().take(WITNESSES);
                newest.for_each(|announced| inbox.testify(witness(announced, numbers, clock)));
            }
            // Lost events are a full pass, whoever lost them; the rules are looked at before that.
            Ok(Heard::Missed) => {
                gauge.overflow();
                inbox.overflowed(Evidence::Netfilter);
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {}
            Err(error) => return error,
        }
        inbox.look_at(std::iter::once(&firewall));
    }
}

/// Who made a generation. The kernel numbers processes as its first namespace does; inside of a container the port
/// of the writer's socket is as good as nft's own number, and proves nothing: the name must agree.
fn witness(announced: &Announced, numbers: Numbers, clock: &dyn Clock) -> Witness {
    let pid = match numbers {
        Numbers::Kernel => announced.process,
        Numbers::Own => Some(announced.port),
    };
    let pid = pid.filter(|pid| *pid != 0);
    let since_boot = clock.since_boot();
    let name = announced.name.as_deref().unwrap_or_default();
    let found = pid.and_then(|pid| process::look_since(pid, since_boot.saturating_sub(OLDER), name));
    Witness {
        subject: Subject::Rules { generation: announced.generation },
        at: clock.now(),
        since_boot,
        source: Evidence::Netfilter,
        pid,
        caught: match found {
            Some(facts) => Caught::Alive(Box::new(facts)),
            None => Caught::Gone(announced.name.clone()),
        },
        deeds: Deeds { wrote: true, ..Deeds::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::SystemClock;
    use crate::host::program::{Files, Programs, Run, SystemPrograms};
    use crate::reconcile::Scope;

    /// Runs a test on a loop of its own, in an empty network.
    fn in_an_empty_network(test: impl AsyncFn(&dyn Programs) + Sync) {
        let mut ran = false;
        SystemPrograms
            .apart(Files::All, &mut |programs| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { tokio::time::timeout(LIMIT, test(programs)).await.unwrap() });
                ran = true;
            })
            .unwrap();
        assert!(ran);
    }

    const LIMIT: Duration = Duration::from_secs(60);

    fn nft(programs: &dyn Programs, text: &str) {
        let mut run = Run::new("/usr/sbin/nft", &["-f", "-"]);
        run.stdin = text.as_bytes().to_vec();
        assert!(programs.run(&run).unwrap().succeeded());
    }

    fn firewall() -> Scope {
        let mut scope = Scope::nothing();
        scope.add(&LookAt::Kind(KindName::Firewall));
        scope
    }

    #[test]
    fn each_change_of_the_rules_wakes_and_a_listing_does_not() {
        in_an_empty_network(async |programs| {
            let inbox = Arc::new(Inbox::default());
            let mut watch = FirewallWatch::new(Arc::clone(&inbox), Arc::new(SystemClock));
            assert_eq!(watch.health(), None);
            watch.arm();
            nft(programs, "list ruleset");
            nft(programs, "add table inet x");
            let noticed = inbox.take().await;
            assert_eq!(noticed.scope, firewall());
            assert_eq!(watch.health().unwrap().events, 1, "nothing was told of the listing");
            let [witness] = &noticed.witnesses[..] else { panic!("one maker: {noticed:?}") };
            assert!(matches!(witness.subject, Subject::Rules { .. }) && witness.pid.is_some(), "{witness:?}");
            assert_eq!(witness.caught, Caught::Gone(Some("nft".to_owned())), "nft ends at once");
            nft(programs, "flush ruleset");
            assert_eq!(inbox.take().await.scope, firewall());
            let health = watch.health().unwrap();
            assert_eq!((health.events, health.overflows, health.blind_since), (2, 0, None));
        });
    }

    #[test]
    fn more_than_the_kernel_keeps_is_one_overflow_and_not_the_end() {
        in_an_empty_network(async |programs| {
            let inbox = Arc::new(Inbox::default());
            let mut watch = FirewallWatch::new(Arc::clone(&inbox), Arc::new(SystemClock));
            watch.arm();
            let rules = "add rule inet x c tcp dport 1 accept\n".repeat(20_000);
            nft(programs, &format!("add table inet x\nadd chain inet x c\n{rules}"));
            let noticed = inbox.take().await;
            assert_eq!(
                (noticed.scope, noticed.overflows),
                (firewall(), 1),
                "the rules at once, then everything"
            );
            assert_eq!(noticed.gaps, [Evidence::Netfilter].into(), "whoever made the lost ones is not known");
            assert_eq!(watch.health().unwrap().overflows, 1);
            nft(programs, "add table inet y");
            let noticed = inbox.take().await;
            assert_eq!((noticed.scope, noticed.overflows), (firewall(), 0), "it is told once");
            assert_eq!(watch.health().unwrap().blind_since, None);
        });
    }
}
