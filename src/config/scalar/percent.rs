//! Shares: `20%`.

use std::fmt;
use std::str::FromStr;

/// A whole percentage between 0 and 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// A share of `percent` per cent, at most 100.
    pub const fn of(percent: u8) -> Self {
        Percent(if percent > 100 { 100 } else { percent })
    }

    /// The share between 0 and 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix('%')
            .and_then(|number| number.trim_end().parse().ok())
            .filter(|number| *number <= 100)
            .map(Percent)
            .ok_or_else(|| format!("`{text}` is not a share: write a whole number from 0% to 100%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

super::from_text!(Percent, "a share like 20%");
super::as_text!(Percent);
