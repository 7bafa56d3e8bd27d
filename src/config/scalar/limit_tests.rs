use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::section::limits::{By, Cost, Dimension};

#[test]
fn rates_are_a_number_and_a_unit() {
    for (given, shown, nanos) in [
        ("50/s", "50/s", 20_000_000),
        ("50 / second", "50/s", 20_000_000),
        ("50/sec", "50/s", 20_000_000),
        ("30/m", "30/m", 2_000_000_000),
        ("30/min", "30/m", 2_000_000_000),
        ("1/hour", "1/h", 3_600_000_000_000),
        ("1000/day", "1000/day", 86_400_000_000),
        ("1/d", "1/day", 86_400_000_000_000),
        // Rounded up, so that never more is let in.
        ("3/s", "3/s", 333_333_334),
        ("7/day", "7/day", 12_342_857_142_858),
        ("10000000/s", "10000000/s", 100),
        ("4294967295/day", "4294967295/day", 20_117),
    ] {
        let rate: Rate = given.parse().unwrap();
        assert_eq!((rate.to_string().as_str(), rate.interval_nanos()), (shown, nanos), "{given}");
        assert_eq!(rate.interval(), Duration::from_nanos(nanos));
        assert_eq!(shown.parse::<Rate>().unwrap(), rate);
    }
    for (bad, advice) in [
        ("", "like 50/s"),
        ("50", "like 50/s"),
        ("/s", "like 50/s"),
        ("50/", "like 50/s"),
        ("-5/s", "like 50/s"),
        ("+5/s", "like 50/s"),
        ("1_000/s", "like 50/s"),
        ("5/s/s", "like 50/s"),
        ("five/s", "like 50/s"),
        ("50/S", "like 50/s"),
        ("0/s", "at least 1"),
        ("000/s", "at least 1"),
        ("10000001/s", "at most 10000000/s"),
        ("600000001/m", "at most 600000000/m"),
        ("4294967296/h", "at most 4294967295/h"),
        ("99999999999999999999/day", "at most 4294967295/day"),
        ("5/month", "use `quota`"),
    ] {
        let message = bad.parse::<Rate>().unwrap_err();
        assert!(message.contains(advice), "{bad}: {message}");
    }
}

#[test]
fn amounts_are_things_sizes_or_times() {
    for (given, shown, units) in [
        ("0", "0", 0),
        ("100000", "100000", 100_000),
        ("1_000_000", "1000000", 1_000_000),
        ("4503599627370496", "4503599627370496", 1 << 52),
        ("500GB", "500GB", 500_000_000_000),
        ("1500MB", "1500MB", 1_500_000_000),
        ("4096 TiB", "4096TiB", 1 << 52),
        ("0B", "0B", 0),
        ("90s", "90s", 90_000_000),
        ("10h", "10h", 36_000_000_000),
        ("3660d", "3660d", 316_224_000_000_000),
        ("5ms", "5ms", 5_000),
    ] {
        let amount: Amount = given.parse().unwrap();
        assert_eq!((amount.to_string().as_str(), amount.units()), (shown, units), "{given}");
        assert_eq!(shown.parse::<Amount>().unwrap(), amount);
    }
    for (bad, advice) in [
        ("", "a number like"),
        ("much", "a number like"),
        ("1e6", "a number like"),
        ("1.5GB", "a number like"),
        ("1__000", "a number like"),
        ("_1000", "a number like"),
        ("1_000_", "a number like"),
        ("+5", "a number like"),
        ("-5", "a number like"),
        ("5M", "a number like"),
        ("4503599627370497", "at most 4503599627370496"),
        ("99999999999999999999999", "at most 4503599627370496"),
        ("4097TiB", "at most 4096TiB"),
        ("99999999999999999999GB", "write at most"),
        ("3661d", "at most 3660d"),
    ] {
        let message = bad.parse::<Amount>().unwrap_err();
        assert!(message.contains(advice), "{bad}: {message}");
    }
}

#[test]
fn quotas_are_an_amount_and_a_stretch_of_the_calendar() {
    for (given, shown, window) in [
        ("100000/day", "100000/day", Window::Day),
        ("100_000 / d", "100000/day", Window::Day),
        ("5/h", "5/hour", Window::Hour),
        ("500GB/month", "500GB/month", Window::Month),
        ("10h/hour", "10h/hour", Window::Hour),
    ] {
        let quota: Quota = given.parse().unwrap();
        assert_eq!((quota.to_string().as_str(), quota.window), (shown, window), "{given}");
        assert_eq!(shown.parse::<Quota>().unwrap(), quota);
    }
    for (bad, advice) in [
        ("", "like 100000/day"),
        ("1000", "like 100000/day"),
        ("1000/week", "like 100000/day"),
        ("1000/DAY", "like 100000/day"),
        ("/day", "a number like"),
        ("many/day", "a number like"),
        ("0/day", "at least 1"),
        ("0B/month", "at least 1"),
        ("0s/hour", "at least 1"),
        ("4503599627370497/day", "at most"),
        ("100/minute", "use `rate`"),
        ("100/s", "use `rate`"),
    ] {
        let message = bad.parse::<Quota>().unwrap_err();
        assert!(message.contains(advice), "{bad}: {message}");
    }
}

