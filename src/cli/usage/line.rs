//! One line of an access log in JSON.
//!
//! In: its bytes. Out: what limits need of it, or why it is none. Not here:
//! writing it (`telemetry::access_log`).

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use http::StatusCode;
use serde::Deserialize;

use crate::config::scalar::TenantName;
use crate::exchange::statistics::Statistics;
use crate::pipeline::limits::NAME_OF_TOKENS_RATE;
use crate::pipeline::statistics::{Body, End, Reach};

/// A request that was made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// When it came.
    pub(super) at: SystemTime,
    /// When its answer had ended.
    pub(super) end: SystemTime,
    pub(super) client: IpAddr,
    /// The provider, and the caller as the log has it.
    pub(super) caller: Option<(String, String)>,
    pub(super) tenant: Option<TenantName>,
    pub(super) host: String,
    pub(super) path: String,
    /// The pattern that matched then.
    pub(super) route: Option<String>,
    pub(super) fate: Fate,
    /// How it ended, as far as its cost goes.
    pub(super) cost: End,
}

/// What became of a request then, as far as limits go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It went upstream.
    Passed,
    /// The gateway answered it itself, or refused it for another reason than a limit.
    Answered,
    /// The upstream had no room for it, so that it cost nothing.
    Overloaded,
    /// The limit with this name refused it.
    Limited(String),
}

/// What is read of a line; what else stands there is passed over.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    client: IpAddr,
    status: u16,
    #[serde(borrow, default)]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    caller: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    host: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Cow<'a, str>,
    #[serde(borrow, default)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    upstream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    limit: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fault: Option<Cow<'a, str>>,
    #[serde(default)]
    bytes_out: u64,
    #[serde(default)]
    bytes_unpacked: Option<u64>,
    #[serde(default)]
    rows_read: Option<u64>,
    #[serde(default)]
    bytes_read: Option<u64>,
    #[serde(default)]
    query_ms: Option<f64>,
    #[serde(default)]
    ms: f64,
    #[serde(default)]
    upstream_ms: f64,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is none, without anything of what stands there.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err("is not a JSON object".to_owned());
        }
        let written: Written<'_> = serde_json::from_slice(bytes).map_err(|error| why(&error))?;
        let at = DateTime::parse_from_rfc3339(&written.time).map_err(|_| "`time` is not a time".to_owned())?;
        let at = SystemTime::from(at);
        if at < SystemTime::UNIX_EPOCH {
            return Err("`time` is before 1970".to_owned());
        }
        let tenant = written.tenant.as_deref().map(str::parse).transpose();
        let tenant = tenant.map_err(|_: String| "`tenant` is not the name of a tenant".to_owned())?;
        let caller = written.provider.as_deref().zip(written.caller.as_deref());
        Ok(Line {
            at,
            end: at.checked_add(millis(written.ms)).unwrap_or(at),
            client: written.client,
            caller: caller.map(|(provider, id)| (provider.to_owned(), id.to_owned())),
            tenant,
            fate: fate(&written),
            cost: cost(&written),
            route: written.route.map(Cow::into_owned),
            host: written.host.into_owned(),
            path: written.path.into_owned(),
        })
    }

    /// Whether it was known who called, where that can be told.
    pub(super) fn is_identified(&self) -> bool {
        self.tenant.is_some() || self.caller.is_some()
    }
}

fn fate(written: &Written<'_>) -> Fate {
    let limit = || written.limit.as_deref().map(str::to_owned);
    match (written.refusal.as_deref(), &written.upstream) {
        // Without the name of a limit it is who tries credentials that is told to wait.
        (Some("rate_limited" | "quota_exhausted"), _) => limit().map_or(Fate::Answered, Fate::Limited),
        (Some("overloaded"), _) => Fate::Overloaded,
        (_, Some(_)) => Fate::Passed,
        (_, None) => Fate::Answered,
    }
}

