//! Answers that need the host or the record: given by the thread that has them, one question at a time.

use std::time::Duration;

use super::workshop::{View, Workshop};
use crate::control::wire::{
    ContentPair, ContentText, DeclaredView, DiffReply, DoneReply, Explanation, FingerprintReply,
    HistoryReply, PlanReply, ResourceDiff, RestoreOrder, RestoreWhat, RestoredReply, ResumedReply, SHOWN,
    SuspendOrder, SuspendedReply, Unread, VerifyReply,
};
use crate::control::{Peer, Refusal, Reply, Request};
use crate::keep::{Item, ItemId, Occasion, What};
use crate::kind::Kind;
use crate::kind::file::Files;
use crate::kind::{Declared, Desired};
use crate::model::fingerprint::Fingerprint;
use crate::model::plan::Held;
use crate::model::{KindName, PlannedChange, ResourceId, Shown};
use crate::reconcile::{PassReport, Scope};
use crate::record::{Approval, DriftId, History, RecordError, SuspendTarget, Suspension};

/// An answer, and what follows from it.
pub struct Answered {
    /// What the client gets.
    pub reply: Result<Reply, Refusal>,
    /// How everything stands, if the answer changed that.
    pub view: Option<View>,
    /// What is to be looked at now.
    pub look_at: Option<Scope>,
}

/// Answers a request that is allowed.
pub fn answer(workshop: &mut Workshop, request: Request, peer: &Peer) -> Answered {
    let quiet = |reply| Answered { reply, view: None, look_at: None };
    if matches!(request, Request::Diff(_) | Request::Plan) && workshop.engine.desired().is_empty() {
        let message = "no revision is in force yet: `agentctl status` tells why".to_owned();
        return quiet(Err(Refusal::Refused { message }));
    }
    match request {
        Request::Diff(query) => quiet(Ok(Reply::Diff(diff(workshop, &query.resources)))),
        Request::Plan => quiet(Ok(Reply::Plan(plan(workshop)))),
        Request::Suspend(order) => suspend(workshop, &order, peer),
        Request::Resume(order) => resume(workshop, &order.target, peer),
        Request::Approve(order) => approve(workshop, &order.what, peer),
        Request::History(query) => quiet(history(workshop, &query)),
        Request::Verify(query) => {
            let verified = with_history(workshop, |history| history.verify(&query.heads));
            let reply = |(verification, others)| Reply::Verified(VerifyReply { verification, others });
            quiet(verified.map(reply))
        }
        Request::Explain(query) => quiet(explain(workshop, query.resource)),
        Request::Fingerprint => quiet(Ok(Reply::Fingerprint(fingerprint(workshop)))),
        Request::Restore(order) => restore(workshop, &order, peer),
        // Answered by the loop itself.
        Request::Status | Request::Sync(_) | Request::Reload | Request::Confirm | Request::Events(_) => {
            quiet(Err(Refusal::Busy))
        }
    }
}

fn plan(workshop: &mut Workshop) -> PlanReply {
    let report = workshop.plan();
    let loads = report.plan.changes.iter().any(|change| change.resource.kind == KindName::Firewall);
    let unprovable = workshop.unprovable.filter(|_| loads).map(str::to_owned);
    let notes = report.notes.iter().cloned().chain(unprovable).collect();
    PlanReply { unknown: unread(&report), notes, plan: report.plan }
}

fn unread(report: &PassReport) -> Vec<Unread> {
    let blind = report.blind.iter().map(|(kind, why)| Unread { what: kind.to_string(), why: why.clone() });
    let single = report.unknown.iter().map(|(kind, key, why)| Unread {
        what: ResourceId::new(*kind, key.clone()).to_string(),
        why: why.clone(),
    });
    blind.chain(single).collect()
}

