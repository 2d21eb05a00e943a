//! Renders the strings of a declaration, each fault at its place within the string.

use std::collections::BTreeSet;
use std::ops::Range;

use super::fleet::Fleet;
use super::limits;
use super::literal;
use super::render::{Context, Fuel, RenderFault};
use crate::model::diagnostic::is_hidden;
use crate::model::located::Entry;
use crate::model::{Diagnostic, Faults, Located, Place, Table, Value};

/// Renders all strings of a value.
pub struct Strings<'s, 'a> {
    /// Where texts and templates are.
    pub fleet: &'s Fleet<'a>,
    /// Where faults go.
    pub faults: &'s mut Faults,
    /// What is being rendered.
    pub scope: Scope,
    /// What templates see.
    pub context: &'s Context,
    /// How much work is left.
    pub fuel: &'s mut Fuel,
    /// Where the strings stand that could not be rendered: what a kind makes of them is not worth a fault.
    pub unrendered: &'s mut BTreeSet<Place>,
}

/// What is being rendered: it decides what an undefined name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The variables of a layer.
    Variables,
    /// Resources.
    Resources,
}

impl Strings<'_, '_> {
    /// The value with every string in it rendered. A string with a fault stays as it was written.
    pub fn rendered(&mut self, mut located: Located) -> Located {
        located.value = match located.value {
            Value::String(text) => Value::String(self.string(text, &located.place)),
            Value::Array(elements) => {
                Value::Array(elements.into_iter().map(|element| self.rendered(element)).collect())
            }
            Value::Table(table) => {
                let entry = |(key, Entry { key_place, value }): (String, Entry)| {
                    (key, Entry { key_place, value: self.rendered(value) })
                };
                Value::Table(table.into_iter().map(entry).collect::<Table>())
            }
            plain @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_)) => plain,
        };
        located
    }

    fn string(&mut self, text: String, place: &Place) -> String {
        // Most strings are no templates, and some that are none look like one: `{#` alone begins a comment
        // in a template and a count in a shell.
        if !text.contains("{{") && !text.contains("{%") {
            return text;
        }
        let fleet = self.fleet;
        let mut include = |path: &str| fleet.template_text(path).map_err(|fault| fault.message);
        let name = place.file.to_string();
        let rendered =
            fleet.renderer.borrow_mut().render(&name, &text, self.context, self.fuel, &mut include);
        let fault = match rendered {
            Ok(rendered) => match unfit(&rendered) {
                None => return rendered,
                Some((code, message)) => Diagnostic::error(code, place, message),
            },
            Err(fault) => self.fault(fault, &name, place),
        };
        self.faults.push(fault);
        self.unrendered.insert(place.clone());
        text
    }

    fn fault(&self, fault: RenderFault, name: &str, place: &Place) -> Diagnostic {
        let own = fault.template == name;
        let inside = match (own, &fault.range) {
            (true, Some(range)) => self.within(place, range.clone()),
            (true, None) => None,
            (false, _) => Some(self.fleet.place_in(&fault)),
        };
        let mut diagnostic = Diagnostic::error(fault.code, inside.as_ref().unwrap_or(place), fault.message);
        diagnostic.hint = match self.scope {
            Scope::Variables if fault.code == "undefined-variable" => Some(
                "a variable may use facts and the variables of lower layers (fleet, then roles in order)"
                    .into(),
            ),
            Scope::Variables | Scope::Resources => fault.hint,
        };
        if own { diagnostic } else { diagnostic.related(place, "included here") }
    }

    /// The place of a range of a decoded string whose literal begins at `place`.
    fn within(&self, place: &Place, range: Range<usize>) -> Option<Place> {
        let text = self.fleet.text(&place.file)?;
        let start = text.offset(place);
        let literal = &text.text[start..];
        let at = |offset| start + literal::source_offset(literal, offset);
        Some(text.place(at(range.start)..at(range.end)))
    }
}

/// Why a rendered string can't be taken: a template can make what a string may not hold.
fn unfit(text: &str) -> Option<(&'static str, String)> {
    if text.len() > limits::STRING_BYTES {
        let message = format!("the string has more than {} bytes after rendering", limits::STRING_BYTES);
        return Some(("too-large", message));
    }
    let refused = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || is_hidden(*c);
    text.chars().find(refused).map(|c| {
        let message = format!("rendered, the string holds the control character U+{:04X}", c as u32);
        ("control-character", message)
    })
}
