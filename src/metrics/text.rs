//! Prometheus' text format, version 0.0.4: `# HELP`, `# TYPE`, then a line a sample.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write;

use super::family::{Family, Sort};
use super::histogram::Histogram;
use crate::model::escape;

/// A page while it is written.
#[derive(Default)]
pub(super) struct Text(String);

/// The samples of one metric; its heading comes with the first of them.
pub(super) struct Samples<'t> {
    text: &'t mut String,
    family: &'static Family,
    is_begun: bool,
}

impl Text {
    pub fn of(&mut self, family: &'static Family) -> Samples<'_> {
        Samples { text: &mut self.0, family, is_begun: false }
    }

    pub fn finish(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// A sample, with the values of the labels in their order.
    pub fn put(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, None, value);
    }

    /// The same if there is a value.
    pub fn maybe(&mut self, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.put(labels, value);
        }
    }

    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        for (bound, count) in histogram.up_to() {
            self.line("_bucket", labels, Some(&bound.to_string()), count as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.count as f64);
        self.line("_sum", labels, None, histogram.sum);
        self.line("_count", labels, None, histogram.count as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: f64) {
        let Family { name, sort, labels: names, help } = self.family;
        debug_assert_eq!(
            (labels.len(), bound.is_some() || suffix != "_bucket"),
            (names.len(), true),
            "{name}"
        );
        debug_assert!((*sort == Sort::Histogram) != suffix.is_empty(), "{name}{suffix}");
        if !self.is_begun {
            self.is_begun = true;
            // The words are ours: no line break in them.
            let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {}\n", sort.word());
        }
        let pairs = names.iter().copied().zip(labels.iter().copied());
        let mut before = '{';
        let _ = write!(self.text, "{name}{suffix}");
        for (label, value) in pairs.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{before}{label}=\"");
            quote(self.text, value);
            self.text.push('"');
            before = ',';
        }
        self.text.push_str(if before == ',' { "} " } else { " " });
        let _ = writeln!(self.text, "{value}");
    }
}

/// The value of a label. What a terminal would obey is shown first: pages are looked at with curl.
fn quote(text: &mut String, value: &str) {
    for c in escape::line(value).chars() {
        // No line break is left.
        if matches!(c, '\\' | '"') {
            text.push('\\');
        }
        text.push(c);
    }
}
