//! The three layers as they are written: the fleet file, roles, host files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kinds;
use super::matching::{Amount, Condition, Match, Pattern, Word, bytes, host_name};
use crate::kind::parse::MaterialFault;
use crate::kind::{Fields, Materials, ParseCx, PruneDefaults};
use crate::model::content::Content;
use crate::model::{Diagnostic, DriftMode, Faults, Located, Place, Value};

/// The version of the declaration's language that this program speaks.
pub const SCHEMA: i64 = 1;

/// What every layer may hold.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The file.
    pub file: Arc<str>,
    /// Its variables.
    pub vars: Option<Located>,
    /// The tables of kinds, by name of the table.
    pub tables: BTreeMap<&'static str, Located>,
    /// Its word on pruning.
    pub prune: Option<bool>,
    /// Its word on drift (fleet and host files).
    pub drift: Option<DriftMode>,
    /// Its word on removals without asking (fleet and host files).
    pub removal_limit: Option<u32>,
}

/// A host file.
#[derive(Clone, Debug)]
pub struct HostFile {
    /// What it declares.
    pub layer: Layer,
    /// Which hosts it speaks of.
    pub matches: Match,
    /// Its roles in order, each with the place that names it.
    pub roles: Vec<(String, Place)>,
}

/// Reads the fleet file.
pub fn fleet(file: &Arc<str>, document: &Located, faults: &mut Faults) -> Option<Layer> {
    read(faults, |cx| {
        let mut fields = Fields::of("the fleet file", document, cx)?;
        match fields.integer("schema", cx) {
            Some(schema) if schema.value == SCHEMA => {}
            Some(schema) => {
                let message = format!("this program speaks schema {SCHEMA}, not {}", schema.value);
                cx.error("schema", schema.place, message, "upgrade agentd, or write `schema = 1`");
            }
            None if fields.get("schema").is_some() => {}
            None => cx.error(
                "schema",
                &document.place,
                "the fleet file does not say its schema version",
                "begin it with `schema = 1`",
            ),
        }
        let policy = policy(&mut fields, cx);
        misplaced(document, &mut fields, &[("match", HOST_ONLY), ("roles", HOST_ONLY)], cx);
        Some(layer(file, fields, policy, cx))
    })
}

/// Reads a role.
pub fn role(file: &Arc<str>, document: &Located, faults: &mut Faults) -> Option<Layer> {
    read(faults, |cx| {
        let mut fields = Fields::of("a role", document, cx)?;
        const WHOLE_HOST: &str = "it holds for a host as a whole: write it in fleet.toml, in a host file, or \
                                  `drift` in a resource";
        let elsewhere = [
            ("match", HOST_ONLY),
            ("roles", "roles do not include roles: a host file lists all it wants"),
            ("drift", WHOLE_HOST),
            ("removal_limit", WHOLE_HOST),
            ("schema", "only fleet.toml has it"),
        ];
        misplaced(document, &mut fields, &elsewhere, cx);
        Some(layer(file, fields, (None, None), cx))
    })
}

/// Reads a host file; `stem` is its own name, which counts where it has no `[match]`.
pub fn host(file: &Arc<str>, stem: &str, document: &Located, faults: &mut Faults) -> Option<HostFile> {
    read(faults, |cx| {
        let mut fields = Fields::of("a host file", document, cx)?;
        let mut roles = roles(&mut fields, cx);
        let matches = match fields.get("match") {
            Some(table) => conditions(table, &mut roles, cx),
            None => own_name(file, stem, cx),
        };
        let policy = policy(&mut fields, cx);
        misplaced(document, &mut fields, &[("schema", "only fleet.toml has it")], cx);
        let roles = roles.unwrap_or_default();
        for (index, (role, place)) in roles.iter().enumerate() {
            if roles[..index].iter().any(|(earlier, _)| earlier == role) {
                cx.error("duplicate-role", place, format!("role `{role}` is listed twice"), "list it once");
            }
        }
        Some(HostFile { layer: layer(file, fields, policy, cx), matches, roles })
    })
}

const HOST_ONLY: &str = "write it in a host file, hosts/NAME.toml";

type Roles = Vec<(String, Place)>;

