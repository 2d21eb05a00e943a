//! What a person does to our table is seen, named, and put right in one transaction; what moves by itself is not.

use super::super::{Change, Firewall, Spec};
use super::support::{TestHost, declared, on_a_host};
use crate::kind::Specs;
use crate::model::{OutcomeResult, Shown};

const WEB: &str = "input = \"drop\"
    [rules.ssh]\nallow = [\"tcp/22\"]\nfrom = [\"@admins\"]\ncounter = true
    [rules.web]\nallow = [\"tcp/80\", \"tcp/443\"]
    [sets.admins]\nelements = [\"10.0.0.0/8\", \"192.0.2.1\", \"fd00::/8\"]";

/// Lays the declared table, lets a person at it, and expects exactly these resources to differ; then corrects, and
/// counts the transactions that took.
fn after(person: impl FnOnce(&TestHost) + Send, expected: &[&str]) {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        let before = host.nft(&["-s", "list", "ruleset"]);
        person(host);
        assert_eq!(host.drift(&specs), expected);
        host.programs.taken();
        host.correct_but(&specs, &[]);
        let runs = host.programs.taken();
        let loads = runs.iter().filter(|run| run[1..] == ["-f", "-"]).count();
        assert_eq!(loads, 1, "one transaction: {runs:?}");
        assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        assert_eq!(host.drift(&specs), [""; 0]);
    });
}

const EVERYTHING: [&str; 4] = ["input", "input/ssh", "input/web", "set/admins"];

#[test]
fn flush_ruleset_is_drift_of_everything() {
    after(|host| drop(host.nft(&["flush", "ruleset"])), &EVERYTHING);
}

#[test]
fn delete_table_is_drift_of_everything() {
    after(|host| drop(host.nft(&["delete", "table", "inet", "agentd"])), &EVERYTHING);
}

#[test]
fn flush_chain_is_drift_of_its_rules_and_its_standing_rules() {
    after(
        |host| drop(host.nft(&["flush", "chain", "inet", "agentd", "input"])),
        &["input", "input/ssh", "input/web"],
    );
}

#[test]
fn an_added_rule_is_drift_of_the_hook() {
    after(
        |host| drop(host.nft(&["add", "rule", "inet", "agentd", "input", "tcp dport 9999 accept"])),
        &["input"],
    );
}

#[test]
fn an_inserted_rule_is_drift_of_the_hook() {
    after(|host| drop(host.nft(&["insert", "rule", "inet", "agentd", "input", "accept"])), &["input"]);
}

#[test]
fn a_rule_under_our_name_is_drift_of_that_rule() {
    let rule = "tcp dport 9999 accept comment \"agentd:web\"";
    after(|host| drop(host.nft(&["add", "rule", "inet", "agentd", "input", rule])), &["input/web"]);
}

#[test]
fn a_rule_under_a_name_of_ours_that_nobody_declared_is_drift() {
    let rule = "tcp dport 9999 accept comment \"agentd:extra\"";
    after(|host| drop(host.nft(&["add", "rule", "inet", "agentd", "input", rule])), &["input/extra"]);
}

#[test]
fn a_changed_policy_is_drift_of_the_hook() {
    after(|host| drop(host.nft(&["chain inet agentd input { policy accept; }"])), &["input"]);
}

#[test]
fn a_deleted_rule_is_drift_of_that_rule() {
    after(|host| delete_rule(host, "agentd:web"), &["input/web"]);
}

#[test]
fn a_replaced_rule_is_drift_of_that_rule() {
    after(
        |host| {
            let handle = handle(host, "agentd:web");
            let rule = format!(
                "replace rule inet agentd input handle {handle} tcp dport 8080 accept comment \"agentd:web\""
            );
            host.nft(&[&rule]);
        },
        &["input/web"],
    );
}

#[test]
fn rules_in_another_order_are_drift_of_the_hook() {
    after(
        |host| {
            delete_rule(host, "agentd:web");
            host.nft(&["insert rule inet agentd input tcp dport { 80, 443 } accept comment \"agentd:web\""]);
        },
        &["input"],
    );
}

#[test]
fn set_elements_by_hand_are_drift_of_the_set() {
    after(
        |host| drop(host.nft(&["add", "element", "inet", "agentd", "admins.v4", "{ 203.0.113.7 }"])),
        &["set/admins"],
    );
    after(
        |host| drop(host.nft(&["delete", "element", "inet", "agentd", "admins.v6", "{ fd00::/8 }"])),
        &["set/admins"],
    );
}

#[test]
fn a_chain_and_a_set_by_hand_are_drift() {
    after(
        |host| {
            host.nft(&["add", "chain", "inet", "agentd", "mine"]);
            host.nft(&["add", "set", "inet", "agentd", "theirs", "{ type ipv4_addr; }"]);
            host.nft(&["add", "counter", "inet", "agentd", "hits"]);
        },
        &["chain/mine", "counter/hits", "set/theirs"],
    );
}

#[test]
fn a_hook_nobody_declared_is_drift() {
    after(
        |host| {
            drop(
                host.nft(&[
                    "add chain inet agentd output { type filter hook output priority 0; policy drop; }",
                ]),
            )
        },
        &["output"],
    );
}

#[test]
fn counters_that_count_are_no_drift() {
    let specs = declared("input = \"accept\"\n[rules.all]\nallow = [\"icmp\"]\ncounter = true");
    on_a_host(|host| {
        host.correct(&specs);
        // As if packets had been counted.
        let text = host
            .nft(&["list", "table", "inet", "agentd"])
            .replace("packets 0 bytes 0", "packets 12 bytes 3456");
        host.load(&format!("delete table inet agentd\n{text}"));
        assert!(host.nft(&["list", "ruleset"]).contains("packets 12 bytes 3456"));
        assert_eq!(host.drift(&specs), [""; 0]);
    });
}

#[test]
fn elements_that_come_and_go_by_themselves_are_no_drift() {
    let specs = declared(
        "input = \"drop\"\n[rules.slow]\nraw = \"update @seen { ip saddr limit rate over 5/minute } drop\"\n\
         [sets.seen]\nraw = \"type ipv4_addr; flags dynamic,timeout; timeout 5m; size 1000\"",
    );
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["add", "element", "inet", "agentd", "seen", "{ 10.0.0.1 limit rate over 5/minute }"]);
        assert_eq!(host.drift(&specs), [""; 0]);
    });
}

