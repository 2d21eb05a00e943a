//! The kinds as the compiler sees them: a table each, parsed and then looked over as a whole. One line a kind.

use std::collections::BTreeMap;

use crate::kind::{Desired, Kind, ParseCx, Specs};
use crate::model::Located;

/// The tables that kinds are declared in.
pub const TABLES: [&str; 4] = ["firewall", "packages", "files", "services"];

/// Keys of a resource that are alternatives to each other, by table.
pub fn alternatives(table: &str) -> &'static [&'static [&'static str]] {
    match table {
        "files" => &[&["content", "source", "template", "target"]],
        _ => &[],
    }
}

/// Parses all tables into a desired state.
pub fn parse(_tables: &BTreeMap<&'static str, Located>, _desired: &mut Desired, _cx: &mut ParseCx<'_>) {}

#[allow(dead_code)]
fn specs<K: Kind>(tables: &BTreeMap<&'static str, Located>, cx: &mut ParseCx<'_>) -> Specs<K::Spec> {
    let specs = tables.get(K::TABLE).map(|table| K::parse(table, cx)).unwrap_or_default();
    for fault in K::validate(&specs) {
        cx.faults.push(fault);
    }
    specs
}
