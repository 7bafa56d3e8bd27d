//! Where the ledger is kept.
//!
//! In: what the configuration says. Out: a store to write to or to ask, whatever
//! it is. Not here: what is written when (`ledger`), databases (`sqlite`,
//! `postgres`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::scalar::{PostgresAddress, Store as Choice};
use crate::config::section::state::State as Section;
use crate::state::beat::Beat;
use crate::state::private::{self, Fault};

#[cfg(feature = "postgres")]
use super::postgres;
use super::question::{Answer, Question};
use super::row::Row;
use super::sqlite;
use super::waiting::Batch;

/// What a store may still take once everything is to be written, as it is when the process ends.
pub(super) const LAST: Duration = Duration::from_millis(1_500);
/// Between two tries to reach another machine: doubled each time, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where usage is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file in this folder.
    Folder(PathBuf),
    /// A Postgres; what cannot be written there waits in this folder.
    Postgres(PostgresAddress, PathBuf),
}

impl Place {
    /// Where the configuration says.
    pub fn of(section: &Section) -> Self {
        match &section.store {
            Choice::Postgres(address) => Place::Postgres(address.clone(), section.folder()),
            Choice::Sqlite => Place::Folder(section.folder()),
        }
    }

    /// Opens it, and makes what is missing.
    pub(super) fn open(&self, clock: &Clock, brake: &Brake) -> Result<Store, Fault> {
        match self {
            Place::Folder(folder) => {
                let open = || sqlite::Store::open(folder).map(Store::Sqlite);
                private::open_or_renew(&sqlite::path(folder), clock, "usage is written to a new file", open)
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address, _) => postgres::Store::open(address, clock, brake).map(Store::Postgres),
            #[cfg(not(feature = "postgres"))]
            Place::Postgres(..) => Err(without_postgres(brake)),
        }
    }

    /// Opens it to ask it only; none if nothing was ever written there.
    pub(super) fn look(&self) -> Result<Option<Store>, Fault> {
        match self {
            Place::Folder(folder) => Ok(sqlite::Store::look(folder)?.map(Store::Sqlite)),
            #[cfg(feature = "postgres")]
            Place::Postgres(address, _) => Ok(postgres::Store::look(address)?.map(Store::Postgres)),
            #[cfg(not(feature = "postgres"))]
            Place::Postgres(..) => Err(without_postgres(&Brake::none())),
        }
    }

    /// Connects to another machine, and tells what a gateway would find; none where the ledger is on this one.
    ///
    /// # Errors
    /// In a sentence, why nothing could be written there.
    pub fn try_out(&self) -> Option<Result<&'static str, String>> {
        match self {
            Place::Folder(_) => None,
            #[cfg(feature = "postgres")]
            Place::Postgres(address, _) => Some(postgres::Store::try_out(address).map_err(|fault| fault.to_string())),
            #[cfg(not(feature = "postgres"))]
            Place::Postgres(..) => Some(Err(without_postgres(&Brake::none()).to_string())),
        }
    }

    /// Where what cannot be written is kept: a folder that is there when the place is not.
    pub(super) fn spool(&self) -> Option<&Path> {
        match self {
            Place::Folder(_) => None,
            Place::Postgres(_, folder) => Some(folder),
        }
    }

    /// Until the next try, after so many that failed: a disk costs nothing to try, and others are left in peace.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        match self {
            Place::Folder(_) => Duration::ZERO,
            Place::Postgres(..) => match failures.checked_sub(1) {
                None => Duration::ZERO,
                Some(doublings) => PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE),
            },
        }
    }

    /// Opens it to send on what is there; none if nothing was ever written there.
    pub(super) fn open_written(&self, clock: &Clock, brake: &Brake) -> Result<Option<Store>, Fault> {
        match self {
            Place::Postgres(..) => self.open(clock, brake).map(Some),
            Place::Folder(folder) => match sqlite::path(folder).try_exists()? {
                true => sqlite::Store::open(folder).map(|store| Some(Store::Sqlite(store))),
                false => Ok(None),
            },
        }
    }

    /// What to do where nothing can be written.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Place::Folder(_) => {
                "Let the user that runs the gateway write there, or name another folder as `state.dir`, or write \
                 `usage: { ledger: false }`"
            }
            Place::Postgres(..) => "`tollgate check --online` tries it",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => sqlite::path(folder).display().fmt(f),
            Place::Postgres(address, _) => address.place().fmt(f),
        }
    }
}

#[cfg(not(feature = "postgres"))]
fn without_postgres(_: &Brake) -> Fault {
    Fault::Unusable("this gateway was built without Postgres".to_owned())
}

/// Whether minutes are to be sent elsewhere before they become hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Unwanted,
    Wanted,
}

