//! The fleet repository as read: every TOML file parsed once, however many hosts are compiled from it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inventory::{self, Inventory};
use super::layer::{self, HostFile, Layer};
use super::limits;
use super::matching::{Candidate, Rank};
use super::render::Renderer;
use super::syntax;
use super::text::Text;
use super::tree::Tree;
use crate::kind::fields::nearest_hint;
use crate::kind::parse::MaterialFault;
use crate::model::content::Content;
use crate::model::{Diagnostic, Faults, Located, Place};

/// The file that makes a folder a fleet repository.
pub const FLEET_FILE: &str = "fleet.toml";

/// The file that lists hosts with their facts. The agent never reads it.
pub const INVENTORY_FILE: &str = "inventory.toml";

/// A fleet repository, read.
pub struct Fleet<'a> {
    /// Its files.
    pub(super) tree: &'a dyn Tree,
    /// Their paths.
    pub(super) paths: BTreeSet<String>,
    /// The fleet file; none if it is missing or faulty.
    pub(super) defaults: Option<Layer>,
    /// Roles by name; none where the file is faulty.
    pub(super) roles: BTreeMap<String, Option<Layer>>,
    /// Host files, sorted by path.
    pub(super) hosts: Vec<HostFile>,
    /// What is wrong with the files themselves, whichever host is asked for.
    pub(super) faults: Faults,
    /// Renders for all hosts.
    pub(super) renderer: RefCell<Renderer>,
    /// What files that are laid down as they are came to.
    pub(super) sources: RefCell<BTreeMap<String, Result<Content, MaterialFault>>>,
    /// How many files that are not there were looked for: the search for what was meant has an end.
    pub(super) missing: Cell<usize>,
    texts: BTreeMap<Arc<str>, Text>,
}

/// The host file that counts for a host.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'f> {
    /// One is closest.
    One(&'f HostFile),
    /// Two are equally close.
    Tie(&'f HostFile, &'f HostFile),
    /// None speaks of it.
    None,
}

impl<'a> Fleet<'a> {
    /// Reads all files but the inventory. Faults are kept: they are told with those of each host.
    pub fn read(tree: &'a dyn Tree) -> Self {
        let mut fleet = Fleet {
            tree,
            paths: tree.paths().into_iter().collect(),
            defaults: None,
            roles: BTreeMap::new(),
            hosts: Vec::new(),
            faults: Faults::default(),
            renderer: RefCell::new(Renderer::new()),
            sources: RefCell::default(),
            missing: Cell::new(0),
            texts: BTreeMap::new(),
        };
        fleet.read_layers();
        fleet.check_roles_exist();
        fleet.stray_files();
        fleet
    }

    /// Reads the inventory, if there is one.
    pub fn inventory(&mut self) -> Option<Inventory> {
        if !self.paths.contains(INVENTORY_FILE) {
            return None;
        }
        let mut total = 0;
        let (_, document) = self.document(INVENTORY_FILE, &mut total)?;
        inventory::read(&document, &mut self.faults)
    }

    /// The host file that counts for a host: the closest.
    pub fn choose(&self, host: Candidate<'_>) -> Choice<'_> {
        let mut best: Vec<(&HostFile, Rank)> = Vec::new();
        for file in &self.hosts {
            let Some(rank) = file.matches.rank(host) else { continue };
            match best.first() {
                Some((_, highest)) if rank < *highest => {}
                Some((_, highest)) if rank == *highest => best.push((file, rank)),
                _ => best = vec![(file, rank)],
            }
        }
        match best.as_slice() {
            [] => Choice::None,
            [(file, _)] => Choice::One(file),
            [(one, _), (other, _), ..] => Choice::Tie(one, other),
        }
    }

    /// Adds the text of its line to every diagnostic that has none.
    pub fn with_excerpts(&self, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut others: BTreeMap<Arc<str>, Option<Text>> = BTreeMap::new();
        for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.excerpt.is_none()) {
            let Place { file, line, .. } = &diagnostic.place;
            let text = match self.texts.get(file) {
                Some(text) => Some(text),
                None => others.entry(Arc::clone(file)).or_insert_with(|| self.other_text(file)).as_ref(),
            };
            diagnostic.excerpt = text.and_then(|text| text.line(*line)).map(str::to_owned);
        }
        diagnostics
    }

    /// The text of a TOML file.
    pub(super) fn text(&self, file: &str) -> Option<&Text> {
        self.texts.get(file)
    }