fn cost(written: &Written<'_>) -> End {
    // 499 is the log's own word for callers who left before there was an answer.
    let is_upstreams = written.refusal.is_none() && written.status != 499;
    End {
        reach: if written.upstream.is_some() { Reach::Upstream } else { Reach::Nowhere },
        answered: StatusCode::from_u16(written.status).ok().filter(|_| is_upstreams),
        body: if written.fault.is_some() { Body::Broken } else { Body::Whole },
        statistics: Statistics {
            rows_read: written.rows_read,
            bytes_read: written.bytes_read,
            elapsed: written.query_ms.map(millis),
        },
        response_bytes: written.bytes_unpacked.unwrap_or(written.bytes_out),
        waited: millis(written.upstream_ms),
    }
}

/// Whether a limit of a log can only have refused once it was known who calls.
pub(super) fn is_rate_of_token(limit: &str) -> bool {
    limit == NAME_OF_TOKENS_RATE
}

/// A day at most: a number that makes no sense must not move the clock.
fn millis(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis.clamp(0.0, 86_400_000.0) / 1000.0).unwrap_or_default()
}

fn why(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return "is not a JSON object".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.strip_prefix("missing field ") {
        Some(field) => format!("has no {field}"),
        // The rest quotes what stands there.
        None => "is not a line of an access log".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"time":"2026-11-22T17:06:18.123Z","client":"192.0.2.1","status":200,"upstream":"t","ms":1500.5,"upstream_ms":20.0,"tenant":"acme","provider":"keys","caller":"k1","host":"h","path":"/a","route":"/a","rows_read":7,"bytes_out":3,"bytes_unpacked":9,"query_ms":2.5,"new":[1]}"#;

    #[test]
    fn what_limits_need_is_read_and_the_rest_passed_over() {
        let line = Line::read(WHOLE.as_bytes()).unwrap();
        assert_eq!(line.end.duration_since(line.at).unwrap(), Duration::from_micros(1_500_500));
        assert_eq!((line.fate.clone(), line.is_identified()), (Fate::Passed, true));
        assert_eq!(line.cost.response_bytes, 9, "before it was compressed");
        assert_eq!(line.cost.statistics.elapsed, Some(Duration::from_micros(2_500)));
        assert_eq!(line.cost.statistics.bytes_read, None, "unknown is not nothing");
    }

    #[test]
    fn what_is_no_line_is_told_without_what_stands_there() {
        for (text, why) in [
            ("", "is not a JSON object"),
            ("secret", "is not a JSON object"),
            ("{\"time\":", "is not a JSON object"),
            (r#"{"time":"2026-11-22T17:06:18Z","client":"192.0.2.1"}"#, "has no `status`"),
            (r#"{"time":"secret","client":"192.0.2.1","status":200}"#, "`time` is not a time"),
            (r#"{"time":"1960-11-22T17:06:18Z","client":"192.0.2.1","status":200}"#, "`time` is before 1970"),
            (r#"{"time":"2026-11-22T17:06:18Z","client":"secret","status":200}"#, "is not a line of an access log"),
            (
                r#"{"time":"2026-11-22T17:06:18Z","client":"192.0.2.1","status":200,"tenant":"a,b"}"#,
                "`tenant` is not the name of a tenant",
            ),
            ("[1]", "is not a JSON object"),
        ] {
            assert_eq!(Line::read(text.as_bytes()).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn what_became_of_it_is_told_by_refusal_limit_and_upstream() {
        let fate = |more: &str| {
            let text = format!(r#"{{"time":"2026-11-22T17:06:18Z","client":"::1","status":200{more}}}"#);
            Line::read(text.as_bytes()).unwrap().fate
        };
        assert_eq!(fate(r#","upstream":"t""#), Fate::Passed);
        assert_eq!(fate(r#","upstream":"t","refusal":"upstream_timeout""#), Fate::Passed);
        assert_eq!(fate(r#","refusal":"route_not_found""#), Fate::Answered);
        assert_eq!(fate(""), Fate::Answered, "a preflight");
        assert_eq!(fate(r#","refusal":"quota_exhausted","limit":"daily""#), Fate::Limited("daily".to_owned()));
        assert_eq!(fate(r#","refusal":"rate_limited","limit":null"#), Fate::Answered, "who guesses at credentials");
        assert_eq!(fate(r#","upstream":"t","refusal":"overloaded""#), Fate::Overloaded);
    }
}
