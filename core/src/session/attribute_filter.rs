//! A filter of attribute names: which attributes of a session are stored and replicated.
//!
//! Attributes that no pattern matches stay with the worker. Leaving them out of a change is the caller's part.

use regex::{RegexSet, RegexSetBuilder};

/// The most patterns.
const PATTERNS_MAX: usize = 64;
/// How large the patterns may become when they are compiled, in bytes; larger ones are refused.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// Regular expressions. A name is kept if one of them matches all of it.
#[derive(Debug, Clone, Default)]
pub struct AttributeFilter {
    patterns: Vec<String>,
    /// `None`: every name is kept.
    compiled: Option<RegexSet>,
}

/// A pattern that cannot be used; whoever wrote the configuration can correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// Which one of the list; `None` when it is all of them together.
    pub index: Option<usize>,
    /// Why.
    pub sentence: String,
}

impl AttributeFilter {
    /// Keeps the names that match one of `patterns`; every name when there are none.
    ///
    /// # Errors
    /// When a pattern is no regular expression, or there is too much of them.
    pub fn new(patterns: Vec<String>) -> Result<Self, BadPattern> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        if patterns.len() > PATTERNS_MAX {
            let sentence = format!("at most {PATTERNS_MAX} patterns are expected");
            return Err(BadPattern {
                index: None,
                sentence,
            });
        }
        for (index, pattern) in patterns.iter().enumerate() {
            // By itself first: `a)|(b` would be one within brackets.
            for text in [pattern, &whole(pattern)] {
                compile([text]).map_err(|sentence| BadPattern {
                    index: Some(index),
                    sentence,
                })?;
            }
        }
        let compiled = compile(patterns.iter().map(|pattern| whole(pattern)));
        let compiled = Some(compiled.map_err(|sentence| BadPattern {
            index: None,
            sentence,
        })?);
        Ok(Self { patterns, compiled })
    }

    /// Whether an attribute of this name is kept.
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        self.compiled.as_ref().is_none_or(|set| set.is_match(name))
    }
}

impl PartialEq for AttributeFilter {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for AttributeFilter {}

fn whole(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}

fn compile(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<RegexSet, String> {
    RegexSetBuilder::new(patterns)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "too large once compiled; write less repetition".into(),
            // Its last line says what is wrong, the ones before draw where.
            other => format!(
                "not a regular expression: {}",
                other.to_string().lines().last().unwrap_or_default()
            ),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> Result<AttributeFilter, BadPattern> {
        AttributeFilter::new(patterns.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_is_kept_if_one_pattern_matches_all_of_it() {
        let all = filter(&[]).unwrap();
        assert!(all.keeps("anything") && all.keeps(""));
        let some = filter(&["cart|user", r"step\d+"]).unwrap();
        for (name, kept) in [
            ("cart", true),
            ("user", true),
            ("step12", true),
            ("cartoon", false),
            ("my.user", false),
            ("step", false),
            ("step1\n", false),
            ("", false),
        ] {
            assert_eq!(some.keeps(name), kept, "{name:?}");
        }
        assert!(filter(&["(?i)CART"]).unwrap().keeps("cart"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_place() {
        for bad in ["(", "a)|(b", "[z-a]", r"\A(", "(?x) a # b"] {
            let refused = filter(&["fine", bad]).unwrap_err();
            assert_eq!(refused.index, Some(1), "{bad}: {refused:?}");
        }
        let many = vec!["a"; PATTERNS_MAX + 1];
        assert_eq!(filter(&many).unwrap_err().index, None);
        assert!(filter(&many[1..]).is_ok());
    }

    #[test]
    fn a_pattern_that_grows_without_measure_is_refused() {
        for bomb in [r"\w{1000}{1000}", "((a{100}){100}){100}"] {
            let refused = filter(&[bomb]).unwrap_err();
            assert!(refused.sentence.contains("too large"), "{refused:?}");
        }
    }
}
