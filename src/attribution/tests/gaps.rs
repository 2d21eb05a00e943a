//! Where events were lost nobody who was seen is named: somebody else may have done it.

use std::sync::Arc;

use super::*;
use crate::host::Host;
use crate::host::accounts::ListedAccounts;
use crate::host::clock::SystemClock;
use crate::host::files::Root;
use crate::host::netfilter::FakeNetfilter;
use crate::host::program::SystemPrograms;
use crate::host::units::FakeUnits;

#[test]
fn whoever_was_seen_is_not_named_where_others_may_have_been_missed() {
    let sed = image(200, "/bin/sed", &["sed", "-i", "s/a/b/", "/etc/motd"]);
    let seen = witness("/etc/motd", 200, 200_050, Caught::Gone(None));
    let mut known = gathered(vec![sed], vec![seen]);
    for (source, missed, is_named) in
        [(Evidence::Fanotify, 99, true), (Evidence::Fanotify, 150, false), (Evidence::Netfilter, 150, true)]
    {
        known.missed = [(source, Duration::from_secs(missed))].into();
        let told = told(&motd(&["content"]), &known);
        assert_eq!(told.starts_with("certain: /bin/sed"), is_named, "{source} until {missed}: {told}");
        assert_eq!(told.starts_with("unknown: events were lost since it was right"), !is_named, "{told}");
    }
}

#[test]
fn more_witnesses_than_are_held_are_a_gap_up_to_the_last_that_was_let_go() {
    let host = Host {
        root: Root::open("/").unwrap(),
        programs: Arc::new(SystemPrograms),
        units: Arc::new(FakeUnits::new()),
        netfilter: Arc::new(FakeNetfilter::default()),
        accounts: Arc::new(ListedAccounts::new(&[], &[])),
        clock: Arc::new(SystemClock),
    };
    let mut inquiry = gather::Inquiry::beside(OWN, None);
    let many =
        (0..600u32).map(|n| witness("/etc/motd", 1000 + n, u64::from(n) * 10, Caught::Skipped).witness);
    inquiry.hear(&host, many.collect());
    let missed = inquiry.gaps();
    assert_eq!(missed, &[(Evidence::Fanotify, Duration::from_millis(870))].into(), "the oldest 88 of 600");
}
