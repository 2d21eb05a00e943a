//! Every word loads, lists back as the same, and is not drift afterwards.

use super::support::{declared, on_a_host};

/// Loads the declaration, looks again, and hands out the rules nft lists.
fn listed(declaration: &str) -> String {
    let specs = declared(declaration);
    let mut text = String::new();
    on_a_host(|host| {
        host.correct(&specs);
        text = host.nft(&["list", "table", "inet", "agentd"]);
    });
    text
}

/// The rules of a declaration over an accepting input, by name.
fn rules(body: &str) -> Vec<String> {
    let text = listed(&format!("input = \"accept\"\nforward = \"accept\"\noutput = \"accept\"\n{body}"));
    let named = text.lines().filter_map(|line| line.trim().strip_suffix(" comment \"agentd:x\""));
    named.map(str::to_owned).collect()
}

#[test]
fn the_shape_of_the_contract_loads() {
    let text = listed(
        "input = \"drop\"\n[rules.web]\nallow = [\"tcp/80\", \"tcp/443\"]\n\
         [rules.ssh]\nallow = [\"tcp/22\"]\nfrom = [\"10.0.0.0/8\"]\n",
    );
    let expected = "table inet agentd {
	chain input {
		type filter hook input priority filter; policy drop;
		iifname \"lo\" accept comment \"agentd: loopback\"
		ct state established,related accept comment \"agentd: established\"
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, \
mld-listener-query, mld-listener-report, mld-listener-done, nd-router-solicit, nd-router-advert, \
nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept comment \"agentd: neighbour discovery\"
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment \"agentd: DHCPv6\"
		ct state invalid drop comment \"agentd: invalid\"
		ip saddr 10.0.0.0/8 tcp dport 22 accept comment \"agentd:ssh\"
		tcp dport { 80, 443 } accept comment \"agentd:web\"
	}
}
";
    assert_eq!(text, expected);
}

#[test]
fn a_hook_that_is_not_declared_is_not_made() {
    let text = listed("forward = \"accept\"");
    assert!(
        text.contains("chain forward") && !text.contains("chain input") && !text.contains("chain output")
    );
}

#[test]
fn every_word_for_traffic_loads() {
    assert_eq!(
        rules(
            "[rules.x]\nallow = [\"tcp/80\", \"tcp/1000-2000\", \"udp/53\", \"sctp/9\", \"dccp/9\", \"icmp/echo-request\", \"icmpv6/echo-request\", \"esp\", \"ah\", \"gre\", \"protocol/200\"]"
        ),
        [
            "tcp dport { 80, 1000-2000 } accept",
            "udp dport 53 accept",
            "sctp dport 9 accept",
            "dccp dport 9 accept",
            "meta l4proto { gre, esp, ah, 200 } accept",
            "icmp type echo-request accept",
            "icmpv6 type echo-request accept",
        ]
    );
    for word in ["tcp", "udp", "sctp", "dccp", "icmp", "icmpv6", "igmp", "ipip", "ospf", "vrrp", "any"] {
        assert_eq!(rules(&format!("[rules.x]\nallow = [\"{word}\"]")).len(), 1, "{word}");
    }
    assert_eq!(rules("[rules.x]\nallow = [\"any\"]\nfrom = \"10.0.0.1\""), ["ip saddr 10.0.0.1 accept"]);
}

#[test]
fn every_icmp_type_loads_by_name() {
    let names = [
        "echo-reply",
        "destination-unreachable",
        "redirect",
        "echo-request",
        "router-advertisement",
        "router-solicitation",
        "time-exceeded",
        "parameter-problem",
        "timestamp-request",
        "timestamp-reply",
        "address-mask-request",
        "address-mask-reply",
        "source-quench",
    ];
    let words: Vec<String> = names.iter().map(|name| format!("\"icmp/{name}\"")).collect();
    let listed = rules(&format!("[rules.x]\nallow = [{}]", words.join(",")));
    for name in names {
        assert!(listed[0].contains(name), "{name}: {listed:?}");
    }
}

