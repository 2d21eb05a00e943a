//! Behaviour through the public library, against real parts on loopback: a module a behaviour area.
// Tests act on the machine with the machine's own means.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod attribution;
mod cli;
mod contest;
mod declaration;
mod events;
mod file;
mod file_crash;
mod history;
mod package;
mod pass;
mod power;
mod restarts;
mod service;
mod source;
mod tidy;
mod trust;
mod vain;
