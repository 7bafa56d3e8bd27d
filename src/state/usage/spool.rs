//! What of the ledger's file was sent elsewhere, and what waits for that.
//!
//! In: the file of the ledger. Out: its minutes in the order of their keys, each
//! line once it cannot change any more. The ledger is the spool: nothing is
//! written twice, and what waits is what stands behind a mark. Not here:
//! sending (`export`).

use rusqlite::{Connection, OptionalExtension as _, Result, Row as Found, Transaction, TransactionBehavior, params};

use crate::exchange::usage::Used;

use super::mark::{self, Closing, Mark, Step};
use super::row::Row;
use super::sql::{MINUTE, WHOSE, signed, unsigned};

/// Notes: who wrote the file, the first minute that may still change, and the last line that was sent.
const GATEWAY: &str = "gateway";
const OPEN_FROM: &str = "open_from";
const SENT_UP_TO: &str = "sent_up_to";
/// Behind the mark whose parts are the values 3 to 8.
const WAITS: &str = "(start, span, tenant, provider, caller, route, class) > (?3, ?1, ?4, ?5, ?6, ?7, ?8)";

/// The name by which others know this ledger.
pub(super) fn gateway(connection: &Connection) -> Result<String> {
    Ok(note(connection, GATEWAY)?.unwrap_or_default())
}

/// Nothing is added any more to minutes that are over and written.
pub(super) fn close(connection: &mut Connection, Closing { over, written }: Closing) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (known, over) = (open_from(&transaction)?, signed(over));
    match mark::step(known, over, over.min(signed(written))) {
        Step::None => {}
        Step::To(until) => write_note(&transaction, OPEN_FROM, &until.to_string())?,
        Step::Back => {
            let days = (known - over) / 86_400;
            log::warn!("the clock was set back by {days} days: minutes that come again are sent again");
            write_note(&transaction, OPEN_FROM, &over.to_string())?;
            let mark = mark::set_back(mark_of(&transaction)?, over);
            write_note(&transaction, SENT_UP_TO, &mark::text(&mark))?;
        }
    }
    transaction.commit()
}

/// The lines that are to be sent next, at most so many.
pub(super) fn next(connection: &Connection, most: usize) -> Result<Vec<Row>> {
    let (start, tenant, provider, caller, route, class) = mark_of(connection)?;
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
    let last = mark::at(last);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if last > mark_of(&transaction)? {
        write_note(&transaction, SENT_UP_TO, &mark::text(&last))?;
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
        write_note(transaction, SENT_UP_TO, &mark::text(&mark::before(until)))?;
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
    let (start, tenant, provider, caller, route, class) = mark_of(connection)?;
    let mut statement =
        connection.prepare_cached(&format!("SELECT count(*) FROM usage WHERE span = ?1 AND start < ?2 AND {WAITS}"))?;
    let values = params![MINUTE, until, start, tenant, provider, caller, route, class];
    statement.query_row(values, |found| found.get(0)).map(unsigned)
}

fn mark_of(connection: &Connection) -> Result<Mark> {
    Ok(mark::read(note(connection, SENT_UP_TO)?.as_deref()))
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
