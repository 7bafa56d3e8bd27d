//! Limits in words, for operators.
//!
//! In: a limit as it is written, whom it counts, how much there is. Out: text
//! without anything that a terminal would obey. Not here: what callers are told
//! (`report`).

use std::net::IpAddr;
use std::time::Duration;

use crate::config::section::limits::{Cost, Dimension, Limit as Section};
use crate::state::counters::Rule;
use crate::state::counters::bucket::Value;

use super::Subject;

/// What a limit lets in: `50/s, 100 at once`; `500GB/day (bytes_read)`.
pub fn allows(section: &Section) -> String {
    match (section.rate, section.quota) {
        (Some(rate), _) => format!("{rate}, {} at once", section.burst.unwrap_or(rate.count()).max(1)),
        (None, Some(quota)) if section.cost.is_one() => quota.to_string(),
        (None, Some(quota)) => format!("{quota} ({})", section.cost),
        (None, None) => "anything".to_owned(),
    }
}

/// What a limit counts, in one word.
pub fn unit(rule: &Rule) -> &'static str {
    match rule {
        Rule::Rate(_) => "requests",
        Rule::Quota(allowance) => match allowance.cost {
            Cost::BytesRead | Cost::ResponseBytes => "bytes",
            Cost::One => "requests",
            Cost::RowsRead => "rows",
            Cost::Seconds => "microseconds",
        },
    }
}

/// How much of what a limit counts.
pub fn amount(rule: &Rule, units: u64) -> String {
    match rule {
        Rule::Rate(_) => units.to_string(),
        Rule::Quota(allowance) => match allowance.cost {
            Cost::BytesRead | Cost::ResponseBytes => bytes(units),
            Cost::One | Cost::RowsRead => units.to_string(),
            Cost::Seconds => span(Duration::from_micros(units)),
        },
    }
}

/// Bytes in the largest unit that leaves something before the point: `463.2GB`.
fn bytes(bytes: u64) -> String {
    let units = ["KB", "MB", "GB", "TB", "PB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for larger in units {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1_000;
        unit = larger;
    }
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        rest => format!("{}.{rest}{unit}", tenths / 10),
    }
}

/// A time in its two largest units. Up to an hour it is rounded up, so that who waits as long has waited long enough.
pub fn span(time: Duration) -> String {
    if time.is_zero() {
        return "0s".to_owned();
    }
    if time < Duration::from_secs(1) {
        return format!("{}ms", time.as_nanos().div_ceil(1_000_000).max(1));
    }
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: u64, name: char, small: u64, other: char| match small {
        0 => format!("{large}{name}"),
        small => format!("{large}{name} {small}{other}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, 'm', seconds % 60, 's'),
        (0, hours, minutes) => two(hours, 'h', minutes, 'm'),
        (days, hours, _) => two(days, 'd', hours, 'h'),
    }
}

/// Whose count it is: `tenant acme, route /top`.
pub fn who(dimensions: &[Dimension], subject: &Subject<'_>) -> String {
    let parts: Vec<String> = dimensions.iter().map(|dimension| part(*dimension, subject)).collect();
    parts.join(", ")
}

fn part(dimension: Dimension, subject: &Subject<'_>) -> String {
    match (dimension, value(dimension, subject)) {
        (Dimension::Gateway, _) => "everybody together".to_owned(),
        (dimension, Some(value)) => format!("{} {value}", dimension.word()),
        (Dimension::Caller, None) => "who shows no credential".to_owned(),
        (Dimension::Host, None) => "hosts that are not served".to_owned(),
        (Dimension::Ip, None) => "no address".to_owned(),
        (Dimension::Route, None) => "paths that are not served".to_owned(),
        (Dimension::Tenant, None) => "who has no tenant".to_owned(),
    }
}

/// What tells a subject apart in one dimension, where it is known.
pub fn value(dimension: Dimension, subject: &Subject<'_>) -> Option<String> {
    let text = match dimension {
        Dimension::Gateway => None,
        Dimension::Host => subject.host.map(ToOwned::to_owned),
        Dimension::Route => subject.route.map(|(host, key)| match host {
            "" => key.to_owned(),
            host => format!("{key} of {host}"),
        }),
        Dimension::Tenant => subject.tenant.map(ToOwned::to_owned),
        Dimension::Caller => subject.caller.map(|(provider, bearer)| format!("{provider}:{bearer}")),
        Dimension::Ip => subject.client.map(network),
    };
    // Whoever makes tokens chooses the names of callers.
    text.map(|text| text.chars().flat_map(tame).collect())
}

/// The address, or the network of an IPv6 address, that is counted.
fn network(client: IpAddr) -> String {
    match Value::network(client) {
        Value::Network(IpAddr::V6(network)) => format!("{network}/64"),
        Value::Network(address @ IpAddr::V4(_)) => address.to_string(),
        Value::Missing | Value::Text(_) => client.to_string(),
    }
}

fn tame(c: char) -> Vec<char> {
    match c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
        true => c.escape_default().collect(),
        false => vec![c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units_and_short_ones_are_rounded_up() {
        for (time, words) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1), "1ms"),
            (Duration::from_micros(259_001), "260ms"),
            (Duration::from_millis(1_001), "2s"),
            (Duration::from_secs(60), "1m"),
            (Duration::from_secs(61), "1m 1s"),
            (Duration::from_secs(3_600 * 3 + 60 * 20 + 5), "3h 20m"),
            (Duration::from_secs(86_400 * 2), "2d"),
            (Duration::from_secs(86_400 * 2 + 3_600 * 5), "2d 5h"),
        ] {
            assert_eq!(span(time), words);
        }
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (count, words) in [
            (0, "0B"),
            (999, "999B"),
            (1_000, "1KB"),
            (1_950, "1.9KB"),
            (463_200_000_000, "463.2GB"),
            (u64::MAX, "18446.7PB"),
        ] {
            assert_eq!(bytes(count), words);
        }
    }

    #[test]
    fn nobody_moves_the_cursor_and_addresses_are_networks() {
        let subject = Subject {
            client: "2001:db8::1".parse().ok(),
            route: Some(("shop.example.com", "/top")),
            caller: Some(("jwt", "a\u{1b}[2Jb")),
            ..Subject::default()
        };
        let all = [Dimension::Route, Dimension::Tenant, Dimension::Caller, Dimension::Ip];
        assert_eq!(
            who(&all, &subject),
            "route /top of shop.example.com, who has no tenant, caller jwt:a\\u{1b}[2Jb, ip 2001:db8::/64"
        );
    }
}
