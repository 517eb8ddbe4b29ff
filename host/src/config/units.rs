//! Durations (`"500ms"`, `"10s"`, `"30m"`, `"1h"`) and sizes (`"64KiB"`, `"64MiB"`) in their written form.

use std::time::Duration;

/// Reads a duration.
///
/// # Errors
/// A sentence that says what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration such as \"500ms\", \"10s\", \"30m\" or \"1h\"");
    let (number, unit) = split(text).ok_or_else(refuse)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(refuse)
}

/// Reads a size, in bytes.
///
/// # Errors
/// A sentence that says what is expected.
pub fn size(text: &str) -> Result<usize, String> {
    let refuse = || format!("{text:?} is no size such as \"64KiB\" or \"64MiB\"");
    let (number, unit) = split(text).ok_or_else(refuse)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(bytes)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(refuse)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "64", "64MB", "64mib"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
