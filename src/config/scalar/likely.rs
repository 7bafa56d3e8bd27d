//! What somebody probably meant who wrote a number without its unit, or with
//! a unit that is not known here.
//!
//! In: a text that is no [`Period`], [`ByteSize`], [`Percent`], [`Quota`] or
//! [`Rate`]. Out: the values that come near, the likeliest first. Not here: accepting them.

use super::{ByteSize, Percent, Period, Quota, Rate};

impl Period {
    /// The spans that `text` may mean.
    pub fn likely(text: &str) -> Vec<String> {
        if let Some(sum) = sum_of_parts(text) {
            return valid::<Self>(vec![shortest(sum)]);
        }
        let Some((number, unit)) = number_and_unit(text) else { return Vec::new() };
        let millis = match unit.as_str() {
            // Nobody waits for a hundred seconds, and many programs count milliseconds.
            "" if number >= 100.0 => return valid::<Self>(vec![format!("{number}ms"), format!("{number}s")]),
            "" | "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
            "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
            "d" | "day" | "days" => 86_400_000.0,
            _ => return Vec::new(),
        };
        valid::<Self>(vec![shortest(number * millis)])
    }
}

/// A number of milliseconds in the largest unit that needs no fraction.
fn shortest(millis: f64) -> String {
    let whole = [(86_400_000.0, "d"), (3_600_000.0, "h"), (60_000.0, "m"), (1_000.0, "s"), (1.0, "ms")];
    let found = whole.into_iter().find(|(scale, _)| millis >= *scale && (millis / scale).fract() == 0.0);
    found.map(|(scale, unit)| format!("{}{unit}", millis / scale)).unwrap_or_default()
}

/// `1m30s`, as other programs write it, in milliseconds.
fn sum_of_parts(text: &str) -> Option<f64> {
    let mut rest = text;
    let (mut sum, mut parts) = (0.0, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end)?;
        let scale = match unit.trim() {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * scale;
        parts += 1;
        rest = behind;
    }
    (parts > 1).then_some(sum)
}

impl ByteSize {
    /// The sizes that `text` may mean.
    pub fn likely(text: &str) -> Vec<String> {
        let Some((number, unit)) = number_and_unit(text) else { return Vec::new() };
        let unit = match unit.as_str() {
            "" if number >= 1024.0 && (number / 1024.0).fract() == 0.0 => {
                return valid::<Self>(vec![format!("{}KiB", number / 1024.0)]);
            }
            "" if number >= 1000.0 => "B",
            "" => return valid::<Self>(vec![format!("{number}KiB"), format!("{number}MiB")]),
            "b" | "byte" | "bytes" => "B",
            "k" | "kib" => "KiB",
            "kb" => "KB",
            "m" | "mib" => "MiB",
            "mb" => "MB",
            "g" | "gib" => "GiB",
            "gb" => "GB",
            _ => return Vec::new(),
        };
        valid::<Self>(vec![format!("{number}{unit}")])
    }
}

impl Percent {
    /// The shares that `text` may mean.
    pub fn likely(text: &str) -> Vec<String> {
        match number_and_unit(text) {
            Some((number, unit)) if unit.is_empty() && number > 0.0 && number < 1.0 => {
                valid::<Self>(vec![format!("{}%", number * 100.0)])
            }
            Some((number, unit)) if unit.is_empty() => valid::<Self>(vec![format!("{number}%")]),
            _ => Vec::new(),
        }
    }
}

impl Rate {
    /// The rates that `text` may mean.
    pub fn likely(text: &str) -> Vec<String> {
        let Some((number, unit)) = number_and_unit(text) else { return Vec::new() };
        let unit = unit.trim_start_matches("req").trim_start_matches(['r', 'p', '/', ' ']).trim_start_matches("er ");
        let unit = match unit {
            "" if text.ends_with(|c: char| c.is_ascii_digit()) => {
                return valid::<Self>(vec![format!("{number}/s"), format!("{number}/m")]);
            }
            "s" | "sec" | "secs" | "second" | "seconds" => "s",
            "m" | "min" | "mins" | "minute" | "minutes" => "m",
            "h" | "hour" | "hours" => "h",
            "d" | "day" | "days" => "day",
            _ => return Vec::new(),
        };
        // Less than one in a second is a few in a minute.
        let slower = [(1.0, unit), (60.0, "m"), (3_600.0, "h"), (86_400.0, "day")];
        let slower = slower.iter().filter(|(times, _)| *times == 1.0 || unit == "s");
        let whole = slower.map(|(times, unit)| (number * times, unit)).find(|(number, _)| number.fract() == 0.0);
        valid::<Self>(whole.map(|(number, unit)| format!("{number}/{unit}")).into_iter().collect())
    }
}

impl Quota {
    /// The quotas that `text` may mean.
    pub fn likely(text: &str) -> Vec<String> {
        let (amount, window) = text.split_once('/').unwrap_or((text, ""));
        let windows: &[&str] = match window.trim().to_ascii_lowercase().trim_end_matches('s') {
            "" if !text.contains('/') => &["day", "month"],
            "h" | "hour" | "hourly" => &["hour"],
            "d" | "day" | "daily" => &["day"],
            "mo" | "month" | "monthly" | "30d" => &["month"],
            _ => &[],
        };
        valid::<Self>(windows.iter().map(|window| format!("{}/{window}", amount.trim())).collect())
    }
}

/// A number, and what stands behind it in lower case.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// Those that would be accepted.
fn valid<T: std::str::FromStr>(mut texts: Vec<String>) -> Vec<String> {
    texts.retain(|text| text.parse::<T>().is_ok());
    texts
}
