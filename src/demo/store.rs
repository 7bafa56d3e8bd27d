//! The database: loaded once into memory, read by many connections.
//!
//! In: a pipe with its bound values, or a caller's own SQL. Out: a `Table`, and honest figures of
//! what was read.
//! Every piece of work gets a connection of its own to the shared in-memory database (`memdb`),
//! opened read-only: opening costs microseconds, and no handler, limit or temporary table can leak
//! from one request into the next.
//! **Not here**: running a statement (`query`), what a caller's own SQL may do (`adhoc`).

use std::sync::Arc;

use http::StatusCode;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Mutex, Semaphore};

use crate::clock::Clock;

use super::answer::Failure;
use super::parameter::Bound;
use super::pipes::Pipe;
use super::query::{Table, Volume, failure, unsigned};
use super::{DemoError, adhoc, dataset, query};

/// The loaded data.
#[derive(Debug)]
pub(super) struct Store {
    place: String,
    volumes: Vec<(&'static str, Volume)>,
    clock: Clock,
    permits: Arc<Semaphore>,
    /// Keeps the database alive: it vanishes with its last connection.
    _keeper: Mutex<Connection>,
}

impl Store {
    /// Creates and fills the database.
    pub(super) async fn load(clock: Clock) -> Result<Arc<Self>, DemoError> {
        // The name is what connections share, so two demos in one process need two names.
        let place = format!("file:/tollgate-demo-{:032x}?vfs=memdb", rand::random::<u128>());
        let loading = tokio::task::spawn_blocking(move || Self::fill(place, clock));
        let store = loading.await.map_err(DemoError::Thread)?.map_err(DemoError::Load)?;
        Ok(Arc::new(store))
    }

    fn fill(place: String, clock: Clock) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
        let mut keeper = Connection::open_with_flags(&place, flags)?;
        dataset::fill(&mut keeper)?;
        let mut volumes = Vec::new();
        for table in dataset::TABLES {
            let volume = keeper.query_row(&dataset::volume_query(table), [], |row| {
                Ok(Volume { rows: unsigned(row.get(0)?), bytes: unsigned(row.get(1)?) })
            })?;
            volumes.push((table, volume));
        }
        let permits = Arc::new(Semaphore::new(MOST_QUERIES));
        Ok(Self { place, volumes, clock, permits, _keeper: Mutex::new(keeper) })
    }

    /// Runs a pipe; with a caller's own SQL, that is run over the pipe's result.
    pub(super) async fn pipe(
        self: &Arc<Self>,
        pipe: &'static Pipe,
        values: Bound,
        sql: Option<String>,
    ) -> Result<Table, Failure> {
        self.work(move |store, mut connection| {
            let read = store.volume(pipe.tables);
            let Some(sql) = sql else {
                return query::run(&connection, pipe, &values, read);
            };
            query::keep(&connection, pipe, &values)?;
            let scope = adhoc::Scope::Result(pipe.columns);
            let (mut table, _) = adhoc::run(&mut connection, &sql, scope, store.clock.clone())?;
            table.read = read;
            Ok(table)
        })
        .await
    }

    /// Runs a caller's own SQL over the tables.
    pub(super) async fn sql(self: &Arc<Self>, sql: String) -> Result<Table, Failure> {
        self.work(move |store, mut connection| {
            let (mut table, tables) = adhoc::run(&mut connection, &sql, adhoc::Scope::Tables, store.clock.clone())?;
            table.read = store.volume(&tables);
            Ok(table)
        })
        .await
    }

    /// Gives a blocking task its own connection, a few at a time.
    async fn work<F>(self: &Arc<Self>, task: F) -> Result<Table, Failure>
    where
        F: FnOnce(&Self, Connection) -> Result<Table, Failure> + Send + 'static,
    {
        let broken = || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "[Error] The query could not be run");
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| broken())?;
        let store = Arc::clone(self);
        let running = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = store.open().map_err(failure)?;
            task(&store, connection)
        });
        running.await.unwrap_or_else(|_| Err(broken()))
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.place, flags)?;
        // Sorting and temporary tables must not reach for a file. The heap limit is SQLite's last
        // line against a hostile query; it holds for the whole process and can only be lowered.
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA hard_heap_limit = 268435456;")?;
        Ok(connection)
    }

    fn volume(&self, tables: &[&str]) -> Volume {
        let read = self.volumes.iter().filter(|(name, _)| tables.contains(name));
        read.fold(Volume::default(), |sum, (_, volume)| Volume {
            rows: sum.rows + volume.rows,
            bytes: sum.bytes + volume.bytes,
        })
    }
}

/// Queries at a time; more would only fight for the same cores.
const MOST_QUERIES: usize = 4;
