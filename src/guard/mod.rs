//! The dead-man's switch: what could lock people out takes itself back unless somebody, or a connection that came
//! about afterwards, shows that it did not.
//!
//! The clock runs at PID 1 and needs nothing of the agent. This room only reads how things stand and passes a
//! confirmation on. Flows in: the host, proofs. Flows out: [`firewall::Confirmation`].

pub mod firewall;
