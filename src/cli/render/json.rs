//! JSON for programs: one document, indented, with a line break at its end.

use serde::Serialize;

use crate::cli::{CliError, Outside};

/// A value of a form that is published under `schema/`, with the version of that form.
#[derive(Serialize)]
pub struct Published<T> {
    /// Grows when a field changes its meaning or goes; not when one is added.
    pub schema: u32,
    /// The value.
    #[serde(flatten)]
    pub value: T,
}

/// Writes a value.
pub fn write(outside: &mut Outside<'_>, value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
    writeln!(outside.out, "{text}").map_err(CliError::Output)
}
