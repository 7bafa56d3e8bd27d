//! How long an answer may be used before it is asked for again.
//!
//! In: the headers of an answer (RFC 9111). Out: a time that is neither too
//! short for the provider nor too long for us. Not here: asking again (`keys`).

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName};

/// Where the answer says nothing.
pub(super) const DEFAULT: Duration = Duration::from_secs(3600);
/// A provider that says less does not get asked more often.
pub(super) const SHORTEST: Duration = Duration::from_secs(60);
/// Keys that were withdrawn must not live for ever.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long an answer that came at `now` is fresh.
pub(super) fn lifetime(headers: &HeaderMap, now: SystemTime) -> Duration {
    max_age(headers).or_else(|| until_expiry(headers, now)).unwrap_or(DEFAULT).clamp(SHORTEST, LONGEST)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, "0"));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => seconds(value),
            "no-cache" | "no-store" => Some(0),
            _ => None,
        }
    })?;
    // Some of it may have gone by in a cache on the way.
    let age = headers.get(AGE).and_then(|age| seconds_of(age.to_str().ok()?)).unwrap_or(0);
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

fn until_expiry(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let date = |name: HeaderName| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let expires = headers.get(EXPIRES)?;
    // What is no date, as the usual `0`, means the past.
    let Some(end) = expires.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok()) else {
        return Some(Duration::ZERO);
    };
    // By the provider's clock, where it tells it: ours may differ.
    Some(end.duration_since(date(DATE).unwrap_or(now)).unwrap_or_default())
}

fn seconds(value: &str) -> Option<u64> {
    seconds_of(value.trim().trim_matches('"'))
}

/// Digits; more of them than fit are as long as can be.
fn seconds_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn secs(headers: &[(&'static str, &'static str)]) -> u64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let now = httpdate::parse_http_date("Tue, 22 Sep 2026 10:00:00 GMT").unwrap();
        lifetime(&map, now).as_secs()
    }

    #[test]
    fn an_answer_says_how_long_it_is_fresh() {
        for (headers, expected) in [
            (&[][..], 3600),
            (&[("cache-control", "public, max-age=7200, must-revalidate")], 7200),
            (&[("cache-control", "public"), ("cache-control", "Max-Age=\"300\"")], 300),
            (&[("cache-control", "max-age=7200"), ("age", "7000")], 200),
            (&[("cache-control", "max-age=7200"), ("expires", "Tue, 22 Sep 2026 10:10:00 GMT")], 7200),
            (&[("expires", "Tue, 22 Sep 2026 10:10:00 GMT")], 600),
            (&[("expires", "Tue, 22 Sep 2026 10:10:00 GMT"), ("date", "Tue, 22 Sep 2026 10:05:00 GMT")], 300),
        ] {
            assert_eq!(secs(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn nonsense_and_extremes_stay_within_bounds() {
        let (shortest, longest) = (SHORTEST.as_secs(), LONGEST.as_secs());
        for (headers, expected) in [
            (&[("cache-control", "max-age=0")][..], shortest),
            (&[("cache-control", "no-store")], shortest),
            (&[("cache-control", "max-age=10"), ("age", "99999999999999999999999")], shortest),
            (&[("expires", "0")], shortest),
            (&[("expires", "Tue, 22 Sep 2020 10:10:00 GMT")], shortest),
            (&[("cache-control", "max-age=99999999999999999999999")], longest),
            (&[("expires", "Tue, 22 Sep 2099 10:10:00 GMT")], longest),
            (&[("cache-control", "max-age=-5")], 3600),
            (&[("cache-control", "max-age=")], 3600),
            (&[("cache-control", ",,=,\u{e9}")], 3600),
        ] {
            assert_eq!(secs(headers), expected, "{headers:?}");
        }
    }
}
