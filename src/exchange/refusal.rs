//! Why the gateway answers instead of the upstream.
//!
//! In: what a step decided. Out: status, stable code and public text, by a
//! total match. Not here: anything an upstream said; a refusal has no field
//! that could carry it, so no public text can contain it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode, header};

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
    /// The credential was good once.
    CredentialExpired {
        /// 401 or 403, as the provider has it.
        status: StatusCode,
        /// What kind of thing it is.
        means: Means,
    },
    /// The credential is none that anybody gave out.
    CredentialInvalid {
        /// 401 or 403, as the provider has it.
        status: StatusCode,
        /// What kind of thing it is.
        means: Means,
    },
    /// The route wants a credential, and there is none.
    CredentialMissing {
        /// Where it should stand; none where only a certificate opens the address.
        header: Option<HeaderName>,
    },
    /// Who calls may not call this.
    Forbidden,
    /// The header block is larger than allowed.
    HeadersTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The keys that tell good tokens from bad ones are not there.
    KeysUnavailable,
    /// The path exists and has other methods.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: Arc<str>,
    },
    /// The connection was opened for another host, and what the caller may see there is not for this one.
    Misdirected,
    /// More requests than the upstream can take, or may be sent.
    Overloaded {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// So much was asked in this hour, day or month that no more is let in.
    QuotaExhausted {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// Too many requests, or too many wrong credentials.
    RateLimited {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// The body did not arrive in time.
    RequestTimeout,
    /// No route is configured for this host and path.
    RouteNotFound,
    /// The caller's rows are not those that this address, or this token, is for.
    TenantMismatch,
    /// A fixed parameter has no value in this request, or it has no tenant where one is needed.
    TenantMissing,
    /// A body that parameters cannot be read from; the sentence says why.
    UnsupportedBody(&'static str),
    /// Connection or protocol failure towards the upstream.
    UpstreamFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// There is no address to reach the upstream at, or all its backends are left out.
    UpstreamUnavailable {
        /// In seconds, where it is known when to come again.
        retry_after: Option<u64>,
    },
    /// The request target is longer than allowed.
    UriTooLong {
        /// In bytes.
        limit: u64,
    },
}

/// How a credential is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// In the handshake of the connection: no header of an answer asks for another one.
    Certificate,
    /// In a header, or in the query.
    Text,
}

/// Makes the enum, its texts and `ALL` from one table.
macro_rules! refusal_codes {
    ($($name:ident = $code:literal, $status:ident, $when:literal, $remedy:literal;)*) => {
        /// The stable name of a kind of refusal: in bodies, metrics, documentation and tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalCode { $(#[doc = $when] $name,)* }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$name,)*];

            /// The code as callers see it.
            pub fn as_str(self) -> &'static str {
                match self { $(RefusalCode::$name => $code,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(RefusalCode::$name => StatusCode::$status,)* }
            }

            /// When it is given, in the Markdown of docs/refusals.md.
            pub fn when(self) -> &'static str {
                match self { $(RefusalCode::$name => $when,)* }
            }

            /// What the caller or the operator can do, in the Markdown of docs/refusals.md.
            pub fn remedy(self) -> &'static str {
                match self { $(RefusalCode::$name => $remedy,)* }
            }
        }
    };
}

