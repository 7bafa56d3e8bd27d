//! What of the ledger was sent elsewhere, and what waits for that.
//!
//! In: the file of the ledger. Out: its minutes in the order of their keys, each
//! line once it cannot change any more. The ledger is the spool: nothing is
//! written twice, and what waits is what stands behind a mark. Not here:
//! sending (`export`).

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::state::private::Fault;

use super::row::Row;
use super::sqlite::{MINUTE, SUMS, WHOSE, row, signed};

/// Notes: who wrote the file, the first minute that may still change, and the last line that was sent.
const GATEWAY: &str = "gateway";
const OPEN_FROM: &str = "open_from";
const SENT_UP_TO: &str = "sent_up_to";
/// A clock that is set back by more than this was wrong before.
const LONGEST_LEAP: i64 = 86_400;

/// Lines behind this one wait: the beginning of its minute, tenant, provider, caller, route, class.
type Mark = (i64, String, String, String, String, i64);

/// A ledger as somebody sees it who sends it on.
pub(super) struct Spool<'a>(pub(super) &'a mut Connection);

impl Spool<'_> {
    /// The name by which others know this ledger, made up the first time.
    pub(super) fn gateway(&mut self) -> Result<String, Fault> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let name = match note(&transaction, GATEWAY)? {
            Some(name) => name,
            None => {
                let name = format!("{:016x}", rand::random::<u64>());
                write_note(&transaction, GATEWAY, &name)?;
                name
            }
        };
        transaction.commit()?;
        Ok(name)
    }

    /// Nothing is added any more to minutes that began before `until`, in seconds since 1970: what comes late is added to the
    /// next one.
    pub(super) fn close(&mut self, until: u64) -> Result<(), Fault> {
        let until = signed(until);
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = open_from(&transaction)?;
        if until > known {
            write_note(&transaction, OPEN_FROM, &until.to_string())?;
        } else if known - until > LONGEST_LEAP {
            // The clock was far ahead. Lines get another name, so that those of minutes that come again are not taken for the
            // ones that were sent.
            log::warn!("the clock was set back by {} days: the export of usage begins anew", (known - until) / 86_400);
            write_note(&transaction, OPEN_FROM, &until.to_string())?;
            write_note(&transaction, GATEWAY, &format!("{:016x}", rand::random::<u64>()))?;
            write_mark(&transaction, &before(until))?;
        }
        Ok(transaction.commit()?)
    }

    /// The lines that are to be sent next, at most so many.
    pub(super) fn next(&self, most: usize) -> Result<Vec<Row>, Fault> {
        let (start, tenant, provider, caller, route, class) = mark(self.0)?;
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT start, span, {WHOSE}, {} FROM usage WHERE span = ?1 AND start < ?2 AND {WAITS} ORDER BY start, span, {WHOSE} LIMIT ?9",
            SUMS.join(", ")
        ))?;
        let open_from = open_from(self.0)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values = params![MINUTE, open_from, start, tenant, provider, caller, route, class, most];
        let rows = statement.query_map(values, row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How many lines wait.
    pub(super) fn waiting(&self) -> Result<u64, Fault> {
        Ok(count(self.0, open_from(self.0)?)?)
    }

    /// Everything up to this line is there.
    pub(super) fn sent(&mut self, last: &Row) -> Result<(), Fault> {
        let Row { start, span: _, tenant, provider, caller, route, class, used: _ } = last;
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = (signed(*start), tenant.clone(), provider.clone(), caller.clone(), route.clone(), i64::from(*class));
        if last > mark(&transaction)? {
            write_mark(&transaction, &last)?;
        }
        Ok(transaction.commit()?)
    }
}

/// Behind the mark whose parts are the values 3 to 8.
const WAITS: &str = "(start, span, tenant, provider, caller, route, class) > (?3, ?1, ?4, ?5, ?6, ?7, ?8)";

/// The first minute that may still change; what belongs to earlier ones is added to it.
pub(super) fn open_from(connection: &Connection) -> rusqlite::Result<i64> {
    Ok(note(connection, OPEN_FROM)?.and_then(|text| text.parse().ok()).unwrap_or(i64::MIN))
}

/// Gives up what waits of minutes that began before `until`; how many lines that are.
pub(super) fn give_up(transaction: &Transaction<'_>, until: i64) -> rusqlite::Result<u64> {
    let given_up = count(transaction, until)?;
    if given_up > 0 {
        write_mark(transaction, &before(until))?;
    }
    if open_from(transaction)? < until {
        write_note(transaction, OPEN_FROM, &until.to_string())?;
    }
    Ok(given_up)
}

/// How many lines of minutes that began before `until` wait.
fn count(connection: &Connection, until: i64) -> rusqlite::Result<u64> {
    let (start, tenant, provider, caller, route, class) = mark(connection)?;
    let mut statement =
        connection.prepare_cached(&format!("SELECT count(*) FROM usage WHERE span = ?1 AND start < ?2 AND {WAITS}"))?;
    let values = params![MINUTE, until, start, tenant, provider, caller, route, class];
    statement.query_row(values, |found| found.get(0)).map(i64::unsigned_abs)
}

/// Before every line of minutes that begin at `start` or later.
fn before(start: i64) -> Mark {
    (start, String::new(), String::new(), String::new(), String::new(), -1)
}

fn mark(connection: &Connection) -> rusqlite::Result<Mark> {
    let text = note(connection, SENT_UP_TO)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| before(i64::MIN)))
}

fn write_mark(connection: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    // Texts and numbers can always be written.
    write_note(connection, SENT_UP_TO, &serde_json::to_string(mark).unwrap_or_default())
}

fn note(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT text FROM notes WHERE name = ?1")?;
    statement.query_row([name], |found| found.get(0)).optional()
}

fn write_note(connection: &Connection, name: &str, text: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO notes (name, text) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET text = excluded.text",
    )?;
    statement.execute([name, text]).map(drop)
}
