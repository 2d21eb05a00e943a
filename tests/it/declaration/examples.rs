//! The example fleets: complete, and without a fault or warning on every host they name.

use std::path::{Path, PathBuf};

use agentd::declaration::{CheckReport, Origin, check};

use super::files_below;

fn example(name: &str) -> CheckReport {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let report = check(&files_below(&folder));
    assert!(report.findings.is_empty(), "{report}");
    for host in &report.hosts {
        assert!(host.declared.is_some_and(|declared| declared.resources >= 10), "{host:?}");
    }
    report
}

#[test]
fn the_single_host_compiles_for_a_host_of_any_name() {
    let report = example("single-host");
    assert_eq!(report.hosts.iter().map(|host| host.origin).collect::<Vec<_>>(), [Origin::Class]);
    assert!(report.to_string().starts_with("class `*`, number of hosts unknown"), "{report}");
}

#[test]
fn the_hardened_base_compiles() {
    assert_eq!(example("hardened-base").hosts.len(), 1);
}

#[test]
fn the_web_shop_compiles_for_every_host_of_its_inventory() {
    let report = example("web-shop");
    assert_eq!(report.hosts.iter().filter(|host| host.origin == Origin::Inventory).count(), 13);
    // Staging has no database on Debian 13 yet: its class is compiled for a host that stands for it.
    assert_eq!(report.hosts.iter().filter(|host| host.origin == Origin::Class).count(), 1);
    let root = |name: &str| {
        let host = report.hosts.iter().find(|host| host.name == name).unwrap();
        host.declared.unwrap().fingerprint
    };
    assert_eq!(
        root("shop-prod-web-1"),
        root("shop-prod-web-3"),
        "web servers of one environment are the same"
    );
    assert_ne!(root("shop-prod-web-1"), root("shop-staging-web-1"));
    assert_ne!(root("shop-prod-db-1"), root("shop-prod-db-2"), "one has PostgreSQL 15, the other 17");
}

#[test]
fn every_example_is_a_fleet_that_a_test_here_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut fleets: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("fleet.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    fleets.sort();
    assert_eq!(fleets, ["hardened-base", "single-host", "web-shop"]);
}

#[test]
fn what_the_reference_shows_compiles() {
    let text = include_str!("../../../docs/declaration.md");
    let shown: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("the end of an example").0)
        .collect();
    assert!(shown.len() >= 3, "examples were found");
    for toml in shown {
        let compiled = super::compiled(&[("hosts/web-1.toml", toml)], "web-1");
        assert!(compiled.warnings.is_empty(), "{toml}\n{}", super::joined(&compiled.warnings));
    }
}
