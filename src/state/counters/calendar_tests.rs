//! Stretches tile the time line, and begin where people expect.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use proptest::prelude::*;

use super::*;

/// The year 2200.
const LATEST: u64 = 7_258_118_400;
const WINDOWS: [Window; 3] = [Window::Hour, Window::Day, Window::Month];

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn moment(text: &str) -> Moment {
    text.parse().unwrap()
}

/// The stretch around `now`, as people write it.
fn of(window: Window, anchor: &str, now: &str) -> [String; 2] {
    let anchor = (!anchor.is_empty()).then(|| moment(anchor));
    let (began, ends) = stretch(window, anchor, moment(now).time());
    [began, ends].map(|edge| DateTime::<Utc>::from_timestamp(edge as i64, 0).unwrap().format("%FT%TZ").to_string())
}

fn anchors() -> impl Strategy<Value = Option<Moment>> {
    let late_in_a_month = (0..600_u64).prop_map(|month| {
        let first = DateTime::<Utc>::UNIX_EPOCH.checked_add_months(Months::new(month as u32)).unwrap();
        first.timestamp() as u64 + 28 * 86_400
    });
    let seconds = prop_oneof![0..LATEST, late_in_a_month.prop_flat_map(|from| from..from + 3 * 86_400)];
    prop::option::of(seconds.prop_map(|seconds| Moment::of(at(seconds)).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn stretches_tile_the_time_line(window in prop::sample::select(&WINDOWS), anchor in anchors(), now in 100 * 86_400..LATEST) {
        let (began, ends) = stretch(window, anchor, at(now));
        prop_assert!(began <= now && now < ends, "{} in {}..{}", now, began, ends);
        for inside in [began, ends - 1, began + (ends - began) / 2] {
            prop_assert_eq!(stretch(window, anchor, at(inside)), (began, ends));
        }
        prop_assert_eq!(stretch(window, anchor, at(began - 1)).1, began, "the one before ends where it begins");
        prop_assert_eq!(stretch(window, anchor, at(ends)).0, ends, "the next begins where it ends");
        let longest = match window {
            Window::Hour => 3_600..=3_600,
            Window::Day => 86_400..=86_400,
            Window::Month => 28 * 86_400..=31 * 86_400,
        };
        prop_assert!(longest.contains(&(ends - began)), "{} seconds", ends - began);
    }

    #[test]
    fn an_anchor_begins_a_stretch(window in prop::sample::select(&WINDOWS), anchor in anchors()) {
        if let Some(anchor) = anchor {
            prop_assert_eq!(stretch(window, Some(anchor), anchor.time()).0, anchor.unix_seconds());
        }
    }

    #[test]
    fn any_time_is_no_trouble(window in prop::sample::select(&WINDOWS), anchor in anchors(), now in 0..253_402_300_800_u64) {
        let (began, ends) = stretch(window, anchor, at(now));
        prop_assert!(began <= now && now < ends, "{} in {}..{}", now, began, ends);
    }
}

#[test]
fn every_day_of_a_thousand_years_is_what_another_calendar_says() {
    let mut day = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    for number in 0..365_243 {
        let month = (day.year() as u64 - 1970) * 12 + u64::from(day.month0());
        assert_eq!(date(number), (month, day.day0().into()), "{day}");
        assert_eq!(first_day(month), number - u64::from(day.day0()), "{day}");
        day = day.succ_opt().unwrap();
    }
    assert_eq!(day.year(), 2970);
}

#[test]
fn the_calendars_own_stretches() {
    for (window, now, stretch) in [
        (Window::Hour, "2026-11-23T10:59:59Z", ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"]),
        (Window::Hour, "2026-11-23T11:00:00Z", ["2026-11-23T11:00:00Z", "2026-11-23T12:00:00Z"]),
        (Window::Day, "2026-12-31T23:59:59Z", ["2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"]),
        (Window::Month, "2026-12-31T23:59:59Z", ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
        (Window::Month, "2028-02-29T12:00:00Z", ["2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"]),
        (Window::Month, "2027-02-28T12:00:00Z", ["2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"]),
    ] {
        assert_eq!(of(window, "", now), stretch, "{window:?} around {now}");
    }
}

#[test]
fn stretches_from_an_anchor() {
    for (window, anchor, now, stretch) in [
        (
            Window::Hour,
            "2026-01-01T00:15:00Z",
            "2026-11-23T10:14:59Z",
            ["2026-11-23T09:15:00Z", "2026-11-23T10:15:00Z"],
        ),
        (Window::Day, "2026-01-01T06:00:00Z", "2026-11-23T05:59:59Z", ["2026-11-22T06:00:00Z", "2026-11-23T06:00:00Z"]),
        (Window::Day, "2026-01-01T06:00:00Z", "2026-11-23T06:00:00Z", ["2026-11-23T06:00:00Z", "2026-11-24T06:00:00Z"]),
        // Before the anchor, too.
        (Window::Day, "2030-01-01T06:00:00Z", "2026-11-23T06:00:00Z", ["2026-11-23T06:00:00Z", "2026-11-24T06:00:00Z"]),
        (Window::Month, "2026-01-15", "2026-11-14T23:59:59Z", ["2026-10-15T00:00:00Z", "2026-11-15T00:00:00Z"]),
        (
            Window::Month,
            "2026-01-15T08:30:00Z",
            "2026-11-15T08:30:00Z",
            ["2026-11-15T08:30:00Z", "2026-12-15T08:30:00Z"],
        ),
        // A day that a month does not have: its last one.
        (Window::Month, "2026-01-31", "2027-02-27T00:00:00Z", ["2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z"]),
        (Window::Month, "2026-01-31", "2027-02-28T00:00:00Z", ["2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z"]),
        (Window::Month, "2026-01-30", "2028-02-29T00:00:00Z", ["2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"]),
        (Window::Month, "2028-02-29", "2027-02-28T00:00:00Z", ["2027-02-28T00:00:00Z", "2027-03-29T00:00:00Z"]),
        (Window::Month, "2026-01-31", "2026-04-30T12:00:00Z", ["2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z"]),
        (
            Window::Month,
            "2026-01-31T23:59:59Z",
            "2026-04-30T23:59:58Z",
            ["2026-03-31T23:59:59Z", "2026-04-30T23:59:59Z"],
        ),
    ] {
        assert_eq!(of(window, anchor, now), stretch, "{window:?} from {anchor} around {now}");
    }
}

#[test]
fn the_time_until_then() {
    assert_eq!(until(100, at(40)), Duration::from_secs(60));
    assert_eq!(until(100, at(99) + Duration::from_millis(250)), Duration::from_millis(750));
    assert_eq!(until(100, at(100)), Duration::ZERO);
    assert_eq!(until(100, at(1000)), Duration::ZERO);
}
