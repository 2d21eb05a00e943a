//! What one kind says of the resources of another: that they are there.

use super::kinds::Tables;
use crate::kind::Desired;
use crate::kind::fields::nearest_hint;
use crate::model::{Diagnostic, Faults, KindName, Located, ResourceId, Value};

/// A service that reacts to a resource that nobody declares would never react: a slip that shows only when it hurts.
pub fn check(tables: &Tables, desired: &Desired, faults: &mut Faults) {
    let Some(Located { value: Value::Table(services), .. }) = tables.get("services") else { return };
    for service in services.values() {
        let Value::Table(fields) = &service.value.value else { continue };
        for key in ["restart_on", "reload_on"] {
            let Some(Value::Array(inputs)) = fields.get(key).map(|entry| &entry.value.value) else {
                continue;
            };
            for input in inputs {
                faults_of(input, tables, desired, faults);
            }
        }
    }
}

fn faults_of(input: &Located, tables: &Tables, desired: &Desired, faults: &mut Faults) {
    let Value::String(text) = &input.value else { return };
    let Ok(id) = text.parse::<ResourceId>() else { return };
    if desired.declares(&id)
        || stands_in(tables, &id)
        || (id.kind == KindName::Firewall && faults.has_errors())
    {
        return;
    }
    let declared: Vec<String> = desired.keys(id.kind).map(|key| format!("{}:{key}", id.kind)).collect();
    let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
    let hint = match nearest_hint(text, &declared) {
        near if near.starts_with("did you") => near,
        _ => "declare it, or take it out of the list".to_owned(),
    };
    let fault =
        Diagnostic::error("unknown-resource", &input.place, format!("`{id}` is not declared for this host"));
    faults.push(fault.hint(hint));
}

/// Whether it is declared with a fault of its own, which was told already.
fn stands_in(tables: &Tables, id: &ResourceId) -> bool {
    let table = match id.kind {
        KindName::Firewall => return false,
        KindName::Package => "packages",
        KindName::File => "files",
        KindName::Service => "services",
    };
    match tables.get(table) {
        Some(Located { value: Value::Table(table), .. }) => table.contains_key(id.key.as_str()),
        _ => false,
    }
}