#[test]
fn a_quiet_look_starts_no_program() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        host.programs.taken();
        for _ in 0..3 {
            assert_eq!(host.drift(&specs), [""; 0]);
        }
        assert_eq!(host.programs.taken(), [[""; 0]; 0]);
    });
}

#[test]
fn our_own_work_is_told_from_that_of_others() {
    use crate::kind::Kind;
    let specs = declared(WEB);
    on_a_host(|host| {
        assert!(!host.kind.is_untouched(&host.host, None));
        host.correct(&specs);
        assert!(host.kind.is_untouched(&host.host, None), "the echo of our own load");
        host.nft(&["flush", "ruleset"]);
        assert!(!host.kind.is_untouched(&host.host, None));
    });
}

#[test]
fn a_foreign_change_costs_a_listing_and_no_compilation() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        host.programs.taken();
        host.nft(&["add", "table", "ip", "other"]);
        assert_eq!(host.drift(&specs), [""; 0]);
        assert_eq!(host.programs.taken().len(), 3, "tables, ours as JSON, ours as text");
    });
}

#[test]
fn an_agent_that_starts_anew_takes_up_the_form_that_was_loaded() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        host.kind = Firewall::default();
        host.programs.taken();
        assert_eq!(host.drift(&specs), [""; 0]);
        assert_eq!(host.programs.taken().len(), 3, "the kernel is listed, and nothing is compiled");
        let another = declared(&WEB.replace("443", "444"));
        host.kind = Firewall::default();
        assert_ne!(host.drift(&another), [""; 0], "of another declaration nothing is remembered");
    });
}

