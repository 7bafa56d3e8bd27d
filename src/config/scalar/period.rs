//! Spans of time: `100ms`, `35s`, `10m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// Milliseconds in each unit; `ms` first, because `s` ends it.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The longest span, in days: ten years.
const LONGEST_DAYS: u64 = 3_660;

impl Period {
    /// A span of `millis` milliseconds.
    pub const fn of_millis(millis: u64) -> Self {
        Period(Duration::from_millis(millis))
    }

    /// The span as the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a span of time: write a number with its unit, like 100ms, 35s or 10m");
        let (number, scale) = UNITS
            .iter()
            .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number.trim_end(), *scale)))
            .ok_or_else(wrong)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        // Far above any sane time-out, for which others are kept; far below what timers overflow at.
        let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
        let millis = millis.filter(|millis| *millis <= LONGEST_DAYS * 86_400_000);
        millis.map(Period::of_millis).ok_or_else(|| format!("`{text}` is too long: write at most {LONGEST_DAYS}d"))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(86_400_000) => write!(f, "{}d", millis / 86_400_000),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

super::from_text!(Period, "a span of time like 35s");
super::as_text!(Period);
