//! A difference that is not to be corrected (suspended, reported only) stays as it is while others are put right.

use super::support::{declared, on_a_host};

const TWO: &str = "input = \"drop\"\n[rules.a]\nallow = [\"tcp/1\"]\n[rules.b]\nallow = [\"tcp/2\"]\n\
                   [sets.s]\nelements = [\"10.0.0.1\"]";

#[test]
fn a_suspended_rule_keeps_the_change_of_a_person() {
    let specs = declared(TWO);
    on_a_host(|host| {
        host.correct(&specs);
        let text = host.nft(&["list", "table", "inet", "agentd"]);
        let text = text
            .replace("tcp dport 1 accept", "tcp dport 11 accept")
            .replace("tcp dport 2 accept", "tcp dport 22 accept");
        host.load(&format!("delete table inet agentd\n{text}"));
        assert_eq!(host.drift(&specs), ["input/a", "input/b"]);
        host.correct_but(&specs, &["input/a"]);
        assert_eq!(host.drift(&specs), ["input/a"]);
        let text = host.nft(&["list", "table", "inet", "agentd"]);
        assert!(text.contains("tcp dport 11 accept") && text.contains("tcp dport 2 accept"), "{text}");
    });
}

#[test]
fn a_suspended_hook_keeps_its_strangers_and_its_policy() {
    let specs = declared(TWO);
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["insert", "rule", "inet", "agentd", "input", "tcp dport 2222 accept"]);
        host.nft(&["chain inet agentd input { policy accept; }"]);
        host.nft(&["add", "element", "inet", "agentd", "s.v4", "{ 10.0.0.2 }"]);
        assert_eq!(host.drift(&specs), ["input", "set/s"]);
        host.correct_but(&specs, &["input"]);
        assert_eq!(host.drift(&specs), ["input"]);
        let text = host.nft(&["list", "table", "inet", "agentd"]);
        assert!(text.contains("tcp dport 2222 accept") && text.contains("policy accept"), "{text}");
    });
}

#[test]
fn a_suspended_chain_by_hand_stays() {
    let specs = declared(TWO);
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["add", "chain", "inet", "agentd", "mine"]);
        host.nft(&["add", "rule", "inet", "agentd", "mine", "counter drop"]);
        host.nft(&["add", "rule", "inet", "agentd", "input", "accept comment \"agentd:a\""]);
        assert_eq!(host.drift(&specs), ["chain/mine", "input/a"]);
        host.correct_but(&specs, &["chain/mine"]);
        assert_eq!(host.drift(&specs), ["chain/mine"]);
    });
}

#[test]
fn a_suspended_rule_that_is_gone_stays_gone() {
    let specs = declared(TWO);
    on_a_host(|host| {
        host.correct(&specs);
        let text = host.nft(&["list", "table", "inet", "agentd"]);
        let text: Vec<&str> = text.lines().filter(|line| !line.contains("tcp dport 1 ")).collect();
        host.load(&format!("delete table inet agentd\n{}\n", text.join("\n")));
        host.nft(&["add", "rule", "inet", "agentd", "input", "accept"]);
        host.correct_but(&specs, &["input/a"]);
        assert_eq!(host.drift(&specs), ["input/a"]);
    });
}

#[test]
fn what_is_out_of_scope_stays_as_it_is() {
    let specs = declared(TWO);
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["add", "element", "inet", "agentd", "s.v4", "{ 10.0.0.2 }"]);
        host.nft(&["add", "rule", "inet", "agentd", "input", "accept comment \"agentd:a\""]);
        host.only = Some(["input/a".into()].into());
        assert_eq!(host.drift(&specs), ["input/a"]);
        host.correct(&specs);
        host.only = None;
        assert_eq!(host.drift(&specs), ["set/s"]);
    });
}
