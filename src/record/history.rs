//! Asking the history: read-only, beside the agent or without it.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::applied::unusable;
use super::chain::{self, Entry, Head, Noted, Row, Verification};
use super::drifts::{DriftId, Effect, Settlement};
use super::open::{FILE, FOLDER};
use super::passes::{PassId, PassRecord};
use super::{RecordError, schema};
use crate::host::files::Root;
use crate::model::plan::Held;
use crate::model::{Attribution, CommitId, FieldDiff, KindName, LineAuthor, Place, ResourceId, Verdict};

/// The history, open for reading. Open it for a question and drop it again: it costs no memory meanwhile.
pub struct History {
    db: Connection,
}

/// The story of one drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// Its number.
    pub id: DriftId,
    /// What differed.
    pub resource: ResourceId,
    /// Why.
    pub verdict: Verdict,
    /// What differed, as seen last.
    pub fields: Vec<FieldDiff>,
    /// Where the declaration demanded otherwise.
    pub place: Option<Place>,
    /// The revision that demanded otherwise.
    pub commit: Option<CommitId>,
    /// Who wrote that revision. Untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Who wrote that very line; none if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_author: Option<LineAuthor>,
    /// Why nothing was done about it, if nothing was.
    pub held: Option<Held>,
    /// The pass that saw it first.
    pub pass: PassId,
    /// When it was seen first.
    pub seen: Timestamp,
    /// What was done, in order.
    pub attempts: Vec<Attempt>,
    /// When it was over; none while it is not.
    pub resolved: Option<Timestamp>,
    /// What came of it last; none if it was only seen.
    pub result: Option<Settlement>,
    /// Who made the change; none if nobody looked. Of several findings the surest counts, of equal ones the last.
    #[serde(default)]
    pub attribution: Option<Attribution>,
}

/// One try at putting a drift right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// In which pass.
    pub pass: PassId,
    /// When the intent was on disk.
    pub began: Timestamp,
    /// The line of the plan.
    pub action: String,
    /// What it did to the existence of the resource.
    pub effect: Effect,
    /// When its outcome was known.
    pub ended: Option<Timestamp>,
    /// What came of it.
    pub result: Option<Settlement>,
    /// Under which ids the keep holds what was there before.
    pub kept: Vec<String>,
}

/// Which drifts to tell of. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftFilter {
    /// Of this resource.
    pub resource: Option<ResourceId>,
    /// Of this kind.
    pub kind: Option<KindName>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// Made by this user, by name or number: as who ran or as who logged in.
    pub user: Option<String>,
    /// Seen at or after.
    pub since: Option<Timestamp>,
    /// Seen before.
    pub until: Option<Timestamp>,
    /// At most this many, newest first.
    pub limit: Option<u32>,
}

/// Which passes to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PassFilter {
    /// Ended at or after.
    pub since: Option<Timestamp>,
    /// Ended before.
    pub until: Option<Timestamp>,
    /// At most this many, newest first.
    pub limit: Option<u32>,
}

/// How many are told of when nobody says.
const LIMIT: u32 = 50;

/// Of drifts that someone is known to have made: as whom he ran, or as whom he logged in.
const BY_USER: &str = "drift IN (
    SELECT who.drift FROM entries AS who, json_each(json_array(
        json_extract(who.body, '$.attribution.actor.user.name'), json_extract(who.body, '$.attribution.actor.user.uid'),
        json_extract(who.body, '$.attribution.actor.login.name'), json_extract(who.body, '$.attribution.actor.login.uid')
    )) AS name WHERE who.what = 'attributed' AND CAST(name.value AS TEXT) = ?)";

const COLUMNS: &str = "seq, at, what, pass, drift, kind, key, body, digest";

impl History {
    /// Opens the history in the state folder `state`. None if there is no record there.
    pub fn open(state: &Root) -> Result<Option<History>, RecordError> {
        let name = Path::new(FOLDER).join(FILE);
        if state.stat(&name).map_err(unusable)?.is_none() {
            return Ok(None);
        }
        let file = state.absolute(name);
        let failed = |source| RecordError::Database { doing: "be opened for reading", source };
        Ok(Some(History { db: schema::connect_to_read(&file).map_err(failed)? }))
    }

    /// The drifts that match, newest first.
    pub fn drifts(&self, filter: &DriftFilter) -> Result<Vec<DriftRecord>, RecordError> {
        let ids = self.drift_ids(filter).map_err(asking)?;
        let mut drifts = Vec::with_capacity(ids.len());
        for id in ids {
            drifts.extend(self.drift(id)?);
        }
        Ok(drifts)
    }