fn diff(workshop: &mut Workshop, only: &[ResourceId]) -> DiffReply {
    let report = workshop.plan();
    let wanted = |change: &&PlannedChange| only.is_empty() || only.contains(&change.resource);
    let mut differences: Vec<ResourceDiff> = Vec::new();
    for change in report.plan.changes.iter().filter(wanted) {
        if differences.iter().any(|known| known.resource == change.resource) {
            continue;
        }
        differences.push(ResourceDiff {
            resource: change.resource.clone(),
            verdict: change.verdict,
            fields: change.fields.clone(),
            declared: change.declared.clone(),
            held: change.held.as_ref().map(Held::to_string),
            content: contents(workshop, change),
        });
    }
    DiffReply { differences, unknown: unread(&report) }
}

/// Both texts of a content that differs. The host's side is read anew: it was never kept.
fn contents(workshop: &Workshop, change: &PlannedChange) -> Option<ContentPair> {
    let field = change.fields.iter().find(|field| field.field == "content")?;
    let observed = match &field.observed {
        Shown::Content { .. } => match workshop.host.root.read(change.resource.key.as_str(), SHOWN + 1) {
            Ok(Some(bytes)) => ContentText::of(&bytes),
            Ok(None) => ContentText::Absent,
            Err(_) => ContentText::Gone,
        },
        Shown::Secret => ContentText::Secret,
        Shown::Absent | Shown::Value(_) => ContentText::Absent,
    };
    let desired = match &field.desired {
        Shown::Content { digest, .. } => {
            workshop.contents.get(digest).map_or(ContentText::Gone, |bytes| ContentText::of(&bytes))
        }
        Shown::Secret => ContentText::Secret,
        Shown::Absent | Shown::Value(_) => ContentText::Absent,
    };
    Some(ContentPair { observed, desired })
}

fn suspend(workshop: &mut Workshop, order: &SuspendOrder, peer: &Peer) -> Answered {
    let since = workshop.host.clock.now();
    let suspension = Suspension {
        target: order.target.clone(),
        reason: order.reason.clone(),
        owner: owner(workshop, peer),
        since,
        until: since.checked_add(order.duration()).ok(),
    };
    let written = workshop.record.suspend(suspension.clone());
    let reply = written.map(|()| Reply::Suspended(SuspendedReply { suspension })).map_err(failed);
    let look_at = reply.is_ok().then(|| scope_of(&order.target));
    Answered { reply, view: Some(workshop.view()), look_at }
}

fn resume(workshop: &mut Workshop, target: &SuspendTarget, peer: &Peer) -> Answered {
    let by = owner(workshop, peer);
    let resumed = workshop.record.resume(target, &by);
    let reply = resumed.map(|was_suspended| Reply::Resumed(ResumedReply { was_suspended })).map_err(failed);
    Answered { reply, view: Some(workshop.view()), look_at: Some(scope_of(target)) }
}

fn scope_of(target: &SuspendTarget) -> Scope {
    match target {
        SuspendTarget::All => Scope::Full,
        SuspendTarget::Kind(kind) => {
            let mut scope = Scope::nothing();
            scope.add(&crate::kind::LookAt::Kind(*kind));
            scope
        }
        SuspendTarget::Resource(resource) => Scope::of([resource.clone()]),
    }
}

/// Approves of the commit in force, whose removals are held; it may be abbreviated.
fn approve(workshop: &mut Workshop, what: &str, peer: &Peer) -> Answered {
    let desired = workshop.engine.desired();
    let commit = desired.revision.as_ref().map(|revision| revision.commit.clone());
    let named = commit.filter(|commit| what.len() >= 7 && commit.as_str().starts_with(what));
    let Some(commit) = named else {
        let what = format!("`{what}` is not the commit in force: `agentctl status` names it");
        return Answered { reply: Err(Refusal::NotFound { what }), view: None, look_at: None };
    };
    let removals = workshop.engine.held_removals().clone();
    if removals.is_empty() {
        let what = "nothing waits to be approved: `agentctl plan` shows what will be done".to_owned();
        return Answered { reply: Err(Refusal::NotFound { what }), view: None, look_at: None };
    }
    let message = format!("{} removals of {} may be made", removals.len(), commit.short());
    let (by, at) = (owner(workshop, peer), workshop.host.clock.now());
    let approval = Approval { what: commit.to_string(), by, at, removals };
    let written = workshop.record.approve(approval).map_err(failed);
    Answered {
        reply: written.map(|()| Reply::Done(DoneReply { message })),
        view: None,
        look_at: Some(Scope::Full),
    }
}

