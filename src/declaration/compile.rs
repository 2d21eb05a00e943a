//! One host: its layers laid over each other, rendered, and given to the kinds.

use std::collections::{BTreeMap, BTreeSet};

use super::alternatives;
use super::fleet::{Choice, Fleet};
use super::kinds::{self, Tables};
use super::layer::{HostFile, Layer};
use super::limits;
use super::matching::{Candidate, host_name};
use super::materials::Workshop;
use super::merge::{self, Conflict};
use super::render::{Context, Fuel};
use super::strings::{Scope, Strings};
use super::{Compiled, ContentAt};
use crate::host::facts::Facts;
use crate::kind::{Desired, ParseCx, Policy, PruneDefaults};
use crate::model::content::Content;
use crate::model::{Diagnostic, Faults, Located, Place};

/// Compiles one host by the host file that counts for it.
pub fn by_choice(fleet: &Fleet<'_>, host: &str, facts: &Facts) -> Result<Compiled, Vec<Diagnostic>> {
    let mut faults = fleet.faults.clone();
    let name = match host_name(host) {
        Ok(name) => name,
        Err(message) => {
            faults.push(Diagnostic::error("bad-host-name", &Place::file("hosts"), message));
            return Err(fleet.with_excerpts(faults.into_sorted()));
        }
    };
    match fleet.choose(Candidate { name: &name, facts }) {
        Choice::One(file) => by_file(fleet, file, &name, facts),
        Choice::Tie(one, other) => {
            push_if_alone(&mut faults, tie(&name, one, other));
            Err(fleet.with_excerpts(faults.into_sorted()))
        }
        Choice::None => {
            push_if_alone(&mut faults, unmatched(fleet, &name));
            Err(fleet.with_excerpts(faults.into_sorted()))
        }
    }
}

/// Where a file could not be read, it is no wonder that the hosts it is for are not found.
fn push_if_alone(faults: &mut Faults, fault: Diagnostic) {
    if !faults.has_errors() {
        faults.push(fault);
    }
}

/// Compiles one host by a given host file.
pub fn by_file(
    fleet: &Fleet<'_>,
    file: &HostFile,
    host: &str,
    facts: &Facts,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut faults = fleet.faults.clone();
    let layers = layers_of(fleet, file);
    // A layer that could not be read would leave holes that look like faults of others.
    let compiled = layers.map(|layers| {
        Compiler { fleet, file, layers, faults: &mut faults, unrendered: BTreeSet::new() }.run(host, facts)
    });
    match compiled {
        Some((desired, contents)) if !faults.has_errors() => {
            let warnings = fleet.with_excerpts(faults.into_sorted());
            Ok(Compiled { desired, contents, warnings })
        }
        _ => Err(fleet.with_excerpts(faults.into_sorted())),
    }
}

/// Where a host file says whom it is for.
pub fn place_of(file: &HostFile) -> Place {
    file.matches.place.clone().unwrap_or_else(|| Place::file(&file.layer.file))
}

/// The fault of a host that two files speak of equally.
pub fn tie(host: &str, one: &HostFile, other: &HostFile) -> Diagnostic {
    let (one, other) = (place_of(one), place_of(other));
    Diagnostic::error(
        "two-host-files",
        &one,
        format!("host `{host}` is matched by two host files of equal rank"),
    )
    .related(&other, "the other")
    .hint("make their conditions exclude each other; a name beats a pattern, a pattern beats facts alone")
}

fn unmatched(fleet: &Fleet<'_>, host: &str) -> Diagnostic {
    let fault =
        Diagnostic::error("no-host-file", &Place::file("hosts"), format!("no host file matches `{host}`"));
    let named = |file: &HostFile| {
        let names: Vec<&str> = file.matches.names.iter().map(|name| name.as_str()).collect();
        let what = if names.is_empty() { "by facts".to_owned() } else { names.join(", ") };
        format!("{} ({what})", file.layer.file)
    };
    // Enough to see a slip of the pen; a large fleet has thousands.
    let mut shown: Vec<String> = fleet.hosts.iter().take(10).map(named).collect();
    if fleet.hosts.len() > shown.len() {
        shown.push(format!("and {} more", fleet.hosts.len() - shown.len()));
    }
    match shown.is_empty() {
        true => fault.hint(format!("write one, such as hosts/{host}.toml")),
        false => fault.hint(format!("there are: {}", shown.join("; "))),
    }
}

/// Fleet, roles in their order, host file; none if one of them is missing or faulty, which was told already.
fn layers_of<'f>(fleet: &'f Fleet<'_>, file: &'f HostFile) -> Option<Vec<&'f Layer>> {
    let mut layers = vec![fleet.defaults.as_ref()?];
    for (role, _) in &file.roles {
        layers.push(fleet.roles.get(role)?.as_ref()?);
    }
    layers.push(&file.layer);
    Some(layers)
}

struct Compiler<'c, 'a> {
    fleet: &'c Fleet<'a>,
    file: &'c HostFile,
    layers: Vec<&'c Layer>,
    faults: &'c mut Faults,
    unrendered: BTreeSet<Place>,
}