    /// One drift in full.
    pub fn drift(&self, id: DriftId) -> Result<Option<DriftRecord>, RecordError> {
        self.story(id).map_err(asking)
    }

    /// The last drift of a resource that the agent set out to change.
    pub fn last_change(&self, resource: &ResourceId) -> Result<Option<DriftRecord>, RecordError> {
        let sql = "SELECT drift FROM entries WHERE kind = ?1 AND key = ?2 AND what = 'intent'
                   ORDER BY seq DESC LIMIT 1";
        let id: Option<u64> = self
            .db
            .query_row(sql, params![resource.kind.as_str(), resource.key.as_str()], |row| row.get(0))
            .optional()
            .map_err(asking)?;
        id.map_or(Ok(None), |id| self.drift(DriftId(id)))
    }

    /// The drifts with the newest tries at putting something right, at most `limit` tries and none before `since`.
    pub fn tried(&self, since: Timestamp, limit: u32) -> Result<Vec<DriftRecord>, RecordError> {
        let newest = Conditions::of("what = 'intent'");
        let rows = self.rows(&newest, "seq DESC", limit).map_err(asking)?;
        let fresh = rows.iter().filter(|row| row.at >= since.as_microsecond());
        let ids: BTreeSet<u64> = fresh.filter_map(|row| row.drift).collect();
        ids.into_iter().filter_map(|id| self.drift(DriftId(id)).transpose()).collect()
    }

    /// The passes that match, newest first.
    pub fn passes(&self, filter: &PassFilter) -> Result<Vec<PassRecord>, RecordError> {
        let PassFilter { since, until, limit } = filter;
        let mut conditions = Conditions::of("what = 'pass'");
        conditions.between(*since, *until);
        let rows = self.rows(&conditions, "seq DESC", limit.unwrap_or(LIMIT)).map_err(asking)?;
        let mut passes = Vec::with_capacity(rows.len());
        for row in rows {
            if let Entry::Pass(pass) = row.entry().map_err(asking)? {
                passes.push(pass);
            }
        }
        Ok(passes)
    }

    /// Everything after entry `after`, oldest first: what a follower has not seen yet.
    pub fn entries_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Timestamp, Entry)>, RecordError> {
        let mut conditions = Conditions::of("TRUE");
        conditions.and("seq > ?", Value::Integer(i64::try_from(after).unwrap_or(i64::MAX)));
        let rows = self.rows(&conditions, "seq", limit).map_err(asking)?;
        let read = |row: Row| Ok((row.seq, row.time()?, row.entry()?));
        rows.into_iter().map(read).collect::<rusqlite::Result<_>>().map_err(asking)
    }

    /// The end of the chain.
    pub fn head(&self) -> Result<Head, RecordError> {
        Ok(chain::read_ledger(&self.db).map_err(asking)?.unwrap_or_default().head)
    }

    /// Checks the whole chain, and that it goes through each of `known`, heads that were noted elsewhere. Also returns
    /// those of them that are of another history than this one.
    pub fn verify(&self, known: &[Noted]) -> Result<(Verification, Vec<Noted>), RecordError> {
        let this = chain::read_ledger(&self.db).map_err(asking)?.unwrap_or_default().history;
        let (ours, others): (Vec<Noted>, Vec<Noted>) =
            known.iter().partition(|noted| noted.history.is_none_or(|history| history == this));
        let heads: Vec<Head> = ours.iter().map(|noted| noted.head).collect();
        Ok((chain::verify(&self.db, &heads).map_err(asking)?, others))
    }

    fn drift_ids(&self, filter: &DriftFilter) -> rusqlite::Result<Vec<DriftId>> {
        let DriftFilter { resource, kind, verdict, user, since, until, limit } = filter;
        let mut conditions = Conditions::of("what = 'seen'");
        if let Some(ResourceId { kind, key }) = resource {
            conditions.and("kind = ?", Value::Text(kind.to_string()));
            conditions.and("key = ?", Value::Text(key.to_string()));
        }
        if let Some(kind) = kind {
            conditions.and("kind = ?", Value::Text(kind.to_string()));
        }
        if let Some(verdict) = verdict {
            let word = serde_json::to_value(verdict).unwrap_or_default();
            let word = word.as_str().unwrap_or_default().to_owned();
            conditions.and("json_extract(body, '$.verdict') = ?", Value::Text(word));
        }
        if let Some(user) = user {
            conditions.and(BY_USER, Value::Text(user.clone()));
        }
        conditions.between(*since, *until);
        let Conditions { sql, mut values } = conditions;
        values.push(Value::Integer(limit.unwrap_or(LIMIT).into()));
        let sql =
            format!("SELECT drift FROM entries WHERE {sql} GROUP BY drift ORDER BY MAX(seq) DESC LIMIT ?");
        let mut statement = self.db.prepare(&sql)?;
        statement.query_map(params_from_iter(values), |row| Ok(DriftId(row.get(0)?)))?.collect()
    }

    fn story(&self, id: DriftId) -> rusqlite::Result<Option<DriftRecord>> {
        let mut conditions = Conditions::of("drift IS NOT NULL");
        conditions.and("drift = ?", Value::Integer(i64::try_from(id.0).unwrap_or(i64::MAX)));
        let mut story = None;
        for row in self.rows(&conditions, "seq", u32::MAX)? {
            tell(&mut story, row.time()?, row.entry()?);
        }
        Ok(story)
    }

    fn rows(&self, conditions: &Conditions, order: &str, limit: u32) -> rusqlite::Result<Vec<Row>> {
        let Conditions { sql, values } = conditions;
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE {sql} ORDER BY {order} LIMIT ?");
        let values = values.iter().cloned().chain([Value::Integer(limit.into())]);
        self.db.prepare(&sql)?.query_map(params_from_iter(values), Row::read)?.collect()
    }
}

