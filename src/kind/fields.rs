//! Reads the fields of one table: typed, each fault located, unknown keys refused with the nearest known one.

use crate::model::{Diagnostic, Located, Place, Table, Value};

use super::ParseCx;

/// The fields of a table while they are read. Every key that is asked for counts as known; [`Fields::finish`]
/// refuses the rest.
pub struct Fields<'a> {
    what: &'a str,
    table: &'a Table,
    known: Vec<&'static str>,
}

/// A typed value with its place.
#[derive(Clone, Copy, Debug)]
pub struct At<'a, T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: &'a Place,
}

impl<'a> Fields<'a> {
    /// The fields of `located`, which `what` names in messages ("a file"). A value that is no table is a fault.
    pub fn of(what: &'a str, located: &'a Located, cx: &mut ParseCx<'_>) -> Option<Self> {
        match &located.value {
            Value::Table(table) => Some(Fields { what, table, known: Vec::new() }),
            other => {
                let message = format!("{what} must be a table, not {}", other.type_name());
                cx.faults.push(Diagnostic::error("wrong-type", &located.place, message));
                None
            }
        }
    }

    /// The raw value of a key.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Located> {
        self.known.push(key);
        self.table.get(key).map(|entry| &entry.value)
    }

    /// A string.
    pub fn string(&mut self, key: &'static str, cx: &mut ParseCx<'_>) -> Option<At<'a, &'a str>> {
        let located = self.get(key)?;
        match &located.value {
            Value::String(text) => Some(At { value: text, place: &located.place }),
            other => self.wrong(key, located, "a string", other, cx),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, cx: &mut ParseCx<'_>) -> Option<bool> {
        let located = self.get(key)?;
        match &located.value {
            Value::Boolean(value) => Some(*value),
            other => self.wrong(key, located, "true or false", other, cx),
        }
    }

    /// An integer.
    pub fn integer(&mut self, key: &'static str, cx: &mut ParseCx<'_>) -> Option<At<'a, i64>> {
        let located = self.get(key)?;
        match &located.value {
            Value::Integer(value) => Some(At { value: *value, place: &located.place }),
            other => self.wrong(key, located, "an integer", other, cx),
        }
    }

    /// An array of strings; none if the key is left out, faults are reported element by element.
    pub fn strings(&mut self, key: &'static str, cx: &mut ParseCx<'_>) -> Option<Vec<At<'a, &'a str>>> {
        let located = self.get(key)?;
        let Value::Array(elements) = &located.value else {
            return self.wrong(key, located, "an array of strings", &located.value, cx);
        };
        let mut strings = Vec::with_capacity(elements.len());
        for element in elements {
            match &element.value {
                Value::String(text) => strings.push(At { value: text.as_str(), place: &element.place }),
                other => {
                    let message = format!("`{key}` takes strings, not {}", other.type_name());
                    cx.faults.push(Diagnostic::error("wrong-type", &element.place, message));
                }
            }
        }
        Some(strings)
    }

    /// Refuses every key that was not asked for.
    pub fn finish(self, cx: &mut ParseCx<'_>) {
        for (key, entry) in self.table {
            if self.known.iter().any(|known| known == key) {
                continue;
            }
            let message = format!("unknown key `{key}` in {}", self.what);
            let fault = Diagnostic::error("unknown-key", &entry.key_place, message);
            cx.faults.push(fault.hint(nearest_hint(key, &self.known)));
        }
    }

    fn wrong<T>(
        &self,
        key: &str,
        located: &Located,
        wanted: &str,
        got: &Value,
        cx: &mut ParseCx<'_>,
    ) -> Option<T> {
        let message = format!("`{key}` must be {wanted}, not {}", got.type_name());
        cx.faults.push(Diagnostic::error("wrong-type", &located.place, message));
        None
    }
}

/// "did you mean …", or the list of what is known.
pub fn nearest_hint(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|known| (strsim::damerau_levenshtein(key, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 1 + key.chars().count() / 4 => {
            format!("did you mean `{known}`?")
        }
        _ => {
            let mut known = known.to_vec();
            known.sort_unstable();
            known.dedup();
            format!("known keys: {}", known.join(", "))
        }
    }
}
