//! Points in time: `2026-11-22`, `2026-11-22T10:00:00Z`, `2026-11-22T12:00:00+02:00`.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveTime, SecondsFormat, Utc};

/// A point in time from 1970 to 9999, as RFC 3339 writes it. A day alone is its beginning, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// The moment `time`, to the second; none outside of the years that can be written.
    pub fn of(time: SystemTime) -> Option<Self> {
        let seconds = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        DateTime::from_timestamp(seconds, 0).and_then(Self::within)
    }

    /// `by` later.
    pub fn after(self, by: Duration) -> Option<Self> {
        Self::of(self.time().checked_add(by)?)
    }

    /// The moment as the standard library has it.
    pub fn time(self) -> SystemTime {
        self.0.into()
    }

    /// Whether it has come at `now`.
    pub fn is_past(self, now: SystemTime) -> bool {
        self.time() <= now
    }

    /// Seconds since 1970, as tokens count them.
    pub fn unix_seconds(self) -> u64 {
        self.0.timestamp().unsigned_abs()
    }

    /// The beginning of its day, in UTC.
    #[must_use]
    pub fn day(self) -> Self {
        Moment(self.0.date_naive().and_time(NaiveTime::MIN).and_utc())
    }

    fn within(time: DateTime<Utc>) -> Option<Self> {
        // 9999-12-31T23:59:59Z.
        (0..=253_402_300_799).contains(&time.timestamp()).then_some(Moment(time))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a date or a time: write it like 2026-11-22 or 2026-11-22T10:00:00Z",
                text.chars().take(40).collect::<String>()
            )
        };
        let parse = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        let time = match text.len() {
            10 => parse(&format!("{text}T00:00:00Z")),
            _ => parse(text),
        };
        let moment = time.and_then(Self::within);
        moment.ok_or_else(wrong)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.time() == NaiveTime::MIN {
            true => write!(f, "{}", self.0.format("%Y-%m-%d")),
            false => f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

super::from_text!(Moment, "a date or a time like 2026-11-22T10:00:00Z");
super::as_text!(Moment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_the_same_moments() {
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        assert_eq!(moment("2026-11-22"), moment("2026-11-22T00:00:00Z"));
        assert_eq!(moment("2026-11-22T12:00:00+02:00"), moment("2026-11-22T10:00:00Z"));
        assert_eq!(moment("2026-11-22T10:00:00Z").unix_seconds(), 1_795_341_600);
        assert_eq!(moment("2026-11-22T10:00:00.5Z").to_string(), "2026-11-22T10:00:00.500Z");
        assert_eq!(moment("2026-11-22T10:00:00Z").day().to_string(), "2026-11-22");
        assert!(moment("2026-11-22").is_past(moment("2026-11-22").time()), "it has come");
        for bad in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "22.11.2026",
            "2026-11-22 10:00",
            "2026-11-22T10:00:00",
            "1969-12-31",
            "2026-1-2",
            "+2026-11-2",
            "tomorrow",
            "1795341600",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_written_is_none() {
        let last: Moment = "9999-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(last.after(Duration::from_secs(1)), None);
        assert_eq!(last.after(Duration::MAX), None);
        assert!(last.day().after(Duration::from_secs(1)).is_some());
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 0_u64..253_402_300_800, text in "\\PC{0,30}|[0-9TZ:+.-]{0,30}") {
            let moment = Moment::of(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
            proptest::prop_assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
            let _ = text.parse::<Moment>();
        }
    }
}