/// Who sends lines now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Another gateway that writes into the same ledger.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "nobody else writes into a file"))]
    Another,
    /// Who asks.
    Ours,
}

/// The ledger, open.
#[derive(Debug)]
pub(super) enum Store {
    #[cfg(feature = "postgres")]
    Postgres(postgres::Store),
    Sqlite(sqlite::Store),
}

#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file is never slow enough to be hurried"))]
impl Store {
    /// Adds all of a batch to what is written, or nothing; nothing, too, if it was added before and there is somebody who
    /// can have taken it without having said so.
    pub(super) fn add(&mut self, batch: &Batch, brake: &Brake) -> Result<(), Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.add(batch, brake),
            Store::Sqlite(store) => store.add(batch.rows.iter().map(|(key, used)| (key, used))),
        }
    }

    /// Makes old minutes hours and old hours days, and removes what is older than `retention`; all times in seconds. How many
    /// lines were not sent before, where they are to be.
    pub(super) fn tidy(&mut self, (now, retention): (u64, u64), sending: Sending, brake: &Brake) -> Result<u64, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.tidy((now, retention), sending, brake),
            Store::Sqlite(store) => store.tidy(now, retention, sending),
        }
    }

    /// The name by which others know this ledger.
    pub(super) fn gateway(&mut self) -> Result<String, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.gateway(),
            Store::Sqlite(store) => store.gateway(),
        }
    }

    /// Nothing is added any more to minutes that began before `until`, in seconds since 1970: what comes late is added to the
    /// next one. Whether lines may be sent then, by who is called `sender`.
    pub(super) fn close(&mut self, until: u64, sender: &str, brake: &Brake) -> Result<Turn, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.close(until, sender, brake),
            Store::Sqlite(store) => store.close(until).map(|()| Turn::Ours),
        }
    }

    /// The lines of closed minutes that are to be sent next, at most so many.
    pub(super) fn next(&mut self, most: usize, brake: &Brake) -> Result<Vec<Row>, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.next(most, brake),
            Store::Sqlite(store) => store.next(most),
        }
    }

    /// How many lines of closed minutes wait to be sent.
    pub(super) fn waiting(&mut self, brake: &Brake) -> Result<u64, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.waiting(brake),
            Store::Sqlite(store) => store.waiting(),
        }
    }

    /// Everything up to this line was sent.
    pub(super) fn sent(&mut self, last: &Row, brake: &Brake) -> Result<(), Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.sent(last, brake),
            Store::Sqlite(store) => store.sent(last),
        }
    }

    /// What was used, by what it is asked by.
    pub(super) fn answer(&mut self, question: &Question) -> Result<Answer, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.answer(question),
            Store::Sqlite(store) => store.answer(question),
        }
    }

    /// Reads the lines that end after `since` and begin before `until`, in the order of time.
    pub(super) fn read(&mut self, since: u64, until: u64, each: &mut dyn FnMut(&Row)) -> Result<(), Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.read(since, until, each),
            Store::Sqlite(store) => store.read(since, until, each),
        }
    }

    /// Whether it can still be written to.
    pub(super) fn is_in_place(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.is_in_place(),
            Store::Sqlite(store) => store.is_in_place(),
        }
    }
}

/// Shortens what a store does once somebody waits for everything to be written.
#[derive(Clone, Debug)]
pub(super) struct Brake {
    rings: Option<watch::Receiver<u64>>,
    is_pulled: bool,
}

impl Brake {
    /// Pulled by every wish.
    pub(super) fn of(beat: &Beat) -> Self {
        Brake::by(beat.rings())
    }

    /// Pulled by whoever sends.
    pub(super) fn by(pulls: watch::Receiver<u64>) -> Self {
        Brake { rings: Some(pulls), is_pulled: false }
    }

    /// Never pulled.
    pub(super) fn none() -> Self {
        Brake { rings: None, is_pulled: false }
    }

    /// From now on only later wishes count.
    pub(super) fn release(&mut self) {
        self.is_pulled = false;
        if let Some(rings) = &mut self.rings {
            rings.mark_unchanged();
        }
    }

    /// Pulls it for a wish that came before.
    pub(super) fn pull(&mut self) {
        self.is_pulled = true;
    }

    /// Whether somebody wished since.
    pub(super) fn is_pulled(&self) -> bool {
        self.is_pulled || self.rings.as_ref().is_some_and(|rings| rings.has_changed().unwrap_or(true))
    }

    /// Waits until it is pulled, and what may still be done then is over.
    #[cfg(feature = "postgres")]
    pub(super) async fn held(&self) {
        // Its own: who looks later sees the wish as well.
        let is_pulled = match self.rings.clone() {
            _ if self.is_pulled => true,
            Some(mut rings) => rings.changed().await.is_ok(),
            None => false,
        };
        if !is_pulled {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST).await;
    }
}
