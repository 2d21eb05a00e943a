//! The laboratory: what an operator sees, on real booted Debian hosts. `harness` makes hosts, networks, a forge
//! and archives; the other modules are tests by area. Hosts are judged by their own tools (`nft`, `systemctl`,
//! `dpkg`, `stat`), never by what the agent says.
//!
//! A test takes what it needs and leaves nothing behind:
//!
//! ```text
//! #[test]
//! fn a_stopped_service_is_started_again() {
//!     let lab = Lab::new();                               // a network of its own
//!     let forge = lab.forge();                            // git over https and ssh
//!     let host = lab.boot(Suite::Trixie, "web-1");        // booted, `running`
//!     forge.push(&[("fleet.toml", "...")]);
//!     host.install_agent();                               // `make deb`, then apt
//!     host.run(&["systemctl", "stop", "cron"]).ok();
//!     host.wait_until("cron runs", SOON, || host.run(&["systemctl", "is-active", "cron"]).success());
//! }
//! ```
//!
//! Run it as root after `make setup` with `cargo test --test lab NAME`. The first run builds the base trees (about two
//! minutes; `LAB_TREES=FOLDER` shares them between checkouts). `LAB_KEEP=1` leaves the hosts up for a look and prints
//! how to enter them; the next run removes them.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "this crate works on the machine itself, and its failures are the failures of a test"
)]
#![allow(dead_code, reason = "the harness offers more than the tests of the day use")]

mod alike;
mod attribution;
mod bench;
mod by_hand;
mod crowd;
mod firewall;
mod foundation;
mod harness;
mod history;
mod inside;
mod lifecycle;
mod main_path;
mod memory;
mod metrics;
mod operator;
mod order;
mod package;
mod package_of_agent;
mod remote;
mod sandbox;
mod service;
mod signals;
mod storm;
