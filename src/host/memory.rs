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

/// The same, and lets go of the program's own pages: before a long rest, since what runs once in a quarter of an hour
/// need not stay mapped meanwhile. They stay in the page cache as long as there is room, and come back by the sixteen
/// at the first touch.
pub fn rest() {
    give_back();
    // What can't be read or let go of stays as it is.
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in clean(&maps) {
        let_go(start, length);
    }
}

#[allow(unsafe_code)]
fn let_go(start: usize, length: usize) {
    // SAFETY: the pages of a mapping of a file that no one wrote to are the file's: what touches them next reads the
    // same from there (madvise(2), MADV_DONTNEED).
    unsafe {
        libc::madvise(std::ptr::without_provenance_mut(start), length, libc::MADV_DONTNEED);
    }
}

/// Address and length of each mapping of a file that nobody can write to and nobody has written to (relocated tables
/// were), in the form of /proc/PID/smaps (proc(5)).
fn clean(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Anonymous:") if words.next() == Some("0") => found.extend(at.take()),
            Some(word) if !word.ends_with(':') => at = file_mapping(word, words),
            Some(_) | None => {}
        }
    }
    found
}

/// `7f00-7f80 r-xp 00000000 08:01 42 /usr/sbin/agentd`
fn file_mapping<'a>(range: &str, mut rest: impl Iterator<Item = &'a str>) -> Option<(usize, usize)> {
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let is_read_only = matches!(rest.next()?, "r-xp" | "r--p");
    let is_file = rest.nth(3).is_some_and(|path| path.starts_with('/'));
    (is_read_only && is_file).then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r-xp 00001000 08:01 42                         /usr/sbin/agentd
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r--p 00003000 08:01 42                         /usr/sbin/agentd
Anonymous:             4 kB
4000-5000 rw-p 00004000 08:01 42                         /usr/sbin/agentd
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffe000-7fff000 r-xp 00000000 00:00 0                      [vdso]
Anonymous:             0 kB
8000-9000 r--s 00000000 08:01 43                         /run/table
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_the_files_alone_is_let_go() {
        assert_eq!(clean(SMAPS), [(0x1000, 0x2000)]);
    }

    #[test]
    fn a_program_that_let_go_of_its_pages_runs_on() {
        let size = || {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let (mut code, mut sum) = (false, 0);
            for line in maps.lines() {
                let mut words = line.split_ascii_whitespace();
                match words.next().unwrap() {
                    "Rss:" if code => sum += words.next().unwrap().parse::<u64>().unwrap(),
                    word if !word.ends_with(':') => code = file_mapping(word, words).is_some(),
                    _ => {}
                }
            }
            sum
        };
        let before = size();
        rest();
        let after = size();
        assert!(after < before, "{after} kB of {before} kB are still there");
    }
}
