//! Who wrote the lines that demand otherwise. Asked of the repository's history by a process of its own once the pass is
//! over, so that no correction ever waits for it; each line once for each commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tracing::warn;

use super::chain;
use super::events::Event;
use super::run::Daemon;
use crate::model::{CommitId, LineAuthor, Verdict};
use crate::reconcile::PassReport;
use crate::record::DriftId;
use crate::worker::blame::{Answered, Request};

/// Lines whose authors are remembered, and drifts that wait for one. More are told without.
const REMEMBERED: usize = 1024;
/// Lines one process is asked for: the rest is the next one's.
const AT_ONCE: usize = 64;

/// A line of a declaration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The commit that has it.
    pub commit: CommitId,
    /// The file, within the declaration's folder.
    pub file: Arc<str>,
    /// Its number, from 1.
    pub line: u32,
}

/// What is known of authors, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Authors {
    known: BTreeMap<Line, LineAuthor>,
    waiting: BTreeMap<Line, BTreeSet<DriftId>>,
    /// Drifts that have been told of, the oldest first.
    told: VecDeque<(DriftId, Line)>,
    is_asking: bool,
}

impl Authors {
    /// A drift that this line demands to end. Gives its author, if that is known already.
    fn of(&mut self, drift: DriftId, line: Line) -> Option<LineAuthor> {
        let one = (drift, line);
        if self.told.contains(&one) {
            return None;
        }
        if let Some(author) = self.known.get(&one.1).cloned() {
            self.tell(one);
            return Some(author);
        }
        let (drift, line) = one;
        if self.waiting.len() < REMEMBERED || self.waiting.contains_key(&line) {
            self.waiting.entry(line).or_default().insert(drift);
        }
        None
    }

    /// The next lines to ask for, all of one commit; none while somebody asks.
    fn next(&mut self) -> Option<(CommitId, Vec<Line>)> {
        let commit = self.waiting.keys().next().filter(|_| !self.is_asking)?.commit.clone();
        let lines = self.waiting.keys().filter(|line| line.commit == commit).take(AT_ONCE).cloned().collect();
        self.is_asking = true;
        Some((commit, lines))
    }

    /// Takes in what was answered; gives what is to be written down. What did not work out is not remembered.
    fn answered(&mut self, lines: Vec<Line>, answer: Answered) -> Vec<(DriftId, LineAuthor)> {
        self.is_asking = false;
        let authors = match answer {
            Ok(authors) => authors,
            Err(error) => vec![LineAuthor::Unknown { why: chain(&error) }; lines.len()],
        };
        let mut found = Vec::new();
        for (line, author) in lines.into_iter().zip(authors) {
            for drift in self.waiting.remove(&line).unwrap_or_default() {
                self.tell((drift, line.clone()));
                found.push((drift, author.clone()));
            }
            if !matches!(author, LineAuthor::Unknown { .. }) {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(line, author);
            }
        }
        found
    }

    fn tell(&mut self, one: (DriftId, Line)) {
        self.told.push_back(one);
        if self.told.len() > REMEMBERED {
            self.told.pop_front();
        }
    }
}

impl Daemon {
    /// Has the authors found of the lines that a pass found unheeded.
    pub(super) fn seek_authors(&mut self, report: &PassReport) {
        let Some(commit) = self.commit_in_force() else { return };
        let mut known = Vec::new();
        for seen in report.findings.iter().filter(|seen| seen.verdict == Verdict::Drifted) {
            let (Some(drift), Some(place)) = (seen.drift, &seen.declared) else { continue };
            let line = Line { commit: commit.clone(), file: Arc::clone(&place.file), line: place.line };
            known.extend(self.authors.of(DriftId(drift), line).map(|author| (DriftId(drift), author)));
        }
        self.write_authors(known);
        self.ask_authors();
    }

    fn ask_authors(&mut self) {
        let Some((commit, lines)) = self.authors.next() else { return };
        let request = Request {
            store: self.place.state.join("source"),
            commit,
            subfolder: self.setup.remote.as_ref().and_then(|remote| remote.subfolder.clone()),
            lines: lines.iter().map(|line| (line.file.to_string(), line.line)).collect(),
        };
        let (workers, sender) = (Arc::clone(&self.place.workers), self.sender.clone());
        tokio::task::spawn_blocking(move || {
            let answer = workers.blame(&request);
            let _ = sender.send(Event::Blamed(lines, Box::new(answer)));
        });
    }

    /// The history was asked.
    pub(super) fn blamed(&mut self, lines: Vec<Line>, answer: Answered) {
        let found = self.authors.answered(lines, answer);
        self.write_authors(found);
        self.ask_authors();
    }

    fn write_authors(&self, found: Vec<(DriftId, LineAuthor)>) {
        if found.is_empty() {
            return;
        }
        let shop = self.shop.clone();
        tokio::spawn(async move {
            let written = shop.ask(move |workshop| workshop.record.demanded(&found)).await;
            if let Ok(Err(error)) = written {
                warn!("who wrote a line could not be written down: {}", chain(&error));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::WorkerError;

    fn line(commit: char, number: u32) -> Line {
        let commit = String::from(commit).repeat(40).parse().unwrap();
        Line { commit, file: Arc::from("roles/web.toml"), line: number }
    }

    fn author(name: &str) -> LineAuthor {
        let revision = crate::model::Revision {
            commit: line('a', 1).commit,
            author: name.to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            subject: String::new(),
        };
        LineAuthor::Written { revision, line: 1 }
    }

    #[test]
    fn each_line_is_asked_for_once_and_each_drift_told_of_once() {
        let mut authors = Authors::default();
        assert_eq!(authors.of(DriftId(1), line('a', 1)), None);
        assert_eq!(authors.of(DriftId(2), line('a', 1)), None);
        assert_eq!(authors.of(DriftId(3), line('b', 2)), None);
        let (_, first) = authors.next().unwrap();
        assert_eq!(first, [line('a', 1)], "of one commit at a time");
        assert!(authors.next().is_none(), "one process at a time");
        let found = authors.answered(first, Ok(vec![author("ada")]));
        assert_eq!(found, [(DriftId(1), author("ada")), (DriftId(2), author("ada"))]);
        assert_eq!(authors.of(DriftId(1), line('a', 1)), None, "it was told");
        assert_eq!(authors.of(DriftId(4), line('a', 1)), Some(author("ada")), "it is known");
        let (_, second) = authors.next().unwrap();
        assert_eq!(second, [line('b', 2)]);
    }

    #[test]
    fn what_did_not_work_out_is_told_with_the_reason_and_asked_again_for_the_next() {
        let mut authors = Authors::default();
        authors.of(DriftId(1), line('a', 1));
        let (_, lines) = authors.next().unwrap();
        let error = WorkerError::NoAnswer { name: "blame", complaint: "killed".to_owned() };
        let found = authors.answered(lines, Err(error));
        assert!(matches!(&found[..], [(DriftId(1), LineAuthor::Unknown { why })] if why.contains("killed")));
        assert_eq!(authors.of(DriftId(2), line('a', 1)), None);
        assert!(authors.next().is_some());
    }

    #[test]
    fn a_storm_of_drifts_holds_no_more_than_it_may() {
        let mut authors = Authors::default();
        for number in 1..5000 {
            authors.of(DriftId(number.into()), line('a', number));
        }
        assert_eq!(authors.waiting.len(), REMEMBERED);
        assert_eq!(authors.next().unwrap().1.len(), AT_ONCE);
    }
}
