//! How much of something: `100000`, `500GB`, `90s`.

use std::fmt;
use std::str::FromStr;

use super::{ByteSize, Period};

/// A number of things, of bytes, or of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes, written with their unit.
    Bytes(ByteSize),
    /// Requests or rows, a bare number.
    Count(u64),
    /// Time, written with its unit.
    Time(Period),
}

/// The largest number: what is counted elsewhere in floating-point numbers must stay exact.
const MOST: u64 = 1 << 52;

impl Amount {
    /// In the units that quotas are counted in: things, bytes, microseconds.
    pub fn units(self) -> u64 {
        match self {
            Amount::Bytes(size) => size.bytes(),
            Amount::Count(count) => count,
            Amount::Time(period) => u64::try_from(period.duration().as_micros()).unwrap_or(MOST),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not an amount: write a number like 100000, a size like 500GB, or a time like 90s");
        let amount = match text.bytes().last() {
            Some(b'0'..=b'9') => text.replace('_', "").parse().map(Amount::Count).map_err(|_| wrong())?,
            Some(b'B') => Amount::Bytes(text.parse().map_err(|_| wrong())?),
            _ => Amount::Time(text.parse().map_err(|_| wrong())?),
        };
        match amount.units() <= MOST {
            true => Ok(amount),
            false => Err(format!("`{text}` is more than can be counted exactly: write at most {MOST}")),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Bytes(size) => size.fmt(f),
            Amount::Count(count) => count.fmt(f),
            Amount::Time(period) => period.fmt(f),
        }
    }
}

super::from_text!(Amount, "an amount like 100000, 500GB or 90s");
super::as_text!(Amount);
