//! The verdict over a commit.

use std::collections::HashMap;
use std::rc::Rc;

use gix::ObjectId;
use jiff::Timestamp;

use super::clock::Clock;
use super::commit::Commit;
use super::history;
use super::objects::{Found, Kind, RawObjects, walk};
use super::policy::{Accepted, Listed, Memory, Policy, Signer, Strict};
use super::refusal::{Lasting, Refusal};
use super::signature;
use super::signers::Signers;
use crate::model::CommitId;

/// Judges whether the host takes a commit's word.
///
/// `now` is the clock, `build` the time this program was made: no moment lies before it. `objects` holds the commit, the
/// commits back to the one accepted last, and, if signers are delegated, the trees and blobs that lead to their file in
/// the commit, in the one accepted last, and in each between. With delegated signers or [`Strict::All`], what the commit
/// accepted last descends from is wanted as far as branches from before it were merged.
///
/// The commit accepted last may be judged again: this says whether its signer still has its word.
///
/// # Errors
/// Why it is not taken. Nothing is remembered then.
pub fn judge(
    policy: &Policy,
    memory: &Memory,
    now: Timestamp,
    build: Timestamp,
    tip: &CommitId,
    objects: &impl RawObjects,
) -> Result<Accepted, Refusal> {
    let clock = Clock::of(now, build, memory.highest_time);
    let mut court = Court { policy, memory, clock, objects, lists: HashMap::new() };
    let (id, commit) = court.read(tip)?;
    let last = memory.last.as_ref().map(parse).transpose()?;
    if let Some(by) = clock.ahead(commit.committed) {
        return Err(Refusal::Future { commit: id.to_string(), by });
    }
    let (signed_by, signers_version) = match last {
        None => court.first(id, &commit)?,
        Some(last) if last == id => court.again(id, &commit)?,
        Some(last) => court.next(id, &commit, last)?,
    };
    let highest_time = proven(clock, now, commit.committed, memory.highest_time);
    let memory = Memory { last: Some(tip.clone()), signers_version, highest_time };
    Ok(Accepted { commit: tip.clone(), signed_by, memory })
}

/// Judges whether the signer of a commit accepted earlier still has its word, as before a person's rollback to it: by the
/// local signers and the list of the commit accepted last. Descent is not asked for and nothing is remembered.
///
/// # Errors
/// Why it must not be applied anew.
pub fn stands(
    policy: &Policy,
    memory: &Memory,
    now: Timestamp,
    build: Timestamp,
    commit: &CommitId,
    objects: &impl RawObjects,
) -> Result<Signer, Refusal> {
    let clock = Clock::of(now, build, memory.highest_time);
    let mut court = Court { policy, memory, clock, objects, lists: HashMap::new() };
    let (id, read) = court.read(commit)?;
    let governing = match &memory.last {
        Some(last) => court.list_of(last)?,
        None => None,
    };
    court.signer(id, &read, governing.as_deref())
}

/// A repository's list of signers, as it stands in some commit.
struct List {
    blob: ObjectId,
    signers: Signers,
}

impl List {
    fn version(&self) -> u64 {
        self.signers.version.unwrap_or(0)
    }
}

/// The list by which a commit is judged beside the local keys.
type Governing = Option<Rc<List>>;

struct Court<'a, O> {
    policy: &'a Policy,
    memory: &'a Memory,
    clock: Clock,
    objects: &'a O,
    lists: HashMap<ObjectId, Rc<List>>,
}

