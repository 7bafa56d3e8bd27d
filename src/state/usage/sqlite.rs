//! The file that usage is written to.
//!
//! In: sums by minute. Out: sums of any stretch, by what they are asked by. What
//! is old is kept by the hour, then by the day, then not at all. Not here: when
//! it is written (`ledger`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row as Found, TransactionBehavior, params};

use crate::exchange::usage::{UsageKey, Used};
use crate::state::private::{self, Fault, Version};

use super::question::{Answer, Question};
use super::row::Row;
use super::spool::{Spool, give_up, open_from};

/// Its name in `state.dir`.
const FILE: &str = "usage.sqlite";
/// Which tables the file has.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(2);
pub(super) const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// For so long minutes are told apart, in seconds: two days, which is also how far an export may fall behind.
const MINUTES_KEPT: i64 = 2 * DAY;
/// For so long hours are: the month before this one can be billed by them.
const HOURS_KEPT: i64 = 62 * DAY;

/// Empty texts stand for nobody, and for no route.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS usage (
        start INTEGER NOT NULL,
        span INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        provider TEXT NOT NULL,
        caller TEXT NOT NULL,
        route TEXT NOT NULL,
        class INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        refusals INTEGER NOT NULL,
        retries INTEGER NOT NULL,
        request_bytes INTEGER NOT NULL,
        response_bytes INTEGER NOT NULL,
        rows_read INTEGER NOT NULL,
        bytes_read INTEGER NOT NULL,
        upstream_micros INTEGER NOT NULL,
        unmeasured INTEGER NOT NULL,
        PRIMARY KEY (start, span, tenant, provider, caller, route, class)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS notes (
        name TEXT PRIMARY KEY,
        text TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// The sums, in the order of the table.
pub(super) const SUMS: [&str; 9] = [
    "requests",
    "refusals",
    "retries",
    "request_bytes",
    "response_bytes",
    "rows_read",
    "bytes_read",
    "upstream_micros",
    "unmeasured",
];
/// What sums are kept for, but for the time.
pub(super) const WHOSE: &str = "tenant, provider, caller, route, class";

/// Whether minutes are to be sent elsewhere before they become hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Unwanted,
    Wanted,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    inode: u64,
}

