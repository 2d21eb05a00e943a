//! The kinds as the compiler sees them: a table each, parsed and then looked over as a whole. One line a kind.

use std::collections::BTreeMap;

use super::references;
use crate::kind::{Desired, Kind, ParseCx, Specs, file, firewall, package, service};
use crate::model::Located;

/// The tables that kinds are declared in.
pub const TABLES: [&str; 4] =
    [firewall::Firewall::TABLE, package::Packages::TABLE, file::Files::TABLE, service::Services::TABLE];

/// Parses all tables into a desired state.
pub fn parse(tables: &Tables, desired: &mut Desired, cx: &mut ParseCx<'_>) {
    desired.firewall = specs::<firewall::Firewall>(tables, cx);
    desired.package = specs::<package::Packages>(tables, cx);
    desired.file = specs::<file::Files>(tables, cx);
    desired.service = specs::<service::Services>(tables, cx);
    references::check(tables, desired, cx.faults);
}

/// The merged tables of a host, by name.
pub type Tables = BTreeMap<&'static str, Located>;

fn specs<K: Kind>(tables: &Tables, cx: &mut ParseCx<'_>) -> Specs<K::Spec> {
    let specs = tables.get(K::TABLE).map(|table| K::parse(table, cx)).unwrap_or_default();
    for fault in K::validate(&specs) {
        cx.faults.push(fault);
    }
    specs
}
