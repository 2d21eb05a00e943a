//! `make demo`: two throwaway Debian hosts converge, are tampered with, put right, follow a commit, are compared.
//!
//! A story told on the terminal, with the hosts of the laboratory. What it says of a host is what the host's own
//! tools say: dpkg-query, cat, stat, nft, systemctl. Whatever does not come about within its time ends the story
//! with what is missing and exit code 1.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "this program works on the machine itself, and its failures end it"
)]
#![allow(dead_code, unused_imports, reason = "the harness offers more than this story needs")]

#[path = "../../lab/harness/mod.rs"]
mod harness;
mod story;
mod terminal;

use std::any::Any;
use std::panic;
use std::process::ExitCode;

use terminal::Terminal;

fn main() -> ExitCode {
    let terminal = Terminal::new();
    // The harness panics with what the host said; that is told once, at the end.
    panic::set_hook(Box::new(|_| {}));
    match panic::catch_unwind(|| story::tell(&Terminal::new())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(payload) => {
            terminal.failed(words(&*payload));
            ExitCode::FAILURE
        }
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("for a reason that it did not say")
}