#[test]
fn a_remembered_form_is_believed_only_where_all_is_as_it_says() {
    let specs = declared(WEB);
    let file = "/var/lib/agentd/firewall.normal.json";
    on_a_host(|host| {
        host.correct(&specs);
        let written = host.file(file).unwrap();
        let version = written.split("\"version\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let altered = written.replace("443", "444");
        assert_ne!(altered, written);
        for spoilt in [written.replace(&version, "0.9"), "no JSON".to_owned(), altered] {
            let attributes = crate::host::files::Attributes::root(0o600);
            host.host.root.write(file, spoilt.as_bytes(), attributes).unwrap();
            host.kind = Firewall::default();
            host.programs.taken();
            assert_eq!(host.drift(&specs), [""; 0]);
            assert_eq!(host.programs.taken().len(), 3 + 6, "it is compiled");
        }
        host.nft(&["delete", "table", "inet", "agentd"]);
        host.kind = Firewall::default();
        host.correct(&specs);
    });
}

#[test]
fn what_differs_is_told_in_the_words_of_nft() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        let handle = handle(host, "agentd:web");
        host.nft(&[&format!(
            "replace rule inet agentd input handle {handle} tcp dport 22 accept comment \"agentd:web\""
        )]);
        host.nft(&["insert", "rule", "inet", "agentd", "input", "accept"]);
        let differences = host.differences(&specs);
        let told: Vec<_> = differences
            .iter()
            .flat_map(|difference| &difference.fields)
            .map(|field| (field.field.as_str(), field.observed.to_string(), field.desired.to_string()))
            .collect();
        let own = |(a, b, c): (&'static str, &str, &str)| (a, b.to_owned(), c.to_owned());
        assert_eq!(
            told,
            [
                own(("extra rules", "accept", "absent")),
                own(("rule", "tcp dport 22 accept", "tcp dport { 80, 443 } accept")),
            ]
        );
        assert_eq!(differences[1].changes[0].to_string(), "correct");
    });
}

#[test]
fn a_rule_that_is_not_there_yet_is_loaded_and_one_that_was_dropped_removed() {
    let (before, after) = (
        declared("input = \"accept\"\n[rules.a]\nallow = [\"tcp/1\"]"),
        declared("input = \"accept\"\n[rules.b]\nallow = [\"tcp/2\"]"),
    );
    on_a_host(|host| {
        host.correct(&before);
        let differences = host.differences(&after);
        let told: Vec<String> = differences
            .iter()
            .map(|difference| {
                format!("{}: {} {:?}", difference.key, difference.changes[0], difference.fields[0].observed)
            })
            .collect();
        assert_eq!(
            told,
            [
                format!(
                    "input/a: remove from table inet agentd {:?}",
                    Shown::Value("tcp dport 1 accept".into())
                ),
                format!("input/b: load {:?}", Shown::Absent),
            ]
        );
        host.correct(&after);
    });
}

#[test]
fn what_was_there_before_is_kept() {
    let specs = declared("input = \"accept\"");
    on_a_host(|host| {
        host.correct(&specs);
        assert_eq!(host.kept().len(), 0, "there was nothing before");
        host.nft(&["add", "rule", "inet", "agentd", "input", "tcp dport 9999 accept"]);
        host.correct(&specs);
        let kept = host.kept();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].contains("tcp dport 9999 accept"));
        host.load(&kept[0]);
        assert_eq!(host.drift(&specs), ["input"], "what was kept can be loaded again");
    });
}

#[test]
fn putting_back_what_was_confirmed_takes_three_listings_one_load_and_three_listings() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.correct(&specs);
        host.nft(&["add", "rule", "inet", "agentd", "input", "accept"]);
        host.programs.taken();
        host.correct(&specs);
        let ran = host.programs.taken();
        let loads = ran.iter().filter(|line| line.contains(&"-f".to_owned())).collect::<Vec<_>>();
        assert_eq!((ran.len(), loads.len()), (7, 1), "{ran:?}");
    });
}

