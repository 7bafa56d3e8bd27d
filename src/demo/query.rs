//! Running statements: values in, rows out.
//!
//! In: a connection, a pipe with its bound values. Out: a `Table`; or SQLite's complaint as a
//! `Failure` in the vendor's shape.
//! **Not here**: connections and how many there are (`store`), output formats (`render`).

use std::borrow::Cow;

use http::StatusCode;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Statement};

use super::answer::Failure;
use super::parameter::{Bound, bound};
use super::pipes::{Behaviour, MOST_ROWS, Pipe};

/// A result.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Heading>,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) rows_before_limit: Option<u64>,
    pub(super) read: Volume,
}

/// Name and ClickHouse type of one result column.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: &'static str,
}

/// How much was scanned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Volume {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Runs a pipe.
pub(super) fn run(
    connection: &Connection,
    pipe: &'static Pipe,
    values: &Bound,
    read: Volume,
) -> Result<Table, Failure> {
    check_limit(pipe, values)?;
    let mut statement = connection.prepare(pipe.sql).map_err(failure)?;
    bind(&mut statement, values).map_err(failure)?;
    let rows = collect(&mut statement)?;
    let columns =
        pipe.columns.iter().map(|column| Heading { name: Cow::Borrowed(column.name), kind: column.kind }).collect();
    let rows_before_limit = match pipe.behaviour {
        Behaviour::Ranking => Some(count_without_limit(connection, pipe, values).map_err(failure)?),
        Behaviour::Echoing | Behaviour::Failing | Behaviour::Querying => None,
    };
    Ok(Table { columns, rows, rows_before_limit, read })
}

/// Keeps a pipe's result in the temporary table `_`, for a caller's own SQL.
pub(super) fn keep(connection: &Connection, pipe: &Pipe, values: &Bound) -> Result<(), Failure> {
    check_limit(pipe, values)?;
    let create = format!("CREATE TEMP TABLE _ AS {}", pipe.sql);
    let mut statement = connection.prepare(&create).map_err(failure)?;
    bind(&mut statement, values).map_err(failure)?;
    statement.raw_execute().map(|_| ()).map_err(failure)
}

/// The rows there would be without the limit: SQLite takes a negative one as none.
fn count_without_limit(connection: &Connection, pipe: &Pipe, values: &Bound) -> rusqlite::Result<u64> {
    let unlimited = values.iter().map(|(name, value)| match *name {
        "limit" => (*name, Value::Integer(-1)),
        _ => (*name, value.clone()),
    });
    let mut statement = connection.prepare(&format!("SELECT count(*) FROM ({}\n)", pipe.sql))?;
    bind(&mut statement, &unlimited.collect())?;
    let mut rows = statement.raw_query();
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?.map_or(0, unsigned))
}

fn check_limit(pipe: &Pipe, values: &Bound) -> Result<(), Failure> {
    match bound(values, "limit") {
        Some(Value::Integer(limit)) if pipe.behaviour == Behaviour::Ranking && !(0..=MOST_ROWS).contains(limit) => {
            Err(Failure::bad_request(format!("[Error] Parameter 'limit' (Int32) must be between 0 and {MOST_ROWS}")))
        }
        _ => Ok(()),
    }
}

/// Binds what the statement asks for by name; what has no value stays NULL.
fn bind(statement: &mut Statement<'_>, values: &Bound) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let name =
            statement.parameter_name(index).and_then(|name| name.strip_prefix(':')).unwrap_or_default().to_owned();
        if let Some(value) = bound(values, &name) {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

/// Steps through a bound statement, up to a total size.
pub(super) fn collect(statement: &mut Statement<'_>) -> Result<Vec<Vec<Value>>, Failure> {
    let width = statement.column_count();
    let mut cursor = statement.raw_query();
    let (mut rows, mut size) = (Vec::new(), 0_usize);
    while let Some(row) = cursor.next().map_err(failure)? {
        let row: Vec<Value> = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>().map_err(failure)?;
        size += row.iter().map(weight).sum::<usize>();
        if size > LARGEST_RESULT {
            return Err(Failure::bad_request("[Error] The result is too large").with_exception(396));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn weight(value: &Value) -> usize {
    let content = match value {
        Value::Blob(bytes) => bytes.len(),
        Value::Text(text) => text.len(),
        Value::Integer(_) | Value::Null | Value::Real(_) => 0,
    };
    size_of::<Value>() + content
}

/// SQLite's complaint in the vendor's shape: status, text, and the number ClickHouse would have
/// given it.
pub(super) fn failure(error: rusqlite::Error) -> Failure {
    let (status, exception) = match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => (StatusCode::REQUEST_TIMEOUT, 159),
        Some(ErrorCode::AuthorizationForStatementDenied) => (StatusCode::FORBIDDEN, 497),
        Some(ErrorCode::OutOfMemory) => (StatusCode::BAD_REQUEST, 241),
        _ => (StatusCode::BAD_REQUEST, 62),
    };
    Failure::new(status, format!("[Error] DB::Exception: {error}")).with_exception(exception)
}

/// Counts and sizes, which SQLite only has signed.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// More than any pipe answers; ends what a caller's own SQL makes up.
const LARGEST_RESULT: usize = 32 * 1024 * 1024;
