//! Assembly and the event loop: what the parts are, what happens to them, and the manners of a systemd service
//! (readiness, status text, watchdog, signals).
//!
//! One thread waits for events; one thread ([`shop`]) touches the host; fetching and compiling are processes of
//! their own. The loop decides nothing about resources: it says when a pass is run, and over what; what is done next
//! to follow the branch is said by [`errand`].
//!
//! ```text
//!  timers, watches, clients, signals ──▶ events ──▶ loop ──▶ shop: pass, adoption, answers ──▶ snapshot
//!                                          ▲         │
//!              fetched, compiled, passed ──┘         └──▶ workers: fetch, compile
//! ```

mod adoption;
mod answers;
mod authors;
mod bounds;
mod clients;
mod errand;
mod events;
mod exposing;
mod follow;
mod followers;
mod following;
mod ground;
mod guarding;
mod in_force;
mod journal;
mod judging;
mod kinds;
mod listening;
mod opening;
mod pace;
mod passing;
mod programs;
mod run;
mod service;
mod setup;
mod shop;
mod tally;
#[cfg(test)]
mod tests;
mod timers;
mod view;
mod watches;
mod workshop;

pub use kinds::{host_beside, kinds, this_host};
pub use run::{DaemonError, PATIENCE, Place, run};
pub use setup::{Setup, setup};

/// An error with its causes, as the edge prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
