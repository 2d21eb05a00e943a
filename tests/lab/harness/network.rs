//! A network of our own: one namespace with a bridge for a laboratory, one namespace for each host, a cable
//! between. No interface, address or rule of this machine is touched.

use super::exec::{Output, run};

/// The address of host `number` (1 is the bridge itself, the place of an outsider).
pub fn ipv4(number: u8) -> String {
    format!("10.77.0.{number}")
}

pub fn ipv6(number: u8) -> String {
    format!("fd00:77::{number:x}")
}

/// Makes the namespace of the laboratory with its bridge.
pub fn make_bridge(namespace: &str) {
    ip(&["netns", "add", namespace]);
    ip(&["-n", namespace, "link", "set", "lo", "up"]);
    // No spanning tree delay: a port forwards as soon as it is up.
    ip(&["-n", namespace, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"]);
    address(namespace, "br0", 1);
    ip(&["-n", namespace, "link", "set", "br0", "up"]);
}

/// Makes a host's namespace, empty of rules, with a cable to the bridge; one of that name is replaced.
pub fn make_port(bridge: &str, namespace: &str, number: u8) {
    remove_port(bridge, namespace, number);
    ip(&["netns", "add", namespace]);
    ip(&["-n", namespace, "link", "set", "lo", "up"]);
    let port = port(number);
    let ends = ["type", "veth", "peer", "name", "eth0", "netns", namespace];
    ip(&[&["-n", bridge, "link", "add", &port][..], &ends].concat());
    ip(&["-n", bridge, "link", "set", &port, "master", "br0", "up"]);
    address(namespace, "eth0", number);
    ip(&["-n", namespace, "link", "set", "eth0", "up"]);
    ip(&["-n", namespace, "route", "add", "default", "via", &ipv4(1)]);
}

/// Removes a host's namespace and its end of the cable. The kernel empties a namespace in its own time, so the other
/// end is taken off here, or its name would still be taken when the host comes back.
pub fn remove_port(bridge: &str, namespace: &str, number: u8) {
    let port = port(number);
    if run(&["ip", "-n", bridge, "link", "show", &port]).success() {
        ip(&["-n", bridge, "link", "delete", &port]);
    }
    if std::path::Path::new("/run/netns").join(namespace).exists() {
        ip(&["netns", "delete", namespace]);
    }
}

/// Pulls the cable of a host, or puts it back.
pub fn set_cable(bridge: &str, number: u8, state: &str) {
    ip(&["-n", bridge, "link", "set", &port(number), state]);
}

/// Limits what a host can send, in bits a second; `None` lifts the limit.
pub fn set_rate(namespace: &str, bits: Option<u32>) {
    run(&["tc", "-n", namespace, "qdisc", "delete", "dev", "eth0", "root"]).success();
    if let Some(bits) = bits {
        let rate = format!("{bits}bit");
        let shape = ["tbf", "rate", &rate, "burst", "3000", "latency", "60s"];
        run(&[&["tc", "-n", namespace, "qdisc", "add", "dev", "eth0", "root"][..], &shape].concat()).ok();
    }
}

/// Runs a program of this machine inside a namespace of the laboratory.
pub fn run_in(namespace: &str, command: &[&str]) -> Output {
    run(&[&["ip", "netns", "exec", namespace], command].concat())
}

fn port(number: u8) -> String {
    format!("port{number}")
}

/// Both addresses of a host; duplicate address detection would only cost a second of waiting.
fn address(namespace: &str, interface: &str, number: u8) {
    let (four, six) = (format!("{}/24", ipv4(number)), format!("{}/64", ipv6(number)));
    ip(&["-n", namespace, "address", "add", &four, "dev", interface]);
    ip(&["-n", namespace, "address", "add", &six, "dev", interface, "nodad"]);
}

#[track_caller]
fn ip(arguments: &[&str]) {
    run(&[&["ip"], arguments].concat()).ok();
}