refusal_codes! {
    BadParameter = "bad_parameter", BAD_REQUEST,
        "A parameter has a name or value that cannot be used, is nested, or contradicts a fixed one on a \
         route with `conflict: refuse`.",
        "Caller: correct the parameter that the text names.";
    BadRequest = "bad_request", BAD_REQUEST,
        "The request cannot be read in one way only: `..`, `//`, an encoded slash or a control character in \
         the path, no or a malformed `Host`, an ambiguous `Content-Length` or `Transfer-Encoding`, malformed \
         JSON.",
        "Caller: send what the text asks for.";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE,
        "The body is larger than `server.max_body`, or than 60 KiB on a pipe route.",
        "Caller: send less. Operator: raise [`server.max_body`](reference/server.md) for `proxy` routes.";
    ControlParameter = "control_parameter", BAD_REQUEST,
        "A parameter steers the query engine itself: `q`, `explain`, `__tb__…` ([the \
         list](reference/params.md)).",
        "Caller: leave it out. Operator: name it in `params.allow` if callers may use it.";
    CredentialExpired = "credential_expired", UNAUTHORIZED,
        "The token was good, and its time is over. 403 where a `tinybird_jwt` provider judged it (Tinybird's \
         clients refresh on 403), else 401; `refused_status` changes it.",
        "Caller: get a new token.";
    CredentialInvalid = "credential_invalid", UNAUTHORIZED,
        "The credential is not one that this address accepts: unknown, wrong signature, another issuer or \
         audience, malformed, revoked. 403 where a `tinybird_jwt` provider judged it, else 401; \
         `refused_status` changes it. It is not said which, because that would help who guesses.",
        "Operator: `tollgate token verify` says in words why a token is refused; `tollgate keys list` which keys \
         are active.";
    CredentialMissing = "credential_missing", UNAUTHORIZED,
        "The route wants a credential, and the request has none; `WWW-Authenticate` says which kind. Where there is \
         no such header, only a client certificate opens the route.",
        "Caller: send `Authorization: Bearer ...`, or `?token=...` where no header can be sent; or open the \
         connection with a [client certificate](client-certificates.md).";
    Forbidden = "forbidden", FORBIDDEN,
        "The credential is good, and not for this: no scope for the pipe, a scope of `require` is missing, or the \
         tenant is switched off.",
        "Operator: see `require` in [routes](reference/routes.md) and `tollgate routes test`.";
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are larger than `server.max_headers`, or there are more than 100.",
        "Caller: send fewer; cookies are the usual cause.";
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE,
        "The public keys of the identity provider could not be fetched, or not for a day, so that no token can \
         be told good from bad.",
        "Operator: see `tollgate_jwks_age_seconds` and the program's log. Caller: try again later.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "The path exists, and has other methods; `Allow` lists them.",
        "Caller: use one of them. Operator: see `methods` in [routes](reference/routes.md).";
    Misdirected = "misdirected", MISDIRECTED_REQUEST,
        "The connection was opened with TLS for one host, and the request is for another one.",
        "Caller: open a connection for this host; browsers do so by themselves. Operator: a proxy in front must ask for the \
         name that it sends as `Host`.";
    Overloaded = "overloaded", TOO_MANY_REQUESTS,
        "The upstream has as many requests as it may have (`concurrency`, `rate`), and no more can wait; or it said \
         itself that it has too many. Also: the gateway itself has as many requests, or as much memory, as \
         `server.overload` allows; or nobody can count, because the shared counters cannot be asked, and \
         `on_counter_failure` is `refuse`.",
        "Caller: wait as long as `Retry-After` says. Operator: `fault=` in the access log says which; see \
         [upstreams](reference/upstreams.md), [server](reference/server.md#overload), \
         [limits](reference/limits.md#on-several-gateways).";
    QuotaExhausted = "quota_exhausted", TOO_MANY_REQUESTS,
        "A quota is used up until its hour, day or month is over.",
        "Caller: wait as long as `Retry-After` says, or ask for more. Operator: `tollgate limits show` says what is left.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS,
        "More requests than a rate of `limits`, or `limits.rps` of the token, allows; or too many wrong API keys and \
         signatures from one address. `RateLimit-Policy` names the limit.",
        "Caller: wait as long as `Retry-After` says. Operator: `limit=` in the access log is the limit; `tollgate limits \
         show` says how it stands.";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT,
        "The request body did not arrive in time: 30 s between two reads, 30 s for a whole parameter body.",
        "Caller: send again.";
    RouteNotFound = "route_not_found", NOT_FOUND,
        "No route matches the path, or the host is not one of [`hosts`](reference/hosts.md). Neighbours of configured pipes, such as `/v0/pipes/openapi.json`, are not \
         routes either.",
        "Operator: `tollgate routes -c FILE` lists what is served.";
    TenantMismatch = "tenant_mismatch", FORBIDDEN,
        "The credential is of another tenant than the host is for, of one that its provider may not speak for, or \
         its own fixed parameters contradict those of the route.",
        "Caller: use the address, or the credential, of your own organisation.";
    TenantMissing = "tenant_missing", FORBIDDEN,
        "A fixed parameter has no value in this request, or the credential names no tenant where one is needed. \
         It is refused because most pipes show every row when such a parameter is empty.",
        "Caller: use a credential, or a path, that has the value.";
    UnsupportedBody = "unsupported_body", UNSUPPORTED_MEDIA_TYPE,
        "A body on a pipe route that parameters cannot be read from: another type than form or JSON, \
         compressed, not UTF-8, on GET, or without `Content-Type`.",
        "Caller: send a form or a flat JSON object, and say which.";
    UpstreamFailed = "upstream_failed", BAD_GATEWAY,
        "The connection to the upstream failed or broke, TLS could not be verified, its answer was malformed, \
         or it carried a configured credential.",
        "Operator: `fault=` in the access log says which.";
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT,
        "The upstream did not connect or answer within `timeouts`.",
        "Operator: see [timeouts](reference/upstreams.md).";
    UpstreamUnavailable = "upstream_unavailable", SERVICE_UNAVAILABLE,
        "The upstream's host name has no address yet, or all its backends are left out and `eject.all_out` is `refuse`.",
        "Operator: see `tollgate_upstream_resolved`, `tollgate_upstream_backend_up` and the program's log. Callers: wait as long as `Retry-After` says, where it is there.";
    UriTooLong = "uri_too_long", URI_TOO_LONG,
        "Path and query are longer than `server.max_uri`.",
        "Caller: send long parameters by POST.";
}

