//! Everything that is counted, as OpenMetrics 1.0.
//!
//! In: the families of the registry, and the last request of each bucket that
//! had a trace. Out: text with exemplars. The `prometheus` crate writes the older
//! format only. Source: the OpenMetrics specification, version 1.0.0.

use std::fmt::Write as _;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::usage::escape;

/// The name of the format.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The end of every exposition.
pub const EOF: &str = "# EOF\n";

/// The exemplar of a bucket, with its `# ` before it: of the family, its labels, and the number of the bucket.
pub(super) type Exemplars<'a> = &'a dyn Fn(&str, &[LabelPair], usize) -> Option<String>;

/// Appends families, without the end.
pub(super) fn append(text: &mut String, families: &[MetricFamily], exemplars: Exemplars<'_>) {
    for family in families {
        let kind = family.get_field_type();
        let name = match kind {
            MetricType::COUNTER => family.name().trim_end_matches("_total"),
            MetricType::GAUGE | MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => family.name(),
        };
        text.push_str("# HELP ");
        text.push_str(name);
        text.push(' ');
        escape(text, family.help());
        let word = match kind {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            // None of ours is.
            MetricType::SUMMARY | MetricType::UNTYPED => "unknown",
        };
        // Writing to a string does not fail.
        _ = writeln!(text, "\n# TYPE {name} {word}");
        for metric in family.get_metric() {
            match kind {
                MetricType::COUNTER => sample(text, &format!("{name}_total"), metric, metric.get_counter().get_value()),
                MetricType::GAUGE => sample(text, name, metric, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => histogram(text, name, metric, exemplars),
                MetricType::SUMMARY | MetricType::UNTYPED => {}
            }
        }
    }
}

fn histogram(text: &mut String, name: &str, metric: &Metric, exemplars: Exemplars<'_>) {
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket();
    let bucket = format!("{name}_bucket");
    let bounds = buckets.iter().map(|bucket| (number(bucket.upper_bound()), bucket.cumulative_count()));
    let all = bounds.chain([("+Inf".to_owned(), histogram.get_sample_count())]);
    for (index, (bound, count)) in all.enumerate() {
        if bound == "+Inf" && index < buckets.len() {
            continue;
        }
        labelled(text, &bucket, metric, Some(("le", &bound)));
        _ = write!(text, " {count}");
        if let Some(exemplar) = exemplars(name, metric.get_label(), index) {
            text.push_str(&exemplar);
        }
        text.push('\n');
    }
    sample(text, &format!("{name}_sum"), metric, histogram.get_sample_sum());
    sample(text, &format!("{name}_count"), metric, histogram.get_sample_count() as f64);
}

fn sample(text: &mut String, name: &str, metric: &Metric, value: f64) {
    labelled(text, name, metric, None);
    _ = writeln!(text, " {}", number(value));
}

fn labelled(text: &mut String, name: &str, metric: &Metric, more: Option<(&str, &str)>) {
    text.push_str(name);
    let own = metric.get_label().iter().map(|pair| (pair.name(), pair.value()));
    let mut open = '{';
    for (label, value) in own.chain(more) {
        _ = write!(text, "{open}{label}=\"");
        escape(text, value);
        text.push('"');
        open = ',';
    }
    if open == ',' {
        text.push('}');
    }
}

/// As both formats write numbers.
pub(super) fn number(value: f64) -> String {
    match value {
        _ if value == f64::INFINITY => "+Inf".to_owned(),
        _ if value == f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}
