//! What may be declared of a package, read from TOML and checked. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::diff::State;
use super::name::PackageName;
use super::version::Version;
use crate::kind::{Declared, Fields, ParseCx, Specs};
use crate::model::{Diagnostic, Key, Located, Place, Value};

/// What may be declared of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What should be there.
    pub want: Wish,
    /// Whether it is held against upgrades by others (`apt-mark hold`); none leaves that to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
}

/// What should be there of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "version", rename_all = "kebab-case")]
pub enum Wish {
    /// Any version.
    Any,
    /// This version, also if the host has a later one.
    Exactly(Version),
    /// This version or a later one.
    AtLeast(Version),
    /// Not installed; its configuration files may stay.
    Absent,
    /// Nothing of it at all.
    Purged,
}

impl Wish {
    /// Whether the package should be installed.
    pub const fn present(&self) -> bool {
        match self {
            Wish::Any | Wish::Exactly(_) | Wish::AtLeast(_) => true,
            Wish::Absent | Wish::Purged => false,
        }
    }
}

impl fmt::Display for Wish {
    /// As it is written in a declaration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wish::Any => f.write_str("*"),
            Wish::Exactly(version) => write!(f, "{version}"),
            Wish::AtLeast(version) => write!(f, ">= {version}"),
            Wish::Absent => f.write_str("absent"),
            Wish::Purged => f.write_str("purged"),
        }
    }
}

/// The package that we come from.
const OWN: &str = "agentd";

const EXAMPLE: &str = "\"1.22.1-9\" is exactly that version, \">= 1.22\" that or a later one, \"*\" any";

/// Reads `[packages]`.
pub fn parse(table: &Located, cx: &mut ParseCx<'_>) -> Specs<Spec> {
    let mut specs = Specs::new();
    let Value::Table(packages) = &table.value else {
        let message = format!("`packages` must be a table, not {}", table.value.type_name());
        cx.error(
            "wrong-type",
            &table.place,
            message,
            "write [packages] and a line for each, as nginx = \"*\"",
        );
        return specs;
    };
    for (key, entry) in packages {
        if let Err(message) = key.parse::<PackageName>() {
            cx.error(
                "bad-name",
                &entry.key_place,
                message,
                "a package is named as in `nginx` or `libc6:i386`",
            );
            continue;
        }
        if let Some(declared) = package(&entry.value, cx) {
            specs.insert(Key::from(key.as_str()), declared);
        }
    }
    specs
}

fn package(located: &Located, cx: &mut ParseCx<'_>) -> Option<Declared<Spec>> {
    match &located.value {
        Value::String(text) => {
            let want = wish(text, &located.place, cx)?;
            Some(cx.declared_plain(Spec { want, hold: None }, located))
        }
        Value::Table(_) => package_table(located, cx),
        other => {
            let message = format!("a package is a version or a table, not {}", other.type_name());
            let hint = match other {
                Value::Integer(_) | Value::Float(_) => "put the version in quotes",
                Value::String(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_)
                | Value::Table(_) => EXAMPLE,
            };
            cx.error("wrong-type", &located.place, message, hint);
            None
        }
    }
}

