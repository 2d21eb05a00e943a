//! Names of owners, asked once a look.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::host::accounts::Accounts;

/// Users or groups: the same thing twice.
#[derive(Default)]
struct Names {
    by_name: HashMap<Arc<str>, Option<u32>>,
    by_id: HashMap<u32, Arc<str>>,
    /// The last answer: neighbours mostly have the same owner.
    last: Option<(u32, Arc<str>)>,
}

/// The names one look at the host meets.
pub(super) struct Owners<'a> {
    accounts: &'a dyn Accounts,
    users: Names,
    groups: Names,
}

impl<'a> Owners<'a> {
    pub(super) fn new(accounts: &'a dyn Accounts) -> Self {
        Owners { accounts, users: Names::default(), groups: Names::default() }
    }

    /// The name of an owner: the one that is wanted if it means this number, else the account's own, else the
    /// number.
    pub(super) fn user(&mut self, uid: u32, wanted: Option<&Arc<str>>) -> Arc<str> {
        let accounts = self.accounts;
        self.users.name(uid, wanted, |name| uid_of(accounts, name), |uid| accounts.user(uid))
    }

    /// The same of a group.
    pub(super) fn group(&mut self, gid: u32, wanted: Option<&Arc<str>>) -> Arc<str> {
        let accounts = self.accounts;
        self.groups.name(gid, wanted, |name| gid_of(accounts, name), |gid| accounts.group(gid))
    }

    /// Asks for names that a look did not meet, because nothing is there to be owned yet.
    pub(super) fn want(&mut self, owner: &str, group: &str) {
        let accounts = self.accounts;
        self.users.id(owner, |name| uid_of(accounts, name));
        self.groups.id(group, |name| gid_of(accounts, name));
    }

    /// The names that were wanted and are not there, as a person says them.
    pub(super) fn missing(&self) -> BTreeSet<String> {
        let of = |names: &Names, word: &str| -> Vec<String> {
            let missing = names.by_name.iter().filter(|(_, id)| id.is_none());
            missing.map(|(name, _)| missing_name(word, name)).collect()
        };
        of(&self.users, "user").into_iter().chain(of(&self.groups, "group")).collect()
    }
}

impl Names {
    fn name(
        &mut self,
        id: u32,
        wanted: Option<&Arc<str>>,
        number: impl Fn(&str) -> Option<u32>,
        name: impl Fn(u32) -> Option<String>,
    ) -> Arc<str> {
        if let (Some((last, said)), Some(wanted)) = (&self.last, wanted)
            && *last == id
            && said == wanted
        {
            return Arc::clone(wanted);
        }
        if let Some(wanted) = wanted
            && self.id(wanted, number) == Some(id)
        {
            self.last = Some((id, Arc::clone(wanted)));
            return Arc::clone(wanted);
        }
        let known = self.by_id.entry(id);
        Arc::clone(known.or_insert_with(|| name(id).unwrap_or_else(|| id.to_string()).into()))
    }

    fn id(&mut self, name: &str, number: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        match self.by_name.entry(Arc::from(name)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(number(name)),
        }
    }
}

/// How a missing name is said: `user shop`.
pub(super) fn missing_name(word: &str, name: &str) -> String {
    format!("{word} {name}")
}

/// The number a declared owner means: a name's, or its own if it is written as one.
pub(super) fn uid_of(accounts: &dyn Accounts, name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| accounts.uid(name))
}

/// The same of a group.
pub(super) fn gid_of(accounts: &dyn Accounts, name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| accounts.gid(name))
}
