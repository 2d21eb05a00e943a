//! Of the packet filter: whom the kernel names with a generation.

use super::*;
use crate::kind::firewall::undo::TakenBack;

fn rules(pid: u32, at: u64) -> Testimony {
    let told = witness("/", pid, at, Caught::Gone(Some("nft".to_owned())));
    let subject = Subject::Rules { generation: pid };
    Testimony { witness: Witness { subject, source: Evidence::Netfilter, ..told.witness }, changed: None }
}

#[test]
fn a_firewall_that_took_itself_back_is_told_as_our_own_undo() {
    let unit = "agentd-firewall-undo-140000.service".to_owned();
    let back = TakenBack { unit: unit.clone(), since: Duration::from_secs(200) };
    let firewall = question("firewall:input/web", &["rules"]);
    let undo = Executed {
        parent: 1,
        parent_started: 0,
        login: None,
        session: None,
        ..image(200, "/usr/sbin/nft", &["/usr/sbin/nft", "-f", "/var/lib/agentd/firewall-undo.nft"])
    };
    let of = |notes: Vec<Executed>, seen: Vec<Testimony>| {
        let known = Gathered { taken_back: Some(back.clone()), ..gathered(notes, seen) };
        attribute(&firewall, &known)
    };
    let told = of(vec![undo.clone()], vec![rules(200, 200_100)]);
    assert_eq!(
        (told.confidence, told.actor.as_ref().unwrap().unit.as_ref()),
        (Confidence::Certain, Some(&unit))
    );
    assert_eq!(told.to_string(), format!("/usr/sbin/nft [200] by root in {unit}, certain"));
    assert_eq!(told.reason, "this is agentd's own undo: nobody confirmed the firewall in time");
    // Where programs are not noted the hour tells, if nobody else was there at that hour.
    let by_hour = of(vec![], vec![rules(200, 200_100)]);
    assert_eq!((by_hour.confidence, by_hour.reason), (Confidence::Likely, told.reason));
    let two = of(vec![], vec![rules(200, 200_100), rules(202, 201_000)]);
    assert_eq!(two.confidence, Confidence::Unknown, "either may have been the undo");
    let later = of(vec![], vec![rules(200, 230_000)]);
    assert_eq!(later.confidence, Confidence::Unknown, "no undo comes so late");
    // What was done to our table before is gone with it; other tables are not touched by it.
    let before = vec![rules(190, 190_000), rules(200, 200_100)];
    assert_eq!(of(vec![], before.clone()).confidence, Confidence::Likely);
    let known = Gathered { taken_back: Some(back.clone()), ..gathered(vec![], before) };
    let other = attribute(&question("firewall:table/ip filter", &["rules"]), &known);
    assert_eq!(other.confidence, Confidence::Unknown);
    // Who changed the rules besides is named; who loads the same file by hand is no undo of ours.
    let person = image(201, "/usr/sbin/nft", &["nft", "flush", "ruleset"]);
    let besides = of(vec![undo.clone(), person], vec![rules(200, 200_100), rules(201, 201_100)]);
    assert_eq!(besides.actor.unwrap().login.unwrap().uid, 1000);
    let by_hand = Executed { parent: 30, parent_started: 3000, login: Some(1000), ..undo };
    let by_hand = of(vec![by_hand], vec![rules(200, 200_100)]);
    assert_eq!(by_hand.actor.unwrap().login.unwrap().uid, 1000);
}

#[test]
fn a_firewall_that_a_reboot_took_back_is_told_so_and_a_later_change_is_not() {
    let back = TakenBack { unit: "agentd-firewall.service".to_owned(), since: Duration::ZERO };
    let of = |good: Duration, seen: Vec<Testimony>| {
        let known = Gathered { taken_back: Some(back.clone()), ..gathered(vec![], seen) };
        attribute(&Question { good, ..question("firewall:input/web", &["rules"]) }, &known)
    };
    let told = of(Duration::ZERO, vec![]);
    assert_eq!(
        told.reason,
        "this is agentd's own undo: the host was rebooted before anybody confirmed the firewall"
    );
    assert_eq!(told.confidence, Confidence::Likely);
    assert_eq!(of(Duration::from_secs(9), vec![]).confidence, Confidence::Unknown);
    assert_eq!(of(Duration::ZERO, vec![rules(200, 9_000)]).confidence, Confidence::Unknown);
}

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
