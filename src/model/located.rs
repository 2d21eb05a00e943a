//! A TOML value that knows where it was written, after the layers were merged.

use std::collections::BTreeMap;

use super::place::{Place, Provenance};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The value.
    pub value: Value,
    /// Where the winning layer wrote it.
    pub place: Place,
    /// Where lower layers wrote the same thing, lowest layer first.
    pub below: Vec<Place>,
}

impl Located {
    /// Which layers spoke of this.
    pub fn provenance(&self) -> Provenance {
        Provenance { winner: self.place.clone(), below: self.below.clone() }
    }
}

/// A table by key. Sorted, so that nothing downstream depends on the order of writing.
pub type Table = BTreeMap<String, Entry>;

/// One `key = value` of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the key stands (for "unknown key").
    pub key_place: Place,
    /// What it says.
    pub value: Located,
}

/// A TOML value. Strings are already rendered: no `{{ … }}` reaches a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float (no kind takes one; kept so that the refusal can say so).
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// An array.
    Array(Vec<Located>),
    /// A table.
    Table(Table),
}

impl Value {
    /// The TOML word for this value's type, as used in messages.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}
