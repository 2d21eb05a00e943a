//! What real packets meet on the way through a host: masquerading, a port forward, a rate limit. The host is a router
//! between two networks of its own, each with a machine in a network namespace.

use std::time::Duration;

use super::Site;
use crate::harness::Suite;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

const NETWORKS: &str = "
set -e
for end in lan:10.9.1 wan:198.51.100; do
    name=${end%%:*} net=${end#*:}
    ip netns add $name
    ip link add ${name}0 type veth peer name eth0 netns $name
    ip addr add $net.1/24 dev ${name}0
    ip link set ${name}0 up
    ip -n $name addr add $net.2/24 dev eth0
    ip -n $name link set eth0 up
    ip -n $name link set lo up
done
# The one inside knows the way out; the one outside does not know that there is an inside.
ip -n lan route add default via 10.9.1.1
echo 1 > /proc/sys/net/ipv4/ip_forward
";

/// Answers each connection with who it came from.
const SERVER: &str = "use IO::Socket::INET; \
    my $s = IO::Socket::INET->new(Listen => 5, LocalPort => $ARGV[0], ReuseAddr => 1) or die $!; \
    while (my $c = $s->accept) { print $c $c->peerhost, qq(\\n); close $c }";

const CLIENT: &str = "use IO::Socket::INET; \
    my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 3) or exit 3; print <$s>;";

const ROUTER: &str = r#"
input = "drop"
[forward]
policy = "drop"
[rules.out]
chain = "forward"
allow = ["any"]
in = "lan0"
out = "wan*"
[rules.ping]
allow = ["icmp/echo-request"]
limit = "1/hour burst 3"
in = "wan*"
[nat.out]
masquerade = true
out = "wan*"
[nat.shop]
forward = ["tcp/8080"]
to = "10.9.1.2:80"
"#;

fn serve(site: &Site, network: &str, port: &str) {
    let unit = format!("--unit=serve-{network}");
    let line = ["systemd-run", "--quiet", &unit, "ip", "netns", "exec", network, "perl", "-e", SERVER, port];
    site.run(&line).ok();
    let listens = format!("ip netns exec {network} ss -Hltn 'sport = :{port}' | grep -q .");
    site.wait_until("the server listens", LIMIT, || site.sh(&listens).success());
}

/// What a machine is told by a server; nothing if it does not get through.
fn asks(site: &Site, network: &str, address: &str, port: &str) -> String {
    site.run(&["ip", "netns", "exec", network, "perl", "-e", CLIENT, address, port]).stdout.trim().to_owned()
}

/// How many of ten pings are answered, each one by itself: what belongs to a ping that was let in is let in, too.
fn pings(site: &Site, network: &str, address: &str) -> usize {
    let line = format!(
        "for n in $(seq 10); do ip netns exec {network} ping -n -q -c 1 -W 2 {address} > /dev/null && echo answered; \
         done; true"
    );
    site.sh(&line).ok().lines().count()
}

#[test]
fn packets_are_masqueraded_forwarded_and_limited_as_declared() {
    for suite in Suite::ALL {
        let site = Site::boot(suite);
        site.sh(NETWORKS).ok();
        serve(&site, "wan", "7000");
        serve(&site, "lan", "80");
        // Without a word about it nothing gets back: the one outside has no way to the inside.
        assert_eq!(asks(&site, "lan", "198.51.100.2", "7000"), "");
        assert_eq!(asks(&site, "wan", "198.51.100.1", "8080"), "");
        assert_eq!(pings(&site, "wan", "198.51.100.1"), 10);
        site.converge(ROUTER);
        assert_eq!(asks(&site, "lan", "198.51.100.2", "7000"), "198.51.100.1", "masqueraded");
        assert_eq!(
            asks(&site, "wan", "198.51.100.1", "8080"),
            "198.51.100.2",
            "forwarded, and known as who it is"
        );
        assert_eq!(asks(&site, "wan", "198.51.100.1", "80"), "", "what was not declared is not let in");
        assert_eq!(pings(&site, "wan", "198.51.100.1"), 3, "what exceeds the limit meets the policy");
        // Taken away by hand, and put right.
        site.sh("nft flush chain inet agentd forward; nft delete table inet agentd").ok();
        assert_eq!(asks(&site, "lan", "198.51.100.2", "7000"), "");
        site.converge(ROUTER);
        assert_eq!(asks(&site, "lan", "198.51.100.2", "7000"), "198.51.100.1");
    }
}
