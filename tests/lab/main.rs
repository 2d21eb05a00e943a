//! The laboratory: what an operator sees, on real booted Debian hosts. `harness` makes hosts, networks, a forge
//! and archives; the other modules are tests by area. Run one with `cargo test --test lab NAME`, as root.
//!
//! Hosts are judged by their own tools (`nft`, `systemctl`, `dpkg`, `stat`), never by what the agent says.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this crate works on the machine itself, and its failures are the failures of a test"
)]
#![allow(dead_code, reason = "the harness offers more than the tests of the day use")]

mod foundation;
mod harness;
mod main_path;
mod package;
mod service;
