//! From files to one table: read, checked for who can write them, merged key by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::Settings;
use super::{ConfigError, FIRST, FURTHER, read};
use crate::declaration::{Text, parse_toml};
use crate::host::files::{FileType, FilesError, Root};
use crate::model::located::Entry;
use crate::model::{Diagnostic, Faults, Located, Place, Table, Value};

/// Settings are a page of text.
const LIMIT: u64 = 1 << 20;

/// Reads and merges all files.
pub(super) fn load(root: &Root) -> Result<Settings, ConfigError> {
    let mut reader = Reader::default();
    for file in files(root).map_err(reading)? {
        reader.file(root, &file)?;
    }
    reader.settings(&root.absolute(FIRST))
}

/// The same, with another text in the place of the file `told`.
pub(super) fn load_with(root: Option<&Root>, told: &Path, text: String) -> Result<Settings, ConfigError> {
    let mut reader = Reader::default();
    let mut others = Vec::new();
    if let Some(root) = root {
        others = files(root).map_err(reading)?;
        others.retain(|file| root.absolute(file) != told);
    }
    let (before, after): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|file| file.file_name() < told.file_name() || file == Path::new(FIRST));
    let read = |reader: &mut Reader, files: Vec<PathBuf>| {
        let Some(root) = root else { return Ok(()) };
        files.iter().try_for_each(|file| reader.file(root, file))
    };
    read(&mut reader, before)?;
    reader.text(&told.display().to_string(), text.into_bytes());
    read(&mut reader, after)?;
    reader.settings(told)
}

#[derive(Default)]
struct Reader {
    faults: Faults,
    texts: BTreeMap<Arc<str>, Text>,
    merged: Table,
}

impl Reader {
    fn file(&mut self, root: &Root, file: &Path) -> Result<(), ConfigError> {
        let Some(bytes) = root.read(file, LIMIT).map_err(reading)? else { return Ok(()) };
        check_writers(root, file, &mut self.faults).map_err(reading)?;
        self.text(&root.absolute(file).display().to_string(), bytes);
        Ok(())
    }

    fn text(&mut self, name: &str, bytes: Vec<u8>) {
        let Some(text) = Text::of(name, bytes, &mut self.faults) else { return };
        if let Some(Located { value: Value::Table(table), .. }) = parse_toml(&text, &mut self.faults) {
            lay_over(&mut self.merged, table);
        }
        self.texts.insert(text.file.clone(), text);
    }

    fn settings(mut self, first: &Path) -> Result<Settings, ConfigError> {
        let place = Place::file(&first.display().to_string());
        let document = Located { value: Value::Table(self.merged), place, below: Vec::new() };
        let settings = read::settings(&document, &mut self.faults);
        match settings {
            Some(settings) if !self.faults.has_errors() => Ok(settings),
            Some(_) | None => Err(ConfigError::Faults(with_excerpts(self.faults, &self.texts))),
        }
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

fn with_excerpts(faults: Faults, texts: &BTreeMap<Arc<str>, Text>) -> Vec<Diagnostic> {
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