#[test]
fn what_was_meant_is_guessed() {
    for (given, likely) in [
        ("50", "50/s 50/m"),
        ("50rps", "50/s"),
        ("50 r/s", "50/s"),
        ("50/seconds", "50/s"),
        ("50 req/min", "50/m"),
        ("50 per hour", "50/h"),
        ("0.5/s", "30/m"),
        ("0.01/s", "36/h"),
        ("1.5/h", ""),
        ("0", ""),
        ("fast", ""),
        ("", ""),
    ] {
        assert!(given.parse::<Rate>().is_err(), "{given}");
        assert_eq!(Rate::likely(given).join(" "), likely, "{given}");
    }
    for (given, likely) in [
        ("1000", "1000/day 1000/month"),
        ("500GB/days", "500GB/day"),
        ("500 GB/monthly", "500 GB/month"),
        ("5/Hour", "5/hour"),
        ("1000/week", ""),
        ("", ""),
    ] {
        assert!(given.parse::<Quota>().is_err(), "{given}");
        assert_eq!(Quota::likely(given).join(" "), likely, "{given}");
    }
}

#[test]
fn sizes_stay_in_their_unit() {
    for shown in ["0B", "1B", "1000KiB", "1001KB", "16KiB", "10MiB", "500GB", "1GiB", "1500GiB", "2TB", "3TiB", "1023B"]
    {
        assert_eq!(shown.parse::<ByteSize>().unwrap().to_string(), shown);
    }
    for (given, shown) in [("1024MiB", "1GiB"), ("1000KB", "1MB"), ("1000B", "1KB"), ("1024B", "1KiB"), ("0GiB", "0B")]
    {
        assert_eq!(given.parse::<ByteSize>().unwrap().to_string(), shown);
    }
}