fn history(workshop: &Workshop, query: &crate::control::wire::HistoryQuery) -> Result<Reply, Refusal> {
    with_history(workshop, |history| {
        if let Some(id) = query.id {
            let drifts = history.drift(id)?.into_iter().collect();
            return Ok(HistoryReply { drifts, passes: Vec::new() });
        }
        let drifts = query.drifts.as_ref().map(|filter| history.drifts(filter)).transpose()?;
        let passes = query.passes.as_ref().map(|filter| history.passes(filter)).transpose()?;
        Ok(HistoryReply { drifts: drifts.unwrap_or_default(), passes: passes.unwrap_or_default() })
    })
    .map(Reply::History)
}

fn with_history<T>(
    workshop: &Workshop,
    ask: impl FnOnce(&History) -> Result<T, RecordError>,
) -> Result<T, Refusal> {
    let history = History::open(&workshop.state).map_err(failed)?;
    let history = history.ok_or(Refusal::NotFound { what: "there is no history yet".to_owned() })?;
    ask(&history).map_err(failed)
}

fn explain(workshop: &Workshop, resource: ResourceId) -> Result<Reply, Refusal> {
    let desired = workshop.engine.desired();
    let lines = workshop.standing.lines(workshop.host.clock.now());
    let owned = workshop.record.owner_of(&resource);
    let last_change = match History::open(&workshop.state).map_err(failed)? {
        Some(history) => history.last_change(&resource).map_err(failed)?,
        None => None,
    };
    let declared = declared(desired, workshop, &resource);
    if declared.is_none() && owned.is_none() && last_change.is_none() {
        let what = format!(
            "{resource} is not declared and was never managed here: `agentctl fingerprint --all` lists what is"
        );
        return Err(Refusal::NotFound { what });
    }
    Ok(Reply::Explain(Box::new(Explanation {
        declared,
        state: lines.into_iter().find(|line| line.resource == resource),
        last_change,
        suspension: workshop.record.suspended(&resource),
        managed_since: owned.map(|owned| owned.first_managed),
        brought: owned.is_some_and(|owned| owned.brought),
        resource,
    })))
}

fn declared(desired: &Desired, workshop: &Workshop, resource: &ResourceId) -> Option<DeclaredView> {
    fn view<S: serde::Serialize>(one: &Declared<S>, desired: &Desired, workshop: &Workshop) -> DeclaredView {
        DeclaredView {
            revision: desired.revision.clone(),
            provenance: one.provenance.clone(),
            spec: serde_json::to_value(&one.spec).unwrap_or_default(),
            mode: one.drift.unwrap_or(desired.policy.drift).min(workshop.mode),
            prune: one.prune,
        }
    }
    let key = &resource.key;
    match resource.kind {
        KindName::Firewall => desired.firewall.get(key).map(|one| view(one, desired, workshop)),
        KindName::Package => desired.package.get(key).map(|one| view(one, desired, workshop)),
        KindName::File => desired.file.get(key).map(|one| view(one, desired, workshop)),
        KindName::Service => desired.service.get(key).map(|one| view(one, desired, workshop)),
    }
}

fn fingerprint(workshop: &mut Workshop) -> FingerprintReply {
    let declared: Fingerprint = workshop.engine.desired().fingerprint();
    let (observed, blind) = workshop.engine.fingerprint(&workshop.host);
    FingerprintReply {
        host: workshop.engine.desired().host.clone(),
        declared: (&declared).into(),
        // What could not be read is unknown, and so is a sum over it.
        observed: blind.is_empty().then(|| (&observed).into()),
    }
}

