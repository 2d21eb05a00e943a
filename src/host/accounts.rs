//! Names of users and groups: of this system through the C library (so that LDAP and the like count), of an
//! offline root by reading its own files.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files::{FilesError, Identity, Root};

/// Looks up users and groups by name and by number.
pub trait Accounts: Send + Sync {
    /// The user id of a name.
    fn uid(&self, name: &str) -> Option<u32>;
    /// The group id of a name.
    fn gid(&self, name: &str) -> Option<u32>;
    /// The name of a user id.
    fn user(&self, uid: u32) -> Option<String>;
    /// The name of a group id.
    fn group(&self, gid: u32) -> Option<String>;
}

/// The accounts of the running system. What was found is remembered as long as the account files are the same
/// inodes with the same times; what was not found is asked again each time.
pub struct SystemAccounts {
    known: Mutex<Known>,
}

/// The files whose change makes us forget. Sources that are no files (LDAP) are asked anew with the first
/// change of any of these, and by a new process.
const SOURCES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

#[derive(Default)]
struct Known {
    proof: [Option<Identity>; SOURCES.len()],
    uids: HashMap<String, u32>,
    gids: HashMap<String, u32>,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl SystemAccounts {
    /// The accounts of the running system.
    pub fn new() -> Self {
        SystemAccounts { known: Mutex::new(Known::default()) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let proof = SOURCES.map(identity);
        if known.proof != proof {
            *known = Known { proof, ..Known::default() };
        }
        known
    }
}

impl Default for SystemAccounts {
    fn default() -> Self {
        SystemAccounts::new()
    }
}

impl Accounts for SystemAccounts {
    fn uid(&self, name: &str) -> Option<u32> {
        let ask = || users::get_user_by_name(name).map(|user| user.uid());
        remember(&mut self.known().uids, name, ask)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        let ask = || users::get_group_by_name(name).map(|group| group.gid());
        remember(&mut self.known().gids, name, ask)
    }

    fn user(&self, uid: u32) -> Option<String> {
        let ask = || users::get_user_by_uid(uid)?.name().to_str().map(str::to_owned);
        remember(&mut self.known().users, &uid, ask)
    }

    fn group(&self, gid: u32) -> Option<String> {
        let ask = || users::get_group_by_gid(gid)?.name().to_str().map(str::to_owned);
        remember(&mut self.known().groups, &gid, ask)
    }
}

/// Accounts by name and number, all at once: those of an offline root, and those of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedAccounts {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

/// An account file larger than this is not read.
const ACCOUNT_FILE_LIMIT: u64 = 16 << 20;

impl ListedAccounts {
    /// Users and groups as given.
    pub fn new(users: &[(&str, u32)], groups: &[(&str, u32)]) -> Self {
        let owned = |list: &[(&str, u32)]| list.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        ListedAccounts { users: owned(users), groups: owned(groups) }
    }

    /// What `etc/passwd` and `etc/group` of a root say; a missing file names nobody.
    pub fn read(root: &Root) -> Result<Self, FilesError> {
        let list = |path| {
            let bytes = root.read(path, ACCOUNT_FILE_LIMIT)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).lines().filter_map(account).collect())
        };
        Ok(ListedAccounts { users: list("/etc/passwd")?, groups: list("/etc/group")? })
    }
}

impl Accounts for ListedAccounts {
    fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    fn user(&self, uid: u32) -> Option<String> {
        self.users.iter().find(|(_, id)| *id == uid).map(|(name, _)| name.clone())
    }

    fn group(&self, gid: u32) -> Option<String> {
        self.groups.iter().find(|(_, id)| *id == gid).map(|(name, _)| name.clone())
    }
}

/// Name and number of a line of `passwd(5)` or `group(5)`: the first and the third field.
fn account(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let id = fields.nth(1)?.parse().ok()?;
    Some((name.to_owned(), id))
}

fn remember<K, Q, V>(known: &mut HashMap<K, V>, key: &Q, ask: impl FnOnce() -> Option<V>) -> Option<V>
where
    K: std::borrow::Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    V: Clone,
{
    if let Some(value) = known.get(key) {
        return Some(value.clone());
    }
    let value = ask()?;
    known.insert(key.to_owned(), value.clone());
    Some(value)
}

fn identity(path: &str) -> Option<Identity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    // Followed: on some systems nsswitch.conf is a link.
    let raw = rustix::fs::statx(CWD, Path::new(path), AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
    Some(super::files::Stat::from(&raw).identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::Attributes;

    fn assert_knows_root(accounts: &dyn Accounts) {
        assert_eq!(accounts.uid("root"), Some(0));
        assert_eq!(accounts.gid("root"), Some(0));
        assert_eq!(accounts.user(0).as_deref(), Some("root"));
        assert_eq!(accounts.group(0).as_deref(), Some("root"));
        assert_eq!(accounts.uid("no-such-user-here"), None);
        assert_eq!(accounts.gid("no-such-group-here"), None);
        assert_eq!(accounts.user(4_111_222_333), None);
        assert_eq!(accounts.group(4_111_222_333), None);
    }

    #[test]
    fn real_and_listed_accounts_answer_alike() {
        let system = SystemAccounts::new();
        assert_knows_root(&system);
        assert_knows_root(&system);
        assert_knows_root(&ListedAccounts::new(&[("root", 0)], &[("root", 0)]));
        assert_knows_root(&ListedAccounts::read(&Root::open("/").unwrap()).unwrap());
    }

    #[test]
    fn an_offline_root_is_asked_for_its_own_accounts() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert_eq!(ListedAccounts::read(&root).unwrap(), ListedAccounts::default());
        let owner = |mode| Attributes {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mode,
        };
        root.create_dir("/etc", owner(0o755)).unwrap();
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\nshop:x:2001:2002::/:/bin/sh\nbad:x:-1:0\n";
        root.write("/etc/passwd", passwd, owner(0o644)).unwrap();
        root.write("/etc/group", b"shop:x:2002:\n", owner(0o644)).unwrap();
        let accounts = ListedAccounts::read(&root).unwrap();
        assert_eq!(accounts, ListedAccounts::new(&[("root", 0), ("shop", 2001)], &[("shop", 2002)]));
    }
}
