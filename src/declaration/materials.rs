//! Files of the repository as contents: as they are, or rendered.

use std::collections::BTreeMap;

use super::ContentAt;
use super::fleet::Fleet;
use super::limits;
use super::render::{Context, Fuel, RenderFault};
use super::text::Text;
use crate::kind::Materials;
use crate::kind::fields::nearest_hint;
use crate::kind::parse::MaterialFault;
use crate::model::Place;
use crate::model::content::Content;

/// Makes the contents of one host.
pub struct Workshop<'w, 'a> {
    fleet: &'w Fleet<'a>,
    context: &'w Context,
    fuel: Fuel,
    contents: BTreeMap<Content, ContentAt>,
    bytes: u64,
}

impl<'w, 'a> Workshop<'w, 'a> {
    /// With nothing made yet.
    pub fn new(fleet: &'w Fleet<'a>, context: &'w Context, fuel: Fuel) -> Self {
        Workshop { fleet, context, fuel, contents: BTreeMap::new(), bytes: 0 }
    }

    /// What was made.
    pub fn into_contents(self) -> BTreeMap<Content, ContentAt> {
        self.contents
    }

    fn add(&mut self, content: Content, at: impl FnOnce() -> ContentAt) -> Result<Content, MaterialFault> {
        if !self.contents.contains_key(&content) {
            self.bytes += content.size;
            if self.bytes > limits::CONTENT_TOTAL_BYTES {
                let message =
                    format!("the contents of one host have {} bytes at most", limits::CONTENT_TOTAL_BYTES);
                return Err(fault("too-large", message, Some("large things belong in a package".into())));
            }
            self.contents.insert(content, at());
        }
        Ok(content)
    }
}

impl Materials for Workshop<'_, '_> {
    fn source(&mut self, path: &str) -> Result<Content, MaterialFault> {
        let known = self.fleet.sources.borrow().get(path).cloned();
        let content = known.unwrap_or_else(|| {
            let read = self.fleet.file(path, limits::SOURCE_BYTES).map(|bytes| Content::of(&bytes));
            self.fleet.sources.borrow_mut().insert(path.to_owned(), read.clone());
            read
        })?;
        self.add(content, || ContentAt::Tree(path.to_owned()))
    }

    fn template(&mut self, path: &str) -> Result<Content, MaterialFault> {
        let fleet = self.fleet;
        let text = fleet.template_text(path)?;
        let mut include = |path: &str| fleet.template_text(path).map_err(|fault| fault.message);
        let rendered =
            fleet.renderer.borrow_mut().render(path, &text, self.context, &mut self.fuel, &mut include);
        match rendered {
            Ok(text) => {
                let content = Content::of(text.as_bytes());
                self.add(content, || ContentAt::Here(text.into_bytes()))
            }
            Err(fault) => {
                let inside = Some(fleet.place_in(&fault));
                let RenderFault { code, message, hint, .. } = fault;
                Err(MaterialFault { code, message, hint, inside })
            }
        }
    }

    fn inline(&mut self, bytes: Vec<u8>) -> Content {
        let content = Content::of(&bytes);
        // A declaration is far smaller than what all contents may have.
        let _ = self.add(content, || ContentAt::Here(bytes));
        content
    }
}

impl Fleet<'_> {
    /// A template's text.
    pub(super) fn template_text(&self, path: &str) -> Result<String, MaterialFault> {
        let bytes = self.file(path, limits::TEMPLATE_BYTES)?;
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let text = Text::new(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let mut fault =
                fault("not-utf8", "this is no UTF-8 text".into(), Some("name it with `source`".into()));
            fault.inside = Some(text.place(valid..valid + 1));
            fault
        })
    }

    /// The place of a template's fault.
    pub(super) fn place_in(&self, fault: &RenderFault) -> Place {
        let text = self.template_text(&fault.template).map(|text| Text::new(&fault.template, text));
        match (text, &fault.range) {
            (Ok(text), Some(range)) => text.place(range.clone()),
            (Ok(text), None) => {
                let line = text.line(fault.line).unwrap_or_default();
                let indent = line.chars().take_while(|c| c.is_whitespace()).count() as u32;
                let length = (line.trim().chars().count() as u32).max(1);
                Place { line: fault.line, column: indent + 1, length, ..Place::file(&fault.template) }
            }
            (Err(_), _) => Place { line: fault.line, ..Place::file(&fault.template) },
        }
    }

    /// The bytes of a file of the repository. Only a path that was listed is ever read, so there is nothing to
    /// climb out by.
    fn file(&self, path: &str, limit: usize) -> Result<Vec<u8>, MaterialFault> {
        if !self.paths.contains(path) {
            return Err(self.missing(path));
        }
        let bytes = self.tree.read(path).map_err(|error| fault("unreadable", error.to_string(), None))?;
        if bytes.len() > limit {
            let message = format!("`{path}` has {} bytes, at most {limit} may be used so", bytes.len());
            return Err(fault("too-large", message, Some("large things belong in a package".into())));
        }
        Ok(bytes)
    }

    fn missing(&self, path: &str) -> MaterialFault {
        let shown = path.escape_debug();
        let message = format!("there is no file `{shown}` in the repository");
        self.missing.set(self.missing.get() + 1);
        if self.missing.get() > limits::GUESSES {
            return fault("no-such-file", message, None);
        }
        let canonical = path.trim_start_matches(['.', '/']);
        let hint = if path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".") {
            "paths are relative to the declaration's folder, without `.` and `..`".to_owned()
        } else {
            let folder = canonical.rsplit_once('/').map_or("", |(folder, _)| folder);
            let name = canonical.rsplit('/').next().unwrap_or_default();
            // A slip in the name, or the right name elsewhere.
            let near = self.paths.iter().find(|known| known.rsplit('/').next() == Some(name));
            let beside =
                self.paths.iter().filter(|known| known.rsplit_once('/').map_or("", |(f, _)| f) == folder);
            let beside: Vec<&str> = beside.map(String::as_str).take(1000).collect();
            match near {
                Some(known) => format!("did you mean `{known}`?"),
                None => match nearest_hint(path, &beside) {
                    hint if hint.starts_with("did you") => hint,
                    _ => "add it, and commit it".to_owned(),
                },
            }
        };
        fault("no-such-file", message, Some(hint))
    }
}

fn fault(code: &'static str, message: String, hint: Option<String>) -> MaterialFault {
    MaterialFault { code, message, hint, inside: None }
}
