//! The pipes over web analytics, named as in the public starter kit.
//!
//! Out: `Pipe` constants for the table in `mod.rs`.
//! **Not here**: the events themselves (`dataset`).

use super::super::parameter::{Kind, Parameter, Presence};
use super::{Behaviour, Column, FIRST_DAY, LAST_DAY, LIMIT, Pipe, column, parameter};

/// Visits, page views and bounce rate per day.
pub(super) const KPIS: Pipe = Pipe {
    name: "kpis",
    description: "Visits, page views and bounce rate per day",
    sql: include_str!("sql/kpis.sql"),
    parameters: &[DATE_FROM, DATE_TO, TENANT_ID, DOMAIN],
    columns: &[
        column("date", "Date"),
        column("visits", "UInt64"),
        column("pageviews", "UInt64"),
        column("bounce_rate", "Float64"),
        column("avg_session_sec", "Float64"),
    ],
    tables: EVENTS,
    behaviour: Behaviour::Querying,
    example: "date_from=2026-03-01&date_to=2026-03-07&tenant_id=acme",
};

/// The most visited pages.
pub(super) const TOP_PAGES: Pipe =
    top("top_pages", "The most visited pages", include_str!("sql/top_pages.sql"), &ranked("pathname"));

/// The referrers that bring most visits.
pub(super) const TOP_SOURCES: Pipe = top(
    "top_sources",
    "The referrers that bring most visits",
    include_str!("sql/top_sources.sql"),
    &ranked("referrer"),
);

/// The countries most visits come from.
pub(super) const TOP_LOCATIONS: Pipe = top(
    "top_locations",
    "The countries most visits come from",
    include_str!("sql/top_locations.sql"),
    &ranked("location"),
);

/// The devices most visits are made with.
pub(super) const TOP_DEVICES: Pipe =
    top("top_devices", "The devices most visits are made with", include_str!("sql/top_devices.sql"), &ranked("device"));

/// Visits per hour of one day.
pub(super) const TREND: Pipe = Pipe {
    name: "trend",
    description: "Visits per hour of one day",
    sql: include_str!("sql/trend.sql"),
    parameters: &[
        parameter("date", Kind::Date, Presence::Default(LAST_DAY), "The day, 2026-01-01 to 2026-03-31"),
        TENANT_ID,
        DOMAIN,
    ],
    columns: &[column("t", "DateTime"), column("visits", "UInt64"), column("hits", "UInt64")],
    tables: EVENTS,
    behaviour: Behaviour::Querying,
    example: "date=2026-03-30&tenant_id=acme",
};

/// Raw events, newest first, with a 64-bit visitor hash.
pub(super) const EVENTS_LIST: Pipe = Pipe {
    name: "events_list",
    description: "Raw events, newest first, with a 64-bit visitor hash",
    sql: include_str!("sql/events_list.sql"),
    parameters: &[
        DATE_FROM,
        DATE_TO,
        parameter("since", Kind::DateTime, Presence::Optional, "Only events at or after this moment"),
        parameter("with_payload", Kind::Boolean, Presence::Default("true"), "Whether payloads are included"),
        parameter("limit", Kind::Int32, Presence::Default("100"), "How many rows, at most 20000"),
        TENANT_ID,
        DOMAIN,
    ],
    columns: &[
        column("timestamp", "DateTime"),
        column("session_id", "String"),
        column("action", "LowCardinality(String)"),
        column("version", "LowCardinality(String)"),
        column("tenant_id", "LowCardinality(String)"),
        column("domain", "LowCardinality(String)"),
        column("pathname", "String"),
        column("referrer", "String"),
        column("country", "LowCardinality(String)"),
        column("device", "LowCardinality(String)"),
        column("duration_ms", "UInt32"),
        column("visitor_hash", "UInt64"),
        column("payload", "String"),
    ],
    tables: EVENTS,
    behaviour: Behaviour::Ranking,
    example: "tenant_id=acme&limit=5",
};

const fn ranked(by: &'static str) -> [Column; 3] {
    [column(by, "String"), column("visits", "UInt64"), column("hits", "UInt64")]
}

/// One of the four pipes that rank something by visits.
const fn top(name: &'static str, description: &'static str, sql: &'static str, columns: &'static [Column; 3]) -> Pipe {
    Pipe {
        name,
        description,
        sql,
        parameters: &[DATE_FROM, DATE_TO, LIMIT, TENANT_ID, DOMAIN],
        columns,
        tables: EVENTS,
        behaviour: Behaviour::Ranking,
        example: "tenant_id=acme&limit=3",
    }
}

const EVENTS: &[&str] = &["analytics_events"];
const DATE_FROM: Parameter = parameter("date_from", Kind::Date, Presence::Default(FIRST_DAY), "The first day");
const DATE_TO: Parameter = parameter("date_to", Kind::Date, Presence::Default(LAST_DAY), "The last day");
const TENANT_ID: Parameter =
    parameter("tenant_id", Kind::String, Presence::Optional, "Only this tenant; missing or empty means all");
const DOMAIN: Parameter =
    parameter("domain", Kind::String, Presence::Optional, "Only this domain; missing or empty means all");
