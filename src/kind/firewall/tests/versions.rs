//! What is in force is told the same whichever nft of a supported Debian lists it.
//!
//! `listings/` holds one rule set, `rules.nft`, as both list it: made with `nft -j -p list table inet agentd` (.json)
//! and `nft -a -s -p list table inet agentd` (.txt) on Debian 12 (1.0.6) and 13 (1.1.3).

use super::super::listing::Listing;
use super::super::nft::{call, list, nft};
use super::super::state::{differences, states};
use super::support::on_a_host;
use crate::model::fingerprint;

const RULES: &str = include_str!("listings/rules.nft");

fn bookworm() -> Listing {
    let (json, text) = (include_bytes!("listings/nft-1.0.6.json"), include_bytes!("listings/nft-1.0.6.txt"));
    Listing::parse(json, text).unwrap()
}

fn trixie() -> Listing {
    let (json, text) = (include_bytes!("listings/nft-1.1.3.json"), include_bytes!("listings/nft-1.1.3.txt"));
    Listing::parse(json, text).unwrap()
}

#[track_caller]
fn tell_the_same(one: &Listing, other: &Listing) {
    let (one, other) = (states(one), states(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (key, state) in &one {
        assert_eq!(differences(Some(state), other.get(key)), [], "{key}");
        assert_eq!(fingerprint::of(state), fingerprint::of(&other[key]), "{key}");
    }
}

#[test]
fn listings_of_two_versions_of_nft_are_of_the_same_state() {
    let (old, new) = (bookworm(), trixie());
    assert_eq!((old.version.as_str(), new.version.as_str()), ("1.0.6", "1.1.3"));
    tell_the_same(&old, &new);
    // Among them each in which the two are known to differ as they are written.
    for key in ["set/admins", "set/seen", "set/slow", "input/odd", "input/admins"] {
        assert!(states(&old).contains_key(key), "{key}");
    }
}

#[test]
fn the_nft_of_this_machine_tells_the_same_as_the_listings() {
    on_a_host(|host| {
        let programs = &*host.host.programs;
        call(programs, &nft(&["-f", "-"], RULES)).unwrap();
        let here = list(programs).unwrap().0.unwrap();
        tell_the_same(&here, &bookworm());
    });
}
