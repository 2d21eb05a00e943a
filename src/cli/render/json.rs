//! JSON for programs: one document, indented, with a line break at its end.

use serde::Serialize;

use crate::cli::{CliError, Outside};

/// Writes a value.
pub fn write(outside: &mut Outside<'_>, value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
    writeln!(outside.out, "{text}").map_err(CliError::Output)
}
