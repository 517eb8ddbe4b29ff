//! One table of the file, read key by key.
//!
//! Every key that is read is taken out, so what is left over is unknown and reported. What keys mean belongs to the
//! tables' own files.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use toml::{Table, Value};

use super::Problem;
use crate::base::units;

/// A table and its place in the file. Dropping it with keys left reports them as unknown.
pub(super) struct Section {
    path: String,
    table: Table,
    known: Vec<String>,
    problems: Rc<RefCell<Vec<Problem>>>,
}

impl Section {
    pub(super) fn root(table: Table, problems: &Rc<RefCell<Vec<Problem>>>) -> Self {
        Self {
            path: String::new(),
            table,
            known: Vec::new(),
            problems: problems.clone(),
        }
    }

    /// Reports a problem with `key`.
    pub(super) fn problem(&self, key: &str, sentence: impl ToString) {
        let problem = Problem {
            key: self.at(key),
            sentence: sentence.to_string(),
        };
        self.problems.borrow_mut().push(problem);
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.table.remove(key)
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) {
        self.problem(key, format!("{expected} is expected, not {}", value.type_str()));
    }

    /// A table in this one; an empty one where there is none.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong(key, "a table", &other);
                Table::new()
            }
        };
        Self {
            path: self.at(key),
            table,
            known: Vec::new(),
            problems: self.problems.clone(),
        }
    }

    /// A table in this one, if there is one.
    pub(super) fn optional_section(&mut self, key: &str) -> Option<Self> {
        self.table
            .contains_key(key)
            .then(|| self.section(key))
            .or_else(|| {
                self.known.push(key.to_owned());
                None
            })
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&mut self, key: &str) -> Vec<Self> {
        let tables = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(tables)) => tables,
            Some(other) => {
                self.wrong(key, "an array of tables", &other);
                Vec::new()
            }
        };
        let mut sections = Vec::new();
        for (index, value) in tables.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.at(key));
            match value {
                Value::Table(table) => {
                    let problems = self.problems.clone();
                    sections.push(Self {
                        path,
                        table,
                        known: Vec::new(),
                        problems,
                    });
                }
                other => self.wrong(&format!("{key}[{index}]"), "a table", &other),
            }
        }
        sections
    }

    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(key, "a string", &other);
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, key: &str, example: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.known.push(key.to_owned());
            self.problem(key, format!("is missing; write for example {key} = {example}"));
            return None;
        }
        self.string(key)
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                self.wrong(key, "true or false", &other);
                default
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(&mut self, key: &str, least: i64, most: i64, default: i64) -> i64 {
        match self.take(key) {
            None => default,
            Some(Value::Integer(value)) if (least..=most).contains(&value) => value,
            Some(Value::Integer(value)) => {
                self.problem(
                    key,
                    format!("a number from {least} to {most} is expected, not {value}"),
                );
                default
            }
            Some(other) => {
                self.wrong(key, "a whole number", &other);
                default
            }
        }
    }

    /// A list of strings; one string is a list of one.
    pub(super) fn strings(&mut self, key: &str) -> Vec<String> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => {
                let mut strings = Vec::new();
                for (index, value) in values.into_iter().enumerate() {
                    match value {
                        Value::String(text) => strings.push(text),
                        other => self.wrong(&format!("{key}[{index}]"), "a string", &other),
                    }
                }
                strings
            }
            Some(other) => {
                self.wrong(key, "a list of strings", &other);
                Vec::new()
            }
        }
    }

    /// A string that `read` understands, or `default` where there is none.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match self.string(key).map(|text| read(&text)) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(sentence)) => {
                self.problem(key, sentence);
                default
            }
        }
    }

    /// A size in bytes from `least` to `most`.
    pub(super) fn size(&mut self, key: &str, default: u64, least: u64, most: u64) -> usize {
        let bytes = self.read(key, default, |text| {
            let bytes = units::bytes(text)?;
            if (least..=most).contains(&bytes) {
                Ok(bytes)
            } else {
                Err(format!(
                    "from {} to {} is expected",
                    units::size_text(least),
                    units::size_text(most)
                ))
            }
        });
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A duration between the two bounds.
    pub(super) fn period(&mut self, key: &str, default_ms: u64, least_ms: u64, most_ms: u64) -> Duration {
        let default = Duration::from_millis(default_ms);
        self.read(key, default, |text| period(text, least_ms, most_ms))
    }

    /// A duration between the two bounds, or `"never"`: `None`.
    pub(super) fn period_or_never(
        &mut self,
        key: &str,
        default_ms: u64,
        least_ms: u64,
        most_ms: u64,
    ) -> Option<Duration> {
        self.read(key, Some(Duration::from_millis(default_ms)), |text| {
            if text == "never" {
                return Ok(None);
            }
            let period = period(text, least_ms, most_ms).map(Some);
            period.map_err(|sentence| format!("{sentence}, or \"never\""))
        })
    }
}

fn period(text: &str, least_ms: u64, most_ms: u64) -> Result<Duration, String> {
    let value = units::duration(text)?;
    let (least, most) = (Duration::from_millis(least_ms), Duration::from_millis(most_ms));
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("from {least:?} to {most:?} is expected"))
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.table).keys() {
            self.problem(key, format!("unknown key; known here: {}", self.known.join(", ")));
        }
    }
}
