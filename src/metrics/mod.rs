//! Metrics in Prometheus' text format: what is true now, projected from the status, and what was counted since the
//! agent started.
//!
//! May not: read the host or a clock, serve anything, or invent a number. Flows in: [`Facts`] and what passes and
//! fetches came to ([`Tallies`]). Flows out: one page of text ([`page`]), and what a scraper is answered ([`http`]).
//!
//! [`family::ALL`] is the one list of them; `docs/metrics.md` is held to it by a test. What is true now is a gauge that
//! goes when it is no longer true; counters and histograms have labels of few values and never a commit id.

pub mod family;
mod histogram;
pub mod http;
mod page;
mod tallies;
#[cfg(test)]
mod tests;
mod text;

pub use page::{Facts, page};
pub use tallies::{Asked, Tallies};