/// Where usage is kept.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl Store {
    /// Opens the file in `folder`; both are made if they are not there. Only the gateway's own user may read it.
    pub(super) fn open(folder: &Path) -> Result<Store, Fault> {
        let (mut connection, inode) = private::open_shared(folder, FILE, BUSY)?;
        match private::make_tables(&mut connection, TABLES, VERSION)? {
            Version::Known => Ok(Store { connection, path: path(folder), inode }),
            Version::Newer => Err(Fault::Newer),
        }
    }

    /// Opens the file to read it only; none if it is not there.
    pub(super) fn look(folder: &Path) -> Result<Option<Store>, Fault> {
        let path = path(folder);
        if !path.try_exists()? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => Ok(None),
            VERSION => Ok(Some(Store { connection, path, inode: 0 })),
            _ => Err(Fault::Newer),
        }
    }

    /// The same as somebody sees it who sends it on.
    pub(super) fn spool(&mut self) -> Spool<'_> {
        Spool(&mut self.connection)
    }

    /// Adds all of these to what is written, or none.
    pub(super) fn add<'a>(&mut self, sums: impl Iterator<Item = (&'a UsageKey, &'a Used)>) -> Result<(), Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let open_from = open_from(&transaction)?;
            let added = SUMS.map(|sum| format!("{sum} = {sum} + excluded.{sum}")).join(", ");
            let mut add = transaction.prepare_cached(&format!(
                "INSERT INTO usage (start, span, {WHOSE}, {}) VALUES (?1, 60, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 ?13, ?14, ?15) ON CONFLICT DO UPDATE SET {added}",
                SUMS.join(", ")
            ))?;
            for (key, used) in sums {
                let UsageKey { minute, tenant, caller, route, class } = key;
                let (provider, caller) = caller.as_ref().map_or(("", ""), |(provider, id)| (provider, id));
                let tenant = tenant.as_ref().map_or("", |tenant| tenant.as_str());
                // What was sent must not change any more.
                let start = (i64::from(*minute) * MINUTE).max(open_from);
                let route = route.as_deref().unwrap_or_default();
                add.execute(params![
                    start,
                    tenant,
                    provider,
                    caller,
                    route,
                    class,
                    signed(used.requests),
                    signed(used.refusals),
                    signed(used.retries),
                    signed(used.request_bytes),
                    signed(used.response_bytes),
                    signed(used.rows_read),
                    signed(used.bytes_read),
                    signed(used.upstream_micros),
                    signed(used.unmeasured),
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Makes old minutes hours and old hours days, and removes what is older than `retention`; all times in seconds. How many
    /// lines were not sent before, where they are to be.
    pub(super) fn tidy(&mut self, now: u64, retention: u64, sending: Sending) -> Result<u64, Fault> {
        let now = signed(now);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let steps = [(MINUTE, HOUR, now - MINUTES_KEPT), (HOUR, DAY, now - HOURS_KEPT)];
        let mut given_up = 0;
        for (span, wider, before) in steps {
            // Whole ones only, so that none is written twice.
            let before = before - before.rem_euclid(wider);
            if (span, sending) == (MINUTE, Sending::Wanted) {
                given_up = give_up(&transaction, before)?;
            }
            let added = SUMS.map(|sum| format!("{sum} = {sum} + excluded.{sum}")).join(", ");
            let sums = SUMS.map(|sum| format!("sum({sum})")).join(", ");
            transaction.execute(
                &format!(
                    "INSERT INTO usage (start, span, {WHOSE}, {}) SELECT start - start % ?1, ?1, {WHOSE}, {sums} FROM usage
                     WHERE start < ?2 AND span = ?3 GROUP BY start - start % ?1, {WHOSE} ON CONFLICT DO UPDATE SET {added}",
                    SUMS.join(", ")
                ),
                [wider, before, span],
            )?;
            transaction.execute("DELETE FROM usage WHERE start < ?1 AND span = ?2", [before, span])?;
        }
        transaction.execute("DELETE FROM usage WHERE start + span <= ?1", [now.saturating_sub(signed(retention))])?;
        transaction.commit()?;
        Ok(given_up)
    }

    /// What was used, by what it is asked by; the most first, but for stretches of time, which come in their order.
    pub(super) fn answer(&self, question: &Question) -> Result<Answer, Fault> {
        question.ask(&self.connection, &SUMS)
    }

    /// Whether the file is still the one that has its name.
    pub(super) fn is_in_place(&self) -> bool {
        private::is_in_place(&self.path, self.inode)
    }
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A line whose columns are those of the table, in its order.
pub(super) fn row(found: &Found<'_>) -> rusqlite::Result<Row> {
    let number = |index: usize| found.get::<_, i64>(index).map(i64::unsigned_abs);
    Ok(Row {
        start: number(0)?,
        span: number(1)?,
        tenant: found.get(2)?,
        provider: found.get(3)?,
        caller: found.get(4)?,
        route: found.get(5)?,
        class: found.get(6)?,
        used: used(found, 7)?,
    })
}

/// Sums that stand from `first` on.
pub(super) fn used(found: &Found<'_>, first: usize) -> rusqlite::Result<Used> {
    let sum = |index: usize| found.get::<_, Option<i64>>(first + index).map(|sum| sum.unwrap_or(0).unsigned_abs());
    Ok(Used {
        requests: sum(0)?,
        refusals: sum(1)?,
        retries: sum(2)?,
        request_bytes: sum(3)?,
        response_bytes: sum(4)?,
        rows_read: sum(5)?,
        bytes_read: sum(6)?,
        upstream_micros: sum(7)?,
        unmeasured: sum(8)?,
    })
}
