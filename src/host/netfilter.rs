//! The kernel's packet filter: its generation id, which moves with every change of any table.

/// Asks the kernel.
pub trait Netfilter: Send + Sync {
    /// The generation id of this network namespace's rule set. Equal ids mean that nothing changed in between
    /// (microseconds, where a listing costs milliseconds and a process).
    fn generation(&self) -> std::io::Result<u32>;
}
