//! Why the gateway answers instead of the upstream.
//!
//! In: what a step decided. Out: status, stable code and public text, by a
//! total match. Not here: anything an upstream said; a refusal has no field
//! that could carry it, so no public text can contain it.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;

/// A request that does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A parameter is malformed or contradicts a fixed one.
    BadParameter {
        /// Its name, as far as it can be shown.
        name: String,
        /// What is wrong with it, as the end of a sentence.
        why: &'static str,
    },
    /// The head of the request is malformed; the sentence says how.
    BadRequest(&'static str),
    /// The body is larger than allowed.
    BodyTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// A parameter that steers the upstream itself.
    ControlParameter {
        /// Its name.
        name: String,
    },
    /// The header block is larger than allowed.
    HeadersTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The path exists and has other methods.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: Arc<str>,
    },
    /// The body did not arrive in time.
    RequestTimeout,
    /// No route is configured for this host and path.
    RouteNotFound,
    /// A fixed parameter has no value in this request.
    TenantMissing,
    /// A body that parameters cannot be read from; the sentence says why.
    UnsupportedBody(&'static str),
    /// Connection or protocol failure towards the upstream.
    UpstreamFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// There is no address to reach the upstream at.
    UpstreamUnavailable,
    /// The request target is longer than allowed.
    UriTooLong {
        /// In bytes.
        limit: u64,
    },
}

/// The stable name of a kind of refusal: in bodies, metrics, documentation and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// 400
    BadParameter,
    /// 400
    BadRequest,
    /// 413
    BodyTooLarge,
    /// 400
    ControlParameter,
    /// 431
    HeadersTooLarge,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 404
    RouteNotFound,
    /// 403
    TenantMissing,
    /// 415
    UnsupportedBody,
    /// 502
    UpstreamFailed,
    /// 504
    UpstreamTimeout,
    /// 503
    UpstreamUnavailable,
    /// 414
    UriTooLong,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [RefusalCode; 14] = [
        RefusalCode::BadParameter,
        RefusalCode::BadRequest,
        RefusalCode::BodyTooLarge,
        RefusalCode::ControlParameter,
        RefusalCode::HeadersTooLarge,
        RefusalCode::MethodNotAllowed,
        RefusalCode::RequestTimeout,
        RefusalCode::RouteNotFound,
        RefusalCode::TenantMissing,
        RefusalCode::UnsupportedBody,
        RefusalCode::UpstreamFailed,
        RefusalCode::UpstreamTimeout,
        RefusalCode::UpstreamUnavailable,
        RefusalCode::UriTooLong,
    ];

    /// The code as callers see it.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCode::BadParameter => "bad_parameter",
            RefusalCode::BadRequest => "bad_request",
            RefusalCode::BodyTooLarge => "body_too_large",
            RefusalCode::ControlParameter => "control_parameter",
            RefusalCode::HeadersTooLarge => "headers_too_large",
            RefusalCode::MethodNotAllowed => "method_not_allowed",
            RefusalCode::RequestTimeout => "request_timeout",
            RefusalCode::RouteNotFound => "route_not_found",
            RefusalCode::TenantMissing => "tenant_missing",
            RefusalCode::UnsupportedBody => "unsupported_body",
            RefusalCode::UpstreamFailed => "upstream_failed",
            RefusalCode::UpstreamTimeout => "upstream_timeout",
            RefusalCode::UpstreamUnavailable => "upstream_unavailable",
            RefusalCode::UriTooLong => "uri_too_long",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            RefusalCode::BadParameter | RefusalCode::BadRequest | RefusalCode::ControlParameter => {
                StatusCode::BAD_REQUEST
            }
            RefusalCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalCode::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            RefusalCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            RefusalCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            RefusalCode::RouteNotFound => StatusCode::NOT_FOUND,
            RefusalCode::TenantMissing => StatusCode::FORBIDDEN,
            RefusalCode::UnsupportedBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            RefusalCode::UpstreamFailed => StatusCode::BAD_GATEWAY,
            RefusalCode::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            RefusalCode::UpstreamUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            RefusalCode::UriTooLong => StatusCode::URI_TOO_LONG,
        }
    }
}

impl Refusal {
    /// A bad parameter, its name cut and cleaned so that it can be shown.
    pub fn bad_parameter(name: &str, why: &'static str) -> Self {
        Refusal::BadParameter { name: presentable(name), why }
    }

    /// Its stable code.
    pub fn code(&self) -> RefusalCode {
        match self {
            Refusal::BadParameter { .. } => RefusalCode::BadParameter,
            Refusal::BadRequest(_) => RefusalCode::BadRequest,
            Refusal::BodyTooLarge { .. } => RefusalCode::BodyTooLarge,
            Refusal::ControlParameter { .. } => RefusalCode::ControlParameter,
            Refusal::HeadersTooLarge { .. } => RefusalCode::HeadersTooLarge,
            Refusal::MethodNotAllowed { .. } => RefusalCode::MethodNotAllowed,
            Refusal::RequestTimeout => RefusalCode::RequestTimeout,
            Refusal::RouteNotFound => RefusalCode::RouteNotFound,
            Refusal::TenantMissing => RefusalCode::TenantMissing,
            Refusal::UnsupportedBody(_) => RefusalCode::UnsupportedBody,
            Refusal::UpstreamFailed => RefusalCode::UpstreamFailed,
            Refusal::UpstreamTimeout => RefusalCode::UpstreamTimeout,
            Refusal::UpstreamUnavailable => RefusalCode::UpstreamUnavailable,
            Refusal::UriTooLong { .. } => RefusalCode::UriTooLong,
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        self.code().status()
    }

    /// What the caller reads.
    pub fn public(&self) -> Cow<'static, str> {
        match self {
            Refusal::BadParameter { name, why } => format!("The parameter `{name}` {why}.").into(),
            Refusal::BadRequest(sentence) | Refusal::UnsupportedBody(sentence) => (*sentence).into(),
            Refusal::BodyTooLarge { limit } => format!("The request body is larger than {limit} bytes.").into(),
            Refusal::ControlParameter { name } => {
                format!("The parameter `{name}` cannot be used here: it steers the query engine itself.").into()
            }
            Refusal::HeadersTooLarge { limit } => {
                format!("The request headers are larger than {limit} bytes, or too many.").into()
            }
            Refusal::MethodNotAllowed { allow } => format!("This path can be called with: {allow}.").into(),
            Refusal::RequestTimeout => "The request body did not arrive in time.".into(),
            Refusal::RouteNotFound => "There is nothing at this address.".into(),
            Refusal::TenantMissing => "This request does not say whose data it asks for.".into(),
            Refusal::UpstreamFailed => "The service behind this address failed to answer. Try again later.".into(),
            Refusal::UpstreamTimeout => "The service behind this address did not answer in time.".into(),
            Refusal::UpstreamUnavailable => {
                "The service behind this address cannot be reached now. Try again later.".into()
            }
            Refusal::UriTooLong { limit } => {
                format!("The request target is longer than {limit} bytes. Send long parameters by POST.").into()
            }
        }
    }
}

/// A caller's own word in a form that is safe to repeat.
fn presentable(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "_-.[]$:@".contains(c) { c } else { '?' }).collect()
}
