//! Durations ("500ms") and sizes ("64MiB") as text: a whole number and a unit, never a bare number.

use std::time::Duration;

/// Reads a duration; units `ms`, `s`, `m`, `h`, `d`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("\"{text}\" is no duration; write for example \"500ms\", \"3s\", \"30m\", \"1h\"");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(expected)
}

/// Reads a size in bytes; units `B`, `KiB`, `MiB`, `GiB`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("\"{text}\" is no size; write for example \"512KiB\", \"64MiB\"");
    let (number, unit) = split(text).ok_or_else(expected)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    number.checked_mul(factor).ok_or_else(expected)
}

/// A size as [`bytes`] reads it, in the largest unit that divides it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = |(factor, _): &(u64, _)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (factor, unit) = units.into_iter().find(whole).unwrap_or((1, "B"));
    format!("{}{unit}", bytes / factor)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2 h"), Ok(Duration::from_secs(7200)));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        for written in ["1B", "1025B", "64KiB", "16GiB"] {
            assert_eq!(size_text(bytes(written).unwrap()), written);
        }
        for bad in [
            "",
            "5",
            "ms",
            "-1s",
            "1.5s",
            "5 weeks",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["64", "64MB", "99999999999999999GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
