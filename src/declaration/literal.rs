//! From a place within a decoded TOML string back to the place in the file, past quotes and escapes.

/// Where the byte `at` of the decoded string stands in the source, which begins with the opening quote.
pub fn source_offset(literal: &str, at: usize) -> usize {
    for quote in ["\"\"\"", "'''"] {
        if let Some(body) = literal.strip_prefix(quote) {
            // A line break right behind the opening quotes belongs to them.
            let skipped = ["\r\n", "\n"].into_iter().find(|end| body.starts_with(end)).map_or(0, str::len);
            return 3 + skipped + walk(&body[skipped..], at, quote.starts_with('"'));
        }
    }
    match literal.strip_prefix(['"', '\'']) {
        Some(body) => 1 + walk(body, at, literal.starts_with('"')),
        None => at,
    }
}

fn walk(body: &str, at: usize, escapes: bool) -> usize {
    if !escapes {
        return at.min(body.len());
    }
    let (mut source, mut decoded) = (0, 0);
    while decoded < at && source < body.len() {
        let rest = &body[source..];
        let (read, written) = match rest.strip_prefix('\\') {
            Some(escape) => step(escape),
            None => rest.chars().next().map_or((1, 1), |c| (c.len_utf8(), c.len_utf8())),
        };
        source += read;
        decoded += written;
    }
    // What follows a line-ending backslash is not part of the string: the next character is behind it.
    while let Some(gap) = body.get(source..).and_then(|rest| rest.strip_prefix('\\')).and_then(line_gap) {
        source += 1 + gap;
    }
    source
}

/// How many bytes an escape takes in the source, and how many it stands for; `escape` is what follows the
/// backslash.
fn step(escape: &str) -> (usize, usize) {
    let digits = match escape.bytes().next() {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        _ => return line_gap(escape).map_or((2, 1), |gap| (1 + gap, 0)),
    };
    let code = escape.get(1..1 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
}

/// The length of the white space that a line-ending backslash swallows, if this is one.
fn line_gap(escape: &str) -> Option<usize> {
    let blank = escape.len() - escape.trim_start_matches([' ', '\t', '\r', '\n']).len();
    escape[..blank].contains('\n').then_some(blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `literal` with the real parser and holds every offset of the decoded string to its character.
    fn check(literal: &str, marks: &[(char, usize)]) {
        let document = format!("a = {literal}");
        let value: toml::Table = document.parse().unwrap();
        let decoded = value["a"].as_str().unwrap();
        for &(mark, expected) in marks {
            let at = decoded.find(mark).unwrap();
            assert_eq!(source_offset(literal, at), expected, "{mark} in {literal}");
        }
    }

    #[test]
    fn offsets_pass_over_quotes_and_escapes() {
        check("\"aXb\"", &[('X', 2)]);
        check("'a\\X'", &[('X', 3)]);
        check("\"\\t\\\\X\"", &[('X', 5)]);
        check("\"\\u00fcX\\U0001F600Y\"", &[('X', 7), ('Y', 18)]);
        check("\"\\xe4X\"", &[('X', 5)]);
        check("\"üX\"", &[('X', 3)]);
        check("\"\"\"\na\nX\"\"\"", &[('a', 4), ('X', 6)]);
        check("'''\r\naX'''", &[('X', 6)]);
        check("\"\"\"a \\\n   X\"\"\"", &[('X', 10)]);
        check("\"\"\"\\\n  \n X\"\"\"", &[('X', 9)]);
    }

    #[test]
    fn what_is_no_literal_is_taken_as_it_is() {
        assert_eq!(source_offset("bare", 2), 2);
        assert_eq!(source_offset("\"", 5), 1);
        assert_eq!(source_offset("\"\\", 5), 3);
    }
}
