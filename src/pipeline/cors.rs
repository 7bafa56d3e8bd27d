//! Which pages may call from a browser (Fetch standard, CORS protocol).
//!
//! In: a `cors` section, the request's headers. Out: the answer to a preflight,
//! and headers for every other answer, refusals included. Not here: who may
//! call; a browser cannot authenticate a preflight.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::config::scalar::OriginPattern;
use crate::config::section::cors as section;
use crate::exchange::reply::Reply;

/// Answer headers that pages may read beside the few that browsers always show.
const EXPOSED: &str = "X-Request-Id, Retry-After, Content-Disposition, ETag, Link, RateLimit, RateLimit-Policy, \
                       X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset";

/// The compiled rules of a route.
#[derive(Clone, Debug, Default)]
pub struct Cors(Option<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    origins: Arc<[OriginPattern]>,
    credentials: bool,
    any: bool,
    max_age: HeaderValue,
}

impl Cors {
    /// The rules of a section; none where there is no section.
    pub fn compile(section: Option<&section::Cors>) -> Self {
        Cors(section.map(|cors| {
            let any = cors.origins.contains(&OriginPattern::Any);
            Rules {
                origins: cors.origins.clone().into(),
                // Credentials for every origin would let any page act for its visitors.
                credentials: cors.credentials && !any,
                any,
                max_age: HeaderValue::from(cors.max_age.duration().as_secs()),
            }
        }))
    }

    /// The answer to a preflight, if that is what the request is.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap, allow: &str) -> Option<Reply> {
        let rules = self.0.as_ref()?;
        if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        headers.get(header::ORIGIN)?;
        let mut answer = Vec::new();
        if rules.matches(headers) {
            let requested = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
            answer.extend(HeaderValue::from_str(allow).ok().map(|allow| (header::ACCESS_CONTROL_ALLOW_METHODS, allow)));
            // Headers outside the allow-list never reach the upstream, so a page may send what it likes.
            answer.extend(requested.map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone())));
            answer.push((header::ACCESS_CONTROL_MAX_AGE, rules.max_age.clone()));
        }
        answer.push((
            header::VARY,
            HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
        ));
        Some(Reply { status: StatusCode::NO_CONTENT, headers: answer, body: Bytes::new() })
    }

    /// Headers for an answer to a request with these headers.
    pub fn decorate(&self, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let Some(rules) = &self.0 else { return Vec::new() };
        let mut answer = Vec::new();
        if !rules.any {
            // Caches must keep the answers for different origins apart.
            answer.push((header::VARY, HeaderValue::from_static("Origin")));
        }
        if !rules.matches(headers) {
            return answer;
        }
        let origin = match rules.any {
            true => Some(HeaderValue::from_static("*")),
            false => headers.get(header::ORIGIN).cloned(),
        };
        answer.extend(origin.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)));
        answer.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
        if rules.credentials {
            answer.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        answer
    }
}

impl Rules {
    fn matches(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next().and_then(|origin| origin.to_str().ok()), origins.next()) {
            (Some(origin), None) => self.origins.iter().any(|pattern| pattern.matches(origin)),
            _ => false,
        }
    }
}
