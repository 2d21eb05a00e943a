//! Whatever passes our types arrives in the kernel as the same thing, and as nothing else.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{Firewall, Spec};
use super::support::{TestHost, declared, on_a_host};
use crate::kind::{Kind, Specs};

/// Strings that are anything: most are refused by the types, the rest must arrive whole.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "\n",
        ";",
        "}",
        "{",
        "include \"/etc/shadow\"",
        "comment",
        "accept",
        "drop",
        "$x",
        "\\",
        "#",
        "*",
        "@",
        "eth0",
        "a",
        "ssh",
        "10.0.0.1",
        "::1",
        "/",
        "-",
        "_",
        ".",
        " ",
        "flush ruleset",
        "\u{0}",
        "é",
        "\u{202e}",
        "'",
    ]);
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

/// A declaration with these strings in every place that takes one, as the root agent gets it.
fn specs(name: &str, prefix: &str, interface: &str, address: &str, raw: &str) -> Option<Specs<Spec>> {
    let words = serde_json::json!({"spec": {"is": "rule", "hook": "input", "name": name, "order": 0, "body": {"in": "words",
        "verdict": "allow", "traffic": ["tcp/22"], "from": [address], "to": [], "in_by": [interface], "out_by": [],
        "limit": "3/second", "log": prefix, "counter": true}},
        "provenance": {"winner": {"file": "f", "line": 1, "column": 1, "length": 1}}});
    let raw = serde_json::json!({"spec": {"is": "rule", "hook": "input", "name": "raw", "order": 1, "body": {"in": "raw", "text": raw}},
        "provenance": {"winner": {"file": "f", "line": 1, "column": 1, "length": 1}}});
    let mut specs = declared("input = \"accept\"");
    specs.insert(format!("input/{name}").into(), serde_json::from_value(words).ok()?);
    specs.insert("input/raw".into(), serde_json::from_value(raw).ok()?);
    let refused =
        Firewall::validate(&specs).iter().any(|fault| fault.severity == crate::model::Severity::Error);
    (!refused).then_some(specs)
}

/// Loads it and looks again; other tables must not have moved by a byte.
fn arrives(host: &mut TestHost, specs: &Specs<Spec>, victim: &str) {
    match host.observe(specs) {
        Ok(_) => {
            host.correct(specs);
            let listed = host.nft(&["list", "table", "inet", "agentd"]);
            assert_eq!(listed.matches("\tchain ").count(), 1, "{listed}");
        }
        // Raw text that nft does not understand: nothing happened.
        Err(message) => assert!(message.contains("firewall:input/raw"), "{message}"),
    }
    assert_eq!(host.nft(&["-a", "list", "table", "ip", "victim"]), victim);
    assert_eq!(
        host.nft(&["list", "tables"]).matches("table").count(),
        host.nft(&["list", "tables"]).lines().count()
    );
}

#[test]
fn hostile_strings_are_refused_or_arrive_as_they_are() {
    on_a_host(|host| {
        host.load(
            "table ip victim { chain c { counter packets 1 bytes 2 accept; }; set s { type ipv4_addr; }; }",
        );
        let victim = host.nft(&["-a", "list", "table", "ip", "victim"]);
        let mut runner =
            TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
        let arrived = Cell::new(0);
        let host = RefCell::new(host);
        let strategy = (hostile(), hostile(), hostile(), hostile(), hostile(), 1u8..32);
        let result = runner.run(&strategy, |(name, prefix, interface, address, raw, mask)| {
            // One field at a time is hostile more often than all: what passes in one place must reach the kernel.
            let pick = |bit: u8, hostile: &str, plain: &str| match mask & (1 << bit) {
                0 => plain.to_owned(),
                _ => hostile.to_owned(),
            };
            let (name, prefix) = (pick(0, &name, "ssh"), pick(1, &prefix, "p: "));
            let (interface, address) = (pick(2, &interface, "eth0"), pick(3, &address, "10.0.0.0/8"));
            let raw = pick(4, &raw, "tcp dport 80 accept");
            if let Some(specs) = specs(&name, &prefix, &interface, &address, &raw) {
                arrived.set(arrived.get() + 1);
                if arrived.get() <= 60 {
                    arrives(&mut host.borrow_mut(), &specs, &victim);
                }
            }
            Ok(())
        });
        result.unwrap();
        let arrived = arrived.get();
        assert!(arrived >= 60, "only {arrived} of the cases reached the kernel: the test has lost its teeth");
    });
}

#[test]
fn any_combination_of_words_loads_and_is_no_drift_afterwards() {
    let traffic = prop::sample::subsequence(
        vec![
            "tcp/22",
            "tcp/1000-2000",
            "udp/53",
            "sctp/5",
            "icmp/echo-request",
            "icmpv6/echo-request",
            "esp",
            "tcp",
            "any",
        ],
        1..5,
    );
    let peers = || {
        prop::sample::subsequence(
            vec!["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "192.0.2.1-192.0.2.9", "fd00::/8", "::1", "@s"],
            0..4,
        )
    };
    let interfaces = || prop::sample::subsequence(vec!["eth0", "virbr*", "lo"], 0..3);
    let strategy = (
        traffic,
        peers(),
        peers(),
        interfaces(),
        interfaces(),
        0usize..3,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    on_a_host(|host| {
        let host = RefCell::new(host);
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        let result = runner.run(&strategy, |(traffic, from, to, in_by, out_by, verdict, limit, log, counter)| {
            let verdict = ["allow", "drop", "reject"][verdict];
            let mut rule = format!("forward = \"accept\"\n[sets.s]\nelements = [\"10.9.0.0/16\", \"fd09::1\"]\n[rules.x]\nchain = \"forward\"\n{verdict} = {traffic:?}\nfrom = {from:?}\nto = {to:?}\nin = {in_by:?}\nout = {out_by:?}\ncounter = {counter}\n");
            if limit {
                rule.push_str("limit = \"7/minute burst 9\"\n");
            }
            if log {
                rule.push_str("log = \"fuzz \"\n");
            }
            let (specs, faults) = super::support::parse(&rule);
            match faults.is_empty() {
                true => host.borrow_mut().correct(&specs),
                false => assert!(faults.iter().all(|fault| fault.contains("no packet can match")), "{faults:?}"),
            }
            Ok(())
        });
        result.unwrap();
    });
}
