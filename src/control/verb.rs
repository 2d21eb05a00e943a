//! Every verb of the interface and the right it takes: one table.

/// What a peer must be allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look: root, or a member of the readers' group.
    Read,
    /// Change what the agent does or the host is: root, or a member of the group that the settings name.
    Change,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// What is true now.
    Status,
    /// What differs, with contents.
    Diff,
    /// What a pass would do.
    Plan,
    /// Fetch and reconcile now.
    Sync,
    /// Hands off.
    Suspend,
    /// Hands on again.
    Resume,
    /// A guarded change is fine.
    Confirm,
    /// What was held may go ahead.
    Approve,
    /// Drifts and passes.
    History,
    /// What happens, as it happens.
    Events,
    /// Check the chain of the history.
    Verify,
    /// Everything about one resource.
    Explain,
    /// Digests of what is declared and observed.
    Fingerprint,
    /// Bring back what was kept.
    Restore,
    /// Read the settings again.
    Reload,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 15] = [
        Verb::Status,
        Verb::Diff,
        Verb::Plan,
        Verb::Sync,
        Verb::Suspend,
        Verb::Resume,
        Verb::Confirm,
        Verb::Approve,
        Verb::History,
        Verb::Events,
        Verb::Verify,
        Verb::Explain,
        Verb::Fingerprint,
        Verb::Restore,
        Verb::Reload,
    ];

    /// The method's name on the wire, within the interface.
    pub const fn method(self) -> &'static str {
        match self {
            Verb::Status => "Status",
            Verb::Diff => "Diff",
            Verb::Plan => "Plan",
            Verb::Sync => "Sync",
            Verb::Suspend => "Suspend",
            Verb::Resume => "Resume",
            Verb::Confirm => "Confirm",
            Verb::Approve => "Approve",
            Verb::History => "History",
            Verb::Events => "Events",
            Verb::Verify => "Verify",
            Verb::Explain => "Explain",
            Verb::Fingerprint => "Fingerprint",
            Verb::Restore => "Restore",
            Verb::Reload => "Reload",
        }
    }

    /// The right it takes. `Diff` shows contents of files that only root may read: it is no verb for readers.
    pub const fn right(self) -> Right {
        match self {
            Verb::Status
            | Verb::Plan
            | Verb::History
            | Verb::Events
            | Verb::Verify
            | Verb::Explain
            | Verb::Fingerprint => Right::Read,
            Verb::Diff
            | Verb::Sync
            | Verb::Suspend
            | Verb::Resume
            | Verb::Confirm
            | Verb::Approve
            | Verb::Restore
            | Verb::Reload => Right::Change,
        }
    }

    /// The verb of a method.
    pub fn of_method(method: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.method() == method)
    }
}
