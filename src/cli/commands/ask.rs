//! Asking the agent.

use serde::de::DeserializeOwned;

use crate::cli::args::Arguments;
use crate::cli::render::progress::{ProgressLine, words};
use crate::cli::{CliError, Outside};
use crate::control::{Client, ClientError, Request};

/// Asks one question.
pub fn agent<T: DeserializeOwned>(common: &Arguments, request: &Request) -> Result<T, CliError> {
    runtime()?.block_on(async {
        let mut client = Client::connect(&common.socket).await?;
        Ok(client.ask(request).await?)
    })
}

/// Asks one question whose answer takes a while, and shows how far it is.
pub fn agent_with_progress<T: DeserializeOwned>(
    common: &Arguments,
    request: &Request,
    outside: &mut Outside<'_>,
) -> Result<T, CliError> {
    let mut line = ProgressLine::default();
    let interactive = outside.terminal.interactive;
    let answer: Result<T, ClientError> = runtime()?.block_on(async {
        let mut client = Client::connect(&common.socket).await?;
        let mut show = |progress| line.show(outside.err, interactive, &words(&progress));
        client.ask_with_progress(request, &mut show).await
    });
    line.clear(outside);
    Ok(answer?)
}

/// Asks, and hands each answer to `told` until the agent or `told` ends it.
pub fn follow<T: DeserializeOwned>(
    common: &Arguments,
    request: &Request,
    told: &mut dyn FnMut(T) -> Result<(), CliError>,
) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let mut client = Client::connect(&common.socket).await?;
        client.follow(request, told).await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)
}
