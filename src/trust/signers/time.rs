//! Times as OpenSSH writes them: `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`; of UTC with a `Z` behind, else of
//! the host's own zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Seconds since 1970, if it is a time that there is. 1970 itself is none: OpenSSH takes zero for "not said".
pub(super) fn seconds(text: &str, zone: &TimeZone) -> Option<i64> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, zone.clone()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i16>().ok());
    let narrow = |from, to| part(from, to).and_then(|number| i8::try_from(number).ok());
    let civil = DateTime::new(
        part(0, 4)?,
        narrow(4, 6)?,
        narrow(6, 8)?,
        narrow(8, 10)?,
        narrow(10, 12)?,
        narrow(12, 14)?,
        0,
    );
    let at = zone.to_timestamp(civil.ok()?).ok()?.as_second();
    (at > 0).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_minutes_and_seconds_of_utc_and_of_the_host() {
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(seconds("20240101Z", &east), Some(1_704_067_200));
        assert_eq!(seconds("20240101", &east), Some(1_704_067_200 - 7200));
        assert_eq!(seconds("202401010203Z", &east), Some(1_704_067_200 + 7380));
        assert_eq!(seconds("20240101020304Z", &east), Some(1_704_067_200 + 7384));
        for wrong in [
            "",
            "Z",
            "2024",
            "20241301Z",
            "20240230",
            "2024010125Z",
            "202401012560Z",
            "+0240101",
            "19700101Z",
        ] {
            assert_eq!(seconds(wrong, &east), None, "{wrong}");
        }
    }
}
