//! The pass: observe, diff, plan, apply, verify.
//!
//! ```text
//! Desired ─adopt─▶ Engine ─survey─▶ Findings ─judge─▶ Plan ─apply─▶ Outcomes ─verify─▶ residual Findings
//!   Host ────────────────▲                                │ durable intents            │
//!                      Memory ◀───────────────────────────┴────────────────────────────┘
//! ```
//!
//! [`pass::pass`] is one straight function: read it first, then its two long stages, `apply` and `verify`. Everything
//! that is the same for all kinds is here; what differs by kind is behind [`lane::Stage`], which is erased only at "a
//! stage of a whole kind".
//!
//! May not: read or write the host itself (the kinds do), wait, or start a pass by itself.

mod apply;
pub mod attempts;
mod case;
mod durable;
pub mod engine;
pub mod gate;
pub mod lane;
pub mod levels;
pub mod memory;
pub mod pass;
pub mod perils;
pub mod reactions;
pub mod report;
pub mod scope;
mod verify;
pub mod waiting;

pub use engine::Engine;
pub use memory::Memory;
pub use pass::{Order, Purpose, World, pass};
pub use perils::Perils;
pub use report::PassReport;
pub use scope::Scope;