/// Brings back what was kept and suspends the resource, so that it is not undone at once.
fn restore(workshop: &mut Workshop, order: &RestoreOrder, peer: &Peer) -> Answered {
    let restored = put_back(workshop, order, peer);
    let view = Some(workshop.view());
    match restored {
        Ok(reply) => Answered {
            look_at: Some(Scope::of([reply.resource.clone()])),
            reply: Ok(Reply::Restored(reply)),
            view,
        },
        Err(refusal) => Answered { reply: Err(refusal), view, look_at: None },
    }
}

fn put_back(workshop: &mut Workshop, order: &RestoreOrder, peer: &Peer) -> Result<RestoredReply, Refusal> {
    let (path, id) = match &order.what {
        RestoreWhat::Path(path) => (path.clone(), kept_last(workshop, path)?),
        RestoreWhat::Drift(drift) => kept_by(workshop, *drift)?,
    };
    let resource = ResourceId::new(KindName::File, path.as_str());
    let now = workshop.host.clock.now();
    // First the suspension: between the two the agent would undo it.
    let suspension = Suspension {
        target: SuspendTarget::Resource(resource.clone()),
        reason: format!("restored from {id}"),
        owner: owner(workshop, peer),
        since: now,
        until: now.checked_add(Duration::from_secs(order.seconds)).ok(),
    };
    workshop.record.suspend(suspension.clone()).map_err(failed)?;
    let why = format!("restore of {id}");
    let occasion = Occasion { resource: &resource, why: &why, now };
    let restored = workshop.keep.restore(&workshop.host.root, &id, occasion);
    let restored = restored.map_err(|error| Refusal::Failed { message: error.chain() })?;
    Ok(RestoredReply {
        kept: restored.replaced.map(|id| id.to_string()),
        suspension: Some(suspension),
        resource,
    })
}

fn kept_last(workshop: &Workshop, path: &str) -> Result<ItemId, Refusal> {
    let items = workshop.keep.of_path(path).map_err(|error| Refusal::Failed { message: error.chain() })?;
    // What the declaration lays down anyway is not what anybody wants back: a restore keeps that, too.
    let declared = workshop.engine.desired().file.get(path).map(|declared| Files::contents(&declared.spec));
    let is_declared = |item: &Item| match &item.what {
        What::File { content: Some(content), .. } => {
            declared.as_ref().is_some_and(|declared| declared.contains(content))
        }
        What::File { content: None, .. }
        | What::Text { .. }
        | What::Directory { .. }
        | What::Link { .. }
        | What::Other { .. }
        | What::Nothing => false,
    };
    let newest = items.into_iter().find(|item| !is_declared(item));
    newest.map(|item| item.id).ok_or_else(|| Refusal::NotFound {
        what: format!("nothing was kept of {path}: `agentctl history` shows what was changed"),
    })
}

/// What the first attempt on a drift replaced: the foreign content, not our own of an earlier try.
fn kept_by(workshop: &Workshop, drift: DriftId) -> Result<(String, ItemId), Refusal> {
    let story = with_history(workshop, |history| history.drift(drift))?;
    let story = story.ok_or_else(|| Refusal::NotFound {
        what: format!("there is no drift {drift}: `agentctl history` lists them"),
    })?;
    let path = story.resource.key.to_string();
    let missing =
        || Refusal::NotFound { what: format!("nothing was kept of {} for drift {drift}", story.resource) };
    let began = story.attempts.first().map(|attempt| attempt.began).ok_or_else(missing)?;
    let items = workshop.keep.of_path(&path).map_err(|error| Refusal::Failed { message: error.chain() })?;
    let first = items.into_iter().rev().find(|item| item.kept_at >= began);
    first.map(|item| (path.clone(), item.id)).ok_or_else(missing)
}

/// The peer by name; by number if it has none.
fn owner(workshop: &Workshop, peer: &Peer) -> String {
    workshop.host.accounts.user(peer.uid).unwrap_or_else(|| format!("uid {}", peer.uid))
}

fn failed(error: RecordError) -> Refusal {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        message.push_str(": ");
        message.push_str(&source.to_string());
        cause = source.source();
    }
    Refusal::Failed { message }
}
