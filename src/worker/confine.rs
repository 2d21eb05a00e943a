//! Gives up privileges, before anything untrusted is read.

use std::io;

use crate::host::privilege::{self, Limits};

/// The user of the workers. `sysusers.d` makes it when the package is installed.
pub const USER: &str = "agentd";

/// What a worker may still reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The network.
    Network,
    /// Not even that.
    Nothing,
}

/// Becomes the unprivileged user, with bounded resources. A process that is unprivileged already stays what it
/// is (a developer's own run); root without that user to become is an error.
pub fn confine(reach: Reach, limits: &Limits) -> io::Result<()> {
    privilege::limit(limits)?;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    if reach == Reach::Nothing {
        privilege::leave_network()?;
    }
    let (uid, gid) = user()?;
    privilege::become_user(uid, gid)
}

/// User and group that this process has, or would have once it gave up being root.
pub fn user() -> io::Result<(u32, u32)> {
    let ours = rustix::process::geteuid();
    if !ours.is_root() {
        return Ok((ours.as_raw(), rustix::process::getegid().as_raw()));
    }
    let user = users::get_user_by_name(USER).ok_or_else(|| {
        io::Error::other(format!(
            "there is no user `{USER}` to run as: install the package, or run systemd-sysusers"
        ))
    })?;
    Ok((user.uid(), user.primary_group_id()))
}
