//! The laboratory: real Debian hosts, a network between them, a git forge and an apt archive.
//!
//! A test says what it needs and gets it; whatever was made goes away with the value that made it, and what an
//! interrupted run left behind is undone by the next one, from its ledger. Nothing here knows the agent except
//! [`agent`], which installs its package as an operator would. The machine itself is never changed: mounts are
//! below the target folder, networks are namespaces of our own.
//!
//! In: root, the packages that `make setup` installs, this machine's apt sources (the mirror is taken from
//! them). Out: booted hosts to run programs in, and panics that carry what the host said.

mod agent;
mod archive;
mod debian;
mod exec;
mod forge;
mod host;
mod inside;
mod lab;
mod ledger;
mod network;
mod nspawn;
mod tree;
mod vm;

pub use agent::{deb, install as install_agent};
pub use archive::{Archive, Deb};
pub use exec::{Output, run, wait_until};
pub use forge::{Forge, PASSWORD, TOKEN, USER};
pub use host::Host;
pub use inside::Inside;
pub use lab::{Lab, checkout, target};
pub use tree::Suite;
pub use vm::Vm;
