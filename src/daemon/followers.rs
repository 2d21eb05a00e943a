//! Those who follow what happens, and the last things that did.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::control::wire::{EventsQuery, EventsReply, Follow};
use crate::control::{Asked, Refusal, Replies, Reply, Request};
use crate::status::event::{Event, Happening, SCHEMA};

/// So many are remembered for who comes late; the history has all that matters.
const REMEMBERED: usize = 100;

/// Those who follow, and the last things that happened.
#[derive(Debug, Default)]
pub struct Followers {
    number: u64,
    last: VecDeque<Event>,
    waiting: Vec<Replies>,
}

impl Followers {
    /// Tells everybody who follows, in one answer.
    pub fn tell(&mut self, at: Timestamp, told: Vec<impl Into<Happening>>) {
        self.waiting.retain(|replies| !replies.is_gone());
        if told.is_empty() {
            return;
        }
        let mut events = Vec::with_capacity(told.len());
        for what in told {
            self.number += 1;
            events.push(Event { schema: SCHEMA, number: self.number, at, what: what.into() });
        }
        for replies in &self.waiting {
            replies.more(Reply::Events(EventsReply { events: events.clone() }));
        }
        self.last.extend(events);
        self.last.drain(..self.last.len().saturating_sub(REMEMBERED));
    }

    /// Someone asks for what happened, or wants to follow.
    pub fn asked(&mut self, asked: Asked) {
        let Asked { request: Request::Events(EventsQuery { last, follow }), replies, .. } = asked else {
            return;
        };
        let skip = self.last.len().saturating_sub(last as usize);
        let events = self.last.iter().skip(skip).cloned().collect();
        let reply = Reply::Events(EventsReply { events });
        match follow {
            Follow::No => replies.finish(Ok(reply)),
            Follow::Yes if replies.wants_more() => {
                replies.more(reply);
                self.waiting.retain(|replies| !replies.is_gone());
                self.waiting.push(replies);
            }
            Follow::Yes => {
                let message = "to follow takes a call with `more`".to_owned();
                replies.finish(Err(Refusal::Refused { message }));
            }
        }
    }
}