    fn other_text(&self, file: &str) -> Option<Text> {
        let bytes = self.paths.contains(file).then(|| self.tree.read(file).ok())??;
        Some(Text::new(file, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn read_layers(&mut self) {
        if !self.paths.contains(FLEET_FILE) {
            let place = Place::file(FLEET_FILE);
            let fault = Diagnostic::error("no-fleet-file", &place, "there is no file `fleet.toml`");
            self.faults.push(fault.hint(
                "it makes a folder a fleet repository; begin it with `schema = 1`, or correct the path to the \
                 declaration's folder",
            ));
        }
        let wanted: Vec<String> = self.paths.iter().filter(|path| is_layer(path)).cloned().collect();
        if wanted.len() > limits::TOML_FILES {
            let place = Place::file(&wanted[limits::TOML_FILES]);
            let message = format!("a fleet has {} TOML files at most", limits::TOML_FILES);
            self.faults.push(Diagnostic::error("too-many-files", &place, message));
            return;
        }
        let mut total = 0;
        for path in wanted {
            let document = self.document(&path, &mut total);
            if let Some(role) = stem(&path, "roles/") {
                let layer = document.and_then(|(file, doc)| layer::role(&file, &doc, &mut self.faults));
                self.roles.insert(role.to_owned(), layer);
            } else if let Some((file, doc)) = document {
                match stem(&path, "hosts/") {
                    Some(name) => {
                        let own = name.rsplit('/').next().unwrap_or(name);
                        self.hosts.extend(layer::host(&file, own, &doc, &mut self.faults));
                    }
                    None => self.defaults = layer::fleet(&file, &doc, &mut self.faults),
                }
            }
        }
    }

    /// Reads and parses one TOML file.
    fn document(&mut self, path: &str, total: &mut usize) -> Option<(Arc<str>, Located)> {
        let place = Place::file(path);
        let bytes = match self.tree.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.faults.push(Diagnostic::error("unreadable", &place, error.to_string()));
                return None;
            }
        };
        *total += bytes.len();
        if bytes.len() > limits::TOML_FILE_BYTES || *total > limits::TOML_TOTAL_BYTES {
            let message = format!(
                "too much TOML: a file may have {} bytes, all together {}",
                limits::TOML_FILE_BYTES,
                limits::TOML_TOTAL_BYTES
            );
            let fault = Diagnostic::error("too-large", &place, message);
            self.faults
                .push(fault.hint("put large contents into files of their own and name them with `source`"));
            return None;
        }
        let text = Text::of(path, bytes, &mut self.faults)?;
        let document = syntax::parse(&text, &mut self.faults);
        let file = Arc::clone(&text.file);
        self.texts.insert(Arc::clone(&file), text);
        document.map(|document| (file, document))
    }

    fn check_roles_exist(&mut self) {
        let known: Vec<&str> = self.roles.keys().map(String::as_str).collect();
        for (role, place) in self.hosts.iter().flat_map(|host| &host.roles) {
            if !self.roles.contains_key(role) {
                let message = format!("there is no role `{}`", role.escape_debug());
                let hint = match known.is_empty() {
                    true => format!("write it as roles/{role}.toml"),
                    false => nearest_hint(role, &known).replace("known keys", "there are"),
                };
                self.faults.push(Diagnostic::error("unknown-role", place, message).hint(hint));
            }
        }
    }

    /// A TOML file that looks like a layer and is none, because its folder is misspelt, would be ignored for ever.
    fn stray_files(&mut self) {
        for path in self.paths.iter().filter(|path| path.ends_with(".toml") && !is_layer(path)) {
            let hint = match path.split_once('/') {
                None if path == INVENTORY_FILE || path.starts_with('.') => continue,
                None => "in this folder only fleet.toml and inventory.toml are read".to_owned(),
                Some((folder, _)) => {
                    let near = |known: &&str| strsim::damerau_levenshtein(folder, known) <= 2;
                    let Some(known) = ["hosts", "roles"].into_iter().find(near) else { continue };
                    format!("did you mean the folder `{known}/`?")
                }
            };
            let fault = Diagnostic::warning("unread-file", &Place::file(path), "this file is not read");
            self.faults.push(fault.hint(hint));
        }
    }
}

/// Whether a path is one of the layers.
fn is_layer(path: &str) -> bool {
    path == FLEET_FILE || stem(path, "hosts/").is_some() || stem(path, "roles/").is_some()
}

/// What a TOML file in a folder is called, without the folder and its ending.
fn stem<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_suffix(".toml").filter(|stem| !stem.is_empty())
}
