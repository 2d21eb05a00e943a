//! What may be declared of a service, read from TOML and checked. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::units::UnitName;
use crate::kind::{Declared, Fields, ParseCx, Reaction, Specs, fields::At};
use crate::model::{Diagnostic, Key, KindName, Located, Place, ResourceId, Value};

/// What may be declared of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Whether it is started at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether starting it is made impossible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<bool>,
    /// Whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Wish>,
    /// It is restarted when one of these changed; sorted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<ResourceId>,
    /// It is told to read its configuration again when one of these changed; sorted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload_on: Vec<ResourceId>,
}

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// It is active.
    Running,
    /// It is not.
    Stopped,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wish::Running => "running",
            Wish::Stopped => "stopped",
        })
    }
}

impl Spec {
    /// Whether a mask is wanted, unwanted, or none of ours: what is to run or to start at boot can't be masked.
    pub fn masked(&self) -> Option<bool> {
        let on = self.enabled == Some(true) || self.state == Some(Wish::Running);
        self.masked.or(on.then_some(false))
    }

    /// What it reacts to, by reaction; the stronger one first.
    pub fn reactions(&self) -> [(Reaction, &[ResourceId]); 2] {
        [(Reaction::Restart, &self.restart_on), (Reaction::Reload, &self.reload_on)]
    }
}

const NAME_HINT: &str = "a unit is named as in `nginx`, `nginx.service`, `backup.timer` or `getty@tty1`";

/// Reads `[services]`.
pub fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
    let mut specs = Specs::new();
    let Value::Table(services) = &table.value else {
        let message = format!("`services` must be a table, not {}", table.value.type_name());
        cx.error("wrong-type", &table.place, message, "write [services.nginx] and its fields below");
        return specs;
    };
    for (key, entry) in services {
        let unit = match unit_name(key) {
            Ok(unit) => unit,
            Err(message) => {
                cx.error("bad-name", &entry.key_place, message, NAME_HINT);
                continue;
            }
        };
        let Some(declared) = service(&entry.value, cx) else { continue };
        let place = declared.provenance.winner.clone();
        if let Some(other) = specs.insert(Key::from(unit.as_str()), declared) {
            let message = format!("`{unit}` is declared twice, under two spellings");
            let fault = Diagnostic::error("duplicate", &place, message);
            cx.faults.push(fault.related(&other.provenance.winner, "the other").hint("keep one of them"));
        }
    }
    specs
}

/// Faults that a desired state may have whoever wrote it.
pub fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (key, declared) in specs {
        let place = &declared.provenance.winner;
        match key.as_str().parse::<UnitName>() {
            Ok(unit) => faults.extend(own_goal(&unit, &declared.spec, place)),
            Err(message) => faults.push(Diagnostic::error("bad-name", place, message).hint(NAME_HINT)),
        }
        faults.extend(contradiction(key, &declared.spec, place));
        let inputs = declared.spec.restart_on.iter().chain(&declared.spec.reload_on);
        faults.extend(inputs.filter_map(|input| no_input(input, place)));
    }
    faults
}

/// The name of a unit as a declaration spells it: a service may leave its suffix out.
pub fn unit_name(text: &str) -> Result<UnitName, String> {
    const SUFFIXES: [&str; 11] = [
        "service",
        "socket",
        "timer",
        "path",
        "target",
        "mount",
        "automount",
        "swap",
        "slice",
        "scope",
        "device",
    ];
    // A dot alone tells nothing: `php8.2-fpm` has one, and is a service.
    let has_suffix = text.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix));
    if has_suffix { text.parse() } else { format!("{text}.service").parse() }
}

