//! A whole fleet repository, every host it names, without touching one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Compiled;
use super::compile::{self, tie};
use super::fleet::{Choice, Fleet};
use super::inventory::{Inventory, follow_version, unknown_host};
use super::layer::HostFile;
use super::matching::{Candidate, Pattern, host_name};
use super::tree::Tree;
use crate::model::{Diagnostic, Digest, Place, Severity};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Every host that was compiled, by name.
    pub hosts: Vec<HostReport>,
    /// Every host file that stands for a class of hosts.
    pub classes: Vec<ClassReport>,
    /// All faults and warnings, each once, by place.
    pub findings: Vec<Finding>,
}

/// One compiled host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// Its name.
    pub name: String,
    /// How the check came to it.
    pub origin: Origin,
    /// The host file that counts for it; none if that could not be told.
    pub host_file: Option<String>,
    /// Its roles in order.
    pub roles: Vec<String>,
    /// What it came to; none if it has faults.
    pub declared: Option<DeclaredReport>,
}

/// What a host without faults came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredReport {
    /// How many resources.
    pub resources: usize,
    /// The root of the declared fingerprint.
    pub fingerprint: Digest,
}

/// How a check came to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The inventory lists it, with its facts.
    Inventory,
    /// A host file names it; its facts are made up to fit.
    HostFile,
    /// It stands for a class of hosts that the inventory has none of; name and facts are made up to fit.
    Class,
}

/// A host file that stands for a class of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The file.
    pub file: String,
    /// Its patterns; empty for a class by facts alone.
    pub patterns: Vec<String>,
    /// How many hosts of the inventory it counts for; none without an inventory.
    pub hosts: Option<usize>,
}

/// One diagnostic and whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The diagnostic.
    pub diagnostic: Diagnostic,
    /// The hosts it was found on; empty if it concerns the repository as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// Compiles every host that the repository names: those of the inventory, those with a file of their own, and one
/// made up for every class of which the inventory has none.
pub fn check(tree: &dyn Tree) -> CheckReport {
    let mut fleet = Fleet::read(tree);
    let inventory = fleet.inventory();
    let mut check = Check::of(&fleet);
    check.listed(inventory.as_ref());
    check.named();
    check.classes(inventory.as_ref());
    check.unused_roles();
    check.finish()
}

impl CheckReport {
    /// Whether anything refuses the declaration.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.diagnostic.severity == severity).count()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}\n")?;
        }
        for class in &self.classes {
            writeln!(f, "{class}")?;
        }
        let plural =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "checked {}", plural(self.hosts.len(), "host"))?;
        write!(f, ": {}, {}", plural(errors, "error"), plural(warnings, "warning"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.diagnostic)?;
        match self.hosts.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "\n  (host {one})"),
            [one, two] => write!(f, "\n  (hosts {one}, {two})"),
            [one, two, rest @ ..] => write!(f, "\n  (hosts {one}, {two} and {} more)", rest.len()),
        }
    }
}

impl fmt::Display for ClassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<String> = self.patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
        match patterns.is_empty() {
            true => write!(f, "class by facts ({})", self.file)?,
            false => write!(f, "class {}", patterns.join(", "))?,
        }
        match self.hosts {
            None => f.write_str(", number of hosts unknown"),
            Some(0) => f.write_str(", no host in the inventory"),
            Some(1) => f.write_str(", 1 host"),
            Some(count) => write!(f, ", {count} hosts"),
        }
    }
}

struct Check<'f, 'a> {
    fleet: &'f Fleet<'a>,
    /// What concerns the repository as a whole: every host reports it again.
    common: Vec<Diagnostic>,
    report: CheckReport,
    found: Vec<Finding>,
    by_diagnostic: BTreeMap<(Place, String, String), usize>,
}

impl<'f, 'a> Check<'f, 'a> {
    fn of(fleet: &'f Fleet<'a>) -> Self {
        let common = fleet.with_excerpts(fleet.faults.clone().into_sorted());
        let mut check = Check {
            fleet,
            common: Vec::new(),
            report: CheckReport::default(),
            found: Vec::new(),
            by_diagnostic: BTreeMap::new(),
        };
        for diagnostic in &common {
            check.find(diagnostic.clone(), None);
        }
        check.common = common;
        check
    }

    /// The hosts of the inventory.
    fn listed(&mut self, inventory: Option<&Inventory>) {
        for (name, (facts, place)) in inventory.iter().flat_map(|inventory| &inventory.hosts) {
            let host = Candidate { name, facts };
            let file = match self.fleet.choose(host) {
                Choice::One(file) => Some(file),
                Choice::None => {
                    let message = format!("no host file matches `{name}`");
                    let fault = Diagnostic::error("no-host-file", place, message);
                    self.find(fault.hint("write one, or take the host out of the inventory"), None);
                    self.report.hosts.push(HostReport {
                        name: name.clone(),
                        origin: Origin::Inventory,
                        host_file: None,
                        roles: Vec::new(),
                        declared: None,
                    });
                    continue;
                }
                Choice::Tie(..) => None,
            };
            let compiled = compile::by_choice(self.fleet, name, facts);
            self.take(name, Origin::Inventory, file, compiled);
        }
    }

