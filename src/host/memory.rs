//! Memory given back.

/// Gives freed memory back to the system. A pass or a fetch over thousands of resources leaves the allocator
/// with pages that a quiet daemon has no use for.
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
