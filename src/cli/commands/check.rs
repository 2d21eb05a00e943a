//! `agentctl check`: pure, without root, without an agent.

use super::say;
use crate::cli::args::{Arguments, Check};
use crate::cli::folder::FolderTree;
use crate::cli::render::{Look, check, json};
use crate::cli::{CliError, Exit, Outside};
use crate::declaration;

/// Checks a whole fleet repository.
pub fn run(common: &Arguments, options: &Check, outside: &mut Outside<'_>) -> Result<Exit, CliError> {
    let tree = FolderTree::open(&outside.here.join(&options.folder))?;
    let report = declaration::check(&tree);
    match common.json {
        true => json::write(outside, &report)?,
        false => {
            let page = check::page(&report, &Look::of(outside));
            say(outside, &page)?;
        }
    }
    Ok(if report.has_errors() { Exit::Differs } else { Exit::Good })
}
