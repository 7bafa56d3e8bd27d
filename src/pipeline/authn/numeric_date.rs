//! Times in tokens (RFC 7519, NumericDate): seconds since 1970, with or without
//! a fraction.
//!
//! In: the value of a claim. Out: a time of day. Nothing overflows: what lies
//! outside any calendar is no time.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::rejection::Finding;

/// The year 9999: later than any token is good for.
const LATEST: f64 = 253_402_300_799.0;

/// The time that a claim holds; none where there is no such claim.
///
/// # Errors
/// It is no time.
pub(super) fn read(claims: &Map<String, Value>, name: &str, wrong: Finding) -> Result<Option<SystemTime>, Finding> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds)).ok_or(wrong)?;
    Ok(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds)))
}

/// Looks whether now lies between `nbf` and `exp`, which must be there; the end of the token's life, leeway included.
///
/// # Errors
/// It does not.
pub(super) fn check(claims: &Map<String, Value>, now: SystemTime, leeway: Duration) -> Result<SystemTime, Finding> {
    const NO_TIME: &str = "its `exp` is not a time: seconds since 1970 are wanted";
    let expires = read(claims, "exp", Finding::Claim(NO_TIME))?;
    let expires = expires.ok_or(Finding::Claim("it has no `exp`: a token must end some day"))?;
    let until = expires + leeway;
    if now >= until {
        return Err(Finding::Expired(expires));
    }
    let not_before = read(claims, "nbf", Finding::Claim("its `nbf` is not a time: seconds since 1970 are wanted"))?;
    match not_before.filter(|begins| now + leeway < *begins) {
        Some(begins) => Err(Finding::NotYet(begins)),
        None => Ok(until),
    }
}
