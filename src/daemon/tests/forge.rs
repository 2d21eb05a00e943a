//! A forge, a network and a compiler that do what a test says.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use jiff::Timestamp;

use crate::keep::Contents;
use crate::kind::{Declared, Desired};
use crate::model::{CommitId, Content, Diagnostic, LineAuthor, Place, Provenance, Revision};
use crate::source::History;
use crate::source::{Care, Fault, FetchError, Fetched};
use crate::worker::compile::Answer;
use crate::worker::{WorkerError, Workers, blame, compile, fetch, objects, survey};

/// What the files of a commit say, by path. `{host}`, `{site}` and `{folder}` stand for what a host is compiled with.
type Files = Vec<(String, String)>;

#[derive(Default)]
pub struct Forge {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    commits: BTreeMap<char, Files>,
    /// The commits of each branch, the oldest first.
    branches: BTreeMap<String, Vec<char>>,
    held: Option<Step>,
    waiting: Option<Step>,
    fault: Option<Fault>,
    refused: bool,
    /// Whoever fetches was taken over: it says of any tip that it descends from what was accepted.
    lies: bool,
    prunes: bool,
    check: Vec<String>,
    /// Each fetch.
    fetches: Vec<Care>,
    /// The commit of each compile.
    compiles: Vec<char>,
}

/// Where a test may hold the work up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fetch,
    Compile,
}

impl Forge {
    /// Pushes a commit on top of a branch.
    pub fn push(&self, branch: &str, commit: char, files: &[(&str, &str)]) {
        let mut state = self.state();
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        state.commits.insert(commit, files.collect());
        state.branches.entry(branch.to_owned()).or_default().push(commit);
    }

    /// Pushes a commit that can't be compiled, by a fault of the compiler.
    pub fn push_unknown(&self, branch: &str, commit: char) {
        self.state().branches.entry(branch.to_owned()).or_default().push(commit);
    }

    /// Replaces the history of a branch by another one.
    pub fn rewrite(&self, branch: &str, commit: char, files: &[(&str, &str)]) {
        self.state().branches.remove(branch);
        self.push(branch, commit, files);
    }

    /// What a commit makes of a path for the host of these tests.
    pub fn text(&self, commit: char, path: &str) -> String {
        let files = self.state().commits[&commit].clone();
        let (_, text) = files.into_iter().find(|(one, _)| one == path).unwrap();
        text.replace("{host}", "web-1").replace("{site}", "fra").replace("{folder}", "")
    }

    /// From now on files are checked by this program.
    pub fn check_by(&self, check: &[&str]) {
        self.state().check = check.iter().map(|&word| word.to_owned()).collect();
    }

