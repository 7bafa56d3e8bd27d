//! Times as people say them: `in 4 min`, `2 h ago`.

use std::time::{Duration, SystemTime};

use crate::config::scalar::Moment;

/// How far a time is from now.
pub(super) fn distance(at: SystemTime, now: SystemTime) -> String {
    match at.duration_since(now) {
        Ok(left) => format!("in {}", span(left)),
        Err(error) => format!("{} ago", span(error.duration())),
    }
}

/// A span in one unit, which is enough to see what is meant.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The time itself, for what is compared and kept.
pub(super) fn moment(at: SystemTime) -> String {
    Moment::of(at).map_or_else(|| "a time that no calendar has".to_owned(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_one_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        for (seconds, words) in
            [(0, "0 s"), (119, "119 s"), (240, "4 min"), (7_200, "2 h"), (172_799, "47 h"), (172_800, "2 days")]
        {
            let time = Duration::from_secs(seconds);
            assert_eq!(distance(now + time, now), format!("in {words}"));
            assert_eq!(distance(now, now + time + Duration::from_millis(1)), format!("{words} ago"));
        }
    }
}
