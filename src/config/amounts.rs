//! Spans of time as people write them.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads `90s`, `15m`, `2h`, `1d`, `1h30m`: units from large to small, each at most once, whole seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || {
        format!(
            "`{}` is no span of time: write it as \"90s\", \"15m\", \"2h\" or \"1h30m\"",
            text.escape_debug()
        )
    };
    let mut seconds: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| fault())?;
        let unit = rest[digits..].chars().next().ok_or_else(fault)?;
        let (_, size) = units.by_ref().find(|(name, _)| *name == unit).ok_or_else(fault)?;
        seconds = number.checked_mul(*size).and_then(|more| seconds.checked_add(more)).ok_or_else(fault)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    if text.is_empty() { Err(fault()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Shows a span as [`duration`] reads it, in its two largest units: `2h`, `1h30m`, `3d4h`. Less than a second
/// is `0s`.
pub fn show_duration(span: Duration) -> String {
    let mut left = span.as_secs();
    let mut parts = Vec::new();
    for (name, size) in UNITS {
        let count = left / size;
        left %= size;
        if count > 0 {
            parts.push(format!("{count}{name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("2h", 7_200), ("1h30m", 5_400), ("1d2h3m4s", 93_784), ("0s", 0)]
        {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "5", "m", "1x", "-1s", "1m1h", "1m2m", "1.5h", "99999999999999999999d", "1 h", "١s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        let shown = |seconds| show_duration(Duration::from_secs(seconds));
        assert_eq!(
            [0, 59, 60, 90, 3_600, 5_400, 93_784].map(shown),
            ["0s", "59s", "1m", "1m30s", "1h", "1h30m", "1d2h"]
        );
        assert_eq!(shown(86_400 + 5), "1d");
    }
}
