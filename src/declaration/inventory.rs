//! `inventory.toml`: the hosts of the fleet with their facts, for checks and previews away from them. The agent
//! itself never reads it.

use std::collections::BTreeMap;

use super::layer;
use super::matching::{Word, bytes, host_name};
use crate::host::facts::Facts;
use crate::kind::{Fields, ParseCx};
use crate::model::{Faults, Located, Place, Value};

/// Hosts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Their facts.
    pub hosts: BTreeMap<String, (Facts, Place)>,
}

/// The facts of a host of which nothing is known: a small virtual machine with the oldest supported Debian.
pub fn unknown_host() -> Facts {
    Facts {
        os: "debian".into(),
        os_version: "12".into(),
        os_codename: "bookworm".into(),
        architecture: "amd64".into(),
        cpus: 2,
        memory_bytes: 4 << 30,
        virtualisation: "kvm".into(),
        labels: BTreeMap::new(),
    }
}

/// Gives the codename that belongs to a Debian version, where facts were made up from the version.
pub fn follow_version(facts: &mut Facts) {
    let codename = match (facts.os.as_str(), facts.os_version.as_str()) {
        ("debian", "12") => "bookworm",
        ("debian", "13") => "trixie",
        _ => return,
    };
    codename.clone_into(&mut facts.os_codename);
}

/// Reads an inventory: `[defaults]` and one table a host below `[hosts]`.
pub fn read(document: &Located, faults: &mut Faults) -> Option<Inventory> {
    layer::read(faults, |cx| {
        let mut fields = Fields::of("the inventory", document, cx)?;
        let mut defaults = unknown_host();
        if let Some(table) = fields.get("defaults") {
            defaults = facts(table, defaults, cx);
        }
        let mut inventory = Inventory::default();
        if let Some(hosts) = fields.get("hosts") {
            read_hosts(hosts, &defaults, &mut inventory, cx);
        }
        fields.finish(cx);
        Some(inventory)
    })
}

fn read_hosts(hosts: &Located, defaults: &Facts, inventory: &mut Inventory, cx: &mut ParseCx<'_>) {
    let Value::Table(table) = &hosts.value else {
        let message = format!("`hosts` must be a table, not {}", hosts.value.type_name());
        cx.error("wrong-type", &hosts.place, message, "write one table a host: [hosts.web-1]");
        return;
    };
    for (name, entry) in table {
        match host_name(name) {
            Ok(name) => {
                let facts = facts(&entry.value, defaults.clone(), cx);
                let place = entry.key_place.clone();
                if inventory.hosts.insert(name.clone(), (facts, place)).is_some() {
                    let message = format!("host `{name}` is listed twice");
                    cx.error("duplicate-key", &entry.key_place, message, "host names do not differ by case");
                }
            }
            Err(message) => {
                cx.error("bad-host-name", &entry.key_place, message, "write the name the host has")
            }
        }
    }
}

fn facts(table: &Located, mut facts: Facts, cx: &mut ParseCx<'_>) -> Facts {
    let Some(mut fields) = Fields::of("a host of the inventory", table, cx) else { return facts };
    for (key, word) in Word::ALL {
        if let Some(text) = fields.string(key, cx) {
            text.value.clone_into(word.of_mut(&mut facts));
        }
    }
    if fields.get("os_codename").is_none() && fields.get("os_version").is_some() {
        facts.os_codename.clear();
        follow_version(&mut facts);
    }
    if let Some(cpus) = fields.integer("cpus", cx) {
        match u32::try_from(cpus.value) {
            Ok(count) => facts.cpus = count,
            Err(_) => cx.error(
                "bad-value",
                cpus.place,
                "this is no number of processors",
                "write a number such as 4",
            ),
        }
    }
    if let Some(memory) = fields.string("memory", cx) {
        match bytes(memory.value) {
            Ok(bytes) => facts.memory_bytes = bytes,
            Err(message) => {
                cx.error("bad-value", memory.place, message, "the units are KiB, MiB, GiB and TiB")
            }
        }
    }
    if let Some(Located { value: Value::Table(labels), .. }) = fields.get("labels") {
        for (name, entry) in labels {
            match &entry.value.value {
                Value::String(text) => {
                    facts.labels.insert(name.clone(), text.clone());
                }
                other => {
                    let message = format!("a label is a string, not {}", other.type_name());
                    cx.error("wrong-type", &entry.value.place, message, "write it in quotes");
                }
            }
        }
    } else if let Some(labels) = fields.get("labels") {
        let message = format!("`labels` must be a table, not {}", labels.value.type_name());
        cx.error("wrong-type", &labels.place, message, "write `labels = { site = \"fra\" }`");
    }
    fields.finish(cx);
    facts
}