impl Refusal {
    /// A bad parameter, its name cut and cleaned so that it can be shown.
    pub fn bad_parameter(name: &str, why: &'static str) -> Self {
        Refusal::BadParameter { name: presentable(name), why }
    }

    /// Too many requests for the upstream, for who may come again after this time.
    pub fn overloaded(wait: Duration) -> Self {
        Refusal::Overloaded { retry_after: whole_seconds(wait).max(1) }
    }

    /// A quota is used up, for who may come again after this time.
    pub fn quota_exhausted(wait: Duration) -> Self {
        Refusal::QuotaExhausted { retry_after: whole_seconds(wait) }
    }

    /// All backends are left out, for who may come again after this time.
    pub fn upstream_unavailable(wait: Duration) -> Self {
        Refusal::UpstreamUnavailable { retry_after: Some(whole_seconds(wait).max(1)) }
    }

    /// Too many requests, for who may come again after this time; who comes then is not sent away once more.
    pub fn rate_limited(wait: Duration) -> Self {
        Refusal::RateLimited { retry_after: whole_seconds(wait) }
    }

    /// The same, for who may not come again before that, be it for another reason.
    #[must_use]
    pub fn not_before(self, wait: Duration) -> Self {
        let later = |retry_after: u64| retry_after.max(whole_seconds(wait));
        match self {
            Refusal::Overloaded { retry_after } => Refusal::Overloaded { retry_after: later(retry_after) },
            Refusal::QuotaExhausted { retry_after } => Refusal::QuotaExhausted { retry_after: later(retry_after) },
            Refusal::RateLimited { retry_after } => Refusal::RateLimited { retry_after: later(retry_after) },
            other @ (Refusal::BadParameter { .. }
            | Refusal::BadRequest(_)
            | Refusal::BodyTooLarge { .. }
            | Refusal::ControlParameter { .. }
            | Refusal::CredentialExpired { .. }
            | Refusal::CredentialInvalid { .. }
            | Refusal::CredentialMissing { .. }
            | Refusal::Forbidden
            | Refusal::HeadersTooLarge { .. }
            | Refusal::KeysUnavailable
            | Refusal::MethodNotAllowed { .. }
            | Refusal::Misdirected
            | Refusal::RequestTimeout
            | Refusal::RouteNotFound
            | Refusal::TenantMismatch
            | Refusal::TenantMissing
            | Refusal::UnsupportedBody(_)
            | Refusal::UpstreamFailed
            | Refusal::UpstreamTimeout
            | Refusal::UpstreamUnavailable { .. }
            | Refusal::UriTooLong { .. }) => other,
        }
    }