impl<O: RawObjects> Court<'_, O> {
    fn read(&self, id: &CommitId) -> Result<(ObjectId, Commit), Refusal> {
        let id = parse(id)?;
        Ok((id, history::commit(self.objects, id, id)?))
    }

    fn signer(&self, id: ObjectId, commit: &Commit, governing: Option<&List>) -> Result<Signer, Refusal> {
        let governing = governing.map(|list| &list.signers);
        signature::signer(self.policy, self.clock, &id.to_string(), commit, governing)
    }

    /// The first commit a host takes: the local keys alone have a word.
    fn first(&mut self, id: ObjectId, commit: &Commit) -> Result<(Signer, Option<u64>), Refusal> {
        let signer = self.signer(id, commit, None)?;
        let version = self.list(id, commit)?.map(|list| list.version());
        match (version, self.memory.signers_version) {
            (found, Some(seen)) if found.unwrap_or(0) < seen => {
                Err(self.old_list(id, found.unwrap_or(0), seen))
            }
            (found, seen) => Ok((signer, found.or(seen))),
        }
    }

    /// The commit accepted last, once more.
    fn again(&mut self, id: ObjectId, commit: &Commit) -> Result<(Signer, Option<u64>), Refusal> {
        let list = self.list(id, commit)?;
        let version = list.as_ref().map(|list| list.version()).max(self.memory.signers_version);
        Ok((self.signer(id, commit, list.as_deref())?, version))
    }

    /// A commit after the one accepted last.
    fn next(
        &mut self,
        id: ObjectId,
        commit: &Commit,
        last: ObjectId,
    ) -> Result<(Signer, Option<u64>), Refusal> {
        history::descends(self.objects, id, last)?;
        let accepted = match &self.memory.last {
            Some(last) => self.list_of(last)?,
            None => None,
        };
        let governing = match (self.policy.strict, &self.policy.delegated) {
            (Strict::Tip, None) => None,
            (Strict::Tip, Some(_)) => self.changed_before(id, last, accepted)?,
            (Strict::All, _) => self.all_before(id, last, accepted)?,
        };
        let signer = self.signer(id, commit, governing.as_deref())?;
        let version = self.succeed(id, commit, &signer, governing.as_deref())?;
        Ok((signer, version))
    }

    /// Judges every commit between and says which list governs the last of them: of those of its parents and of the
    /// commit accepted last, the one with the highest version. An older one on a side branch governs nothing.
    fn all_before(
        &mut self,
        tip: ObjectId,
        last: ObjectId,
        accepted: Governing,
    ) -> Result<Governing, Refusal> {
        let mut lists = HashMap::new();
        for (id, commit) in &history::between(self.objects, tip, last)? {
            let governing = of_parents(&lists, commit, &accepted);
            if *id == tip {
                return Ok(governing);
            }
            let passed_on = self.pass_on(*id, commit, governing)?;
            lists.insert(*id, passed_on);
        }
        Ok(accepted)
    }

    /// The same where commits between need no signature: lists that a local key brought in govern those after them, and
    /// what is not signed changes nothing. Who was let go between can't put himself back by restoring the list.
    fn changed_before(
        &mut self,
        tip: ObjectId,
        last: ObjectId,
        accepted: Governing,
    ) -> Result<Governing, Refusal> {
        let mut lists = HashMap::new();
        for (id, commit) in &history::between(self.objects, tip, last)? {
            let governing = of_parents(&lists, commit, &accepted);
            if *id == tip {
                return Ok(governing);
            }
            let passed_on = match self.pass_on(*id, commit, governing.clone()) {
                Err(refusal) if refusal.lasting() == Lasting::Fetch => return Err(refusal),
                Err(_) => governing,
                Ok(passed_on) => passed_on,
            };
            lists.insert(*id, passed_on);
        }
        Ok(accepted)
    }

    /// The list that a commit between hands on to those after it: its own, if that rises by a local key's word.
    fn pass_on(&mut self, id: ObjectId, commit: &Commit, governing: Governing) -> Result<Governing, Refusal> {
        let signer = self.signer(id, commit, governing.as_deref())?;
        let own = self.list(id, commit)?;
        let has_risen = own.as_ref().is_some_and(|own| own.version() > self.seen(governing.as_deref()));
        match (has_risen, signer.listed) {
            (true, Listed::Local) => Ok(own),
            (true, Listed::Repository) => Err(self.not_local(id, &signer)),
            // A list that does not rise says nothing new: what governed goes on.
            (false, Listed::Local | Listed::Repository) => Ok(governing),
        }
    }

    /// Whether a tip's own list may follow the one that governs it, and the version to remember.
    fn succeed(
        &mut self,
        id: ObjectId,
        commit: &Commit,
        signer: &Signer,
        governing: Option<&List>,
    ) -> Result<Option<u64>, Refusal> {
        let seen = self.seen(governing);
        let own = self.list(id, commit)?;
        if own.as_ref().map(|list| list.blob) == governing.map(|list| list.blob) {
            return Ok(own.map(|list| list.version()).max(self.memory.signers_version));
        }
        if signer.listed != Listed::Local {
            return Err(self.not_local(id, signer));
        }
        match own {
            None => Ok(Some(seen)),
            Some(list) if list.version() > seen => Ok(Some(list.version())),
            Some(list) => Err(self.old_list(id, list.version(), seen)),
        }
    }

    /// The version that a changed list has to exceed.
    fn seen(&self, governing: Option<&List>) -> u64 {
        governing.map_or(0, List::version).max(self.memory.signers_version.unwrap_or(0))
    }

    fn list_of(&mut self, id: &CommitId) -> Result<Governing, Refusal> {
        if self.policy.delegated.is_none() {
            return Ok(None);
        }
        let (id, commit) = self.read(id)?;
        self.list(id, &commit)
    }

    /// The list of signers in a commit's tree, if signers are delegated and the file is there.
    fn list(&mut self, id: ObjectId, commit: &Commit) -> Result<Governing, Refusal> {
        let Some(path) = &self.policy.delegated else { return Ok(None) };
        let missing = |object: ObjectId| Refusal::Missing { commit: id.to_string(), id: object.to_string() };
        let malformed = |object: ObjectId, why| Refusal::Malformed { id: object.to_string(), why };
        let blob = match walk(self.objects, commit.tree, path) {
            Found::Nothing => return Ok(None),
            Found::File(blob) => blob,
            Found::Other => return Err(malformed(commit.tree, "its signers file is no regular file")),
            Found::Missing(object) => return Err(missing(object)),
            Found::Malformed(object) => return Err(malformed(object, "it is no tree that git would write")),
        };
        if let Some(known) = self.lists.get(&blob) {
            return Ok(Some(Rc::clone(known)));
        }
        let bytes = match self.objects.object(&blob) {
            Some((Kind::Blob, bytes)) => bytes,
            Some(_) => return Err(malformed(blob, "it is no file")),
            None => return Err(missing(blob)),
        };
        let signers = Signers::parse(path, bytes, &self.policy.zone)
            .map_err(|faults| Refusal::SignersFile { commit: id.to_string(), path: path.clone(), faults })?;
        let list = Rc::new(List { blob, signers });
        self.lists.insert(blob, Rc::clone(&list));
        Ok(Some(list))
    }

    fn not_local(&self, id: ObjectId, signer: &Signer) -> Refusal {
        let path = self.policy.delegated.clone().unwrap_or_default();
        Refusal::SignersChange { commit: id.to_string(), path, fingerprint: signer.fingerprint.clone() }
    }

    fn old_list(&self, id: ObjectId, found: u64, seen: u64) -> Refusal {
        let path = self.policy.delegated.clone().unwrap_or_default();
        Refusal::SignersVersion { commit: id.to_string(), path, found, seen }
    }
}

fn parse(id: &CommitId) -> Result<ObjectId, Refusal> {
    ObjectId::from_hex(id.as_str().as_bytes()).map_err(|_| Refusal::ObjectFormat(id.clone()))
}

fn of_parents(lists: &HashMap<ObjectId, Governing>, commit: &Commit, accepted: &Governing) -> Governing {
    commit.parents.iter().filter_map(|parent| lists.get(parent).cloned()).fold(accepted.clone(), newer)
}

fn newer(one: Governing, other: Governing) -> Governing {
    match (&one, &other) {
        (Some(first), Some(second)) if second.version() > first.version() => other,
        (None, Some(_)) => other,
        (Some(_), Some(_) | None) | (None, None) => one,
    }
}

/// The latest time that is proven. A commit's date counts as far as a clock that may be believed has reached it, so that
/// neither a wrong clock nor a wrong date pushes it into the future.
fn proven(clock: Clock, now: Timestamp, committed: i64, highest: Option<Timestamp>) -> Option<Timestamp> {
    let committed = Timestamp::from_second(committed).ok().filter(|_| clock.is_sure);
    committed.map(|committed| committed.min(now)).max(highest)
}
