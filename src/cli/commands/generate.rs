//! `agentctl generate`: man pages and completions, for packages, from the one definition of the command line.

use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::cli::args::{Arguments, Generate, Generated};
use crate::cli::{CliError, Exit};
use crate::host::files::{Attributes, Root};

/// Makes what packages ship.
pub fn run(options: &Generate) -> Result<Exit, CliError> {
    let folder = &options.folder;
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| CliError::Folder { path: folder.clone(), source };
    std::path::absolute(folder)
        .map_err(|error| failed(error.into()))
        .and_then(|path| {
            let top = Root::open("/").map_err(|error| failed(error.into()))?;
            top.create_dirs(&path, ours(0o755)).map_err(|error| failed(error.into()))?;
            Root::open(&path).map_err(|error| failed(error.into()))
        })
        .and_then(|root| match options.what {
            Generated::Man => man(&root),
            Generated::Completions => completions(&root),
        })?;
    Ok(Exit::Good)
}

fn man(root: &Root) -> Result<(), CliError> {
    let mut command = Arguments::command();
    // Gives subcommands their full names, `agentctl-status`.
    command.build();
    let mut pages = vec![("agentctl".to_owned(), command.clone())];
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages.push((format!("agentctl-{}", sub.get_name()), sub.clone()));
    }
    for (name, command) in pages {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(command).section("1").source("agentd").manual("agentd");
        page.render(&mut text).map_err(CliError::Output)?;
        write(root, &format!("{name}.1"), &text)?;
    }
    Ok(())
}

fn completions(root: &Root) -> Result<(), CliError> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut text = Vec::new();
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "agentctl", &mut text);
        let name = match shell {
            Shell::Zsh => "_agentctl".to_owned(),
            Shell::Fish => "agentctl.fish".to_owned(),
            Shell::Bash => "agentctl".to_owned(),
            other => format!(
                "agentctl.{}",
                other.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned())
            ),
        };
        write(root, &name, &text)?;
    }
    Ok(())
}

fn write(root: &Root, name: &str, bytes: &[u8]) -> Result<(), CliError> {
    let written = root.write(Path::new(name), bytes, ours(0o644));
    let path = root.absolute(name);
    written.map(|_| ()).map_err(|source| CliError::Folder { path, source: source.into() })
}

/// Owned by whoever builds the package.
fn ours(mode: u32) -> Attributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Attributes { uid, gid, mode }
}
