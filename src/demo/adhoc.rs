//! A caller's own SQL: over a pipe's result (`q=`, raw body) or over the tables (`/v0/sql`).
//!
//! In: a connection of its own, the text, what it may see. Out: a `Table` and the names of the
//! tables read, or a `Failure`.
//! Assumes the worst: reads are allowed by name, functions by list; size, depth, steps and time are
//! limited.
//! **Not here**: opening connections, the heap limit (`store`).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::Value;

use crate::clock::Clock;

use super::answer::Failure;
use super::dataset;
use super::pipes::Column;
use super::query::{Heading, Table, Volume, collect, failure};
use super::render::Format;

/// What the SQL may read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// The temporary table `_`, which has these columns.
    Result(&'static [Column]),
    /// The bundled tables.
    Tables,
}

/// Runs the text and says which tables it read.
pub(super) fn run(
    connection: &mut Connection,
    sql: &str,
    scope: Scope,
    clock: Clock,
) -> Result<(Table, Vec<&'static str>), Failure> {
    let (sql, _) = split_format(sql);
    if sql.contains('\0') {
        // SQLite would take it for the end and run the first half.
        return Err(Failure::bad_request("[Error] DB::Exception: A NUL byte in the SQL").with_exception(62));
    }
    let seen = Seen::default();
    confine(connection, scope, clock, Arc::clone(&seen)).map_err(failure)?;
    let mut statement = connection.prepare(sql).map_err(failure)?;
    // A placeholder would have to be bound, and there is nothing to bind to it. EXPLAIN shows the
    // machinery, not the data.
    let select = statement.readonly() && statement.column_count() > 0 && statement.is_explain() == 0;
    if !select || statement.parameter_count() > 0 {
        return Err(
            Failure::bad_request("[Error] DB::Exception: Expected one SELECT without placeholders").with_exception(62)
        );
    }
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = collect(&mut statement)?;
    let columns = names.into_iter().enumerate().map(|(at, name)| heading(at, name, scope, &rows)).collect();
    let table = Table { columns, rows, rows_before_limit: None, read: Volume::default() };
    let tables = dataset::TABLES.into_iter().zip(seen.iter());
    let read = tables.filter(|(_, seen)| seen.load(Ordering::Relaxed));
    Ok((table, read.map(|(name, _)| name).collect()))
}

/// Separates a trailing `FORMAT` clause, which is ClickHouse's and unknown to SQLite.
pub(super) fn split_format(sql: &str) -> (&str, Option<Format>) {
    let sql = sql.trim().trim_end_matches(';').trim_end();
    let clause = sql.rsplit_once(char::is_whitespace).and_then(|(rest, name)| {
        let (rest, word) = rest.trim_end().rsplit_once(char::is_whitespace)?;
        word.eq_ignore_ascii_case("format").then_some((rest, Format::from_clause(name)?))
    });
    clause.map_or((sql, None), |(rest, format)| (rest, Some(format)))
}

fn confine(connection: &mut Connection, scope: Scope, clock: Clock, seen: Seen) -> rusqlite::Result<()> {
    for (limit, value) in LIMITS {
        connection.set_limit(limit, value)?;
    }
    connection.authorizer(Some(move |context: AuthContext<'_>| authorize(&context, scope, &seen)))?;
    let deadline = clock.now() + LONGEST_RUN;
    let mut left = MOST_STEPS / STEPS_PER_CHECK;
    // Steps bound the work wherever the clock stands still; the clock bounds the few steps that
    // are slow by themselves.
    connection.progress_handler(
        STEPS_PER_CHECK,
        Some(move || {
            left -= 1;
            left <= 0 || clock.now() >= deadline
        }),
    )
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "Everything not named here is denied, also what later versions of SQLite add."
)]
fn authorize(context: &AuthContext<'_>, scope: Scope, seen: &Seen) -> Authorization {
    let allowed = match context.action {
        AuthAction::Recursive | AuthAction::Select => true,
        AuthAction::Function { function_name } => FUNCTIONS.contains(&function_name.to_ascii_lowercase().as_str()),
        AuthAction::Read { table_name, .. } => {
            // As written by the caller if no column is used (`count(*)`), hence the case.
            let name = table_name.to_ascii_lowercase();
            let mut tables = dataset::TABLES.into_iter().zip(seen.iter());
            let table = tables.find(|(table, _)| *table == name);
            if let Some((_, seen)) = table {
                seen.store(true, Ordering::Relaxed);
            }
            match scope {
                Scope::Result(_) => name == "_",
                Scope::Tables => table.is_some(),
            }
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// A column of the pipe keeps its type; of any other, the first value tells.
fn heading(at: usize, name: String, scope: Scope, rows: &[Vec<Value>]) -> Heading {
    let declared = match scope {
        Scope::Result(columns) => columns.iter().find(|column| column.name == name).map(|column| column.kind),
        Scope::Tables => None,
    };
    let value = || rows.iter().filter_map(|row| row.get(at)).find(|value| **value != Value::Null);
    let kind = declared.unwrap_or_else(|| match value() {
        Some(Value::Integer(_)) => "Int64",
        Some(Value::Real(_)) => "Float64",
        Some(Value::Blob(_) | Value::Text(_)) => "String",
        Some(Value::Null) | None => "Nullable(Nothing)",
    });
    Heading { name: Cow::Owned(name), kind }
}

/// Which of the bundled tables a statement asked for.
type Seen = Arc<[AtomicBool; dataset::TABLES.len()]>;

const LIMITS: [(Limit, i32); 10] = [
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_COLUMN, 64),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 16),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 64),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 8),
    (Limit::SQLITE_LIMIT_LENGTH, 64 * 1024),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 40),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 8 * 1024),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
];

/// No function that allocates by argument (`zeroblob`, `randomblob`, `printf`, `replace`), reads a
/// file or loads code.
const FUNCTIONS: [&str; 37] = [
    "abs",
    "avg",
    "coalesce",
    "count",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "glob",
    "ifnull",
    "iif",
    "instr",
    "json_extract",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "rank",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "substr",
    "substring",
    "sum",
    "total",
    "trim",
    "typeof",
    "unixepoch",
    "upper",
];

const STEPS_PER_CHECK: i32 = 1_000;
const MOST_STEPS: i32 = 5_000_000;
const LONGEST_RUN: Duration = Duration::from_secs(5);
