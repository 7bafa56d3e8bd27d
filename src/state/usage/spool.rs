//! What of the ledger's file was sent elsewhere, and what waits for that.
//!
//! In: the file of the ledger. Out: its minutes in the order of their keys, each
//! line once it cannot change any more. The ledger is the spool: nothing is
//! written twice, and what waits is what stands behind a mark. Not here:
//! sending (`export`).

use rusqlite::{Connection, OptionalExtension as _, Result, Row as Found, Transaction, TransactionBehavior, params};

use crate::exchange::usage::Used;

use super::row::Row;
use super::sql::{MINUTE, WHOSE, signed, unsigned};

/// Notes: who wrote the file, the first minute that may still change, and the last line that was sent.
const GATEWAY: &str = "gateway";
const OPEN_FROM: &str = "open_from";
const SENT_UP_TO: &str = "sent_up_to";
/// A clock that is set back by more than this was wrong before, in seconds.
const LONGEST_LEAP: i64 = 86_400;
/// Behind the mark whose parts are the values 3 to 8.
const WAITS: &str = "(start, span, tenant, provider, caller, route, class) > (?3, ?1, ?4, ?5, ?6, ?7, ?8)";

/// Lines behind this one wait: the beginning of its minute, tenant, provider, caller, route, class.
pub(super) type Mark = (i64, String, String, String, String, i64);

/// The name by which others know this ledger.
pub(super) fn gateway(connection: &Connection) -> Result<String> {
    Ok(note(connection, GATEWAY)?.unwrap_or_default())
}

/// Nothing is added any more to minutes that began before `until`.
pub(super) fn close(connection: &mut Connection, until: i64) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known = open_from(&transaction)?;
    if until > known {
        write_note(&transaction, OPEN_FROM, &until.to_string())?;
    } else if known - until > LONGEST_LEAP {
        log::warn!("the clock was set back by {} days: the export of usage begins anew", (known - until) / 86_400);
        write_note(&transaction, OPEN_FROM, &until.to_string())?;
        // Lines of minutes that come again must not be taken for those that were sent.
        write_note(&transaction, GATEWAY, &format!("{:016x}", rand::random::<u64>()))?;
        write_mark(&transaction, &before(until))?;
    }
    transaction.commit()
}

/// The lines that are to be sent next, at most so many.
pub(super) fn next(connection: &Connection, most: usize) -> Result<Vec<Row>> {
    let (start, tenant, provider, caller, route, class) = mark(connection)?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT start, span, {WHOSE}, {} FROM usage WHERE span = ?1 AND start < ?2 AND {WAITS} ORDER BY start, span, {WHOSE}
         LIMIT ?9",
        Used::NAMES.join(", ")
    ))?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let values = params![MINUTE, open_from(connection)?, start, tenant, provider, caller, route, class, most];
    statement.query_map(values, row)?.collect()
}

/// How many lines wait.
pub(super) fn waiting(connection: &Connection) -> Result<u64> {
    count(connection, open_from(connection)?)
}

/// Everything up to this line is there.
pub(super) fn sent(connection: &mut Connection, last: &Row) -> Result<()> {
    let Row { start, span: _, tenant, provider, caller, route, class, used: _ } = last.clone();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last = (signed(start), tenant, provider, caller, route, i64::from(class));
    if last > mark(&transaction)? {
        write_mark(&transaction, &last)?;
    }
    transaction.commit()
}

/// Reads lines, sent or not, of any span, that end and begin between two times.
pub(super) fn read(connection: &Connection, (since, until): (i64, i64), each: &mut dyn FnMut(&Row)) -> Result<()> {
    let mut statement = connection.prepare(&format!(
        "SELECT start, span, {WHOSE}, {} FROM usage WHERE start + span > ?1 AND start < ?2 ORDER BY start, span, {WHOSE}",
        Used::NAMES.join(", ")
    ))?;
    let mut found = statement.query([since, until])?;
    while let Some(found) = found.next()? {
        each(&row(found)?);
    }
    Ok(())
}

/// The first minute that may still change; what belongs to earlier ones is added to it.
pub(super) fn open_from(connection: &Connection) -> Result<i64> {
    Ok(note(connection, OPEN_FROM)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Gives up what waits of minutes that began before `until`; how many lines that are.
pub(super) fn give_up(transaction: &Transaction<'_>, until: i64) -> Result<u64> {
    let given_up = count(transaction, until)?;
    if given_up > 0 {
        write_mark(transaction, &before(until))?;
    }
    if open_from(transaction)? < until {
        write_note(transaction, OPEN_FROM, &until.to_string())?;
    }
    Ok(given_up)
}

/// A line whose columns are start, span, whose, and the sums.
pub(super) fn row(found: &Found<'_>) -> Result<Row> {
    let number = |index: usize| found.get(index).map(unsigned);
    let mut sums = [0; Used::NAMES.len()];
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum = number(7 + index)?;
    }
    Ok(Row {
        start: number(0)?,
        span: number(1)?,
        tenant: found.get(2)?,
        provider: found.get(3)?,
        caller: found.get(4)?,
        route: found.get(5)?,
        class: found.get(6)?,
        used: Used::of(sums),
    })
}

/// How many lines of minutes that began before `until` wait.
fn count(connection: &Connection, until: i64) -> Result<u64> {
    let (start, tenant, provider, caller, route, class) = mark(connection)?;
    let mut statement =
        connection.prepare_cached(&format!("SELECT count(*) FROM usage WHERE span = ?1 AND start < ?2 AND {WAITS}"))?;
    let values = params![MINUTE, until, start, tenant, provider, caller, route, class];
    statement.query_row(values, |found| found.get(0)).map(unsigned)
}

/// Before every line of minutes that begin at `start` or later.
pub(super) fn before(start: i64) -> Mark {
    (start, String::new(), String::new(), String::new(), String::new(), -1)
}

fn mark(connection: &Connection) -> Result<Mark> {
    Ok(mark_of(note(connection, SENT_UP_TO)?.as_deref()))
}

/// A mark as it is written; before every line where there is none.
pub(super) fn mark_of(text: Option<&str>) -> Mark {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| before(0))
}

/// A mark to be written.
pub(super) fn text_of(mark: &Mark) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(mark).unwrap_or_default()
}

fn write_mark(connection: &Connection, mark: &Mark) -> Result<()> {
    write_note(connection, SENT_UP_TO, &text_of(mark))
}

fn note(connection: &Connection, name: &str) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT text FROM notes WHERE name = ?1")?;
    statement.query_row([name], |found| found.get(0)).optional()
}

fn write_note(connection: &Connection, name: &str, text: &str) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO notes (name, text) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET text = excluded.text",
    )?;
    statement.execute([name, text]).map(drop)
}
