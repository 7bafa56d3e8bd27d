//! Every metric name, with its help text.

use crate::exchange::usage;

/// Requests by configured host and route, and by the status the caller got.
pub const REQUESTS: (&str, &str) = ("tollgate_requests_total", "Requests by host, route and status code");
/// From the first byte of a request to the last of its answer.
pub const REQUEST_SECONDS: (&str, &str) = ("tollgate_request_seconds", "Duration of requests in seconds, by route");
/// From sending a try to its response headers, waits between tries excluded.
pub const UPSTREAM_SECONDS: (&str, &str) = (
    "tollgate_upstream_seconds",
    "Time until an upstream's response headers in seconds, all tries of a request added up",
);
/// Tries after the first.
pub const RETRIES: (&str, &str) = ("tollgate_retries_total", "Repeated tries by upstream and reason");
/// Requests that the gateway answered itself with an error.
pub const REFUSALS: (&str, &str) =
    ("tollgate_refusals_total", "Requests that the gateway refused, by route and reason");
/// Requests that a limit refused, or would have.
pub const LIMIT_REFUSALS: (&str, &str) = (
    "tollgate_limit_refusals_total",
    "Requests that a limit refused (mode `enforced`), or would have refused (mode `dry_run`)",
);
/// Counts that limits keep.
pub const LIMIT_COUNTS: (&str, &str) = ("tollgate_limit_counts", "Counts that limits keep now, by kind");
/// Counts that newcomers share.
pub const LIMIT_SHARED: (&str, &str) = (
    "tollgate_limit_shared_counts",
    "Counts that several callers share because `state.max_counters` is reached, by kind",
);
/// Whether quotas are written down.
pub const QUOTAS_KEPT: (&str, &str) =
    ("tollgate_quotas_kept", "0 while what is used of quotas cannot be written to `state.dir`, else 1");
/// Whether limits are counted where they should be.
pub const COUNTERS_UP: (&str, &str) =
    ("tollgate_counters_up", "0 while the Redis in `state.counters` does not decide about limits, else 1");
/// Gateways that count together.
pub const COUNTERS_GATEWAYS: (&str, &str) =
    ("tollgate_counters_gateways", "Gateways that count limits together, as far as this one knows");
/// Calls of shared counters that failed.
pub const COUNTERS_FAILURES: (&str, &str) =
    ("tollgate_counters_failures_total", "Calls of the Redis in `state.counters` that failed or took too long");
/// Answers held back because a credential stood in them.
pub const TRIPWIRE: (&str, &str) =
    ("tollgate_tripwire_total", "Answers of upstreams held back because they contained a configured credential");
/// Requests being served.
pub const IN_FLIGHT: (&str, &str) = ("tollgate_in_flight", "Requests being served now");
/// Access log lines that found the queue full.
pub const LOG_DROPPED: (&str, &str) =
    ("tollgate_access_log_dropped_total", "Access log lines dropped because the queue was full");
/// Spans for a collector.
pub const TRACE_SPANS: (&str, &str) =
    ("tollgate_trace_spans_total", "Spans that a collector took (result `sent`), or that were given up (`dropped`)");
/// Calls of the collector that failed.
pub const TRACE_FAILURES: (&str, &str) =
    ("tollgate_trace_export_failures_total", "Calls of the collector in `log.traces` that failed");
/// Whether an upstream's host name has an address.
pub const UPSTREAM_RESOLVED: (&str, &str) =
    ("tollgate_upstream_resolved", "1 if the last look-up of an upstream's host name succeeded, else 0");
/// Requests that hold a place at an upstream.
pub const UPSTREAM_IN_FLIGHT: (&str, &str) =
    ("tollgate_upstream_in_flight", "Requests on their way at an upstream with `concurrency` or `rate`");
/// Requests that wait for a place.
pub const UPSTREAM_WAITING: (&str, &str) =
    ("tollgate_upstream_waiting", "Requests that wait until they may be sent to an upstream");
/// Whether an upstream asked for a pause.
pub const UPSTREAM_TAP_CLOSED: (&str, &str) = (
    "tollgate_upstream_tap_closed",
    "1 while an upstream gets no requests because it asked for a pause by 429, else 0",
);
/// How old the keys of an identity provider are.
pub const JWKS_AGE: (&str, &str) =
    ("tollgate_jwks_age_seconds", "Seconds since the keys of an identity provider were last fetched");
