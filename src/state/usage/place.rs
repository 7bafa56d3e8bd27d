//! Where the ledger is kept.
//!
//! In: what the configuration says. Out: a store to write to or to ask, whatever
//! it is. Not here: what is written when (`ledger`), databases (`sqlite`,
//! `postgres`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::scalar::{PostgresAddress, Store as Choice};
use crate::config::section::state::State as Section;
use crate::state::private::{self, Fault};

use super::brake::Brake;
use super::mark::{Closing, Sending, Turn};
#[cfg(feature = "postgres")]
use super::postgres;
use super::question::{Answer, Question};
use super::row::Row;
use super::sqlite;
use super::waiting::Batch;

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
    pub(super) fn gateway(&mut self, brake: &Brake) -> Result<String, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.gateway(brake),
            Store::Sqlite(store) => store.gateway(),
        }
    }

    /// Nothing is added any more to minutes that are over and written: what comes late is added to the next one. Whether
    /// lines may be sent then, by who is called `sender`.
    pub(super) fn close(&mut self, closing: Closing, sender: &str, brake: &Brake) -> Result<Turn, Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.close(closing, sender, brake),
            Store::Sqlite(store) => store.close(closing).map(|()| Turn::Ours),
        }
    }

    /// Lets another gateway send.
    pub(super) fn release(&mut self, sender: &str, brake: &Brake) -> Result<(), Fault> {
        match self {
            #[cfg(feature = "postgres")]
            Store::Postgres(store) => store.release(sender, brake),
            Store::Sqlite(_) => Ok(()),
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