impl FromStr for DriftId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(DriftId).map_err(|_| format!("`{text}` is no drift: give its number, such as 17"))
    }
}

/// Adds one entry to the story of a drift. Entries before the first sighting that is still kept are passed over.
fn tell(story: &mut Option<DriftRecord>, at: Timestamp, entry: Entry) {
    match (entry, story) {
        (Entry::Seen { drift, pass, resource, verdict, fields, place, commit, author, held }, story) => {
            let (first_pass, seen, attempts, attribution, line_author) = match story.take() {
                Some(known) => {
                    // Another commit may have the line from somebody else.
                    let line_author =
                        known.line_author.filter(|_| known.commit == commit && known.place == place);
                    (known.pass, known.seen, known.attempts, known.attribution, line_author)
                }
                None => (pass, at, Vec::new(), None, None),
            };
            *story = Some(DriftRecord {
                id: drift,
                resource,
                verdict,
                fields,
                place,
                commit,
                author,
                line_author,
                held,
                pass: first_pass,
                seen,
                attempts,
                resolved: None,
                result: None,
                attribution,
            });
        }
        (Entry::Intent { pass, action, effect, .. }, Some(story)) => {
            let (ended, result, kept) = (None, None, Vec::new());
            story.attempts.push(Attempt { pass, began: at, action, effect, ended, result, kept });
        }
        (Entry::Outcome { result, kept, .. }, Some(story)) => {
            story.resolved = result.ends().then_some(at);
            if let Some(attempt) = story.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
                attempt.ended = Some(at);
                attempt.result = Some(result.clone());
                attempt.kept = kept;
            }
            story.result = Some(result);
        }
        (Entry::Attributed { attribution, .. }, Some(story)) => {
            let known = story.attribution.as_ref().map(|known| known.confidence);
            if known.is_none_or(|known| known <= attribution.confidence) {
                story.attribution = Some(*attribution);
            }
        }
        (Entry::Demanded { author, .. }, Some(story)) => story.line_author = Some(*author),
        (
            Entry::Intent { .. } | Entry::Outcome { .. } | Entry::Attributed { .. } | Entry::Demanded { .. },
            None,
        )
        | (
            Entry::Pass(_)
            | Entry::Suspended(_)
            | Entry::Resumed { .. }
            | Entry::Approved(_)
            | Entry::Quarantined(_)
            | Entry::Released { .. }
            | Entry::Rebuilt { .. }
            | Entry::Trimmed { .. },
            _,
        ) => {}
    }
}

struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(first: &str) -> Self {
        Conditions { sql: first.to_owned(), values: Vec::new() }
    }

    fn and(&mut self, condition: &str, value: Value) {
        self.sql = format!("{} AND {condition}", self.sql);
        self.values.push(value);
    }

    fn between(&mut self, since: Option<Timestamp>, until: Option<Timestamp>) {
        if let Some(since) = since {
            self.and("at >= ?", Value::Integer(since.as_microsecond()));
        }
        if let Some(until) = until {
            self.and("at < ?", Value::Integer(until.as_microsecond()));
        }
    }
}

fn asking(source: rusqlite::Error) -> RecordError {
    RecordError::Database { doing: "answer a question", source }
}
