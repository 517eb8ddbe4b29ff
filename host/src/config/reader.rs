//! A reader of one TOML table that collects problems: a wrong type, a missing key, an unknown key.
//!
//! Reading goes on after a problem, so that one run shows all of them. What the values mean is left to `resolve`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use toml::{Table, Value};

use super::{Problem, units};

/// The problems found so far, shared by the readers of all tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems(Rc<RefCell<Vec<Problem>>>);

impl Problems {
    pub(super) fn add(&self, key: impl Into<String>, what: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            key: key.into(),
            what: what.into(),
        });
    }

    pub(super) fn take(&self) -> Vec<Problem> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// One table being read. Whatever was not taken when it is dropped is an unknown key.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    table: Table,
    problems: Problems,
    known: Vec<&'static str>,
}

impl Reader {
    pub(super) fn new(path: String, table: Table, problems: &Problems) -> Self {
        Self {
            path,
            table,
            problems: problems.clone(),
            known: Vec::new(),
        }
    }

    /// The full path of `key`.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn problem(&self, key: &str, what: impl Into<String>) {
        self.problems.add(self.key(key), what);
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, &other, "a string"),
        }
    }

    pub(super) fn required(&mut self, key: &'static str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.problem(key, "is missing");
            return None;
        }
        self.string(key)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.value(key)? {
            Value::Boolean(value) => Some(value),
            other => self.wrong(key, &other, "true or false"),
        }
    }

    /// A whole number in `range`.
    pub(super) fn number(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        match self.value(key)? {
            Value::Integer(number) if range.contains(&number) => Some(number),
            Value::Integer(number) => {
                self.problem(
                    key,
                    format!("{number} is not from {} to {}", range.start(), range.end()),
                );
                None
            }
            other => self.wrong(key, &other, "a whole number"),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.string(key)?;
        units::duration(&text)
            .map_err(|what| self.problem(key, what))
            .ok()
    }

    pub(super) fn size(&mut self, key: &'static str) -> Option<usize> {
        let text = self.string(key)?;
        units::size(&text).map_err(|what| self.problem(key, what)).ok()
    }

    /// Text that `T` reads, such as a socket address.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, key: &'static str, what: &str) -> Option<T> {
        let text = self.required(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem(key, format!("{text:?} is no {what}"));
        }
        parsed
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        match self.value(key)? {
            Value::Table(table) => Some(Self::new(self.key(key), table, &self.problems)),
            other => self.wrong(key, &other, "a table"),
        }
    }

    /// The tables of an array, `[[key]]` or `[{..}]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => self.elements(key, values),
            Some(other) => self.wrong(key, &other, "an array of tables").unwrap_or_default(),
        }
    }

    pub(super) fn elements(&self, key: &str, values: Vec<Value>) -> Vec<Self> {
        let mut tables = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.key(key));
            match value {
                Value::Table(table) => tables.push(Self::new(path, table, &self.problems)),
                other => self
                    .problems
                    .add(path, format!("expected a table, found {}", other.type_str())),
            }
        }
        tables
    }

    pub(super) fn wrong<T>(&self, key: &str, found: &Value, expected: &str) -> Option<T> {
        self.problem(key, format!("expected {expected}, found {}", found.type_str()));
        None
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for key in self.table.keys() {
            let known = self.known.join(", ");
            self.problem(key, format!("is not known here; known are {known}"));
        }
    }
}