impl Compiler<'_, '_> {
    fn run(mut self, host: &str, facts: &Facts) -> (Desired, BTreeMap<Content, ContentAt>) {
        let mut fuel = Fuel(limits::HOST_FUEL);
        let context = self.context(host, facts, &mut fuel);
        let merged = self.merged();
        let tables: Tables = merged
            .into_iter()
            .map(|(name, table)| (name, self.rendered(table, Scope::Resources, &context, &mut fuel)))
            .collect();
        let mut desired = Desired {
            host: host.to_owned(),
            host_file: Some(place_of(self.file)),
            roles: self.file.roles.iter().map(|(role, _)| role.clone()).collect(),
            policy: self.policy(),
            ..Desired::default()
        };
        let prune = self.prune();
        let mut workshop = Workshop::new(self.fleet, &context, fuel);
        let mut faults = Faults::default();
        let mut cx = ParseCx { faults: &mut faults, materials: &mut workshop, prune: &prune };
        kinds::parse(&tables, &mut desired, &mut cx);
        for fault in faults.as_slice().iter().filter(|fault| !self.unrendered.contains(&fault.place)) {
            self.faults.push(fault.clone());
        }
        let contents = workshop.into_contents();
        self.check_size(&desired);
        (desired, contents)
    }

    /// Variables, layer by layer: each may use facts and what the layers below it have defined, so that no
    /// circle can arise.
    fn context(&mut self, host: &str, facts: &Facts, fuel: &mut Fuel) -> Context {
        let mut vars: Option<Located> = None;
        for layer in self.layers.clone() {
            let Some(own) = layer.vars.clone() else { continue };
            let context = Context::new(host, facts, vars.as_ref());
            let own = self.rendered(own, Scope::Variables, &context, fuel);
            vars = Some(match vars {
                Some(lower) => merge::over(lower, own, &mut Vec::new(), &mut |_| {}),
                None => own,
            });
        }
        Context::new(host, facts, vars.as_ref())
    }

    /// The tables of all layers. Roles that contradict each other are a fault unless the host file decides.
    fn merged(&mut self) -> BTreeMap<&'static str, Located> {
        let mut merged: BTreeMap<&'static str, Located> = BTreeMap::new();
        let mut conflicts: Vec<(&'static str, Conflict)> = Vec::new();
        let roles = 1..self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            for (&name, upper) in &layer.tables {
                let Some(mut lower) = merged.remove(name) else {
                    merged.insert(name, upper.clone());
                    continue;
                };
                let is_role =
                    |place: &Place| self.layers[roles.clone()].iter().any(|layer| layer.file == place.file);
                let mut note = |conflict: Conflict| {
                    if roles.contains(&index) && is_role(&conflict.lower) {
                        conflicts.push((name, conflict));
                    }
                };
                alternatives::take_back(name, &mut lower, upper, &mut note);
                merged.insert(name, merge::over(lower, upper.clone(), &mut Vec::new(), &mut note));
            }
        }
        let host = &self.file.layer.tables;
        conflicts.retain(|(name, conflict)| {
            !host.get(name).is_some_and(|host| alternatives::decides(host, name, &conflict.path))
        });
        for (name, conflict) in conflicts {
            self.faults.push(contradiction(name, &conflict, &self.file.layer.file));
        }
        merged
    }

    fn rendered(&mut self, located: Located, scope: Scope, context: &Context, fuel: &mut Fuel) -> Located {
        let unrendered = &mut self.unrendered;
        Strings { fleet: self.fleet, faults: self.faults, scope, context, fuel, unrendered }.rendered(located)
    }

    fn policy(&self) -> Policy {
        let default = Policy::default();
        let drift = self.layers.iter().rev().find_map(|layer| layer.drift);
        let removal_limit = self.layers.iter().rev().find_map(|layer| layer.removal_limit);
        Policy {
            drift: drift.unwrap_or(default.drift),
            removal_limit: removal_limit.unwrap_or(default.removal_limit),
        }
    }

    fn prune(&self) -> PruneDefaults {
        let word = |layer: &&Layer| layer.prune.map(|prune| (layer.file.clone(), prune));
        PruneDefaults {
            fleet: self.layers[0].prune.unwrap_or(false),
            files: self.layers[1..].iter().filter_map(word).collect(),
        }
    }

    fn check_size(&mut self, desired: &Desired) {
        let place = place_of(self.file);
        if desired.len() > limits::RESOURCES {
            let message =
                format!("{} resources are declared, at most {} may be", desired.len(), limits::RESOURCES);
            self.faults.push(Diagnostic::error("too-many-resources", &place, message));
        }
        // Where something was declared and is faulty, that is told already.
        if desired.is_empty() && !self.faults.has_errors() {
            let message = format!("nothing is declared for `{}`", desired.host);
            let fault = Diagnostic::error("empty-declaration", &place, message);
            self.faults.push(fault.hint(
                "an empty declaration is never a wish to remove everything: declare something, or list a role",
            ));
        }
    }
}

fn contradiction(table: &str, conflict: &Conflict, host_file: &str) -> Diagnostic {
    let quoted = |key: &String| {
        let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if bare { format!(".{key}") } else { format!(".\"{key}\"") }
    };
    let path: String = conflict.path.iter().map(quoted).collect();
    let message = format!("two roles say different things of `{table}{path}`");
    Diagnostic::error("roles-disagree", &conflict.upper, message)
        .related(&conflict.lower, "the other role")
        .hint(format!("let {host_file} decide by saying it itself, or let one role be silent"))
}