#[test]
fn every_icmpv6_type_loads_by_name() {
    let names = [
        "destination-unreachable",
        "packet-too-big",
        "time-exceeded",
        "parameter-problem",
        "echo-request",
        "echo-reply",
        "mld-listener-query",
        "mld-listener-report",
        "mld-listener-done",
        "nd-router-solicit",
        "nd-router-advert",
        "nd-neighbor-solicit",
        "nd-neighbor-advert",
        "nd-redirect",
        "ind-neighbor-solicit",
        "ind-neighbor-advert",
        "mld2-listener-report",
    ];
    let words: Vec<String> = names.iter().map(|name| format!("\"icmpv6/{name}\"")).collect();
    let listed = rules(&format!("[rules.x]\nallow = [{}]", words.join(",")));
    for name in names {
        assert!(listed[0].contains(name), "{name}: {listed:?}");
    }
}

#[test]
fn drop_and_reject_load_and_tcp_is_reset() {
    assert_eq!(rules("[rules.x]\ndrop = [\"udp/1\"]"), ["udp dport 1 drop"]);
    assert_eq!(
        rules("[rules.x]\nreject = [\"udp/1\", \"tcp/1\"]"),
        ["tcp dport 1 reject with tcp reset", "udp dport 1 reject"]
    );
}

#[test]
fn addresses_of_both_families_and_ranges_make_a_rule_each() {
    assert_eq!(
        rules(
            "[rules.x]\nallow = [\"tcp/1\"]\nfrom = [\"10.0.0.0/8\", \"192.0.2.1-192.0.2.9\", \"fd00::/8\", \"::1\"]"
        ),
        [
            "ip saddr { 10.0.0.0/8, 192.0.2.1-192.0.2.9 } tcp dport 1 accept",
            "ip6 saddr { ::1, fd00::/8 } tcp dport 1 accept"
        ]
    );
    assert_eq!(
        rules(
            "[rules.x]\nallow = [\"tcp/1\"]\nfrom = [\"10.0.0.0/8\", \"fd00::/8\"]\nto = [\"10.0.0.1\", \"fd00::1\"]"
        ),
        [
            "ip saddr 10.0.0.0/8 ip daddr 10.0.0.1 tcp dport 1 accept",
            "ip6 saddr fd00::/8 ip6 daddr fd00::1 tcp dport 1 accept"
        ]
    );
    assert_eq!(
        rules("[rules.x]\nallow = [\"icmp/echo-request\"]\nfrom = [\"10.0.0.0/8\", \"fd00::/8\"]").len(),
        1
    );
}

#[test]
fn a_set_is_spoken_of_by_both_families() {
    let body = "[rules.x]\nallow = [\"tcp/22\"]\nfrom = [\"@admins\"]\n\
                [sets.admins]\nelements = [\"10.0.0.0/8\", \"10.0.0.0/16\", \"192.0.2.1\", \"fd00::/8\"]";
    assert_eq!(
        rules(body),
        ["ip saddr @admins.v4 tcp dport 22 accept", "ip6 saddr @admins.v6 tcp dport 22 accept"]
    );
    assert_eq!(rules("[rules.x]\ndrop = [\"any\"]\nfrom = \"@none\"\n[sets.none]\nelements = []").len(), 2);
}

#[test]
fn interfaces_limits_logging_and_counters_load() {
    assert_eq!(
        rules(
            "[rules.x]\nchain = \"forward\"\nallow = [\"any\"]\nin = [\"eth0\", \"virbr*\"]\nout = \"wg0\"\nlimit = \"10/second burst 20\"\nlog = \"passed: \"\ncounter = true"
        ),
        [
            "iifname { \"eth0\", \"virbr*\" } oifname \"wg0\" limit name \"forward.x\" counter packets 0 bytes 0 log prefix \"passed: \" accept"
        ]
    );
    assert_eq!(
        rules("[rules.x]\ndrop = [\"icmp\"]\nlimit = \"5/minute\""),
        ["meta l4proto icmp limit name \"input.x\" drop"]
    );
    for unit in ["second", "minute", "hour", "day"] {
        assert_eq!(rules(&format!("[rules.x]\nallow = [\"icmp\"]\nlimit = \"3/{unit}\"")).len(), 1);
    }
}

#[test]
fn rules_stand_by_order_and_then_by_name() {
    let text = listed(
        "output = \"accept\"\n[rules.a]\nchain = \"output\"\norder = 5\nallow = [\"tcp/1\"]\n\
         [rules.c]\nchain = \"output\"\nallow = [\"tcp/2\"]\n[rules.b]\nchain = \"output\"\nallow = [\"tcp/3\"]\n\
         [rules.z]\nchain = \"output\"\norder = -1\nallow = [\"tcp/4\"]\n",
    );
    let order: Vec<&str> =
        text.lines().filter_map(|line| line.split("agentd:").nth(1)).filter(|name| name.len() == 2).collect();
    assert_eq!(order, ["z\"", "b\"", "c\"", "a\""]);
}

