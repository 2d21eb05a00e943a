//! Everything that can happen to the loop: one closed list.

use tokio::sync::oneshot;

use super::adoption::{Adopted, Adoption};
use super::authors::Line;
use super::errand::{Basis, Number};
use super::judging::Refusal;
use super::shop::Closed;
use super::workshop::{PassEnded, View};
use crate::control::Asked;
use crate::reconcile::Scope;
use crate::reconcile::pass::Stage;
use crate::trigger::Noticed;
use crate::worker;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// Watchers noticed something.
    Noticed(Noticed),
    /// A pass ended.
    Passed(Result<PassEnded, Closed>),
    /// A pass that is under way came to a stage.
    Reached(Stage),
    /// A fetch ended.
    Fetched(Number, Box<worker::fetch::Answered>),
    /// A commit was verified and judged.
    Judged(Basis, Box<worker::objects::Answered>, Option<Refusal>),
    /// A commit was compiled.
    Compiled(Basis, Box<worker::compile::Answered>),
    /// It was asked who wrote these lines.
    Blamed(Vec<Line>, Box<worker::blame::Answered>),
    /// A compiled revision was put in force, or not.
    Adopted(Box<Adoption>, Box<Adopted>),
    /// How everything stands was asked for anew.
    Viewed(Box<View>),
    /// A new firewall was loaded and waits for its confirmation; the pass goes on.
    Awaited,
    /// A confirmation was tried: whether it settled something.
    Confirmed(Result<bool, String>),
    /// A client asks.
    Asked(Box<Asked>),
    /// What a client asked for makes this worth a look, even if the host did not change.
    Wanted(Scope),
    /// Somebody asks for the metrics.
    Scraped(oneshot::Sender<String>),
    /// Whether the metrics' file could be written: told when that changes.
    Exposed(Result<(), String>),
    /// The time for one of the timers came.
    Timer,
    /// Read the settings again.
    Reload,
    /// Stop.
    Terminate,
}
