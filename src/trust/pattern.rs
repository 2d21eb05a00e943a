//! Lists of patterns as OpenSSH has them (ssh_config(5), PATTERNS): `*` and `?`, commas between, `!` before to deny.

/// Whether a name is in a list: some pattern fits and no denying one does. Case counts.
pub(super) fn in_list(name: &str, list: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(denied) if fits(name.as_bytes(), denied.as_bytes()) => return false,
            Some(_) => {}
            None => found |= fits(name.as_bytes(), pattern.as_bytes()),
        }
    }
    found
}

/// Whether a name fits a pattern. In steps of a product of both lengths at most, whatever the pattern.
fn fits(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and up to where of the name it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(read) {
            Some(b'*') => {
                star = Some((read, at));
                read += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[at] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((stands, eaten)) = star else { return false };
                star = Some((stands, eaten + 1));
                (read, at) = (stands + 1, eaten + 1);
            }
        }
    }
    pattern[read..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::in_list;

    #[test]
    fn stars_marks_commas_and_denials() {
        assert!(in_list("ada@example.org", "ada@example.org"));
        assert!(in_list("ada@example.org", "*@example.org"));
        assert!(in_list("ada@example.org", "bob@*,a?a@*"));
        assert!(!in_list("ada@example.org", "*@example.org,!ada@*"));
        assert!(!in_list("ada@example.org", "!bob@*"), "denials alone let nobody in");
        assert!(!in_list("ADA@example.org", "ada@*"), "case counts");
        assert!(in_list("aaab", "*a*b") && !in_list("aaac", "*a*b"));
        assert!(!in_list(&"a".repeat(2000), &format!("{}b", "*a".repeat(500))), "and ends soon");
    }
}
