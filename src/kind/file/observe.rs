//! Reading the host: one folder handle a folder, one `statx` a file.

use std::ffi::OsStr;
use std::time::Duration;

use super::names::Owners;
use super::path::{ancestors, is_below};
use super::proofs::{Allowance, Proofs};
use super::spec::{Mode, Spec};
use super::state::{Body, State};
use super::{Aside, Files};
use super::{ahead, extras, reach};
use crate::host::Host;
use crate::host::files::{FileType, FilesError, Folder, Hashed, Root, Stat};
use crate::kind::{Observed, Reading, Specs, Want};
use crate::model::{Diagnostic, Key};

/// One look.
pub(super) struct Look<'a> {
    pub root: &'a Root,
    pub owners: Owners<'a>,
    proofs: &'a mut Proofs,
    allowance: Allowance,
    now: Duration,
}

pub(super) fn observe(files: &mut Files, host: &Host, want: &Want<'_, Spec>) -> Observed<State> {
    let full = want.only.is_none();
    files.laid.clear();
    let ahead = match full && files.proofs.is_empty() {
        true => {
            let declared = want.specs.iter().map(|(key, declared)| (key, &declared.spec));
            ahead::read(&host.root, &declared.collect::<Vec<_>>())
        }
        false => Vec::new(),
    };
    if full {
        files.proofs.begin_round();
    }
    let mut look = Look {
        root: &host.root,
        owners: Owners::new(&*host.accounts),
        proofs: &mut files.proofs,
        allowance: if full { Allowance::full() } else { Allowance::none() },
        now: host.clock.since_boot(),
    };
    let mut aside = Aside::default();
    let mut notes = Vec::new();
    let mut readings = Vec::with_capacity(if full { want.specs.len() } else { 0 });
    let mut way = Way::new(&host.root);
    let mut ahead = ahead.into_iter();
    for (key, declared) in want.declared() {
        let reading = match ahead.next().flatten() {
            Some(read) => look.take(key, &declared.spec, &read),
            None => look.read(&mut way, key, Some(&declared.spec)),
        };
        if matches!(reading, Reading::Absent) {
            look.note_missing(&way, key, &declared.spec, &mut aside);
        }
        readings.push((key.clone(), reading));
    }
    for key in want.pruned() {
        let reading = look.read(&mut way, key, None);
        if let (Reading::Present(state), true) = (&reading, want.only.is_none_or(|only| only.contains(key)))
            && state.kind == FileType::Directory
            && let Some(example) = extras::inhabitant(look.root, key, want)
        {
            let why = format!(
                "{key} to be empty: it holds {example}, which the agent did not bring; remove it by hand"
            );
            aside.unpruned.insert(key.clone(), why);
        }
        if let (Reading::Present(_), Some(why)) = (&reading, reach::brought(look.root, key)) {
            aside.unpruned.insert(key.clone(), format!("a person: {why}"));
        }
        readings.push((key.clone(), reading));
    }
    extras::find(&mut look, want, &mut readings, &mut notes);
    aside.missing_names = look.owners.missing();
    if full {
        files.proofs.end_round(want.specs.len());
    }
    files.aside = aside;
    Observed { readings: readings.into_iter().collect(), notes }
}

/// What is declared and may not be changed where links of this host lead.
pub(super) fn rehearse(host: &Host, specs: &Specs<Spec>) -> Vec<Diagnostic> {
    let mut way = Way::new(&host.root);
    let mut faults = Vec::new();
    for (key, declared) in specs {
        let why = match way.to(key.as_str()) {
            Ok(Some((folder, _))) => reach::in_folder(&host.root, folder, key, &declared.spec),
            Ok(None) => reach::declared(&host.root, key, &declared.spec),
            // It can't be changed either.
            Err(_) => None,
        };
        let place = &declared.provenance.winner;
        faults.extend(why.map(|why| {
            Diagnostic::error("protected", place, why)
                .hint("take it out of the declaration, or the link off the host")
        }));
    }
    faults
}

