//! Every metric there is: name, sort, labels, meaning. In the order of a page.

/// A metric with all its label values.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its sort.
    pub sort: Sort,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it means, for people.
    pub help: &'static str,
}

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// True now; may go up and down.
    Gauge,
    /// Counted since the agent started.
    Counter,
    /// How long things took since the agent started.
    Histogram,
}

impl Sort {
    /// Prometheus' word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Sort::Gauge => "gauge",
            Sort::Counter => "counter",
            Sort::Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($name:ident = $sort:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: &Family =
                &Family { name: $text, sort: Sort::$sort, labels: &[$($label),*], help: $help };
        )*
        /// All of them, in the order of a page.
        pub const ALL: &[&Family] = &[$($name),*];
    };
}

families! {
    BUILD_INFO = Gauge "agentd_build_info" ["version", "commit"] "The running agent; always 1.";
    HOST_INFO = Gauge "agentd_host_info"
        ["sync_status", "sync_reason", "health_status", "revision", "branch", "mode"]
        "How the host stands, under which revision; always 1.";
    CONDITION = Gauge "agentd_condition" ["type", "reason"]
        "1 if the condition holds, 0 if not; absent while it can't be told.";
    RESOURCES = Gauge "agentd_resources" ["kind", "status"] "Declared resources by status.";
    DRIFTED = Gauge "agentd_drifted_resources" ["kind"] "Resources that the host moved and that are not right yet.";
    CONTESTED = Gauge "agentd_contested_resources" ["kind"] "Resources that someone else keeps changing back.";
    CONTESTED_INFO = Gauge "agentd_contested_info" ["kind", "resource", "program", "unit"]
        "Who keeps changing a resource back, as far as is known; at most 50 of them; goes when it is settled.";
    DRIFT_SINCE = Gauge "agentd_drift_since_timestamp_seconds" ["kind"]
        "When the oldest drift that is not right yet was seen; absent without one.";
    BACKOFF = Gauge "agentd_backoff_seconds" ["kind"]
        "The longest wait for a next attempt, as the last pass set it.";
    LAST_FETCH = Gauge "agentd_last_fetch_success_timestamp_seconds" []
        "When the remote was last asked with success; absent before the first time since the agent started.";
    LAST_RECONCILE = Gauge "agentd_last_reconcile_timestamp_seconds" [] "When the last pass ended.";
    LAST_APPLIED = Gauge "agentd_last_applied_timestamp_seconds" []
        "When the declaration in force was put in force.";
    SUSPENDED = Gauge "agentd_suspended" [] "How many suspensions hold.";
    SUSPENDED_UNTIL = Gauge "agentd_suspended_until_timestamp_seconds" []
        "When the first suspension ends by itself; absent if none does.";
    REBOOT = Gauge "agentd_reboot_required" [] "1 if a package asked for a reboot.";
    HISTORY_HEAD = Gauge "agentd_history_head_info" ["history", "entry", "digest"]
        "The head of the history that was noted last; always 1. For agentctl history --verify --head HISTORY/ENTRY:DIGEST.";
    WATCHES = Gauge "agentd_watches" ["watcher"] "What a watcher holds: folders, groups, units.";
    WATCHER_UP = Gauge "agentd_watcher_up" ["watcher"]
        "1 if a watcher sees everything it should, 0 if it is blind; the full pass covers what it misses.";
    WATCHER_LIVE_SINCE = Gauge "agentd_watcher_live_since_timestamp_seconds" ["watcher"]
        "Since when a watcher is live; absent while it is not.";
    WATCHER_BLIND_SINCE = Gauge "agentd_watcher_blind_since_timestamp_seconds" ["watcher"]
        "Since when a watcher misses something; absent while it does not.";
    WATCH_EVENTS = Counter "agentd_watch_events_total" ["watcher"] "Events that a watcher saw.";
    WATCH_OVERFLOWS = Counter "agentd_watch_overflow_total" ["watcher"]
        "How often a watcher was told that events were lost; each time is made up for.";
    SYNCS = Counter "agentd_sync_total" ["result", "trigger"]
        "Passes by what they came to: synced, out-of-sync, degraded, failed.";
    RECONCILE = Histogram "agentd_reconcile_duration_seconds" ["trigger", "phase"]
        "How long passes took: observe; and where something was changed apply and verify.";
    GIT_REQUESTS = Counter "agentd_git_request_total" ["request_type", "result"]
        "Fetches: ls-remote brought nothing new; result is success or failure.";
    GIT_DURATION = Histogram "agentd_git_request_duration_seconds" ["request_type", "result"]
        "How long fetches took.";
    DETECTED = Counter "agentd_drift_detected_total" ["kind", "trigger"] "Drifts that were seen.";
    CORRECTED = Counter "agentd_drift_corrected_total" ["kind", "result"]
        "Attempts to put a drift right: corrected, failed, not-converging.";
    DETECT = Histogram "agentd_drift_detect_seconds" ["kind", "trigger"]
        "From a change to the look that saw it, where an event told when the change was made.";
    CORRECT = Histogram "agentd_drift_correct_seconds" ["kind", "trigger"]
        "From the start of the pass that saw a drift until it was verified to be right.";
}