    /// Its stable code.
    pub fn code(&self) -> RefusalCode {
        match self {
            Refusal::BadParameter { .. } => RefusalCode::BadParameter,
            Refusal::BadRequest(_) => RefusalCode::BadRequest,
            Refusal::BodyTooLarge { .. } => RefusalCode::BodyTooLarge,
            Refusal::ControlParameter { .. } => RefusalCode::ControlParameter,
            Refusal::CredentialExpired { .. } => RefusalCode::CredentialExpired,
            Refusal::CredentialInvalid { .. } => RefusalCode::CredentialInvalid,
            Refusal::CredentialMissing { .. } => RefusalCode::CredentialMissing,
            Refusal::Forbidden => RefusalCode::Forbidden,
            Refusal::HeadersTooLarge { .. } => RefusalCode::HeadersTooLarge,
            Refusal::KeysUnavailable => RefusalCode::KeysUnavailable,
            Refusal::MethodNotAllowed { .. } => RefusalCode::MethodNotAllowed,
            Refusal::Misdirected => RefusalCode::Misdirected,
            Refusal::Overloaded { .. } => RefusalCode::Overloaded,
            Refusal::QuotaExhausted { .. } => RefusalCode::QuotaExhausted,
            Refusal::RateLimited { .. } => RefusalCode::RateLimited,
            Refusal::RequestTimeout => RefusalCode::RequestTimeout,
            Refusal::RouteNotFound => RefusalCode::RouteNotFound,
            Refusal::TenantMismatch => RefusalCode::TenantMismatch,
            Refusal::TenantMissing => RefusalCode::TenantMissing,
            Refusal::UnsupportedBody(_) => RefusalCode::UnsupportedBody,
            Refusal::UpstreamFailed => RefusalCode::UpstreamFailed,
            Refusal::UpstreamTimeout => RefusalCode::UpstreamTimeout,
            Refusal::UpstreamUnavailable { .. } => RefusalCode::UpstreamUnavailable,
            Refusal::UriTooLong { .. } => RefusalCode::UriTooLong,
        }
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::CredentialExpired { status, .. } | Refusal::CredentialInvalid { status, .. } => *status,
            Refusal::BadParameter { .. }
            | Refusal::BadRequest(_)
            | Refusal::BodyTooLarge { .. }
            | Refusal::ControlParameter { .. }
            | Refusal::CredentialMissing { .. }
            | Refusal::Forbidden
            | Refusal::HeadersTooLarge { .. }
            | Refusal::KeysUnavailable
            | Refusal::MethodNotAllowed { .. }
            | Refusal::Misdirected
            | Refusal::Overloaded { .. }
            | Refusal::QuotaExhausted { .. }
            | Refusal::RateLimited { .. }
            | Refusal::RequestTimeout
            | Refusal::RouteNotFound
            | Refusal::TenantMismatch
            | Refusal::TenantMissing
            | Refusal::UnsupportedBody(_)
            | Refusal::UpstreamFailed
            | Refusal::UpstreamTimeout
            | Refusal::UpstreamUnavailable { .. }
            | Refusal::UriTooLong { .. } => self.code().status(),
        }
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
            Refusal::CredentialExpired { .. } => "This credential has expired. Get a new one.".into(),
            Refusal::CredentialInvalid { .. } => "This credential is not accepted here.".into(),
            Refusal::CredentialMissing { header: None } => {
                "This address wants a client certificate. Open the connection with one.".into()
            }
            Refusal::CredentialMissing { header: Some(header) } if *header == header::AUTHORIZATION => {
                "This address wants a credential. Send it as `Authorization: Bearer ...`.".into()
            }
            Refusal::CredentialMissing { header: Some(header) } => {
                format!("This address wants a credential. Send it in the header `{header}`.").into()
            }
            Refusal::Forbidden => "This credential does not open this address.".into(),
            Refusal::HeadersTooLarge { limit } => {
                format!("The request headers are larger than {limit} bytes, or too many.").into()
            }
            Refusal::KeysUnavailable => "Credentials cannot be checked now. Try again later.".into(),
            Refusal::MethodNotAllowed { allow } => format!("This path can be called with: {allow}.").into(),
            Refusal::Misdirected => "This connection was opened for another host. Open one for this one.".into(),
            Refusal::Overloaded { retry_after } => {
                format!("No more requests can be taken at the moment. Try again in {retry_after} s.").into()
            }
            Refusal::QuotaExhausted { retry_after } => {
                format!("The quota for this is used up. It is whole again in {retry_after} s.").into()
            }
            Refusal::RateLimited { retry_after } => format!("Too many requests. Try again in {retry_after} s.").into(),
            Refusal::RequestTimeout => "The request body did not arrive in time.".into(),
            Refusal::RouteNotFound => "There is nothing at this address.".into(),
            Refusal::TenantMismatch => "This credential is for other data than this address shows.".into(),
            Refusal::TenantMissing => "This request does not say whose data it asks for.".into(),
            Refusal::UpstreamFailed => "The service behind this address failed to answer. Try again later.".into(),
            Refusal::UpstreamTimeout => "The service behind this address did not answer in time.".into(),
            Refusal::UpstreamUnavailable { .. } => {
                "The service behind this address cannot be reached now. Try again later.".into()
            }
            Refusal::UriTooLong { limit } => {
                format!("The request target is longer than {limit} bytes. Send long parameters by POST.").into()
            }
        }
    }
}

/// Seconds as `Retry-After` has them: who waits as long is not sent away once more.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A caller's own word in a form that is safe to repeat.
fn presentable(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "_-.[]$:@".contains(c) { c } else { '?' }).collect()
}
