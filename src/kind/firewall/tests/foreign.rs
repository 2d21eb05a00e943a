//! Other tables: left alone, told of, and drift only where the declaration says `exclusive`.

use super::super::Change;
use super::support::{declared, on_a_host, warnings};
use crate::model::OutcomeResult;

const DOCKER: &str = "table ip docker {
	set banned { type ipv4_addr; elements = { 10.9.9.9, 10.9.9.8 }; }
	chain forward { type filter hook forward priority filter; policy accept;
		iifname \"docker0\" counter packets 5 bytes 77 accept; }
	chain nat { type nat hook postrouting priority srcnat; oifname \"eth0\" masquerade; }
}
table inet f2b { chain input { type filter hook input priority -1; ip saddr 10.8.8.8 drop; }; }
table ip6 empty {
}
";

#[test]
fn other_tables_are_byte_for_byte_the_same_after_a_correction() {
    let specs = declared("input = \"drop\"\nforward = \"drop\"\n[rules.ssh]\nallow = [\"tcp/22\"]");
    on_a_host(|host| {
        host.load(DOCKER);
        let listed = |host: &super::support::TestHost| {
            [
                host.nft(&["-a", "list", "table", "ip", "docker"]),
                host.nft(&["-a", "list", "table", "inet", "f2b"]),
            ]
        };
        let before = listed(host);
        host.correct(&specs);
        host.nft(&["flush", "chain", "inet", "agentd", "input"]);
        host.correct(&specs);
        assert_eq!(listed(host), before);
    });
}

#[test]
fn other_tables_are_told_of_and_conflicts_named() {
    let notes = |declaration: &str| {
        let specs = declared(declaration);
        let mut notes = Vec::new();
        on_a_host(|host| {
            host.load(DOCKER);
            notes = host.observe(&specs).unwrap().notes;
        });
        notes
    };
    let alone = [
        "table ip docker is not the agent's: left alone",
        "table inet f2b is not the agent's: left alone",
        "table ip6 empty is not the agent's: left alone",
    ];
    let told = notes("forward = \"drop\"");
    assert_eq!(told[..3], alone);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[3].starts_with("firewall:forward drops by policy what chain forward of table ip docker accepts"),
        "{told:?}"
    );
    assert!(told[3].contains("forward.accept_foreign"));
    assert_eq!(notes("forward = \"accept\""), alone);
    assert_eq!(notes("[forward]\npolicy = \"drop\"\naccept_foreign = [\"docker0\"]"), alone);
    assert_eq!(notes("[input]\npolicy = \"drop\"\naccept_foreign = []"), alone);
}

#[test]
fn another_table_that_drops_by_policy_is_told_of() {
    let specs = declared("input = \"accept\"");
    on_a_host(|host| {
        host.load("table inet rival { chain c { type filter hook input priority 5; policy drop; ct state established accept; }; }");
        let notes = host.observe(&specs).unwrap().notes;
        assert!(notes[1].starts_with("chain c of table inet rival drops by policy"), "{notes:?}");
    });
}

#[test]
fn exclusive_makes_other_tables_drift_but_for_the_ignored() {
    let specs = declared("exclusive = true\nignore = [\"ip dock*\", \"ip6 empty\"]\ninput = \"accept\"");
    on_a_host(|host| {
        host.load(DOCKER);
        assert_eq!(host.drift(&specs), ["input", "table/inet f2b"]);
        let differences = host.differences(&specs);
        assert_eq!(differences[1].changes[0].to_string(), "remove table inet f2b");
        let results = host.correct_but(&specs, &[]);
        assert_eq!(results, [OutcomeResult::Done, OutcomeResult::Done]);
        assert_eq!(host.drift(&specs), [""; 0]);
        assert!(host.nft(&["list", "tables"]).contains("table ip docker"));
        assert!(host.kept().iter().any(|text| text.contains("10.8.8.8")), "the table is kept first");
    });
}

#[test]
fn another_table_beside_ours_drifts_where_ours_is_as_declared() {
    let specs = declared("exclusive = true\nignore = []\ninput = \"accept\"");
    on_a_host(|host| {
        host.correct_but(&specs, &[]);
        assert_eq!(host.drift(&specs), [""; 0]);
        host.load("table ip filter {\n chain INPUT {\n type filter hook input priority 0;\n }\n}\n");
        assert_eq!(host.drift(&specs), ["table/ip filter"]);
    });
}

#[test]
fn a_table_whose_name_is_a_command_is_removed_and_nothing_else() {
    let specs = declared("exclusive = true\nignore = [\"ip keep\"]\ninput = \"accept\"");
    on_a_host(|host| {
        host.load("table ip keep {\n}\n");
        let mut run = crate::host::program::Run::new("/usr/sbin/nft", &["-j", "-f", "-"]);
        run.stdin =
            br#"{"nftables": [{"add": {"table": {"family": "ip", "name": "x; delete table ip keep"}}}]}"#
                .to_vec();
        assert!(host.host.programs.run(&run).unwrap().succeeded());
        let changes: Vec<Change> = host.differences(&specs).into_iter().flat_map(|d| d.changes).collect();
        assert_eq!(
            changes[1],
            Change::RemoveForeign { family: "ip".into(), name: "x; delete table ip keep".into() }
        );
        host.correct(&specs);
        let tables = host.nft(&["list", "tables"]);
        assert_eq!(tables, "table ip keep\ntable inet agentd\n");
    });
}

#[test]
fn a_forward_that_drops_is_warned_about_unless_somebody_thought_of_it() {
    assert_eq!(warnings("forward = \"drop\""), ["drops-foreign"]);
    assert_eq!(warnings("[forward]\npolicy = \"drop\"\naccept_foreign = []"), [""; 0]);
    assert_eq!(warnings("forward = \"accept\""), [""; 0]);
}
