//! The words on the wire. Fields are added, never renamed; what a client does not know it passes over, what the
//! server does not know it refuses.

mod orders;
mod refusal;
mod replies;

use serde::{Deserialize, Serialize};

pub use orders::*;
pub use refusal::Refusal;
pub use replies::*;

use super::verb::Verb;

/// What was asked, decoded once and never changed afterwards.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// What is true now.
    Status,
    /// What differs, with contents.
    Diff(DiffQuery),
    /// What a pass would do.
    Plan,
    /// Fetch and reconcile now.
    Sync(SyncOrder),
    /// Hands off.
    Suspend(SuspendOrder),
    /// Hands on again.
    Resume(ResumeOrder),
    /// A guarded change is fine.
    Confirm,
    /// What was held may go ahead.
    Approve(ApproveOrder),
    /// Drifts and passes.
    History(HistoryQuery),
    /// What happens, as it happens.
    Events(EventsQuery),
    /// Check the chain of the history.
    Verify(VerifyQuery),
    /// Everything about one resource.
    Explain(ExplainQuery),
    /// Digests of what is declared and observed.
    Fingerprint,
    /// Bring back what was kept.
    Restore(RestoreOrder),
    /// Read the settings again.
    Reload,
}

impl Request {
    /// Its verb.
    pub const fn verb(&self) -> Verb {
        match self {
            Request::Status => Verb::Status,
            Request::Diff(_) => Verb::Diff,
            Request::Plan => Verb::Plan,
            Request::Sync(_) => Verb::Sync,
            Request::Suspend(_) => Verb::Suspend,
            Request::Resume(_) => Verb::Resume,
            Request::Confirm => Verb::Confirm,
            Request::Approve(_) => Verb::Approve,
            Request::History(_) => Verb::History,
            Request::Events(_) => Verb::Events,
            Request::Verify(_) => Verb::Verify,
            Request::Explain(_) => Verb::Explain,
            Request::Fingerprint => Verb::Fingerprint,
            Request::Restore(_) => Verb::Restore,
            Request::Reload => Verb::Reload,
        }
    }

    /// The request of a verb with these parameters; an error names what is wrong with them.
    pub fn decode(verb: Verb, parameters: Option<serde_json::Value>) -> Result<Request, serde_json::Error> {
        use serde_json::from_value;
        let object = || serde_json::Value::Object(serde_json::Map::new());
        let parameters = parameters.filter(|value| !value.is_null()).unwrap_or_else(object);
        Ok(match verb {
            Verb::Diff => Request::Diff(from_value(parameters)?),
            Verb::Sync => Request::Sync(from_value(parameters)?),
            Verb::Suspend => Request::Suspend(from_value(parameters)?),
            Verb::Resume => Request::Resume(from_value(parameters)?),
            Verb::Approve => Request::Approve(from_value(parameters)?),
            Verb::History => Request::History(from_value(parameters)?),
            Verb::Events => Request::Events(from_value(parameters)?),
            Verb::Verify => Request::Verify(from_value(parameters)?),
            Verb::Explain => Request::Explain(from_value(parameters)?),
            Verb::Restore => Request::Restore(from_value(parameters)?),
            Verb::Status => nothing(parameters, Request::Status)?,
            Verb::Plan => nothing(parameters, Request::Plan)?,
            Verb::Confirm => nothing(parameters, Request::Confirm)?,
            Verb::Fingerprint => nothing(parameters, Request::Fingerprint)?,
            Verb::Reload => nothing(parameters, Request::Reload)?,
        })
    }

    /// Its parameters as they go over the wire.
    pub fn parameters(&self) -> Result<serde_json::Value, serde_json::Error> {
        use serde_json::to_value;
        match self {
            Request::Status | Request::Plan | Request::Confirm | Request::Fingerprint | Request::Reload => {
                to_value(NoParameters {})
            }
            Request::Diff(query) => to_value(query),
            Request::Sync(order) => to_value(order),
            Request::Suspend(order) => to_value(order),
            Request::Resume(order) => to_value(order),
            Request::Approve(order) => to_value(order),
            Request::History(query) => to_value(query),
            Request::Events(query) => to_value(query),
            Request::Verify(query) => to_value(query),
            Request::Explain(query) => to_value(query),
            Request::Restore(order) => to_value(order),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

fn nothing(parameters: serde_json::Value, request: Request) -> Result<Request, serde_json::Error> {
    serde_json::from_value::<NoParameters>(parameters)?;
    Ok(request)
}
