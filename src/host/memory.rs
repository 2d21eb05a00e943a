//! Memory given back.

/// From this size on a piece of memory is the system's own, and goes back to it the moment it is freed.
const LARGE: libc::c_int = 128 << 10;

/// Makes the allocator one of a small daemon: to be called first of all. By default each thread gets a heap of its own,
/// which grows page by page and leaves holes of its own, and large pieces come to be kept for later. Our threads rarely
/// work at the same time.
#[allow(unsafe_code)]
pub fn be_small() {
    // SAFETY: mallopt takes two numbers; no other thread runs yet (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Gives freed memory back to the system. A pass or a fetch over thousands of resources leaves the allocator
/// with pages that a quiet daemon has no use for.
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
