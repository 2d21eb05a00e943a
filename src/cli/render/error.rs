//! An error with everything behind it.

use std::error::Error;

use super::Look;
use super::style::Tone;
use crate::cli::{CliError, Outside};
use crate::model::escape;

/// Tells an error on standard error.
pub fn show(error: &CliError, outside: &mut Outside<'_>) {
    let look = Look::of(outside);
    let mut text =
        format!("{} {}\n", look.painter.paint(Tone::Bad, "agentctl:"), escape::lines(&error.to_string()));
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!("  because: {}\n", escape::lines(&source.to_string())));
        cause = source.source();
    }
    // If even this can't be written there is nobody to tell.
    let _ = outside.err.write_all(text.as_bytes());
}
