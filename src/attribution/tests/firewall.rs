//! Of the packet filter: whom the kernel names with a generation.

use super::*;

#[test]
fn rules_are_asked_of_whom_the_kernel_names_with_the_generation() {
    let rules = |pid: u32, generation, caught| Testimony {
        witness: Witness {
            subject: Subject::Rules { generation },
            source: Evidence::Netfilter,
            ..witness("/", pid, u64::from(pid) * 1000 + 50, caught).witness
        },
        changed: None,
    };
    let nft = image(200, "/usr/sbin/nft", &["nft", "add", "rule", "inet", "agentd", "input", "accept"]);
    let own =
        Executed { parent: OWN, parent_started: 10_000, ..image(201, "/usr/sbin/nft", &["nft", "-f", "-"]) };
    let agent = image(OWN, "/usr/sbin/agentd", &["agentd"]);
    let gone = |name: &str| Caught::Gone(Some(name.to_owned()));
    let firewall = question("firewall:table", &["rules"]);
    let seen = vec![rules(200, 7, gone("nft")), rules(201, 8, gone("nft"))];
    let known = gathered(vec![agent, nft, own], seen);
    assert_eq!(told(&firewall, &known), "certain: /usr/sbin/nft as root by alice");
    assert_eq!(attribute(&firewall, &known).evidence, [Evidence::Netfilter, Evidence::ExecCache]);
    let blind = gathered(vec![], vec![rules(200, 7, gone("nft"))]);
    assert!(told(&firewall, &blind).contains("which called itself `nft`, had ended"));
}
