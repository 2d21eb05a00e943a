//! What the person sees: headings, one line a step with its time, pages of the programs that are shown.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// Standard output, plain unless it is a terminal that may be coloured.
pub struct Terminal {
    is_terminal: bool,
    colour: bool,
}

/// Where the time of a step stands.
const TIMES: usize = 92;

impl Terminal {
    pub fn new() -> Self {
        let is_terminal = stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Terminal { is_terminal, colour: is_terminal && !refused }
    }

    /// For programs that are asked for colours by an argument.
    pub fn colour_argument(&self) -> &'static str {
        if self.colour { "--color=always" } else { "--color=never" }
    }

    pub fn heading(&self, text: &str) {
        self.put(&format!("\n{}\n", self.paint("1", text)));
    }

    /// Does something and says what, with the time it took.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        if self.is_terminal {
            self.put(&format!("  {} {what}", self.paint("2", "…")));
        }
        let begun = Instant::now();
        let done = work();
        self.done(what, begun.elapsed());
        done
    }

    /// Says what was done and how long it took.
    pub fn done(&self, what: &str, time: Duration) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        let dots = TIMES.saturating_sub(what.chars().count() + 4);
        let time = self.paint("2", &format!("{:>dots$}", shown(time)));
        self.put(&format!("{clear}  {} {what} {time}\n", self.paint("32", "✓")));
    }

    /// Says what is true.
    pub fn said(&self, what: &str) {
        self.put(&format!("  {} {what}\n", self.paint("32", "✓")));
    }

    /// A command line as a person types it.
    pub fn typed(&self, host: &str, command: &str) {
        self.put(&format!("  {} {command}\n", self.paint("36", &format!("{host}#"))));
    }

    /// Lines that a program printed.
    pub fn page(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.put(&format!("    {line}\n"));
        }
    }

    pub fn failed(&self, why: impl Display) {
        self.put(&format!("\n{} {why}\n", self.paint("31", "✗ the demonstration failed:")));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn put(&self, text: &str) {
        let mut out = stdout();
        // Whoever closed the pipe does not want to see more.
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

/// A time as people say it.
fn shown(time: Duration) -> String {
    match time.as_millis() {
        0..1000 => format!("{} ms", time.as_millis()),
        1000..60_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}
