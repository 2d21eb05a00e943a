//! From files to one table: read, checked for who can write them, merged key by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::{ConfigError, FIRST, FURTHER, read};
use crate::declaration::{Text, parse_toml};
use crate::host::files::{FileType, FilesError, Root};
use crate::model::located::Entry;
use crate::model::{Diagnostic, Faults, Located, Place, Table, Value};

/// Settings are a page of text.
const LIMIT: u64 = 1 << 20;

pub(super) fn load(root: &Root) -> Result<Settings, ConfigError> {
    let mut faults = Faults::default();
    let mut texts = BTreeMap::new();
    let mut merged = Table::new();
    for file in files(root).map_err(reading)? {
        let Some(bytes) = root.read(&file, LIMIT).map_err(reading)? else { continue };
        check_writers(root, &file, &mut faults).map_err(reading)?;
        let name = root.absolute(&file).display().to_string();
        let Some(text) = Text::of(&name, bytes, &mut faults) else { continue };
        if let Some(Located { value: Value::Table(table), .. }) = parse_toml(&text, &mut faults) {
            lay_over(&mut merged, table);
        }
        texts.insert(text.file.clone(), text);
    }
    let place = Place::file(&root.absolute(FIRST).display().to_string());
    let document = Located { value: Value::Table(merged), place, below: Vec::new() };
    let settings = read::settings(&document, &mut faults);
    match settings {
        Some(settings) if !faults.has_errors() => Ok(settings),
        Some(_) | None => Err(ConfigError::Faults(with_excerpts(faults, &texts))),
    }
}

fn files(root: &Root) -> Result<Vec<PathBuf>, FilesError> {
    let mut files = vec![PathBuf::from(FIRST)];
    // Sorted by name already.
    for entry in root.list(FURTHER)?.unwrap_or_default() {
        let name = Path::new(&entry.name);
        let hidden = name.to_string_lossy().starts_with('.');
        if entry.kind == FileType::File && !hidden && name.extension().is_some_and(|ext| ext == "toml") {
            files.push(Path::new(FURTHER).join(name));
        }
    }
    Ok(files)
}

/// Whoever can write the settings decides what root does.
fn check_writers(root: &Root, file: &Path, faults: &mut Faults) -> Result<(), FilesError> {
    let Some(stat) = root.stat(file)? else { return Ok(()) };
    let ourselves = rustix::process::geteuid().as_raw();
    let place = Place::file(&root.absolute(file).display().to_string());
    if stat.uid != 0 && stat.uid != ourselves {
        let message = format!("this file belongs to user {}, who could make root do anything", stat.uid);
        faults.push(Diagnostic::error("writable-settings", &place, message).hint("chown it to root"));
    }
    if stat.mode & 0o022 != 0 {
        let message = format!("others than its owner can write this file (mode {:04o})", stat.mode);
        faults.push(Diagnostic::error("writable-settings", &place, message).hint("chmod go-w it"));
    }
    Ok(())
}

fn lay_over(lower: &mut Table, upper: Table) {
    for (key, entry) in upper {
        match (lower.get_mut(&key), entry) {
            (
                Some(Entry { value: Located { value: Value::Table(below), .. }, .. }),
                Entry { value: Located { value: Value::Table(above), .. }, .. },
            ) => lay_over(below, above),
            (_, entry) => {
                lower.insert(key, entry);
            }
        }
    }
}

fn with_excerpts(faults: Faults, texts: &BTreeMap<std::sync::Arc<str>, Text>) -> Vec<Diagnostic> {
    let mut faults = faults.into_sorted();
    for fault in &mut faults {
        let text = texts.get(&fault.place.file);
        fault.excerpt = text.and_then(|text| text.line(fault.place.line)).map(str::to_owned);
    }
    faults
}

fn reading(source: FilesError) -> ConfigError {
    ConfigError::Files { doing: "read", source }
}
