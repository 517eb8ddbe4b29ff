//! The Prometheus text format, version 0.0.4: families with their help and type, each with its samples together.

use std::fmt::{Display, Write as _};

/// A page of families, in the order they were opened.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// A family that samples are added to; the next one may be opened once this is dropped.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    /// Opens a family of gauges.
    pub(super) fn gauges(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Opens a family of counters.
    pub(super) fn counters(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// One gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauges(name, help).sample(&[], value);
    }

    /// One counter without labels.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.counters(name, help).sample(&[], value);
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n"); // a string takes it
        Family { page: self, name }
    }

    /// The page as text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(text, "{before}{label}=\"{}\"", escape(value)); // a string takes it
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}"); // a string takes it
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_type_and_samples() {
        let mut page = Page::default();
        page.counter("a_total", "what a counts", 3);
        let mut family = page.gauges("b", "what b measures");
        family.sample(&[("of", "x\"\\\n"), ("at", "y")], 0.5);
        family.sample(&[("of", "z")], -1);
        let expected = "# HELP a_total what a counts\n# TYPE a_total counter\na_total 3\n\
             # HELP b what b measures\n# TYPE b gauge\n\
             b{of=\"x\\\"\\\\\\n\",at=\"y\"} 0.5\nb{of=\"z\"} -1\n";
        assert_eq!(page.into_text(), expected);
    }
}