#[test]
fn places_of_counters_are_read_whole() {
    let redis = |text: &str| match text.parse::<Counters>() {
        Ok(Counters::Redis(address)) => address,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!("memory".parse::<Counters>(), Ok(Counters::Memory));
    for (given, shown) in [
        ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("redis://Counters.Example.com:6380/3", "redis://counters.example.com:6380/3"),
        ("rediss://[2001:db8::1]/", "rediss://[2001:db8::1]:6379/0"),
        ("redis://my_redis:6379/0", "redis://my_redis:6379/0"),
        ("redis://:p@h:1/65535", "redis://:***@h:1/65535"),
        ("redis://u:p@[::1]:6380/3", "redis://***:***@[::1]:6380/3"),
    ] {
        let address = redis(given);
        assert_eq!(address.to_string(), shown, "{given}");
        // What is shown can be read again, and is shown the same.
        assert_eq!(redis(shown).to_string(), shown);
    }
    let address = redis("rediss://app%3A1:p%40ss%2Fw%3Ard:x%25@db.example.com:6380/3");
    assert_eq!((address.tls, &*address.host, address.port, address.database), (true, "db.example.com", 6380, 3));
    assert_eq!(address.user.as_deref(), Some("app:1"));
    assert_eq!(address.password.as_ref().map(Secret::expose), Some("p@ss/w:rd:x%"));
    assert_eq!(redis("redis://:p@h").user, None);
    let shown = format!("{address} {address:?} {}", serde_json::to_string(&Counters::Redis(address.clone())).unwrap());
    assert!(!shown.contains("p@ss"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_place_of_counters_is_said_without_it() {
    for (bad, advice) in [
        ("", "`memory` or"),
        ("Memory", "`memory` or"),
        ("redis", "`memory` or"),
        ("hunter2", "`memory` or"),
        ("redis://", "`memory` or"),
        ("http://hunter2", "`memory` or"),
        ("redis://hunter2:port", "`memory` or"),
        ("redis://h:0", "`memory` or"),
        ("redis://h:65536", "`memory` or"),
        ("redis://:hunter2", "`memory` or"),
        ("redis://-h", "`memory` or"),
        ("redis://u:hunter2@", "%2F"),
        ("redis://u:hunter2/x@h", "%2F"),
        ("redis://u:hunter2@h@", "%2F"),
        ("redis://u:hun ter2@h", "%2F"),
        ("redis://hunter2@h", "redis://:PASSWORD@HOST"),
        ("redis://u:@h", "redis://USER:PASSWORD@HOST"),
        ("redis://u:%ff-hunter2@h", "UTF-8"),
        ("redis://u:hunter2%20@h", "ASCII"),
        ("redis://u:hunter2%0a@h", "ASCII"),
        ("redis://h/one", "number of a database"),
        ("redis://h/65536", "number of a database"),
        ("redis://h//1", "number of a database"),
        ("redis://h/0?hunter2", "no `?`"),
        ("redis://h/0#hunter2", "no `#`"),
        ("redis://u:p#hunter2@h", "%23"),
    ] {
        let message = bad.parse::<Counters>().unwrap_err();
        assert!(message.contains(advice) && !message.contains("unter2"), "{bad}: {message}");
    }
}

#[test]
fn who_is_counted_apart_is_read_in_one_order() {
    let by = |json: &str| serde_json::from_str::<By>(json).map_err(|error| error.to_string());
    for (given, shown) in [
        ("\"gateway\"", "\"gateway\""),
        ("\"tenant\"", "\"tenant\""),
        ("[\"ip\"]", "\"ip\""),
        ("[\"ip\", \"route\", \"ip\"]", "[\"route\",\"ip\"]"),
        ("[\"caller\", \"host\", \"tenant\"]", "[\"host\",\"tenant\",\"caller\"]"),
    ] {
        let read = by(given).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), shown);
        assert_eq!(by(shown), Ok(read));
    }
    for (bad, advice) in [
        ("[]", "write `gateway`"),
        ("\"user\"", "write gateway, route"),
        ("[\"tenant\", \"Tenant\"]", "write gateway, route"),
        ("[\"gateway\", \"ip\"]", "leave it out"),
        ("[\"\"]", "write gateway, route"),
        ("5", "expected gateway, route"),
        ("{}", "expected gateway, route"),
    ] {
        let message = by(bad).unwrap_err();
        assert!(message.contains(advice), "{bad}: {message}");
    }
    for (given, is_by_address) in [
        ("\"ip\"", true),
        ("[\"ip\", \"route\"]", true),
        ("[\"ip\", \"tenant\"]", false),
        ("[\"ip\", \"caller\"]", false),
        ("\"gateway\"", false),
    ] {
        assert_eq!(by(given).unwrap().is_by_address(), is_by_address, "{given}");
    }
    for dimension in Dimension::ALL {
        assert_eq!(dimension.word().parse::<Dimension>(), Ok(dimension));
    }
}

#[test]
fn costs_are_words_and_one() {
    let all = [Cost::One, Cost::BytesRead, Cost::ResponseBytes, Cost::RowsRead, Cost::Seconds];
    for cost in all {
        assert_eq!(cost.to_string().parse::<Cost>(), Ok(cost));
        let json = serde_json::to_string(&cost).unwrap();
        assert_eq!(serde_json::from_str::<Cost>(&json).unwrap(), cost, "{json}");
    }
    assert_eq!(serde_json::from_str::<Cost>("1").unwrap(), Cost::One);
    for bad in ["", "2", "rows", "ROWS_READ", "1.0", "requests"] {
        let message = bad.parse::<Cost>().unwrap_err();
        assert!(message.contains("write 1, rows_read"), "{bad}: {message}");
    }
}

proptest! {
    #[test]
    fn limits_are_read_back_as_they_are_shown(
        count in 1_u32..10_000_000, size in 1_u64..=1 << 52, millis in 1_u64..=3_660 * 86_400_000,
        unit in prop::sample::select(vec!["s", "m", "h", "day"]),
        window in prop::sample::select(vec!["hour", "day", "month"]),
    ) {
        let rate: Rate = format!("{count}/{unit}").parse().unwrap();
        prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        prop_assert_eq!(rate.count(), count);
        let seconds: u128 = match unit { "s" => 1, "m" => 60, "h" => 3_600, _ => 86_400 };
        // Never faster than written, and never slower by more than a nanosecond a request.
        let (all, whole) = (u128::from(rate.interval_nanos()) * u128::from(count), seconds * 1_000_000_000);
        prop_assert!((whole..whole + u128::from(count)).contains(&all));
        for amount in [
            Amount::Bytes(ByteSize::of(size)), Amount::Count(size), Amount::Time(Period::of_millis(millis)),
        ] {
            prop_assert_eq!(amount.to_string().parse::<Amount>().unwrap(), amount);
            let quota: Quota = format!("{amount}/{window}").parse().unwrap();
            prop_assert_eq!(quota.amount, amount);
            prop_assert_eq!(quota.to_string().parse::<Quota>().unwrap(), quota);
        }
    }

    #[test]
    fn any_text_is_a_limit_or_is_none(text in "\\PC{0,30}|[0-9a-zA-Z/_ .]{0,20}|redis{1,2}://[a-z0-9:@/?%\\[\\].-]{0,30}") {
        let _ = (text.parse::<Rate>(), text.parse::<Amount>(), text.parse::<Quota>(), text.parse::<Cost>());
        let _ = (Rate::likely(&text), Quota::likely(&text));
        if let Ok(Counters::Redis(address)) = text.parse::<Counters>() {
            let shown = address.to_string();
            prop_assert_eq!(shown.parse::<Counters>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn any_password_can_be_written(password in "[!-~][ -~]{0,20}[!-~]", user in "[!-~]{0,8}") {
        let encoded = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let text = format!("redis://{}:{}@h:1/2", encoded(&user), encoded(&password));
        let Ok(Counters::Redis(address)) = text.parse::<Counters>() else { panic!("{text}") };
        prop_assert_eq!(address.password.as_ref().map(Secret::expose), Some(password.as_str()));
        prop_assert_eq!(address.user.as_deref().unwrap_or_default(), user.as_str());
    }
}
