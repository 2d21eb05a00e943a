//! Durations and sizes as people write them.

use std::time::Duration;

/// `90s`, `15m`, `2h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no duration: write 90s, 15m, 2h or 7d");
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 24 * 3600),
        Some(_) | None => return Err(fault()),
    };
    let number: u64 = number.parse().map_err(|_| fault())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(fault)
}

/// `512KiB`, `64MiB`, `1GiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is no size: write 512KiB, 64MiB or 1GiB");
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))).ok_or_else(fault)?;
    let number: u64 = number.parse().map_err(|_| fault())?;
    number.checked_mul(1 << shift).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_written() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for text in ["", "s", "1", "-1s", "1.5h", "1w", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "1", "MiB", "1MB", "-1KiB", "99999999999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
