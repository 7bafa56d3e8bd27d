//! When to renew, and when to try again: arithmetic alone.
//!
//! In: lives of certificates, windows that an authority suggests, failures; and
//! a roll of the dice, from 0 to 1, so that gateways that started together do
//! not ask together. Out: times. Not here: who waits for them (`book`).

use std::time::{Duration, SystemTime};

/// Before the first try after a failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Doublings after which a pause is longer than the longest in any case.
const DOUBLINGS: u32 = 11;
/// An authority that wants to be left alone for longer is asked again then: it may have meant another unit.
const LONGEST_HOLD: Duration = Duration::from_secs(8 * 24 * 3600);
/// Between two looks at what an authority suggests, whatever it says about that (RFC 9773, section 4.3.2).
const SHORTEST_CHECK: Duration = Duration::from_secs(3600);
const LONGEST_CHECK: Duration = Duration::from_secs(24 * 3600);

/// When to renew a certificate about which the authority suggests nothing: at two thirds of its life, or up to a thirtieth
/// of it earlier.
pub(super) fn renew_at(not_before: SystemTime, not_after: SystemTime, roll: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life.mul_f64(2.0 / 3.0 - roll.clamp(0.0, 1.0) / 30.0)
}

/// A moment of the window that the authority suggests. A window that ends before it begins is over.
pub(super) fn within(start: SystemTime, end: SystemTime, roll: f64) -> SystemTime {
    let width = end.duration_since(start).unwrap_or_default();
    start + width.mul_f64(roll.clamp(0.0, 1.0))
}

/// How long to wait before the next look at what the authority suggests.
pub(super) fn check_after(suggested: Option<Duration>, roll: f64) -> Duration {
    let wait = suggested.unwrap_or(LONGEST_CHECK / 4).clamp(SHORTEST_CHECK, LONGEST_CHECK);
    wait.mul_f64(1.0 + roll.clamp(0.0, 1.0) / 10.0)
}

/// How long to wait after so many failures in a row: a minute, then twice as long each time, up to a day, and up to a
/// quarter more. A certificate that is about to end is tried more often: four times in the time that it has left.
pub(super) fn pause(failures: u32, left: Option<Duration>, roll: f64) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1).min(DOUBLINGS));
    let usual = doubled.min(LONGEST_PAUSE);
    let urgent = left.filter(|left| !left.is_zero()).map_or(usual, |left| usual.min((left / 4).max(FIRST_PAUSE)));
    urgent.mul_f64(1.0 + roll.clamp(0.0, 1.0) / 4.0)
}

/// Until when an authority wants to be left alone, if it said so: never in the past, and not for ever.
pub(super) fn hold(now: SystemTime, until: Option<SystemTime>) -> Option<SystemTime> {
    until.filter(|until| *until > now).map(|until| until.min(now + LONGEST_HOLD))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(days: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000 + DAY * days
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        assert_eq!(renew_at(at(0), at(90), 0.0), at(60));
        assert!(renew_at(at(0), at(90), 1.0) >= at(57) - Duration::from_secs(1));
        assert!(renew_at(at(0), at(90), 0.5) < at(60));
        let six = renew_at(at(0), at(6), 0.0);
        assert_eq!(six, at(4));
        // One that never was valid is renewed at once.
        assert_eq!(renew_at(at(5), at(3), 0.7), at(5));
    }

    #[test]
    fn a_suggested_window_is_used_from_end_to_end() {
        assert_eq!(within(at(10), at(12), 0.0), at(10));
        assert_eq!(within(at(10), at(12), 0.5), at(11));
        assert_eq!(within(at(10), at(12), 1.0), at(12));
        assert_eq!(within(at(10), at(3), 0.9), at(10));
    }

    #[test]
    fn authorities_are_not_asked_for_their_suggestion_all_the_time() {
        let hour = Duration::from_secs(3600);
        for (suggested, expected) in [
            (None, 6 * hour),
            (Some(Duration::ZERO), hour),
            (Some(5 * hour), 5 * hour),
            (Some(Duration::from_secs(u64::MAX / 4)), 24 * hour),
        ] {
            assert_eq!(check_after(suggested, 0.0), expected);
            assert!(check_after(suggested, 1.0) <= expected.mul_f64(1.11));
        }
    }

    #[test]
    fn pauses_double_from_a_minute_to_a_day() {
        let minute = Duration::from_secs(60);
        for (failures, expected) in [
            (0, minute),
            (1, minute),
            (2, 2 * minute),
            (5, 16 * minute),
            (11, 1024 * minute),
            (12, DAY),
            (u32::MAX, DAY),
        ] {
            assert_eq!(pause(failures, None, 0.0), expected, "{failures}");
            let late = pause(failures, None, 1.0);
            assert!(late > expected && late <= expected.mul_f64(1.26), "{failures}: {late:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_about_to_end_is_tried_more_often() {
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(30, Some(20 * DAY), 0.0), DAY);
        assert_eq!(pause(30, Some(8 * hour), 0.0), 2 * hour);
        assert_eq!(pause(30, Some(Duration::from_secs(8)), 0.0), Duration::from_secs(60));
        assert_eq!(pause(1, Some(8 * hour), 0.0), Duration::from_secs(60));
        // One that has ended is nobody's reason to hurry any more.
        assert_eq!(pause(30, Some(Duration::ZERO), 0.0), DAY);
    }

    #[test]
    fn an_authority_is_left_alone_for_as_long_as_it_says_within_reason() {
        assert_eq!(hold(at(1), None), None);
        assert_eq!(hold(at(1), Some(at(0))), None);
        assert_eq!(hold(at(1), Some(at(3))), Some(at(3)));
        assert_eq!(hold(at(1), Some(at(4000))), Some(at(9)));
    }
}