#[test]
fn standing_rules_can_be_switched_off() {
    let text = listed(
        "[input]\npolicy = \"drop\"\nestablished = false\nloopback = false\nneighbour_discovery = false\npriority = -5\n\
         management = []",
    );
    assert_eq!(
        text,
        "table inet agentd {\n\tchain input {\n\t\ttype filter hook input priority filter - 5; policy drop;\n\t}\n}\n"
    );
}

#[test]
fn every_hook_takes_its_standing_rules_and_foreign_interfaces() {
    for hook in ["input", "forward", "output"] {
        let text =
            listed(&format!("[{hook}]\npolicy = \"drop\"\naccept_foreign = [\"docker0\", \"virbr*\"]"));
        assert!(text.contains("ct state established,related accept"), "{text}");
        assert!(
            text.contains("{ \"docker0\", \"virbr*\" } accept comment \"agentd: other tables decide\""),
            "{text}"
        );
    }
}

#[test]
fn masquerade_and_port_forwards_load() {
    let text = listed(
        "forward = \"drop\"\ninput = \"accept\"\n\
         [nat.out]\nmasquerade = true\nout = \"eth0\"\n\
         [nat.out6]\nmasquerade = true\nout = \"eth0\"\nfrom = [\"fd00::/8\", \"@lan\"]\n\
         [nat.web]\nforward = [\"tcp/8080\"]\nin = \"eth0\"\nto = \"10.0.0.2:80\"\n\
         [nat.web6]\nforward = [\"tcp/8080\"]\nto = \"[fd00::2]:80\"\n\
         [nat.range]\nforward = [\"udp/5000-5010\"]\nto = \"10.0.0.3\"\n\
         [nat.here]\nforward = [\"tcp/80\"]\nto = \":8080\"\nfrom = \"10.0.0.0/8\"\n\
         [sets.lan]\nelements = [\"10.0.0.0/8\"]",
    );
    for line in [
        "type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook postrouting priority srcnat; policy accept;",
        "oifname \"eth0\" meta nfproto ipv4 masquerade comment \"agentd:out\"",
        "oifname \"eth0\" ip6 saddr fd00::/8 masquerade comment \"agentd:out6\"",
        "oifname \"eth0\" ip saddr @lan.v4 masquerade comment \"agentd:out6\"",
        "iifname \"eth0\" meta nfproto ipv4 tcp dport 8080 fib daddr type local dnat ip to 10.0.0.2:80 comment \"agentd:web\"",
        "meta nfproto ipv6 tcp dport 8080 fib daddr type local dnat ip6 to [fd00::2]:80 comment \"agentd:web6\"",
        "meta nfproto ipv4 udp dport 5000-5010 fib daddr type local dnat ip to 10.0.0.3 comment \"agentd:range\"",
        "ip saddr 10.0.0.0/8 tcp dport 80 fib daddr type local redirect to :8080 comment \"agentd:here\"",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(text.matches("ct status dnat accept comment \"agentd: port forwards\"").count(), 2);
}

#[test]
fn raw_rules_sets_and_chains_load() {
    let text = listed(
        "input = \"drop\"\n[rules.syn]\norder = -10\nraw = \"\"\"\ntcp flags & (fin|syn) == (fin|syn) drop\n\
         ct state new update @seen { ip saddr limit rate over 5/minute } jump punish\n\"\"\"\n\
         [rules.ssh]\nallow = [\"tcp/22\"]\n\
         [sets.seen]\nraw = \"type ipv4_addr; flags dynamic,timeout; timeout 5m; size 1000\"\n\
         [sets.ports]\nraw = \"\"\"type inet_service\nflags interval\nelements = { 80, 90-99 }\"\"\"\n\
         [chains.punish]\nraw = \"\"\"\ntcp dport @ports log prefix \"punished: \" drop\nreturn\n\"\"\"\n\
         [chains.early]\nraw = \"\"\"\ntype filter hook prerouting priority raw; policy accept;\n\
         iifname \"eth9\" notrack\n\"\"\"\n",
    );
    for line in [
        "chain punish {",
        "set seen {",
        "set ports {",
        "iifname \"eth9\" notrack",
        "jump punish comment \"agentd:syn\"",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
