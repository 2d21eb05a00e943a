//! Keeping the store within its limits.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::KeepError;
use super::item::{Item, Stage, What};
use super::store::{Keep, store};
use crate::model::Content;

/// How much is kept, and for how long. What exceeds it goes oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nothing is kept longer.
    pub max_age: Duration,
    /// Nor more bytes than these, altogether.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 90 days and 1 GiB: long enough to notice, small beside any server's disk.
    fn default() -> Self {
        Limits { max_age: Duration::from_secs(90 * 24 * 3600), max_bytes: 1 << 30 }
    }
}

/// What tidying did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Items that went.
    pub gone: usize,
    /// Items whose bytes are shared with another's from now on.
    pub shared: usize,
    /// Bytes that are kept now.
    pub bytes: u64,
}

impl Keep {
    /// Lets equal contents share their bytes, and takes away what is too old or too much, oldest first. What
    /// is on trial is never touched.
    pub fn tidy(&self, now: Timestamp) -> Result<Tidied, KeepError> {
        let mut tidied = Tidied::default();
        let mut items: Vec<Item> = self.read_all()?.into_iter().filter_map(Result::ok).collect();
        items.retain(|item| !item.stage.on_trial());
        items.sort_by(|a, b| b.id.cmp(&a.id));
        let mut first: HashMap<Content, &Item> = HashMap::new();
        let mut full = false;
        for item in &items {
            let age = now.duration_since(item.kept_at);
            let old = Duration::try_from(age).is_ok_and(|age| age > self.limits.max_age);
            let content = content(item);
            let twin = content.and_then(|content| first.get(&content));
            let cost = if twin.is_some() { 0 } else { item.bytes };
            // Once one had to go, everything older goes too: what is left is the newest, without holes.
            full = full || tidied.bytes.saturating_add(cost) > self.limits.max_bytes;
            if old || full {
                self.forget(&item.id)?;
                tidied.gone += 1;
                continue;
            }
            if let Some(twin) = twin {
                tidied.shared += usize::from(self.share(twin, item)?);
            } else if let Some(content) = content {
                first.insert(content, item);
            }
            tidied.bytes += cost;
        }
        self.folder.sync().map_err(store("sync"))?;
        self.bytes.store(tidied.bytes, Ordering::Relaxed);
        Ok(tidied)
    }

    /// Whether more may be kept than the limit allows: time to tidy.
    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limits.max_bytes
    }

    /// Lets `item` share the bytes of `twin`, unless it does already, or one of them is not what its note says.
    fn share(&self, twin: &Item, item: &Item) -> Result<bool, KeepError> {
        let (from, to) = (twin.id.data(), item.id.data());
        let stat = |name: &str| self.folder.stat(name.as_ref()).map_err(store("look at a kept file"));
        let (Some(a), Some(b)) = (stat(&from)?, stat(&to)?) else { return Ok(false) };
        if a.identity.inode == b.identity.inode {
            return Ok(false);
        }
        let is_what_it_says = |item: &Item| self.bytes(&item.id).is_ok();
        if !is_what_it_says(twin) || !is_what_it_says(item) {
            return Ok(false);
        }
        // Recovery tells what was moved here from what never became live by its inode. From now on it has that
        // of another item, which may once have been what took this one's place.
        if item.stage != (Stage::Copied { trial: false }) {
            let note = Item { stage: Stage::Copied { trial: false }, ..item.clone() };
            self.write_note(&note)?;
        }
        self.folder.link_over(from.as_ref(), to.as_ref()).map_err(store("share a kept file"))?;
        Ok(true)
    }
}

/// What may be shared: owner, mode and attributes are in the note, so equal bytes are all that counts.
fn content(item: &Item) -> Option<Content> {
    match &item.what {
        What::File { content, .. } => *content,
        What::Text { content, .. } => Some(*content),
        What::Directory { .. } | What::Link { .. } | What::Other { .. } | What::Nothing => None,
    }
}
