//! The local socket: what may be asked of the running agent, by whom, and in which words. The only serialised
//! interface. Varlink on the wire, with its interface description served ([`INTERFACE`]).
//!
//! May not: decide or do anything of what is asked. It authenticates by the kernel's word, authorises by one
//! table ([`verb`], [`access`]), decodes into a [`Request`] that nothing changes afterwards, and hands it to
//! whoever implements [`Agent`].
//!
//! ```text
//! client ─frame─▶ server ─verb, peer─▶ allowed? ─▶ Request ─▶ Agent
//!        ◀─────── Reply (several, for progress) ◀──────────────┘
//! ```
//!
//! Frames, clients and waiting are bounded: a client that talks too much, too slowly or not at all loses its
//! connection and costs nobody else anything.

pub mod access;
pub mod client;
mod frames;
pub mod server;
#[cfg(test)]
mod tests;
pub mod verb;
pub mod wire;

pub use crate::host::peer::Peer;
pub use access::Access;
pub use client::{Client, ClientError};
pub use server::{Agent, Asked, Limits, Replies, ServerError, bind, hand_over, serve};
pub use verb::{Right, Verb};
pub use wire::{Refusal, Reply, Request};

/// Where the socket is. The folder is systemd's `RuntimeDirectory`, root's and searchable by all.
pub const SOCKET: &str = "/run/agentd/control.sock";

/// The name of the interface on the wire.
pub const INTERFACE_NAME: &str = "org.agentd.Agent";

/// The description of the interface, as served by `org.varlink.service.GetInterfaceDescription`.
pub const INTERFACE: &str = include_str!("org.agentd.Agent.varlink");
