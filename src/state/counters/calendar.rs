//! Stretches of the calendar: from when to when a quota counts.
//!
//! In: a window, an anchor, the time. Out: seconds since 1970. Not here: time zones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::scalar::{Moment, Window};

/// The stretch around `now`, in seconds since 1970: when it began, and when the next begins. With an anchor, hours begin at
/// its minute, days at its time of day, months at its day of the month (or the month's last), in UTC.
pub fn stretch(window: Window, anchor: Option<Moment>, now: SystemTime) -> (u64, u64) {
    stretch_at(window, anchor, now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// As [`stretch`], around so many seconds since 1970.
pub(super) fn stretch_at(window: Window, anchor: Option<Moment>, now: u64) -> (u64, u64) {
    let offset = anchor.map_or(0, Moment::unix_seconds);
    match window {
        Window::Hour => fixed(now, offset % 3_600, 3_600),
        Window::Day => fixed(now, offset % DAY, DAY),
        Window::Month => month(now, offset),
    }
}

const DAY: u64 = 86_400;

fn fixed(seconds: u64, offset: u64, length: u64) -> (u64, u64) {
    let began = match seconds.checked_sub(offset) {
        Some(since) => since - since % length + offset,
        None => 0,
    };
    (began, began.saturating_add(length))
}

fn month(now: u64, anchor: u64) -> (u64, u64) {
    let (month, _) = date(now / DAY);
    let (_, day) = date(anchor / DAY);
    let begins = |month: u64| (first_day(month) + day.min(days_in(month) - 1)) * DAY + anchor % DAY;
    let this = begins(month);
    match this <= now {
        true => (this, begins(month + 1)),
        false => (month.checked_sub(1).map_or(0, begins), this),
    }
}

/// The month of a day, counted from January 1970, and the day of that month, from 0; both days since 1970.
///
/// For every decision of a monthly quota, so without a library that knows all calendars. Years are taken to begin in March:
/// a leap day is the last of its year then. <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date(day: u64) -> (u64, u64) {
    let since_march_0 = day + MARCH_0;
    let (era, day) = (since_march_0 / DAYS_OF_400_YEARS, since_march_0 % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March, of 30 and 31 days in turn: 153 in each five.
    let month = (5 * day + 2) / 153;
    let months = (era * 400 + year) * 12 + month + 2;
    (months.saturating_sub(12 * 1970), day - (153 * month + 2) / 5)
}

/// The first day of a month, in days since 1970.
fn first_day(month: u64) -> u64 {
    // In months since March of the year 0.
    let months = month + 12 * 1970 - 2;
    let (year, month) = (months / 12, months % 12);
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
    days.saturating_sub(MARCH_0)
}

fn days_in(month: u64) -> u64 {
    first_day(month + 1) - first_day(month)
}

/// From the first of March of the year 0 to 1970, in days.
const MARCH_0: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

/// How long until then.
pub fn until(then: u64, now: SystemTime) -> Duration {
    (UNIX_EPOCH + Duration::from_secs(then)).duration_since(now).unwrap_or_default()
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
