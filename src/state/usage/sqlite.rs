//! The file that usage is written to.
//!
//! In: sums by minute. Out: sums of any stretch, by what they are asked by. What
//! is old is kept by the hour, then by the day, then not at all. Not here: when
//! it is written (`ledger`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OpenFlags, Row as Found, TransactionBehavior, params_from_iter};

use crate::exchange::usage::{UsageKey, Used};
use crate::state::private::{self, Fault, Version};

use super::mark::{Closing, Sending};
use super::question::{Answer, Line, Question};
use super::row::Row;
use super::spool::{self, give_up, open_from};
use super::sql::{Columns, Dialect, MINUTE, signed, widenings};

/// Its name in `state.dir`.
const FILE: &str = "usage.sqlite";
/// Which tables the file has.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(2);
const SQL: Dialect = Dialect::Sqlite;
/// Start, span and whose; and the sums.
const PLACES: usize = 7 + Used::NAMES.len();

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
    ) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO notes (name, text) VALUES ('gateway', lower(hex(randomblob(8))));";

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

    /// Adds all of these to what is written, or none.
    pub(super) fn add<'a>(&mut self, sums: impl Iterator<Item = (&'a UsageKey, &'a Used)>) -> Result<(), Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let open_from = open_from(&transaction)?;
            let places: Vec<String> = (1..=PLACES).map(|number| SQL.place(number)).collect();
            let mut add = transaction.prepare_cached(&SQL.add(&format!("VALUES ({})", places.join(", "))))?;
            for (key, used) in sums {
                let Columns { start, tenant, provider, caller, route, class } = key.into();
                // What was sent must not change any more.
                let start = start.max(open_from);
                let sums = used.sums().map(signed);
                let whose: [&dyn ToSql; 7] = [&start, &MINUTE, &tenant, &provider, &caller, &route, &class];
                add.execute(params_from_iter(whose.into_iter().chain(sums.iter().map(|sum| sum as &dyn ToSql))))?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Makes old minutes hours and old hours days, and removes what is older than `retention`; all times in seconds. How many
    /// lines were not sent before, where they are to be.
    pub(super) fn tidy(&mut self, now: u64, retention: u64, sending: Sending) -> Result<u64, Fault> {
        let now = signed(now);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut given_up = 0;
        for (span, wider, before) in widenings(now) {
            if (span, sending) == (MINUTE, Sending::Wanted) {
                // What is not kept for so long is given up before.
                given_up = give_up(&transaction, before.max(now.saturating_sub(signed(retention))))?;
            }
            transaction.execute(&SQL.widen(), [wider, before, span])?;
            transaction.execute(&SQL.remove_widened(), [before, span])?;
        }
        transaction.execute(&SQL.remove_old(), [now.saturating_sub(signed(retention))])?;
        transaction.commit()?;
        Ok(given_up)
    }

    /// See [`super::place::Store::gateway`].
    pub(super) fn gateway(&self) -> Result<String, Fault> {
        Ok(spool::gateway(&self.connection)?)
    }

    /// See [`super::place::Store::close`].
    pub(super) fn close(&mut self, closing: Closing) -> Result<(), Fault> {
        Ok(spool::close(&mut self.connection, closing)?)
    }

    /// See [`super::place::Store::next`].
    pub(super) fn next(&self, most: usize) -> Result<Vec<Row>, Fault> {
        Ok(spool::next(&self.connection, most)?)
    }

    /// See [`super::place::Store::waiting`].
    pub(super) fn waiting(&self) -> Result<u64, Fault> {
        Ok(spool::waiting(&self.connection)?)
    }

    /// See [`super::place::Store::sent`].
    pub(super) fn sent(&mut self, last: &Row) -> Result<(), Fault> {
        Ok(spool::sent(&mut self.connection, last)?)
    }

    /// What was used, by what it is asked by.
    pub(super) fn answer(&self, question: &Question) -> Result<Answer, Fault> {
        let mut statement = self.connection.prepare(&question.sql(SQL))?;
        let times = question.times();
        let places = times.iter().map(|time| time as &dyn ToSql).chain(question.words().map(|word| word as &dyn ToSql));
        let mut found = statement.query(params_from_iter(places))?;
        let mut answer = Answer::default();
        while let Some(row) = found.next()? {
            answer.add(line(row, question.by.len())?);
        }
        Ok(answer)
    }

    /// See [`super::place::Store::read`].
    pub(super) fn read(&self, since: u64, until: u64, each: &mut dyn FnMut(&Row)) -> Result<(), Fault> {
        Ok(spool::read(&self.connection, (signed(since), signed(until)), each)?)
    }

    /// Whether the file is still the one that has its name.
    pub(super) fn is_in_place(&self) -> bool {
        private::is_in_place(&self.path, self.inode)
    }
}

fn line(row: &Found<'_>, sides: usize) -> rusqlite::Result<Line> {
    let mut sums = [0; Used::NAMES.len()];
    for (index, sum) in sums.iter_mut().enumerate() {
        *sum = row.get(sides + index)?;
    }
    let behind = sides + sums.len();
    Ok(Line {
        sides: (0..sides).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?,
        sums,
        span: (row.get(behind)?, row.get(behind + 1)?),
        rows: row.get(behind + 2)?,
    })
}