    /// The hosts that host files name and the inventory does not.
    fn named(&mut self) {
        for file in &self.fleet.hosts {
            for name in file.matches.names.iter().filter(|name| name.is_name()) {
                let listed = self.report.hosts.iter().any(|host| host.name == name.as_str());
                if !listed && !file.matches.faulty && host_name(name.as_str()).is_ok() {
                    self.made_up(file, name.as_str(), Origin::HostFile);
                }
            }
        }
    }

    /// One host for every class of which there is none yet.
    fn classes(&mut self, inventory: Option<&Inventory>) {
        for file in &self.fleet.hosts {
            let patterns: Vec<&Pattern> = file.matches.names.iter().filter(|name| !name.is_name()).collect();
            if file.matches.faulty {
                continue;
            }
            if patterns.is_empty() && !file.matches.names.is_empty() {
                continue;
            }
            let here = |host: &&HostReport| host.host_file.as_deref() == Some(&*file.layer.file);
            let listed = |host: &&HostReport| host.origin == Origin::Inventory && here(host);
            let count = self.report.hosts.iter().filter(listed).count();
            self.report.classes.push(ClassReport {
                file: file.layer.file.to_string(),
                patterns: patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
                hosts: inventory.map(|_| count),
            });
            if count == 0 {
                let name = self.stand_in(patterns.first().copied());
                self.made_up(file, &name, Origin::Class);
            }
        }
    }

    /// A name that fits a pattern and no host has yet.
    fn stand_in(&self, pattern: Option<&Pattern>) -> String {
        let pattern = pattern.map(Pattern::as_str).filter(|pattern| *pattern != "*").unwrap_or("host-*");
        let filled = |number: usize| {
            let name = pattern.replacen('*', &number.to_string(), 1).replace('*', "").replace('?', "1");
            host_name(&name).ok()
        };
        let taken = |name: &String| self.report.hosts.iter().any(|host| host.name == *name);
        // As many attempts as there are hosts, and one, always find a free number.
        (1..=self.report.hosts.len() + 1)
            .filter_map(filled)
            .find(|name| !taken(name))
            .unwrap_or_else(|| "host-1".to_owned())
    }

    fn made_up(&mut self, file: &HostFile, name: &str, origin: Origin) {
        let mut facts = unknown_host();
        for condition in &file.matches.conditions {
            condition.satisfy(&mut facts);
        }
        follow_version(&mut facts);
        if let Choice::Tie(one, other) = self.fleet.choose(Candidate { name, facts: &facts }) {
            // Of a host that exists only here it is no more than a warning.
            let severity = match origin {
                Origin::Class => Severity::Warning,
                Origin::HostFile | Origin::Inventory => Severity::Error,
            };
            let fault = self.fleet.with_excerpts(vec![Diagnostic { severity, ..tie(name, one, other) }]);
            fault.into_iter().for_each(|fault| self.find(fault, None));
        }
        let compiled = compile::by_file(self.fleet, file, name, &facts);
        self.take(name, origin, Some(file), compiled);
    }

    fn take(
        &mut self,
        name: &str,
        origin: Origin,
        file: Option<&HostFile>,
        compiled: Result<Compiled, Vec<Diagnostic>>,
    ) {
        let (declared, diagnostics) = match compiled {
            Ok(Compiled { desired, warnings, contents: _ }) => {
                let fingerprint = desired.fingerprint().root();
                (Some(DeclaredReport { resources: desired.len(), fingerprint }), warnings)
            }
            Err(faults) => (None, faults),
        };
        for diagnostic in diagnostics {
            if !self.common.contains(&diagnostic) {
                self.find(diagnostic, Some(name));
            }
        }
        self.report.hosts.push(HostReport {
            name: name.to_owned(),
            origin,
            host_file: file.map(|file| file.layer.file.to_string()),
            roles: file.iter().flat_map(|file| &file.roles).map(|(role, _)| role.clone()).collect(),
            declared,
        });
    }

    fn unused_roles(&mut self) {
        let used = |role: &String| {
            self.fleet.hosts.iter().flat_map(|host| &host.roles).any(|(name, _)| name == role)
        };
        let unused = self.fleet.roles.iter().filter(|(role, layer)| layer.is_some() && !used(role));
        let files: Vec<String> = unused.map(|(role, _)| format!("roles/{role}.toml")).collect();
        for file in files {
            let fault =
                Diagnostic::warning("unused-role", &Place::file(&file), "no host file lists this role");
            self.find(fault.hint("its resources were not checked"), None);
        }
        if self.fleet.hosts.is_empty() && !self.fleet.faults.has_errors() {
            let fault = Diagnostic::error("no-host-file", &Place::file("hosts"), "there is no host file");
            self.find(fault.hint("write one, such as hosts/web-1.toml"), None);
        }
    }

    fn find(&mut self, diagnostic: Diagnostic, host: Option<&str>) {
        let key = (diagnostic.place.clone(), diagnostic.code.clone(), diagnostic.message.clone());
        let index = *self.by_diagnostic.entry(key).or_insert_with(|| {
            self.found.push(Finding { diagnostic, hosts: Vec::new() });
            self.found.len() - 1
        });
        self.found[index].hosts.extend(host.map(str::to_owned));
    }

    fn finish(self) -> CheckReport {
        let mut report = self.report;
        report.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        report.findings = self.found;
        report.findings.sort_by(|a, b| {
            let key = |finding: &Finding| {
                let Diagnostic { place, severity, message, .. } = finding.diagnostic.clone();
                (place, severity, message)
            };
            key(a).cmp(&key(b))
        });
        report
    }
}
