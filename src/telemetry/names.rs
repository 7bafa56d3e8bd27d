//! Every metric family: its name, kind, labels, help text, and what the manual says of it.
//!
//! In: nothing. Out: the table that `metrics` makes families from and
//! docs/metrics.md is written from. A family that is not here cannot be made.

use crate::exchange::usage;

/// One family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// The names of its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What a scrape says of it; plain text, without a period.
    pub help: &'static str,
    /// What docs/metrics.md says of it; Markdown.
    pub meaning: &'static str,
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As a scrape says it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Writes one constant for each family, and [`ALL`] of them.
macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal $labels:tt, $help:literal, $meaning:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family =
                Family { name: $name, kind: Kind::$kind, labels: &$labels, help: $help, meaning: $meaning };
        )*

        /// Every family of the gateway's own, in the order of the manual.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    REQUESTS: Counter "tollgate_requests_total" ["host", "route", "code"],
        "Requests by host, route and status code",
        "Requests, by the status that the caller got. 499: the caller hung up first.";
    REQUEST_SECONDS: Histogram "tollgate_request_seconds" ["route"],
        "Duration of requests in seconds, by route",
        "From the first byte of a request to the last of its answer.";
    UPSTREAM_SECONDS: Histogram "tollgate_upstream_seconds" ["upstream"],
        "Time until an upstream's response headers in seconds, all tries of a request added up",
        "Time until the upstream's response headers, all tries of a request added up, waits between them left out.";
    RETRIES: Counter "tollgate_retries_total" ["upstream", "reason"],
        "Repeated tries by upstream and reason",
        "Tries after the first. `reason`: `connect`, `reused_connection`, `429`, `500`, `other_status`.";
    REFUSALS: Counter "tollgate_refusals_total" ["route", "reason"],
        "Requests that the gateway refused, by route and reason",
        "Requests that the gateway answered itself. `reason` is a [refusal code](refusals.md).";
    LIMIT_REFUSALS: Counter "tollgate_limit_refusals_total" ["limit", "mode"],
        "Requests that a limit refused (mode `enforced`), or would have refused (mode `dry_run`)",
        "Requests that a [limit](reference/limits.md) refused (`mode=\"enforced\"`), or would have refused \
         (`mode=\"dry_run\"`). `limit` is a name under `limits`, or `limits.rps` for the rate in a token.";
    LIMIT_COUNTS: Gauge "tollgate_limit_counts" ["kind"],
        "Counts that limits keep now, by kind",
        "Counts that limits keep now; `kind`: `rate`, `quota`. Counts that mean nothing any more are taken away \
         every few seconds.";
    LIMIT_SHARED: Gauge "tollgate_limit_shared_counts" ["kind"],
        "Counts that several callers share because `state.max_counters` is reached, by kind",
        "Counts that several callers share because `state.max_counters` is reached. Above zero: raise it, or look \
         for who sprays addresses or names.";
    QUOTAS_KEPT: Gauge "tollgate_quotas_kept" [],
        "0 while what is used of quotas cannot be written to `state.dir`, else 1",
        "0 while what is used of quotas cannot be written to `state.dir`; the log says why. Alert on it.";
    COUNTERS_UP: Gauge "tollgate_counters_up" [],
        "0 while the Redis in `state.counters` does not decide about limits, else 1",
        "0 while the Redis in [`state.counters`](reference/state.md) does not decide about limits; the log says \
         why. Alert on it. 1 where counts are kept in memory.";
    COUNTERS_GATEWAYS: Gauge "tollgate_counters_gateways" [],
        "Gateways that count limits together, as far as this one knows",
        "Gateways that count limits together, as far as this one knows: what limits are divided by while that Redis \
         is away.";
    COUNTERS_FAILURES: Counter "tollgate_counters_failures_total" [],
        "Calls of the Redis in `state.counters` that failed or took too long",
        "Calls of that Redis that failed or took too long.";
    TRIPWIRE: Counter "tollgate_tripwire_total" [],
        "Answers of upstreams held back because they contained a configured credential",
        "Answers of upstreams held back because a configured credential stood in them. Above zero: look into the \
         log at once.";
    IN_FLIGHT: Gauge "tollgate_in_flight" [],
        "Requests being served now",
        "Requests being served now.";
    CONNECTIONS: Gauge "tollgate_connections" [],
        "Connections of callers",
        "Connections of callers, idle ones among them.";
    CONNECTIONS_REFUSED: Counter "tollgate_connections_refused_total" ["reason"],
        "Connections of callers closed at once because of server.overload",
        "Connections that were closed at once, because of a mark of [`server.overload`](reference/server.md#overload), \
         which `reason` names: `connections`, `connections_per_address` or `memory`.";
    LOG_DROPPED: Counter "tollgate_access_log_dropped_total" [],
        "Access log lines lost: the queue was full, or they could not be written",
        "Access log lines lost: the queue was full, because the disk is slower than the traffic, or they could not \
         be written, because it is full.";
    UPSTREAM_RESOLVED: Gauge "tollgate_upstream_resolved" ["upstream"],
        "1 if the last look-up of an upstream's host name succeeded, else 0",
        "1 if the last look-up of the upstream's host name succeeded, else 0. Not there for upstreams whose URL has \
         an address.";
    BACKEND_UP: Gauge "tollgate_upstream_backend_up" ["upstream", "backend"],
        "1 while a backend of an upstream gets requests, 0 while it is left out",
        "1 while the backend gets requests, 0 while it is [left out](reference/upstreams.md#several-backends). Not there \
         for an upstream with one URL and neither `eject` nor `health`. Alert on it.";
    BACKEND_EJECTIONS: Counter "tollgate_upstream_ejections_total" ["upstream", "backend"],
        "Times that a backend was left out after failures of requests",
        "Times that the backend was left out because requests to it failed, those that were to find out whether it is \
         well again among them.";
    HEALTH_CHECKS: Counter "tollgate_upstream_health_checks_total" ["upstream", "backend", "result"],
        "Health checks of backends by result",
        "[Health checks](reference/upstreams.md#health-checks) of the backend. `result`: `ok`, `failed`.";
    ALL_OUT: Counter "tollgate_upstream_all_out_total" ["upstream"],
        "Tries that found every backend of an upstream left out",
        "Tries that found every backend left out, and went to one all the same, or were refused.";
    UPSTREAM_IN_FLIGHT: Gauge "tollgate_upstream_in_flight" ["upstream"],
        "Requests on their way at an upstream with `concurrency` or `rate`",
        "Requests that the upstream has now, until their answers have ended. This and the next two are there for \
         upstreams with [`concurrency` or `rate`](reference/upstreams.md).";
    UPSTREAM_WAITING: Gauge "tollgate_upstream_waiting" ["upstream"],
        "Requests that wait until they may be sent to an upstream",
        "Requests that wait until they may be sent. Above zero for long: `concurrency.max` or `rate` is too low for \
         the traffic.";
    UPSTREAM_TAP_CLOSED: Gauge "tollgate_upstream_tap_closed" ["upstream"],
        "1 while an upstream gets no requests because it asked for a pause by 429, else 0",
        "1 while the upstream gets no requests because it answered 429 and said for how long, else 0.";
    JWKS_AGE: Gauge "tollgate_jwks_age_seconds" ["provider"],
        "Seconds since the keys of an identity provider were last fetched",
        "Seconds since the identity provider's keys were last fetched; not there before the first time. They are \
         fetched again about every hour, or as the provider says. Past 86 400 they are not believed any more and \
         requests answer 503: alert long before.";
    JWKS_KEYS: Gauge "tollgate_jwks_keys" ["provider"],
        "Keys of an identity provider that can be used",
        "The identity provider's keys that can be used.";
    JWKS_FETCHES: Counter "tollgate_jwks_fetches_total" ["provider", "result"],
        "Tries to fetch the keys of an identity provider, by result",
        "Tries to fetch the identity provider's keys. `result`: `ok`, `failed`. Why they fail is in the log.";
    CONFIG_OK: Gauge "tollgate_config_last_reload_successful" [],
        "1 if the last attempt to load a configuration succeeded, else 0",
        "1 while the gateway runs with the newest file; 0 from a [reload](reload.md) that failed to one that \
         succeeds. Alert on it.";
    CONFIG_TIME: Gauge "tollgate_config_last_reload_success_timestamp_seconds" [],
        "Time of day of the last attempt to load a configuration that succeeded, in seconds since 1970",
        "When the last reload succeeded, in seconds since 1970; 0 before the first.";
    CERTIFICATE_NOT_AFTER: Gauge "tollgate_certificate_not_after_seconds" ["host", "source"],
        "Time of day when the certificate of a host ends, in seconds since 1970; of several, the first",
        "When the host's certificate ends, in seconds since 1970; of several, the first. `source`: `file`, `acme`. \
         `host` is the pattern under [`hosts`](reference/hosts.md): of all names of a pattern with `tls: on_demand` \
         the first to end counts. `*` is `tls.default`. Not there for `internal`, and before the first certificate. \
         Alert two weeks before.";
    ACME_FAILURES: Counter "tollgate_acme_failures_total" [],
        "Orders for certificates, first ones and renewals, that failed",
        "Orders for certificates that failed, first ones and renewals; the log says why.";
    TENANTS: Gauge "tollgate_tenants" [],
        "Tenants that are told apart in metrics now",
        "Tenants that have series of their own now. At `usage.max_tenants` others share `__other__`.";
    USAGE_KEPT: Gauge "tollgate_usage_kept" [],
        "0 while usage cannot be written to `state.dir`, else 1; not there without a ledger",
        "0 while the [ledger](reference/usage.md#the-ledger) cannot be written; the log says why. Alert on it. Not there \
         without a ledger.";
    USAGE_BEHIND: Gauge "tollgate_usage_behind_seconds" [],
        "Age of the oldest usage that is not written to `state.dir`",
        "Age of the oldest usage that is not written.";
    USAGE_LOST: Counter "tollgate_usage_lost_total" [],
        "Requests whose usage was given up because the ledger could not be written for too long",
        "Requests whose usage was given up because the ledger could not be written for too long.";
    EXPORT_ROWS: Counter "tollgate_export_rows_total" ["result"],
        "Lines of usage that the data source in `usage.export` has (result `sent`), or that were given up (`dropped`)",
        "Lines of the ledger that the data source in [`usage.export`](reference/usage.md#export) has (`result=\"sent\"`), or \
         that were given up after two days, or put into its quarantine (`dropped`). Alert on `dropped`.";
    EXPORT_WAITING: Gauge "tollgate_export_waiting_rows" [],
        "Lines of usage that wait to be sent to the data source in `usage.export`",
        "Lines that wait to be sent there.";
    EXPORT_FAILURES: Counter "tollgate_export_failures_total" [],
        "Calls of the data source in `usage.export` that failed",
        "Calls of that data source that failed; the log says why.";
    TENANT_REQUESTS: Counter "tollgate_tenant_requests_total" ["tenant", "route", "class"],
        "Requests by tenant, route and class of the status",
        "Requests of a tenant. `class`: `2xx` to `5xx`. This and the next eight are [usage](reference/usage.md).";
    TENANT_REFUSALS: Counter "tollgate_tenant_refusals_total" ["tenant", "route"],
        "Requests that the gateway refused, by tenant and route",
        "Those of them that the gateway answered itself.";
    TENANT_RETRIES: Counter "tollgate_tenant_retries_total" ["tenant", "route"],
        "Repeated tries towards upstreams, by tenant and route",
        "Tries after the first.";
    TENANT_REQUEST_BYTES: Counter "tollgate_tenant_request_bytes_total" ["tenant", "route"],
        "Bytes of the bodies of requests, by tenant and route",
        "Bytes of the bodies of requests.";
    TENANT_RESPONSE_BYTES: Counter "tollgate_tenant_response_bytes_total" ["tenant", "route"],
        "Bytes of the bodies of answers as they were sent, by tenant and route",
        "Bytes of the bodies of answers, as they were sent.";
    TENANT_ROWS_READ: Counter "tollgate_tenant_rows_read_total" ["tenant", "route"],
        "Rows that queries read, as their answers say, by tenant and route",
        "Rows that queries read, as `statistics` in their answers say.";
    TENANT_BYTES_READ: Counter "tollgate_tenant_bytes_read_total" ["tenant", "route"],
        "Bytes that queries read, as their answers say, by tenant and route",
        "Bytes that queries read.";
    TENANT_UPSTREAM_SECONDS: Counter "tollgate_tenant_upstream_seconds_total" ["tenant", "route"],
        "Seconds until upstreams' response headers, all tries added up, by tenant and route",
        "Waiting for response headers, all tries added up.";
    TENANT_UNMEASURED: Counter "tollgate_tenant_unmeasured_total" ["tenant", "route"],
        "Answers of upstreams that did not say what they cost, by tenant and route",
        "Answers of upstreams that did not say what they cost.";
    TRACE_SPANS: Counter "tollgate_trace_spans_total" ["result"],
        "Spans that a collector took (result `sent`), or that were given up (`dropped`)",
        "Spans of [traces](tracing.md) that a collector took (`result=\"sent\"`), or that were given up (`dropped`): the \
         queue was full, or the collector away for too long.";
    TRACE_FAILURES: Counter "tollgate_trace_export_failures_total" [],
        "Calls of the collector in `log.traces` that failed",
        "Calls of the collector in [`log.traces`](tracing.md) that failed; the log says why.";
    BUILD_INFO: Gauge "tollgate_build_info" ["version"],
        "The running version",
        "Always 1.";
}

/// What the metrics crate tells of the process by itself, on Linux: name, kind, and what the manual says.
pub const PROCESS: [(&str, Kind, &str); 7] = [
    ("process_cpu_seconds_total", Kind::Counter, "Processor time that the process took, in seconds."),
    ("process_max_fds", Kind::Gauge, "File descriptors that the process may have open (`ulimit -n`)."),
    (
        "process_open_fds",
        Kind::Gauge,
        "File descriptors that it has open; a request under way [takes three](reference/server.md). Alert before it reaches `process_max_fds`.",
    ),
    ("process_resident_memory_bytes", Kind::Gauge, "Memory that it holds."),
    ("process_start_time_seconds", Kind::Gauge, "When it was started, in seconds since 1970."),
    ("process_threads", Kind::Gauge, "Threads that it has."),
    ("process_virtual_memory_bytes", Kind::Gauge, "Address space that it has reserved; most of that is not memory."),
];

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
