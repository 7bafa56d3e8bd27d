//! Pipes that show how parameters, errors and retries travel.
//!
//! Out: `Pipe` constants for the table in `mod.rs`.
//! **Not here**: counting failures (`flaky`), writing down what was received (`surface`).

use super::super::parameter::{Kind, Presence};
use super::{Behaviour, LAST_DAY, Pipe, column, parameter};

/// Sales per day from a date that must be given.
pub(super) const REQUIRED_DEMO: Pipe = Pipe {
    name: "required-demo",
    description: "Sales per day from a date that must be given",
    sql: include_str!("sql/required-demo.sql"),
    parameters: &[
        parameter("start_date", Kind::Date, Presence::Required, "The first day"),
        parameter("end_date", Kind::Date, Presence::Default(LAST_DAY), "The last day"),
    ],
    columns: &[column("date", "Date"), column("sales", "UInt64"), column("units", "UInt64")],
    tables: &["sales"],
    behaviour: Behaviour::Querying,
    example: "start_date=2026-03-29",
};

/// Every parameter it received, with type and length.
pub(super) const ECHO_PARAMS: Pipe = Pipe {
    name: "echo-params",
    description: "Every parameter it received, with type and length",
    sql: include_str!("sql/echo-params.sql"),
    parameters: &[
        parameter("text", Kind::String, Presence::Optional, "Any text, also a long one"),
        parameter("ids", Kind::ArrayInt32, Presence::Optional, "Some integers"),
        parameter("names", Kind::ArrayString, Presence::Optional, "Some texts"),
    ],
    columns: &[
        column("name", "String"),
        column("type", "String"),
        column("value", "String"),
        column("elements", "UInt32"),
        column("length", "UInt32"),
        column("total_length", "UInt64"),
    ],
    tables: &[],
    behaviour: Behaviour::Echoing,
    example: "text=hello&ids=1,2,3&names=ann&names=bob",
};

/// Fails as often as it is told to, then succeeds.
pub(super) const FLAKY: Pipe = Pipe {
    name: "flaky",
    description: "Fails as often as it is told to, then succeeds",
    sql: include_str!("sql/flaky.sql"),
    parameters: &[
        parameter("fail", Kind::Int32, Presence::Default("500"), "The status to fail with: 429 or 500"),
        parameter("times", Kind::Int32, Presence::Default("2"), "How often to fail, at most 100"),
        parameter("key", Kind::String, Presence::Default("demo"), "Each key is counted by itself"),
        parameter("retry_after", Kind::Int32, Presence::Default("1"), "Retry-After of a 429, in seconds"),
    ],
    columns: &[column("key", "String"), column("attempts", "UInt8"), column("outcome", "String")],
    tables: &[],
    behaviour: Behaviour::Failing,
    example: "fail=500&times=2&key=readme",
};
