//! Everything the command line sees of the world. A test hands in a sealed one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::host::Host;
use crate::host::clock::Clock;
use crate::reconcile::Engine;
use crate::record::Noted;
use crate::worker::Workers;

/// The world outside.
pub struct Outside<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// What is at the other end of them.
    pub terminal: Terminal,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The zone in which times are shown.
    pub zone: TimeZone,
    /// Where we are: paths that people type begin here.
    pub here: PathBuf,
    /// The host, for what is done without the agent.
    pub host: fn() -> io::Result<Host>,
    /// The heads of the history that the journal has; why not, if they can't be had.
    pub heads: fn() -> Result<Vec<Noted>, String>,
    /// All kinds, for what is done without the agent.
    pub engine: fn() -> Engine,
    /// Who touches the network and reads repositories of others.
    pub workers: &'a dyn Workers,
}

impl Outside<'_> {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What is at the other end of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether colours are welcome.
    pub colour: bool,
    /// Whether a person watches standard error: progress is shown.
    pub interactive: bool,
    /// How many columns there are; none means that lines are not broken.
    pub width: Option<usize>,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Terminal {
    /// No terminal at all: a pipe, a file.
    pub const PLAIN: Terminal = Terminal { colour: false, interactive: false, width: None };

    /// A person's word on colours wins.
    pub fn obey(&mut self, colour: Colour) {
        match colour {
            Colour::Auto => {}
            Colour::Always => self.colour = true,
            Colour::Never => self.colour = false,
        }
    }

    /// The same for the help that clap prints.
    pub fn clap_choice(&self) -> clap::ColorChoice {
        if self.colour { clap::ColorChoice::Always } else { clap::ColorChoice::Never }
    }
}
