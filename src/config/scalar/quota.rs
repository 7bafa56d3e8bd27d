//! How much in a stretch of the calendar: `100000/day`, `500GB/month`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Amount;

/// So much in each hour, day or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How much.
    pub amount: Amount,
    /// In which stretch.
    pub window: Window,
}

/// A stretch of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to that of the next.
    Month,
}

impl Window {
    /// Its length; of a month, that of the longest.
    pub fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Window::Hour => 3_600,
            Window::Day => 86_400,
            Window::Month => 31 * 86_400,
        })
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Month => "month",
        }
    }
}

impl FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a quota: write an amount and `hour`, `day` or `month`, like 100000/day or 500GB/month"
            )
        };
        let (amount, window) = text.split_once('/').ok_or_else(wrong)?;
        let window = match window.trim_start() {
            "hour" | "h" => Window::Hour,
            "day" | "d" => Window::Day,
            "month" => Window::Month,
            "m" | "min" | "minute" | "s" | "sec" | "second" => {
                return Err(format!(
                    "`{text}` is no quota, which has an hour at least: use `rate` for what is shorter"
                ));
            }
            _ => return Err(wrong()),
        };
        let amount: Amount = amount.trim_end().parse()?;
        match amount.units() {
            0 => Err(format!("`{text}` lets nothing in: write at least 1")),
            _ => Ok(Quota { amount, window }),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.window.word())
    }
}

super::from_text!(Quota, "a quota like 100000/day or 500GB/month");
super::as_text!(Quota);
