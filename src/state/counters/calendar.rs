//! Stretches of the calendar: from when to when a quota counts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Months, NaiveTime, Timelike, Utc};

use crate::config::scalar::{Moment, Window};

/// The stretch around `now`, in seconds since 1970: when it began, and when the next begins. With an anchor, hours begin at
/// its minute, days at its time of day, months at its day of the month (or the month's last), in UTC.
pub fn stretch(window: Window, anchor: Option<Moment>, now: SystemTime) -> (u64, u64) {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let offset = anchor.map_or(0, Moment::unix_seconds);
    match window {
        Window::Hour => fixed(seconds, offset % 3_600, 3_600),
        Window::Day => fixed(seconds, offset % 86_400, 86_400),
        Window::Month => month(seconds, anchor).unwrap_or((seconds, seconds.saturating_add(86_400))),
    }
}

fn fixed(seconds: u64, offset: u64, length: u64) -> (u64, u64) {
    let began = match seconds.checked_sub(offset) {
        Some(since) => since - since % length + offset,
        None => 0,
    };
    (began, began.saturating_add(length))
}

fn month(seconds: u64, anchor: Option<Moment>) -> Option<(u64, u64)> {
    let now = DateTime::<Utc>::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    let anchor = DateTime::<Utc>::from_timestamp(i64::try_from(anchor.map_or(0, Moment::unix_seconds)).ok()?, 0)?;
    let first = now.date_naive().with_day(1)?;
    let begins = |months_on: u32, back: u32| {
        let month = first.checked_add_months(Months::new(months_on))?.checked_sub_months(Months::new(back))?;
        // The last day of a month that has no such day.
        let day = (1..=anchor.day()).rev().find_map(|day| month.with_day(day))?;
        let time = NaiveTime::from_hms_opt(anchor.hour(), anchor.minute(), anchor.second())?;
        u64::try_from(day.and_time(time).and_utc().timestamp()).ok()
    };
    let this = begins(0, 0)?;
    match this <= seconds {
        true => Some((this, begins(1, 0)?)),
        false => Some((begins(0, 1)?, this)),
    }
}

/// How long until then.
pub fn until(then: u64, now: SystemTime) -> Duration {
    (UNIX_EPOCH + Duration::from_secs(then)).duration_since(now).unwrap_or_default()
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