fn service(located: &Located, cx: &mut ParseCx<'_>) -> Option<Declared<Spec>> {
    let mut fields = Fields::of("a service", located, cx)?;
    let enabled = fields.boolean("enabled", cx);
    let masked = fields.boolean("masked", cx);
    let state = fields.string("state", cx).and_then(|at| wish(at, cx));
    let restart_on = inputs("restart_on", &mut fields, cx);
    let reload_on = inputs("reload_on", &mut fields, cx);
    let spec = Spec { enabled, masked, state, restart_on, reload_on };
    let declared = cx.declared(spec, located, &mut fields);
    fields.finish(cx);
    Some(declared)
}

fn wish(at: At<'_, &str>, cx: &mut ParseCx<'_>) -> Option<Wish> {
    match at.value {
        "running" => Some(Wish::Running),
        "stopped" => Some(Wish::Stopped),
        other => {
            let message = format!("`{other}` is no state of a service");
            cx.error("bad-value", at.place, message, "use \"running\" or \"stopped\"");
            None
        }
    }
}

fn inputs(key: &'static str, fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Vec<ResourceId> {
    let mut inputs = Vec::new();
    for text in fields.strings(key, cx).unwrap_or_default() {
        match text.value.parse::<ResourceId>() {
            Ok(input) => match no_input(&input, text.place) {
                Some(fault) => cx.faults.push(fault),
                None => inputs.push(input),
            },
            Err(message) => {
                cx.error("bad-resource", text.place, message, "such as \"file:/etc/nginx/nginx.conf\"");
            }
        }
    }
    inputs.sort();
    inputs.dedup();
    inputs
}

/// Every restart is a change of a service: services that react to each other would never come to rest.
fn no_input(input: &ResourceId, place: &Place) -> Option<Diagnostic> {
    (input.kind == KindName::Service).then(|| {
        Diagnostic::error(
            "bad-resource",
            place,
            format!("a service does not react to another one (`{input}`)"),
        )
        .hint("let systemd do it: PartOf= or BindsTo= in a drop-in")
    })
}

fn contradiction(key: &Key, spec: &Spec, place: &Place) -> Option<Diagnostic> {
    if spec.masked != Some(true) {
        return None;
    }
    let what = match (spec.enabled, spec.state) {
        (Some(true), _) => "enabled",
        (_, Some(Wish::Running)) => "running",
        (None | Some(false), None | Some(Wish::Stopped)) => return None,
    };
    let message = format!("`{key}` can't be masked and {what}");
    Some(Diagnostic::error("contradiction", place, message).hint("masking makes starting it impossible"))
}

/// Units whose start ends the host's work, and units the host, or we, can't do without.
fn own_goal(unit: &UnitName, spec: &Spec, place: &Place) -> Option<Diagnostic> {
    const ENDINGS: [&str; 16] = [
        "runlevel0",
        "runlevel6",
        "poweroff",
        "reboot",
        "halt",
        "kexec",
        "soft-reboot",
        "shutdown",
        "final",
        "exit",
        "rescue",
        "emergency",
        "sleep",
        "suspend",
        "hibernate",
        "hybrid-sleep",
    ];
    const VITAL: [&str; 8] = [
        "agentd.service",
        "agentd-firewall.service",
        "dbus.service",
        "dbus.socket",
        "dbus-broker.service",
        "systemd-journald.service",
        "basic.target",
        "sysinit.target",
    ];
    let name = unit.as_str();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let ending = ENDINGS.contains(&stem.strip_prefix("systemd-").unwrap_or(stem)) || stem == "ctrl-alt-del";
    let turned_on = spec.enabled == Some(true) || spec.state == Some(Wish::Running);
    let turned_off =
        spec.masked == Some(true) || spec.state == Some(Wish::Stopped) || spec.enabled == Some(false);
    let (message, hint) = if ending && turned_on {
        (format!("starting `{unit}` would end the work of the host"), "such a unit may only be masked")
    } else if VITAL.contains(&name) && turned_off {
        (format!("without `{unit}` the host can't be looked after"), "remove it from the declaration")
    } else {
        return None;
    };
    Some(Diagnostic::error("own-goal", place, message).hint(hint))
}
