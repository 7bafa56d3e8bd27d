//! How often something may happen: `50/s`, `30/m`, `1000/day`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many times in a second, minute, hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// The unit as it is shown first, then its other spellings.
const UNITS: [(Unit, &[&str]); 4] = [
    (Unit::Second, &["s", "sec", "second"]),
    (Unit::Minute, &["m", "min", "minute"]),
    (Unit::Hour, &["h", "hour"]),
    (Unit::Day, &["day", "d"]),
];

/// The fastest rate, a second: a step of GCRA is 100 ns then, which the clock can still tell apart.
const MOST: u64 = 10_000_000;

impl Rate {
    /// So many a minute; at least one.
    pub(in crate::config) const fn a_minute(count: u32) -> Self {
        Rate { count: if count == 0 { 1 } else { count }, per: Unit::Minute }
    }

    /// How many in a unit of time.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The time between two that come evenly, in nanoseconds; rounded up, so that never more is let in.
    pub fn interval_nanos(self) -> u64 {
        (self.per.seconds() * 1_000_000_000).div_ceil(u64::from(self.count))
    }

    /// The time between two that come evenly.
    pub fn interval(self) -> Duration {
        Duration::from_nanos(self.interval_nanos())
    }
}

impl Unit {
    const fn seconds(self) -> u64 {
        match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => 86_400,
        }
    }

    /// The fastest rate that is written with it.
    fn most(self) -> Rate {
        Rate { count: u32::try_from(MOST * self.seconds()).unwrap_or(u32::MAX), per: self }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a rate: write a number and a unit of time, like 50/s, 30/m or 1000/day");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let (count, unit) = (count.trim_end(), unit.trim_start());
        if unit == "month" {
            return Err(format!("`{text}` is no rate, which has a day at most: use `quota` for a month"));
        }
        let per = UNITS.iter().find(|(_, names)| names.contains(&unit)).map(|(unit, _)| *unit).ok_or_else(wrong)?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        match count.parse().ok().filter(|count| *count <= per.most().count) {
            Some(0) => Err(format!("`{text}` lets nothing in: write at least 1")),
            Some(count) => Ok(Rate { count, per }),
            None => Err(format!("`{text}` is more than can be kept apart: write at most {}", per.most())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(unit, _)| *unit == self.per).and_then(|(_, names)| names.first());
        write!(f, "{}/{}", self.count, unit.copied().unwrap_or("s"))
    }
}

super::from_text!(Rate, "a rate like 50/s");
super::as_text!(Rate);