fn package_table(located: &Located, cx: &mut ParseCx<'_>) -> Option<Declared<Spec>> {
    let mut fields = Fields::of("a package", located, cx)?;
    let version = fields.string("version", cx);
    let ensure = fields.string("ensure", cx);
    let hold = fields.boolean("hold", cx);
    let purge_place = fields.get("purge").map(|at| &at.place);
    let purge = fields.boolean("purge", cx);
    let declared = cx.declared((), located, &mut fields);
    fields.finish(cx);
    let want = match ensure.map(|at| at.value) {
        None | Some("present") => {
            if let Some(place) = purge_place {
                let hint = "`purge` says how a package is removed: it goes with ensure = \"absent\"";
                cx.error("contradiction", place, "`purge` of a package that is to be there", hint);
            }
            version.map_or(Some(Wish::Any), |at| wish(at.value, at.place, cx))
        }
        Some("absent") => {
            if let Some(at) = version {
                let hint = "leave `version` out: every version is removed";
                cx.error("contradiction", at.place, "a version of a package that is to be absent", hint);
            }
            if hold == Some(true) {
                let hint = "leave `hold` out";
                cx.error("contradiction", &located.place, "a hold on a package that is to be absent", hint);
            }
            Some(if purge == Some(true) { Wish::Purged } else { Wish::Absent })
        }
        Some(other) => {
            let place = ensure.map_or(&located.place, |at| at.place);
            let message = format!("`ensure` is \"present\" or \"absent\", not {other:?}");
            cx.error("bad-value", place, message, "for a version, use `version`");
            None
        }
    };
    let hold = hold.filter(|_| want.as_ref().is_some_and(Wish::present));
    let Declared { spec: (), provenance, drift, prune } = declared;
    want.map(|want| Declared { spec: Spec { want, hold }, provenance, drift, prune })
}

fn wish(text: &str, place: &Place, cx: &mut ParseCx<'_>) -> Option<Wish> {
    let parsed = match text.strip_prefix(">=") {
        _ if text == "*" => return Some(Wish::Any),
        Some(least) => least.trim_start().parse().map(Wish::AtLeast),
        None => text.parse().map(Wish::Exactly),
    };
    let fault = match parsed {
        Ok(wish) => return Some(wish),
        Err(fault) => fault,
    };
    let hint = match text {
        "absent" | "removed" => "to take a package away, write { ensure = \"absent\" }",
        "present" | "latest" | "installed" | "" => "for any version, write \"*\"",
        _ => EXAMPLE,
    };
    cx.error("bad-version", place, fault, hint);
    None
}

/// Names once more (a desired state may come from another process), and one package declared twice.
pub fn validate(specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for (key, declared) in specs {
        let place = &declared.provenance.winner;
        match key.as_str().parse::<PackageName>() {
            Err(message) => faults.push(Diagnostic::error("bad-name", place, message)),
            Ok(name) if is_own(&name) && !declared.spec.want.present() => {
                let message = format!("`{name}` is the agent itself: it does not remove itself");
                let hint = "leave it out, or declare the version that is to be there; on a host that is to be left \
                            alone, `apt-get remove agentd` leaves everything else as it is";
                faults.push(Diagnostic::error("own-goal", place, message).hint(hint));
            }
            Ok(name) => faults.extend(contradiction(&name, place, declared, specs)),
        }
    }
    faults
}

/// Whether it is the agent's own package.
pub fn is_own(name: &PackageName) -> bool {
    name.name() == OWN
}

/// `nginx` and `nginx:amd64` may be one package or two; if one is to be there and the other not, a host of
/// that architecture could never be right.
fn contradiction(
    name: &PackageName,
    place: &Place,
    declared: &Declared<Spec>,
    specs: &Specs<Spec>,
) -> Option<Diagnostic> {
    name.architecture()?;
    let other = specs.get(name.name())?;
    if other.spec.want.present() == declared.spec.want.present() {
        return None;
    }
    let message = format!("`{name}` and `{}` contradict each other where they are one package", name.name());
    let warning = Diagnostic::warning("contradiction", place, message);
    Some(warning.related(&other.provenance.winner, "the other").hint("declare both by architecture"))
}

/// The TOML that declares what is there: this very version, and a hold if there is one.
pub fn declare(key: &Key, state: &State) -> String {
    let key = toml::Value::from(key.as_str());
    let version = toml::Value::from(state.version.as_str());
    match (state.status.on_host(), state.hold) {
        (false, _) => format!("[packages]\n{key} = {{ ensure = \"absent\" }}\n"),
        (true, false) => format!("[packages]\n{key} = {version}\n"),
        (true, true) => format!("[packages]\n{key} = {{ version = {version}, hold = true }}\n"),
    }
}
