//! Form data, in a query or a body: `name=value&name=value` with percent escapes and `+` for a space.

/// The pairs of `text`, in order. What is not valid UTF-8 after unescaping becomes the replacement character.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescaped(name), unescaped(value))
        })
        .collect()
}

/// The first value of `name` in a query.
pub(crate) fn value(query: Option<&str>, name: &str) -> Option<String> {
    pairs(query?)
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                    (Some(high), Some(low)) => {
                        bytes.push(high << 4 | low);
                        rest = ahead;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::{pairs, value};

    #[test]
    fn escapes_are_undone_and_broken_ones_stay() {
        assert_eq!(
            pairs("a=1+2&b=%C3%A9&c=%zz&d"),
            [
                ("a".into(), "1 2".into()),
                ("b".into(), "é".into()),
                ("c".into(), "%zz".into()),
                ("d".into(), String::new()),
            ]
        );
        assert_eq!(value(Some("x=1&x=2"), "x").as_deref(), Some("1"));
        assert_eq!(value(None, "x"), None);
    }
}
