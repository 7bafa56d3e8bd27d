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
            // At most 3660 days, which are fewer than 2^49.
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
            Some(b'0'..=b'9') => Amount::Count(counted(text).ok_or_else(wrong)?),
            // Beyond that they have a sentence of their own.
            Some(b'B') => Amount::Bytes(text.parse().map_err(|why: String| beyond(why, wrong))?),
            _ => Amount::Time(text.parse().map_err(|why: String| beyond(why, wrong))?),
        };
        let most = match amount {
            Amount::Bytes(_) => ByteSize::of(MOST).to_string(),
            Amount::Count(_) => MOST.to_string(),
            Amount::Time(_) => return Ok(amount),
        };
        match amount.units() <= MOST {
            true => Ok(amount),
            false => Err(format!("`{text}` is more than can be counted exactly: write at most {most}")),
        }
    }
}

/// Digits, in groups between `_` if one likes: `1_000_000`.
fn counted(text: &str) -> Option<u64> {
    let is_group = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let digits = text.split('_').all(is_group).then(|| text.replace('_', ""))?;
    // Too many digits are too much, and no other mistake.
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// The sentence of a size or a time about too much of it, or else one about all three.
fn beyond(why: String, wrong: impl Fn() -> String) -> String {
    if why.contains("write at most") { why } else { wrong() }
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
