//! What the TOML may say, and what is said about what it may not.

use super::super::{Firewall, State};
use super::support::{declared, on_a_host, parse, warnings};
use crate::kind::{Kind, Reading};

fn faults(text: &str) -> Vec<String> {
    parse(text).1
}

#[test]
fn resources_are_named_after_what_they_are() {
    let specs = declared(
        "input = \"drop\"\nexclusive = true\nignore = []\n[rules.ssh]\nallow = [\"tcp/22\"]\n[sets.admins]\nelements = []\n\
         [nat.out]\nmasquerade = true\nout = \"eth0\"\n[chains.c]\nraw = \"accept\"",
    );
    let keys: Vec<&str> = specs.keys().map(|key| key.as_str()).collect();
    assert_eq!(keys, ["chain/c", "input", "input/ssh", "nat/out", "postrouting", "set/admins", "tables"]);
}

#[test]
fn every_fault_is_told_and_none_hides_another() {
    let faults = faults(
        "input = \"maybe\"\noutput = 1\nfourward = \"drop\"\n\
         [rules.a]\nallow = [\"http\"]\nfrom = [\"10.1.1.1/8\"]\nlimit = \"often\"\nlog = \"a\\\"b\"\nchain = \"inn\"\n\
         [rules.b]\nallow = [\"tcp/1\"]\ndrop = [\"tcp/2\"]\n[rules.c]\n[rules.\"d e\"]\nallow = [\"tcp/1\"]\n\
         [sets.s]\nelements = [\"x\"]\nraw = \"y\"\n[nat.n]\n[chains.c]\n",
    );
    let codes: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    let count = |code: &str| codes.iter().filter(|known| **known == code).count();
    assert_eq!(count("unknown-key"), 1, "{faults:#?}");
    assert_eq!(count("bad-value"), 8, "{faults:#?}");
    assert_eq!(count("bad-rule"), 2, "{faults:#?}");
    assert_eq!(
        (count("bad-set"), count("bad-nat"), count("missing-key"), count("wrong-type")),
        (1, 1, 1, 1),
        "{faults:#?}"
    );
}

#[test]
fn rules_need_their_hook_and_their_sets() {
    assert_eq!(
        faults("[rules.a]\nallow = [\"tcp/1\"]"),
        ["no-chain: rule `a` stands in `input`, which has no policy"]
    );
    assert_eq!(
        faults("input = \"accept\"\n[rules.a]\nallow = [\"tcp/1\"]\nfrom = [\"@nobody\"]"),
        ["no-set: there is no set `nobody`"]
    );
}

#[test]
fn a_rule_that_no_packet_can_match_is_refused() {
    for rule in [
        "allow = [\"tcp/1\"]\nfrom = [\"10.0.0.1\"]\nto = [\"fd00::1\"]",
        "allow = [\"icmp/echo-request\"]\nfrom = [\"fd00::1\"]",
        "allow = []",
        "allow = [\"tcp/1\"]\nout = [\"eth0\"]",
    ] {
        assert_eq!(faults(&format!("input = \"accept\"\n[rules.a]\n{rule}")).len(), 1, "{rule}");
    }
}

#[test]
fn nat_that_cannot_work_is_refused() {
    for nat in [
        "masquerade = true",
        "forward = [\"icmp\"]\nto = \"10.0.0.1\"",
        "forward = [\"tcp/1\", \"tcp/2\"]\nto = \"10.0.0.1:80\"",
        "forward = [\"tcp/1-2\"]\nto = \"10.0.0.1:80\"",
        "forward = [\"tcp/1\"]\nto = \"10.0.0.1:80\"\nfrom = \"fd00::1\"",
        "forward = [\"tcp/1\"]\nto = \"somewhere\"",
        "forward = [\"tcp/1\"]",
        "forward = [\"tcp/1\"]\nto = \"10.0.0.1\"\nmasquerade = true",
    ] {
        assert_eq!(
            faults(&format!("[nat.a]\n{nat}")).len(),
            1,
            "{nat}: {:?}",
            faults(&format!("[nat.a]\n{nat}"))
        );
    }
}

#[test]
fn exclusive_needs_an_explicit_list_of_what_may_stay() {
    assert_eq!(faults("exclusive = true").len(), 1);
    assert_eq!(faults("ignore = [\"ip docker\"]").len(), 1);
    assert_eq!(faults("exclusive = true\nignore = [\"docker\"]").len(), 1);
    assert_eq!(faults("exclusive = false").len(), 0);
}

#[test]
fn a_policy_that_locks_everybody_out_is_warned_about() {
    let input = |rest: &str| warnings(&format!("input = \"drop\"\n{rest}"));
    assert_eq!(input(""), ["locks-out"]);
    assert_eq!(input("[rules.web]\nallow = [\"tcp/80\"]"), ["locks-out"]);
    assert_eq!(input("[rules.no]\ndrop = [\"tcp/22\"]"), ["locks-out"]);
    for rule in [
        "allow = [\"tcp/22\"]",
        "allow = [\"tcp/20-30\"]",
        "allow = [\"tcp\"]",
        "allow = [\"any\"]",
        "raw = \"tcp dport 22 accept\"",
    ] {
        assert_eq!(input(&format!("[rules.ssh]\n{rule}")), [""; 0], "{rule}");
    }
    let table = |management: &str| {
        warnings(&format!(
            "[input]\npolicy = \"drop\"\nmanagement = {management}\n[rules.a]\nallow = [\"tcp/2222\"]"
        ))
    };
    assert_eq!(table("[\"tcp/2222\"]"), [""; 0]);
    assert_eq!(table("[]"), [""; 0]);
    assert_eq!(table("[\"tcp/22\"]"), ["locks-out"]);
    assert_eq!(warnings("input = \"accept\""), [""; 0]);
}

#[test]
fn drift_of_the_whole_firewall_is_a_default_for_each_resource() {
    use crate::model::DriftMode;
    let specs =
        declared("drift = \"warn\"\ninput = \"accept\"\n[rules.a]\nallow = [\"tcp/1\"]\ndrift = \"enabled\"");
    assert_eq!(specs["input"].drift, Some(DriftMode::Warn));
    assert_eq!(specs["input/a"].drift, Some(DriftMode::Enabled));
}

#[test]
fn what_is_there_can_be_declared() {
    let written = "input = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]\nfrom = [\"10.0.0.0/8\"]\n\
                   [sets.admins]\nelements = [\"10.0.0.1-10.0.0.9\", \"fd00::/8\"]\n[chains.c]\nraw = \"counter accept\"";
    let specs = declared(written);
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["add", "rule", "inet", "agentd", "input", "tcp dport 9999 accept"]);
        let observed = host.observe(&specs).unwrap();
        let toml: Vec<String> = observed
            .readings
            .iter()
            .map(|(key, reading)| match reading {
                Reading::Present(state) => Firewall::declare(key, &State::clone(state)),
                Reading::Absent | Reading::Unknown(_) => panic!("{key}"),
            })
            .collect();
        let toml: toml::Table = toml.concat().parse().unwrap();
        let again = declared(&toml::to_string(&toml["firewall"]).unwrap());
        // The stranger got a name; everything else is as it was.
        assert_eq!(
            again.keys().map(|key| key.as_str()).collect::<Vec<_>>(),
            ["chain/c", "input", "input/input-1", "input/ssh", "set/admins"]
        );
        host.correct(&again);
        let text = host.nft(&["list", "table", "inet", "agentd"]);
        assert!(text.contains("tcp dport 9999 accept comment \"agentd:input-1\""), "{text}");
    });
}