impl Look<'_> {
    fn read<'k>(&mut self, way: &mut Way<'k>, key: &'k Key, spec: Option<&Spec>) -> Reading<State> {
        let (folder, name) = match way.to(key.as_str()) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let elsewhere = spec.and_then(|spec| reach::declared(self.root, key, spec));
                return elsewhere.map_or(Reading::Absent, Reading::Unknown);
            }
            Err(why) => return Reading::Unknown(why),
        };
        if let Some(why) = spec.and_then(|spec| reach::in_folder(self.root, folder, key, spec)) {
            return Reading::Unknown(why);
        }
        match folder.stat(name) {
            Ok(Some(stat)) => match self.state(folder, name, key, spec, &stat) {
                Ok(Some(state)) => Reading::Present(state),
                Ok(None) => Reading::Absent,
                Err(error) => Reading::Unknown(error.chain()),
            },
            Ok(None) => Reading::Absent,
            Err(error) => Reading::Unknown(error.chain()),
        }
    }

    /// The state of a regular file whose content was read ahead.
    fn take(&mut self, key: &Key, spec: &Spec, read: &Hashed) -> Reading<State> {
        self.proofs.put(key, read, self.now);
        Reading::Present(self.bare(&read.stat, Some(spec), Body::Content(read.content)))
    }

    /// None if it vanished meanwhile.
    fn state(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        key: &Key,
        spec: Option<&Spec>,
        stat: &Stat,
    ) -> Result<Option<State>, FilesError> {
        let body = match (stat.kind, spec) {
            (FileType::File, Some(Spec::File { content: Some(_), .. })) => {
                match self.content(folder, name, key, stat)? {
                    Some(body) => body,
                    None => return Ok(None),
                }
            }
            (FileType::Link, _) => match folder.read_link(name)? {
                Some(target) => Body::Target(target.to_string_lossy().into_owned()),
                None => return Ok(None),
            },
            (
                FileType::File | FileType::Directory | FileType::Pipe | FileType::Socket | FileType::Device,
                _,
            ) => Body::Unread,
        };
        Ok(Some(self.bare(stat, spec, body)))
    }

    /// The state of something whose body is known or of no concern.
    pub(super) fn bare(&mut self, stat: &Stat, spec: Option<&Spec>, body: Body) -> State {
        let wanted = spec.and_then(Spec::ownership);
        State {
            kind: stat.kind,
            owner: self.owners.user(stat.uid, wanted.map(|wanted| &wanted.owner)),
            group: self.owners.group(stat.gid, wanted.map(|wanted| &wanted.group)),
            mode: Mode::from_bits(stat.mode),
            body,
        }
    }

    fn content(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        key: &Key,
        stat: &Stat,
    ) -> Result<Option<Body>, FilesError> {
        if let Some(content) = self.proofs.get(&stat.identity, self.now, &mut self.allowance) {
            return Ok(Some(Body::Content(content)));
        }
        let Some(read) = folder.content(name)? else { return Ok(None) };
        self.proofs.put(key, &read, self.now);
        Ok(Some(Body::Content(read.content)))
    }

    /// What laying this down will need, which nothing that was read could show.
    fn note_missing(&mut self, way: &Way<'_>, key: &Key, spec: &Spec, aside: &mut Aside) {
        if let Some(wanted) = spec.ownership() {
            self.owners.want(&wanted.owner, &wanted.group);
        }
        if way.is_missing() && *spec != Spec::Absent {
            let missing = ancestors(key.as_str())
                .filter(|folder| self.root.folder(folder).is_ok_and(|folder| folder.is_none()));
            aside.missing_folders.extend(missing.map(str::to_owned));
        }
    }
}

/// The folders on the way to the file last looked at. Keys come sorted, so that most files lie in the folder of
/// the one before, or in one above it.
pub(super) struct Way<'k> {
    root: &'k Root,
    open: Vec<(&'k str, Result<Option<Folder>, String>)>,
}

impl<'k> Way<'k> {
    pub(super) fn new(root: &'k Root) -> Self {
        Way { root, open: Vec::new() }
    }

    /// The folder a file lies in, and its name there; none if there is no such folder.
    pub(super) fn to(&mut self, path: &'k str) -> Result<Option<(&Folder, &'k OsStr)>, String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        while self.open.last().is_some_and(|(last, _)| !(*last == parent || is_below(parent, last))) {
            self.open.pop();
        }
        if self.open.last().is_none_or(|(last, _)| *last != parent) {
            let folder = self.root.folder(parent).map_err(|error| error.chain());
            self.open.push((parent, folder));
        }
        match self.open.last() {
            Some((_, Ok(Some(folder)))) => Ok(Some((folder, OsStr::new(name)))),
            Some((_, Ok(None))) | None => Ok(None),
            Some((_, Err(why))) => Err(why.clone()),
        }
    }

    /// Whether the last folder asked for was not there.
    fn is_missing(&self) -> bool {
        matches!(self.open.last(), Some((_, Ok(None))))
    }
}
