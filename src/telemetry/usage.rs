//! Usage per tenant, in Prometheus' words.
//!
//! In: totals by tenant and route. Out: text, in the older format or as
//! OpenMetrics. Not through the `prometheus` crate: a thousand tenants on fifty
//! routes would be half a million objects with a million texts at each scrape.

use std::fmt::Write as _;

use crate::exchange::usage::{TenantTotals, Used};

use super::names::{self, Family};

/// In which of two languages Prometheus is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// `application/openmetrics-text`, version 1.0.0.
    OpenMetrics,
    /// `text/plain`, version 0.0.4.
    Text,
}

/// A family with one number for each tenant and route.
type Sum = (Family, fn(&Used) -> u64);

const COUNTS: [Sum; 7] = [
    (names::TENANT_REFUSALS, |used| used.refusals),
    (names::TENANT_RETRIES, |used| used.retries),
    (names::TENANT_REQUEST_BYTES, |used| used.request_bytes),
    (names::TENANT_RESPONSE_BYTES, |used| used.response_bytes),
    (names::TENANT_ROWS_READ, |used| used.rows_read),
    (names::TENANT_BYTES_READ, |used| used.bytes_read),
    (names::TENANT_UNMEASURED, |used| used.unmeasured),
];
const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Appends every family that has something to tell. What is zero is left out, as it is before the first of its kind.
pub fn append<'a>(
    text: &mut Vec<u8>,
    rows: impl Iterator<Item = (&'a str, &'a str, &'a TenantTotals)>,
    exposition: Exposition,
) {
    let rows: Vec<(String, &TenantTotals)> =
        rows.map(|(tenant, route, totals)| (labels(tenant, route), totals)).collect();
    head(text, names::TENANT_REQUESTS, exposition);
    for (labels, totals) in &rows {
        for (class, requests) in CLASSES.iter().zip(totals.classes).filter(|(_, requests)| *requests > 0) {
            let class = [",class=\"", class, "\"} "].concat();
            line(text, (names::TENANT_REQUESTS.name, labels, &class), requests);
        }
    }
    for (family, number) in COUNTS {
        head(text, family, exposition);
        for (labels, totals) in &rows {
            let number = number(&totals.used);
            if number > 0 {
                line(text, (family.name, labels, "} "), number);
            }
        }
    }
    head(text, names::TENANT_UPSTREAM_SECONDS, exposition);
    for (labels, totals) in &rows {
        let micros = totals.used.upstream_micros;
        if micros > 0 {
            let seconds = format!("{}.{:06}\n", micros / 1_000_000, micros % 1_000_000);
            for part in [names::TENANT_UPSTREAM_SECONDS.name, labels, "} ", &seconds] {
                text.extend_from_slice(part.as_bytes());
            }
        }
    }
}

/// `# HELP` and `# TYPE` of a counter.
fn head(text: &mut Vec<u8>, Family { name, help, .. }: Family, exposition: Exposition) {
    let name = match exposition {
        Exposition::OpenMetrics => name.trim_end_matches("_total"),
        Exposition::Text => name,
    };
    text.extend_from_slice(format!("# HELP {name} {help}\n# TYPE {name} counter\n").as_bytes());
}

fn line(text: &mut Vec<u8>, (name, labels, end): (&str, &str, &str), number: u64) {
    let mut digits = itoa::Buffer::new();
    for part in [name, labels, end, digits.format(number), "\n"] {
        text.extend_from_slice(part.as_bytes());
    }
}

/// The labels without their end, where another may follow.
fn labels(tenant: &str, route: &str) -> String {
    let mut text = String::with_capacity(tenant.len() + route.len() + 24);
    text.push_str("{tenant=\"");
    escape(&mut text, tenant);
    text.push_str("\",route=\"");
    escape(&mut text, route);
    text.push('"');
    text
}

/// As both formats have it.
pub(super) fn escape(text: &mut String, raw: &str) {
    for c in raw.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => _ = text.write_char(c),
        }
    }
}