#[test]
fn a_table_that_the_kernel_refuses_changes_nothing() {
    // One that was never loaded is tried first; one that is put back was tried then, and goes in one transaction.
    for (specs, refused) in [(declared("input = \"accept\""), "nft -c -f -"), (declared(WEB), "nft -f -")] {
        on_a_host(|host| {
            host.correct(&declared(WEB));
            host.nft(&["add", "rule", "inet", "agentd", "input", "accept"]);
            let before = host.nft(&["-s", "list", "ruleset"]);
            host.programs.fail(refused);
            let results = host.correct_but(&specs, &[]);
            let failed = |result: &OutcomeResult| matches!(result, OutcomeResult::Failed { .. });
            assert!(!results.is_empty() && results.iter().all(failed), "{results:?}");
            assert_eq!(host.nft(&["-s", "list", "ruleset"]), before);
        });
    }
}

#[test]
fn without_nft_nothing_is_known_and_the_message_says_what_to_do() {
    let specs: Specs<Spec> = declared(WEB);
    on_a_host(|host| {
        host.programs.miss();
        let message = host.observe(&specs).unwrap_err();
        assert!(message.contains("apt-get install nftables"), "{message}");
    });
}

#[test]
fn the_table_goes_when_nothing_of_it_is_declared_and_all_of_it_was_owned() {
    let specs = declared(WEB);
    on_a_host(|host| {
        host.nft(&["add", "table", "ip", "other"]);
        host.correct(&specs);
        host.prune = specs.keys().cloned().collect();
        let none = Specs::new();
        let changes: Vec<Change> =
            host.differences(&none).into_iter().flat_map(|difference| difference.changes).collect();
        assert_eq!(changes, vec![Change::RemoveOwn; EVERYTHING.len()]);
        host.correct(&none);
        assert_eq!(host.nft(&["list", "ruleset"]), "table ip other {\n}\n");
        assert_eq!(host.file("/var/lib/agentd/firewall.nft"), None);
    });
}

/// The table is one resource whose content is the declaration: dropping a rule is a change of the table, and needs no
/// `prune`. Dropping the whole firewall gives the table up as it is.
#[test]
fn a_rule_that_is_dropped_leaves_the_table_and_a_firewall_that_is_dropped_stays() {
    let two = declared("input = \"drop\"\n[rules.a]\nallow = [\"tcp/1\"]\n[rules.b]\nallow = [\"tcp/2\"]");
    let one = declared("input = \"drop\"\n[rules.a]\nallow = [\"tcp/1\"]");
    on_a_host(|host| {
        host.correct(&two);
        let differences = host.differences(&one);
        let told: Vec<(&str, String)> = differences
            .iter()
            .flat_map(|difference| difference.changes.iter().map(|change| (difference.key.as_str(), change)))
            .map(|(key, change)| (key, change.to_string()))
            .collect();
        assert_eq!(told, [("input/b", "remove from table inet agentd".to_owned())]);
        host.correct(&one);
        let table = host.nft(&["list", "table", "inet", "agentd"]);
        assert!(table.contains("dport 1 ") && !table.contains("dport 2 "), "{table}");
        assert!(host.kept()[0].contains("dport 2 "), "what was there is kept");
        let none = Specs::new();
        assert_eq!(host.drift(&none), [""; 0]);
        assert_eq!(host.nft(&["list", "table", "inet", "agentd"]), table);
        assert!(host.file("/var/lib/agentd/firewall.nft").is_some(), "it is loaded at the next boot, too");
    });
}

#[test]
fn nothing_declared_and_nothing_owned_needs_no_nft() {
    on_a_host(|host| {
        host.programs.taken();
        assert_eq!(host.drift(&Specs::new()), [""; 0]);
        assert_eq!(host.programs.taken().len(), 0);
    });
}

fn handle(host: &TestHost, comment: &str) -> String {
    let text = host.nft(&["-a", "list", "table", "inet", "agentd"]);
    let line = text.lines().find(|line| line.contains(&format!("comment \"{comment}\""))).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

fn delete_rule(host: &TestHost, comment: &str) {
    let handle = handle(host, comment);
    host.nft(&["delete", "rule", "inet", "agentd", "input", "handle", &handle]);
}
