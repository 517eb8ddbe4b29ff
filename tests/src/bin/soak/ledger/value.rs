//! A value as clients of the soak write it: which session it belongs to, its number among the writes of that session, and
//! who wrote it. So whoever reads it knows whether it belongs where it is.

/// See the module page. As text it is `session.number.writer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The session, by the name the soak gave it, which a rename does not change.
    pub session: String,
    /// Its number among all writes of the session, from 1.
    pub number: u64,
    /// The client that wrote it.
    pub writer: String,
}

impl Value {
    /// Reads the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (session, number, writer) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            session: session.to_owned(),
            number: number.parse().ok()?,
            writer: writer.to_owned(),
        })
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.session, self.number, self.writer)
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn a_value_reads_as_it_was_written_and_nothing_else_reads_as_one() {
        let value = Value {
            session: "u7".into(),
            number: 12,
            writer: "user3".into(),
        };
        assert_eq!(Value::parse(&value.to_string()), Some(value));
        for text in ["", "u7", "u7.x.user3", "u7.1", "u7.1.user3.more"] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }
}
