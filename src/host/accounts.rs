//! Names of users and groups.

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