/// How many keys of an identity provider can be used.
pub const JWKS_KEYS: (&str, &str) = ("tollgate_jwks_keys", "Keys of an identity provider that can be used");
/// Tries to fetch the keys of an identity provider.
pub const JWKS_FETCHES: (&str, &str) =
    ("tollgate_jwks_fetches_total", "Tries to fetch the keys of an identity provider, by result");
/// Whether the configuration in use is the newest that was tried.
pub const CONFIG_OK: (&str, &str) =
    ("tollgate_config_last_reload_successful", "1 if the last attempt to load a configuration succeeded, else 0");
/// When the configuration in use was taken over, or found to be the newest.
pub const CONFIG_TIME: (&str, &str) = (
    "tollgate_config_last_reload_success_timestamp_seconds",
    "Time of day of the last attempt to load a configuration that succeeded, in seconds since 1970",
);
/// When a certificate ends.
pub const CERTIFICATE_NOT_AFTER: (&str, &str) = (
    "tollgate_certificate_not_after_seconds",
    "Time of day when the certificate of a host ends, in seconds since 1970; of several, the first",
);
/// Orders that came to nothing.
pub const ACME_FAILURES: (&str, &str) =
    ("tollgate_acme_failures_total", "Orders for certificates, first ones and renewals, that failed");
/// Tenants with metrics of their own.
pub const TENANTS: (&str, &str) = ("tollgate_tenants", "Tenants that are told apart in metrics now");
/// Whether usage is written down.
pub const USAGE_KEPT: (&str, &str) =
    ("tollgate_usage_kept", "0 while usage cannot be written to `state.dir`, else 1; not there without a ledger");
/// How far the ledger is behind.
pub const USAGE_BEHIND: (&str, &str) =
    ("tollgate_usage_behind_seconds", "Age of the oldest usage that is not written to `state.dir`");
/// Usage that was given up.
pub const USAGE_LOST: (&str, &str) = (
    "tollgate_usage_lost_total",
    "Requests whose usage was given up because the ledger could not be written for too long",
);
/// Requests of tenants.
pub const TENANT_REQUESTS: (&str, &str) =
    ("tollgate_tenant_requests_total", "Requests by tenant, route and class of the status");
/// Requests of tenants that the gateway refused.
pub const TENANT_REFUSALS: (&str, &str) =
    ("tollgate_tenant_refusals_total", "Requests that the gateway refused, by tenant and route");
/// Repeated tries for tenants.
pub const TENANT_RETRIES: (&str, &str) =
    ("tollgate_tenant_retries_total", "Repeated tries towards upstreams, by tenant and route");
/// What tenants sent.
pub const TENANT_REQUEST_BYTES: (&str, &str) =
    ("tollgate_tenant_request_bytes_total", "Bytes of the bodies of requests, by tenant and route");
/// What tenants were sent.
pub const TENANT_RESPONSE_BYTES: (&str, &str) =
    ("tollgate_tenant_response_bytes_total", "Bytes of the bodies of answers as they were sent, by tenant and route");
/// What tenants' queries read.
pub const TENANT_ROWS_READ: (&str, &str) =
    ("tollgate_tenant_rows_read_total", "Rows that queries read, as their answers say, by tenant and route");
/// What tenants' queries read.
pub const TENANT_BYTES_READ: (&str, &str) =
    ("tollgate_tenant_bytes_read_total", "Bytes that queries read, as their answers say, by tenant and route");
/// How long upstreams worked for tenants.
pub const TENANT_UPSTREAM_SECONDS: (&str, &str) = (
    "tollgate_tenant_upstream_seconds_total",
    "Seconds until upstreams' response headers, all tries added up, by tenant and route",
);
/// Answers without a word about their cost.
pub const TENANT_UNMEASURED: (&str, &str) =
    ("tollgate_tenant_unmeasured_total", "Answers of upstreams that did not say what they cost, by tenant and route");
/// The build.
pub const BUILD_INFO: (&str, &str) = ("tollgate_build_info", "The running version");

/// The route of requests that no route matched.
pub const UNMATCHED: &str = usage::UNMATCHED;
/// What refuses where a token's own rate does.
pub const LIMIT_OF_TOKEN: &str = "limits.rps";
/// The host while every host is served alike.
pub const ANY_HOST: &str = "*";
/// The host of requests for hosts that are not served.
pub const UNMATCHED_HOST: &str = UNMATCHED;
/// The host where there are too many pairs of hosts and routes to count each.
pub const OTHER_HOST: &str = usage::OTHER;
