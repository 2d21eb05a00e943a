//! Reloads and restarts that are owed to a changed input, when the agent dies between the change and the reaction.

use agentd::kind::Specs;
use agentd::kind::service::Spec;
use agentd::model::{ResourceId, Verdict};
use agentd::reconcile::Memory;
use agentd::reconcile::memory::Intent;

use super::agent::{statuses, unit, up};
use super::{agent_of, contract, ship, show};
use crate::harness::{Host, Suite};

/// What is written down before a file is.
fn about_to_write(resource: ResourceId) -> Intent {
    Intent {
        resource,
        verdict: Verdict::Behind,
        fields: Vec::new(),
        action: "write".into(),
        held: None,
        creates: false,
        removes: false,
        prune: false,
        declared: None,
    }
}

#[test]
fn a_reload_is_made_once_also_when_the_agent_died_between_the_file_and_the_reload() {
    let host = Host::boot(Suite::Bookworm, "web-1");
    let reloads = "[Service]\nExecStartPre=/bin/sh -c 'echo start >> /root/told'\n\
                   ExecReload=/bin/sh -c 'cat /etc/web.conf >> /root/told'\n";
    ship(&host, "web.service", &format!("{reloads}{}", contract::DAEMON));
    let conf: ResourceId = "file:/etc/web.conf".parse().unwrap();
    let mut agent = agent_of(&host);
    agent.declare(Specs::from([unit("web.service", Spec { reload_on: vec![conf.clone()], ..up() })]));
    agent.pass();
    let told = || host.read("/root/told");
    assert_eq!(told(), "start\n");
    agent.memory.note(&[about_to_write(conf)]).unwrap();
    host.write("/etc/web.conf", "new content\n");
    agent.die_and_come_back();
    assert_eq!(statuses(&agent.pass_now()).len(), 1);
    assert_eq!(told(), "start\nnew content\n");
    agent.die_and_come_back();
    assert_eq!(statuses(&agent.pass_now()), []);
    assert_eq!(told(), "start\nnew content\n");
}

#[test]
fn a_restart_is_made_once_also_when_the_agent_died_between_the_file_and_the_restart() {
    for suite in Suite::ALL {
        let host = Host::boot(suite, "web-1");
        let starts = "[Service]\nExecStartPre=/bin/sh -c 'cat /etc/web.conf >> /root/told'\n\
                      ExecReload=/bin/sh -c 'echo reload >> /root/told'\n";
        host.write("/etc/web.conf", "old\n");
        ship(&host, "web.service", &format!("{starts}{}", contract::DAEMON));
        let conf: ResourceId = "file:/etc/web.conf".parse().unwrap();
        let mut agent = agent_of(&host);
        agent.declare(Specs::from([unit("web.service", Spec { restart_on: vec![conf.clone()], ..up() })]));
        agent.pass();
        let told = || host.read("/root/told");
        assert_eq!(told(), "old\n");
        let pid = show(&host, "web.service", "MainPID");
        agent.memory.note(&[about_to_write(conf)]).unwrap();
        host.write("/etc/web.conf", "new\n");
        agent.die_and_come_back();
        assert_eq!(statuses(&agent.pass_now()).len(), 1);
        assert_eq!(told(), "old\nnew\n", "restarted, and not reloaded");
        assert_ne!(show(&host, "web.service", "MainPID"), pid);
        agent.die_and_come_back();
        assert_eq!(statuses(&agent.pass_now()), []);
        assert_eq!(told(), "old\nnew\n");
    }
}
