//! One fetch's counters and limits, shared with the transport that runs beneath gix. What stopped a transport is noted
//! here with its type, because it comes back through gix as text.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::host::clock::{Clock, SystemClock};

use super::error::{Fault, Trouble};
use super::remote::{Caps, Deadlines};

/// Bytes of references and other talk before a pack, at most. gix keeps all references in memory, and an old or hostile
/// server lists every one it has: 4 MiB are some 60,000.
const MOST_TALK: u64 = 4 << 20;

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub(crate) struct Meter(Rc<RefCell<Counters>>);

struct Counters {
    requests: u32,
    received: u64,
    /// Received before the attempt at hand.
    before: u64,
    cap: u64,
    /// False until the references are known.
    pack_expected: bool,
    deadlines: Deadlines,
    /// On the boot-time clock.
    end: Duration,
    trouble: Option<Trouble>,
}

impl Meter {
    /// Starts the clock.
    pub fn start(caps: &Caps, deadlines: &Deadlines) -> Meter {
        let end = now() + deadlines.total;
        let (cap, deadlines) = (caps.bytes, deadlines.clone());
        Meter(Rc::new(RefCell::new(Counters {
            requests: 0,
            received: 0,
            before: 0,
            cap,
            pack_expected: false,
            deadlines,
            end,
            trouble: None,
        })))
    }

    /// A new attempt: the cap on bytes counts anew, the clock goes on.
    pub fn next_attempt(&self) {
        let mut inner = self.0.borrow_mut();
        inner.before = inner.received;
        inner.pack_expected = false;
        inner.trouble = None;
    }

    /// The references are known: from here on the cap for a pack counts.
    pub fn expect_pack(&self) {
        self.0.borrow_mut().pack_expected = true;
    }

    /// True once the references are known.
    pub fn is_pack_expected(&self) -> bool {
        self.0.borrow().pack_expected
    }

    /// Counts a request, or says that the time is over.
    pub fn request(&self) -> Result<Duration, Trouble> {
        self.0.borrow_mut().requests += 1;
        self.remaining()
    }

    /// What is left of the whole time.
    pub fn remaining(&self) -> Result<Duration, Trouble> {
        let inner = self.0.borrow();
        let left = inner.end.saturating_sub(now());
        if left.is_zero() { Err(Trouble::bare(timed_out(&inner.deadlines))) } else { Ok(left) }
    }

    /// How long to wait for the next byte.
    pub fn patience(&self) -> Result<Duration, Trouble> {
        Ok(self.remaining()?.min(self.0.borrow().deadlines.stall))
    }

    /// What waiting in vain means: the stall deadline, or the end of the whole time.
    pub fn impatience(&self) -> Trouble {
        match self.remaining() {
            Ok(_) => Trouble::bare(Fault::Stalled { seconds: self.0.borrow().deadlines.stall.as_secs() }),
            Err(over) => over,
        }
    }

    /// The deadlines of this fetch.
    pub fn deadlines(&self) -> Deadlines {
        self.0.borrow().deadlines.clone()
    }

    /// Counts bytes that came in.
    pub fn received(&self, bytes: usize) -> Result<(), Trouble> {
        let mut inner = self.0.borrow_mut();
        inner.received += bytes as u64;
        let received = inner.received - inner.before;
        if !inner.pack_expected && received > MOST_TALK {
            return Err(Trouble::bare(Fault::TooLarge { what: format!("{MOST_TALK} bytes of references") }));
        }
        if received > inner.cap {
            return Err(Trouble::bare(Fault::TooLarge { what: format!("{} bytes in one fetch", inner.cap) }));
        }
        Ok(())
    }

    /// Notes what stopped the transport (the first note counts) and gives the error for the reader.
    pub fn stop(&self, trouble: Trouble) -> io::Error {
        let error = io::Error::other(trouble.fault.to_string());
        self.0.borrow_mut().trouble.get_or_insert(trouble);
        error
    }

    /// What was noted since the attempt began.
    pub fn take_trouble(&self) -> Option<Trouble> {
        self.0.borrow_mut().trouble.take()
    }

    /// Requests and bytes of all attempts.
    pub fn totals(&self) -> (u32, u64) {
        let inner = self.0.borrow();
        (inner.requests, inner.received)
    }
}

fn timed_out(deadlines: &Deadlines) -> Fault {
    Fault::TimedOut { seconds: deadlines.total.as_secs() }
}

/// It only bounds I/O in a process of its own and decides nothing, so no test needs to turn it.
fn now() -> Duration {
    SystemClock.since_boot()
}
