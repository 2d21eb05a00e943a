//! agentd holds a Debian server to the declaration in a git repository.

pub mod attribution;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod declaration;
pub mod guard;
pub mod host;
pub mod keep;
pub mod kind;
pub mod metrics;
pub mod model;
pub mod reconcile;
pub mod record;
pub mod source;
pub mod status;
pub mod trigger;
pub mod trust;
pub mod worker;
