//! A program that must agree to a new content: before it is live, or in its place and with the way back open.

use std::path::Path;

use crate::host::program::{NewFiles, Programs, Run};

/// Stands for the path of the staged file among the arguments.
const NEW: &str = "{new}";

/// Whether the check looks at the staged file, before it is live.
pub(super) fn looks_at_staged(check: &[String]) -> bool {
    check.iter().skip(1).any(|argument| argument.contains(NEW))
}

/// Runs a check; `staged` stands for `{new}`. An error says what the program complained of.
pub(super) fn run(programs: &dyn Programs, check: &[String], staged: Option<&Path>) -> Result<(), String> {
    let Some((program, arguments)) = check.split_first() else { return Ok(()) };
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| match staged {
            Some(staged) => argument.replace(NEW, &staged.to_string_lossy()),
            None => argument.clone(),
        })
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The program of a person: it is run as they would run it.
    let run = Run { new_files: NewFiles::AsUsual, ..Run::new(program, &arguments) };
    match programs.run(&run) {
        Ok(finished) if finished.succeeded() => Ok(()),
        Ok(finished) => {
            let code = finished.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            Err(format!("{program} refused it ({code}): {}", finished.complaint()))
        }
        Err(error) => match std::error::Error::source(&error) {
            Some(source) => Err(format!("it could not be checked: {error}: {source}")),
            None => Err(format!("it could not be checked: {error}")),
        },
    }
}
