//! Raw text stays in our table, opens no file, and never reaches the host as it was written.

use super::support::{declared, on_a_host, parse};

/// Lets the host look at a declaration whose raw text passed the first fence; none of it may work.
fn refused_by_the_host(declaration: &str) -> String {
    let specs = declared(declaration);
    let mut message = String::new();
    on_a_host(|host| {
        host.load("table ip victim { chain c { accept; }; }");
        let before = host.nft(&["-a", "list", "ruleset"]);
        message = host.observe(&specs).expect_err(declaration);
        assert_eq!(host.nft(&["-a", "list", "ruleset"]), before);
    });
    message
}

#[test]
fn raw_text_that_could_leave_its_place_is_refused_by_the_compiler() {
    for raw in [
        "include \\\"/etc/shadow\\\"",
        "accept }\\n chain evil { type filter hook input priority 0; accept",
        "accept; flush ruleset",
        "accept\\n}\\n}\\ntable ip evil {\\nchain x {",
        "accept # comment",
        "define x = 1",
        "tcp dport $x accept",
        "accept comment \\\"agentd:other\\\"",
        "accept \\\\",
        "log prefix \\\"unclosed",
    ] {
        let (_, faults) = parse(&format!("input = \"accept\"\n[rules.x]\nraw = \"{raw}\""));
        assert!(!faults.is_empty(), "rule: {raw}");
        if !raw.contains(';') || raw.contains('}') {
            let (_, faults) = parse(&format!("[chains.x]\nraw = \"{raw}\""));
            assert!(!faults.is_empty(), "chain: {raw}");
            let (_, faults) = parse(&format!("[sets.x]\nraw = \"{raw}\""));
            assert!(!faults.is_empty(), "set: {raw}");
        }
    }
}

#[test]
fn raw_text_that_nft_refuses_is_named() {
    let message = refused_by_the_host("input = \"accept\"\n[rules.odd]\nraw = \"tcp dport ssh-ish accept\"");
    assert!(message.starts_with("nft refuses `firewall:input/odd`"), "{message}");
    let message = refused_by_the_host("[chains.c]\nraw = \"jump nowhere\"");
    assert!(message.contains("nft refuses `firewall:chain/c`"), "{message}");
}

#[test]
fn a_chain_body_cannot_flush_or_delete_elsewhere() {
    for raw in [
        "flush ruleset",
        "delete table ip victim",
        "accept; flush ruleset;",
        "add table ip evil",
        "list ruleset",
    ] {
        refused_by_the_host(&format!("[chains.c]\nraw = \"{raw}\""));
    }
}

#[test]
fn a_rule_that_needs_an_interface_of_the_host_by_number_is_refused() {
    let message = refused_by_the_host("input = \"accept\"\n[rules.x]\nraw = \"iif \\\"eth0\\\" accept\"");
    assert!(message.contains("firewall:input/x"), "{message}");
}

#[test]
fn a_chain_of_ours_cannot_be_declared_raw() {
    for name in ["input", "forward", "output", "prerouting", "postrouting"] {
        let (_, faults) = parse(&format!("[chains.{name}]\nraw = \"accept\""));
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}

#[test]
fn what_the_host_loads_is_what_nft_listed_and_never_the_raw_text() {
    let specs = declared("input = \"accept\"\n[rules.x]\nraw = \"tcp   dport   {  443,80 }   accept\"");
    on_a_host(|host| {
        host.correct(&specs);
        let boot = host.file("/var/lib/agentd/firewall.nft").unwrap();
        assert!(boot.contains("tcp dport { 80, 443 } accept comment \"agentd:x\""), "{boot}");
        assert!(!boot.contains("443,80"));
    });
}

#[test]
fn specs_that_crossed_a_process_are_checked_again() {
    let mut specs = declared("input = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]");
    let text = serde_json::to_string(&specs).unwrap();
    for (from, to) in
        [("\"ssh\"", "\"a; flush ruleset\""), ("tcp/22", "tcp/22 } accept"), ("\"input\"", "\"in\\\"put\"")]
    {
        let text = text.replace(from, to);
        assert!(serde_json::from_str::<crate::kind::Specs<super::super::Spec>>(&text).is_err(), "{to}");
    }
    // The right spec under a wrong key.
    let ssh = specs.remove("input/ssh").unwrap();
    specs.insert("input/other".into(), ssh);
    let faults = <super::super::Firewall as crate::kind::Kind>::validate(&specs);
    assert!(faults.iter().any(|fault| fault.code == "wrong-key"));
}
