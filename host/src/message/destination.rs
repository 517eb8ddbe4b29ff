//! The list that a filter writes into `x-limpet-destination`: `ip:port[,ip:port...]`, best first.
//!
//! It is read as Envoy's `override_host` policy reads its header: the first line only, split at commas, each entry
//! trimmed. Whether an entry is a worker of the cluster is left to `upstream`.

/// The most entries that are looked at; further ones are ignored.
pub const ENTRIES_MAX: usize = 16;

/// The non-empty entries of `value`, in order, at most [`ENTRIES_MAX`].
pub fn entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .take(ENTRIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &[&str]) {
        let found: Vec<_> = entries(value.as_bytes())
            .map(|e| std::str::from_utf8(e).unwrap())
            .collect();
        assert_eq!(found, expected, "{value:?}");
    }

    #[test]
    fn split_and_trimmed() {
        check("10.0.0.1:80", &["10.0.0.1:80"]);
        check(" 10.0.0.1:80 ,\t[::1]:81,", &["10.0.0.1:80", "[::1]:81"]);
        check(",, ,", &[]);
        check("", &[]);
    }

    #[test]
    fn bounded() {
        let long = vec!["1.1.1.1:1"; 100].join(",");
        assert_eq!(entries(long.as_bytes()).count(), ENTRIES_MAX);
    }
}