/// Runs `body` with what the readers of fields need, where no file of the repository can be asked for.
pub fn read<T>(faults: &mut Faults, body: impl FnOnce(&mut ParseCx<'_>) -> T) -> T {
    let prune = PruneDefaults::default();
    body(&mut ParseCx { faults, materials: &mut NoMaterials, prune: &prune })
}

fn layer(
    file: &Arc<str>,
    mut fields: Fields<'_>,
    (drift, removal_limit): (Option<DriftMode>, Option<u32>),
    cx: &mut ParseCx<'_>,
) -> Layer {
    let vars = fields.get("vars").and_then(|vars| variables(vars, cx));
    let mut tables = BTreeMap::new();
    for name in kinds::TABLES {
        let Some(table) = fields.get(name) else { continue };
        if matches!(table.value, Value::Table(_)) {
            tables.insert(name, table.clone());
        } else {
            let message = format!("`{name}` must be a table, not {}", table.value.type_name());
            cx.faults.push(Diagnostic::error("wrong-type", &table.place, message));
        }
    }
    let prune = fields.boolean("prune", cx);
    fields.finish(cx);
    Layer { file: Arc::clone(file), vars, tables, prune, drift, removal_limit }
}

fn policy(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> (Option<DriftMode>, Option<u32>) {
    let drift = fields.string("drift", cx).and_then(|text| match text.value.parse() {
        Ok(mode) => Some(mode),
        Err(message) => {
            let message: String = message;
            cx.error("bad-value", text.place, message, "\"warn\" reports and changes nothing");
            None
        }
    });
    let limit = fields.integer("removal_limit", cx).and_then(|limit| match u32::try_from(limit.value) {
        Ok(value) => Some(value),
        Err(_) => {
            let message = format!("{} is no number of removals", limit.value);
            cx.error("bad-value", limit.place, message, "write a number from 0 up, such as 10");
            None
        }
    });
    (drift, limit)
}

/// Keys that exist, but not in this file. They are asked for only where they stand, lest a list of what is known
/// here name them.
fn misplaced(
    document: &Located,
    fields: &mut Fields<'_>,
    elsewhere: &[(&'static str, &str)],
    cx: &mut ParseCx<'_>,
) {
    let Value::Table(table) = &document.value else { return };
    for (key, hint) in elsewhere.iter().filter(|(key, _)| table.contains_key(*key)) {
        if let Some(found) = fields.get(key) {
            cx.error("misplaced-key", &found.place, format!("`{key}` has no meaning here"), *hint);
        }
    }
}

fn variables(vars: &Located, cx: &mut ParseCx<'_>) -> Option<Located> {
    let Value::Table(_) = vars.value else {
        let message = format!("`vars` must be a table, not {}", vars.value.type_name());
        cx.faults.push(Diagnostic::error("wrong-type", &vars.place, message));
        return None;
    };
    variable_names(vars, cx);
    Some(vars.clone())
}

/// A template reaches a variable as `vars.a.b`, so every name in there must be one.
fn variable_names(value: &Located, cx: &mut ParseCx<'_>) {
    match &value.value {
        Value::Table(table) => {
            for (key, entry) in table {
                let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if !key.chars().all(letter) || key.starts_with(|c: char| c.is_ascii_digit()) || key.is_empty()
                {
                    let message = format!("`{}` is no name for a variable", key.escape_debug());
                    let hint = "use letters, digits and `_`, so that a template can say `vars.NAME`";
                    cx.error("bad-name", &entry.key_place, message, hint);
                }
                variable_names(&entry.value, cx);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| variable_names(element, cx)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

fn roles(fields: &mut Fields<'_>, cx: &mut ParseCx<'_>) -> Option<Roles> {
    let roles = fields.strings("roles", cx)?;
    Some(roles.into_iter().map(|role| (role.value.to_owned(), role.place.clone())).collect())
}

fn own_name(file: &Arc<str>, stem: &str, cx: &mut ParseCx<'_>) -> Match {
    let place = Place::file(file);
    match host_name(stem).and_then(|name| Pattern::parse(&name)) {
        Ok(name) => Match { names: vec![name], place: Some(place), ..Match::default() },
        Err(message) => {
            let hint = "rename the file to the host's name, or say which hosts it is for in [match]";
            cx.error("bad-host-name", &place, message, hint);
            Match { faulty: true, ..Match::default() }
        }
    }
}

/// Reads `[match]`. A list of roles may stand in it as well as above it, since that is where it ends up when it
/// is written below the conditions.
fn conditions(table: &Located, roles_above: &mut Option<Roles>, cx: &mut ParseCx<'_>) -> Match {
    let before = cx.faults.as_slice().len();
    let mut matches = Match { place: Some(table.place.clone()), ..Match::default() };
    let Some(mut fields) = Fields::of("[match]", table, cx) else { return matches };
    let roles_inside = roles(&mut fields, cx);
    match (&roles_above, &roles_inside) {
        (Some(above), Some(_)) => {
            let place = above.first().map_or(&table.place, |(_, place)| place).clone();
            cx.error(
                "duplicate-key",
                &place,
                "`roles` stands above [match] and in it",
                "keep one of the two",
            );
        }
        (None, Some(_)) => *roles_above = roles_inside,
        (_, None) => {}
    }
    for (text, place) in words(&mut fields, "hostname", cx).unwrap_or_default() {
        match Pattern::parse(&text) {
            Ok(pattern) => matches.names.push(pattern),
            Err(message) => {
                let hint = "`*` stands for any characters, `?` for one, as in \"web-*\"";
                cx.error("bad-pattern", &place, message, hint);
            }
        }
    }
    for (key, word) in Word::ALL {
        if let Some(values) = words(&mut fields, key, cx) {
            matches
                .conditions
                .push(Condition::Word(word, values.into_iter().map(|(text, _)| text).collect()));
        }
    }
    amounts(&mut fields, &mut matches.conditions, cx);
    labels(&mut fields, &mut matches.conditions, cx);
    if matches.names.is_empty() && matches.conditions.is_empty() && cx.faults.as_slice().len() == before {
        let hint = "name hosts (hostname = \"web-*\") or facts (os_version = \"12\"); without [match] the file's \
                    own name counts";
        cx.error("empty-match", &table.place, "[match] has no condition", hint);
    }
    fields.finish(cx);
    matches.faulty = cx.faults.as_slice().len() > before;
    matches
}

fn amounts(fields: &mut Fields<'_>, conditions: &mut Vec<Condition>, cx: &mut ParseCx<'_>) {
    let mut cpus = |key, cx: &mut ParseCx<'_>| {
        let count = fields.integer(key, cx)?;
        let value = u64::try_from(count.value).ok();
        if value.is_none() {
            cx.error(
                "bad-value",
                count.place,
                "a number of processors is not negative",
                "write a number such as 4",
            );
        }
        value
    };
    let exact = cpus("cpus", cx);
    conditions.extend(exact.map(|count| Condition::Min(Amount::Cpus, count)));
    conditions.extend(exact.map(|count| Condition::Max(Amount::Cpus, count)));
    conditions.extend(cpus("cpus_min", cx).map(|count| Condition::Min(Amount::Cpus, count)));
    conditions.extend(cpus("cpus_max", cx).map(|count| Condition::Max(Amount::Cpus, count)));
    let mut memory = |key, cx: &mut ParseCx<'_>| {
        let text = fields.string(key, cx)?;
        let hint = "the units are KiB, MiB, GiB and TiB";
        bytes(text.value).map_err(|message| cx.error("bad-value", text.place, message, hint)).ok()
    };
    conditions.extend(memory("memory_min", cx).map(|bytes| Condition::Min(Amount::Memory, bytes)));
    conditions.extend(memory("memory_max", cx).map(|bytes| Condition::Max(Amount::Memory, bytes)));
}

fn labels(fields: &mut Fields<'_>, conditions: &mut Vec<Condition>, cx: &mut ParseCx<'_>) {
    let Some(labels) = fields.get("labels") else { return };
    let Value::Table(table) = &labels.value else {
        let message = format!("`labels` must be a table, not {}", labels.value.type_name());
        cx.error("wrong-type", &labels.place, message, "write `labels = { site = \"fra\" }`");
        return;
    };
    for (name, entry) in table {
        if let Some(values) = one_or_more(name, &entry.value, cx) {
            let values = values.into_iter().map(|(text, _)| text).collect();
            conditions.push(Condition::Label(name.clone(), values));
        }
    }
}

/// A string, or an array of strings of which one has to fit.
fn words(fields: &mut Fields<'_>, key: &'static str, cx: &mut ParseCx<'_>) -> Option<Vec<(String, Place)>> {
    one_or_more(key, fields.get(key)?, cx)
}

fn one_or_more(key: &str, located: &Located, cx: &mut ParseCx<'_>) -> Option<Vec<(String, Place)>> {
    let elements = match &located.value {
        Value::Array(elements) => elements.as_slice(),
        _ => std::slice::from_ref(located),
    };
    let mut texts = Vec::new();
    for element in elements {
        match &element.value {
            Value::String(text) => texts.push((text.clone(), element.place.clone())),
            other => {
                let message =
                    format!("`{key}` must be a string or an array of strings, not {}", other.type_name());
                let hint = format!("write it in quotes: {key} = \"…\"");
                cx.error("wrong-type", &element.place, message, hint);
            }
        }
    }
    if elements.is_empty() {
        cx.error(
            "bad-value",
            &located.place,
            format!("`{key}` lists nothing, so no host can fit"),
            "remove it",
        );
    }
    Some(texts)
}

/// There is nothing to read while a layer's own fields are read.
struct NoMaterials;

impl Materials for NoMaterials {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        self.template(path)
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        let message = format!("`{path}` can't be read here");
        Err(MaterialFault { code: "no-such-file", message, hint: None, inside: None })
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        Content::of(&bytes)
    }
}