    /// From now on nobody reaches it.
    pub fn cut_off(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// From now on it is reached.
    pub fn plug_in(&self) {
        self.state().fault = None;
    }

    /// From now on every declaration is refused.
    pub fn refuse(&self) {
        self.state().refused = true;
    }

    /// From now on whoever fetches says what somebody else wants.
    pub fn take_over(&self) {
        self.state().lies = true;
    }

    /// From now on what is dropped is to be taken away.
    pub fn prune(&self) {
        self.state().prunes = true;
    }

    /// Holds the next such step up.
    pub fn hold(&self, step: Step) {
        self.state().held = Some(step);
    }

    /// Whether what is to be held up is under way.
    pub fn holds(&self) -> bool {
        let state = self.state();
        state.held.is_some() && state.waiting == state.held
    }

    /// Lets whatever is held up go on.
    pub fn let_go(&self) {
        self.state().held = None;
        self.moved.notify_all();
    }

    pub fn fetches(&self) -> Vec<Care> {
        self.state().fetches.clone()
    }

    pub fn compiles(&self) -> Vec<char> {
        self.state().compiles.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn pass_by(&self, step: Step) {
        let mut state = self.state();
        if state.held == Some(step) {
            state.waiting = Some(step);
            let mut state = self.moved.wait_while(state, |state| state.held == Some(step)).unwrap();
            state.waiting = None;
        } else {
            state.waiting = None;
        }
    }
}

impl Workers for Forge {
    fn blame(&self, request: &blame::Request) -> blame::Answered {
        let author = |(file, line): &(String, u32)| LineAuthor::Written {
            revision: Revision {
                commit: request.commit.clone(),
                author: format!("the author of {file}"),
                time: Timestamp::UNIX_EPOCH,
                subject: "demand it".to_owned(),
            },
            line: *line,
        };
        Ok(request.lines.iter().map(author).collect())
    }

    fn fetch(&self, request: &fetch::Request) -> fetch::Answered {
        // What is answered is what was there when it was asked.
        let answer = {
            let mut state = self.state();
            state.fetches.push(request.care);
            let branch = state.branches.get(&request.remote.branch);
            let remote = request.remote.url.to_string();
            let error = |fault| FetchError { remote: remote.clone(), fault, cause: String::new() };
            match (&state.fault, branch.and_then(|branch| branch.last().zip(Some(branch)))) {
                (Some(fault), _) => Err(error(fault.clone())),
                (None, None) => Err(error(Fault::BranchMissing)),
                (None, Some((tip, branch))) => {
                    let tip = id(*tip);
                    match &request.last {
                        Some(last) if !state.lies && !branch.iter().any(|commit| id(*commit) == *last) => {
                            Err(error(Fault::Rewritten { last: last.clone(), tip }))
                        }
                        last => Ok(Fetched {
                            new: last.as_ref() != Some(&tip),
                            tip,
                            requests: 1,
                            bytes_received: 0,
                            history_complete: true,
                            cloned: None,
                        }),
                    }
                }
            }
        };
        self.pass_by(Step::Fetch);
        Ok(answer)
    }

    fn survey(&self, request: &survey::Request) -> survey::Answered {
        panic!("the daemon looks for no declaration: {request:?}")
    }

    fn user(&self) -> std::io::Result<(u32, u32)> {
        Ok((0, 0))
    }

    fn objects(
        &self,
        request: &objects::Request,
        _laid: &std::path::Path,
        judge: objects::Judge<'_>,
    ) -> objects::Answered {
        let mut history = History::default();
        for branch in self.state().branches.values() {
            for (at, letter) in branch.iter().enumerate() {
                let parent = at.checked_sub(1).map(|before| format!("parent {}\n", id(branch[before])));
                let person = "Ada <ada@example.org> 0 +0000";
                let bytes = format!(
                    "tree {}\n{}author {person}\ncommitter {person}\n\nx\n",
                    id('0'),
                    parent.unwrap_or_default()
                );
                history.commits.insert(id(*letter), bytes.into_bytes());
            }
        }
        assert!(history.commits.contains_key(&request.ask.tip), "{request:?}");
        Ok(match judge(&history) {
            objects::GoOn::ToFiles => objects::Answer::Verified,
            objects::GoOn::NoFurther => objects::Answer::Stopped,
        })
    }

    fn compile(&self, request: &compile::Request, contents: &Contents) -> compile::Answered {
        let letter = request.commit.as_str().chars().next().unwrap();
        let (files, refused, check, prunes) = {
            let mut state = self.state();
            state.compiles.push(letter);
            (state.commits[&letter].clone(), state.refused, state.check.clone(), state.prunes)
        };
        if refused {
            let diagnostics = vec![Diagnostic::error("bad", &Place::file("fleet.toml"), "a fault")];
            return Ok(Answer::Refused { diagnostics });
        }
        let mut desired = Desired { host: request.host.clone(), ..Desired::default() };
        let (subject, author) = (format!("commit {letter}"), "Ada <ada@example.org>".to_owned());
        let time = Timestamp::UNIX_EPOCH;
        desired.revision = Some(Revision { commit: request.commit.clone(), author, time, subject });
        let mut put = Vec::new();
        for (path, text) in files {
            let site = request.facts.labels.get("site").map_or("", String::as_str);
            let folder = request.subfolder.as_deref().unwrap_or("");
            let text =
                text.replace("{host}", &request.host).replace("{site}", site).replace("{folder}", folder);
            let content = contents.put(text.as_bytes()).map_err(|error| WorkerError::Storage {
                what: "store a content".to_owned(),
                source: std::io::Error::other(error.chain()),
            })?;
            put.push(content);
            desired
                .file
                .insert(path.as_str().into(), Declared { prune: prunes, ..declared(content, &check) });
        }
        self.pass_by(Step::Compile);
        Ok(Answer::Compiled { desired: Box::new(desired), warnings: Vec::new(), contents: put })
    }
}

fn declared(content: Content, check: &[String]) -> Declared<crate::kind::file::Spec> {
    let spec = serde_json::json!({
        "ensure": "file", "content": content, "owner": "root", "group": "root", "mode": "0644", "check": check,
    });
    let provenance = Provenance { winner: Place::file("roles/a.toml"), below: Vec::new() };
    Declared { spec: serde_json::from_value(spec).unwrap(), provenance, drift: None, prune: false }
}

/// The commit of a letter.
pub fn id(letter: char) -> CommitId {
    letter.to_string().repeat(40).parse().unwrap()
}
