//! Where the ledger is kept.
//!
//! In: what the configuration says. Out: a store to write to or to ask, whatever
//! it is. Not here: what is written when (`ledger`), SQL (`sqlite`).

use std::fmt;
use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::section::state::State as Section;
use crate::exchange::usage::{UsageKey, Used};
use crate::state::private::{self, Fault};

use super::question::{Answer, Question};
use super::row::Row;
use super::sqlite;

/// Where usage is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file in this folder.
    Folder(PathBuf),
}

impl Place {
    /// Where the configuration says.
    pub fn of(section: &Section) -> Self {
        Place::Folder(section.folder())
    }

    /// Opens it, and makes what is missing.
    pub(super) fn open(&self, clock: &Clock) -> Result<Store, Fault> {
        match self {
            Place::Folder(folder) => {
                let open = || sqlite::Store::open(folder).map(Store::Sqlite);
                private::open_or_renew(&sqlite::path(folder), clock, "usage is written to a new file", open)
            }
        }
    }

    /// Opens it to ask it only; none if nothing was ever written there.
    pub(super) fn look(&self) -> Result<Option<Store>, Fault> {
        match self {
            Place::Folder(folder) => Ok(sqlite::Store::look(folder)?.map(Store::Sqlite)),
        }
    }

    /// Opens it to send on what is there; none if nothing was ever written there.
    pub(super) fn open_written(&self) -> Result<Option<Store>, Fault> {
        match self {
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
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => sqlite::path(folder).display().fmt(f),
        }
    }
}

/// Whether minutes are to be sent elsewhere before they become hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Unwanted,
    Wanted,
}

/// The ledger, open.
#[derive(Debug)]
pub(super) enum Store {
    Sqlite(sqlite::Store),
}

impl Store {
    /// Adds all of these to what is written, or none.
    pub(super) fn add<'a>(&mut self, sums: impl Iterator<Item = (&'a UsageKey, &'a Used)>) -> Result<(), Fault> {
        match self {
            Store::Sqlite(store) => store.add(sums),
        }
    }

    /// Makes old minutes hours and old hours days, and removes what is older than `retention`; all times in seconds. How many
    /// lines were not sent before, where they are to be.
    pub(super) fn tidy(&mut self, now: u64, retention: u64, sending: Sending) -> Result<u64, Fault> {
        match self {
            Store::Sqlite(store) => store.tidy(now, retention, sending),
        }
    }

    /// The name by which others know this ledger.
    pub(super) fn gateway(&self) -> Result<String, Fault> {
        match self {
            Store::Sqlite(store) => store.gateway(),
        }
    }

    /// Nothing is added any more to minutes that began before `until`, in seconds since 1970: what comes late is added to the
    /// next one.
    pub(super) fn close(&mut self, until: u64) -> Result<(), Fault> {
        match self {
            Store::Sqlite(store) => store.close(until),
        }
    }

    /// The lines of closed minutes that are to be sent next, at most so many.
    pub(super) fn next(&self, most: usize) -> Result<Vec<Row>, Fault> {
        match self {
            Store::Sqlite(store) => store.next(most),
        }
    }

    /// How many lines of closed minutes wait to be sent.
    pub(super) fn waiting(&self) -> Result<u64, Fault> {
        match self {
            Store::Sqlite(store) => store.waiting(),
        }
    }

    /// Everything up to this line was sent.
    pub(super) fn sent(&mut self, last: &Row) -> Result<(), Fault> {
        match self {
            Store::Sqlite(store) => store.sent(last),
        }
    }

    /// What was used, by what it is asked by.
    pub(super) fn answer(&self, question: &Question) -> Result<Answer, Fault> {
        match self {
            Store::Sqlite(store) => store.answer(question),
        }
    }

    /// Reads the lines that end after `since` and begin before `until`, in the order of time.
    pub(super) fn read(&self, since: u64, until: u64, each: &mut dyn FnMut(&Row)) -> Result<(), Fault> {
        match self {
            Store::Sqlite(store) => store.read(since, until, each),
        }
    }

    /// Whether it can still be written to.
    pub(super) fn is_in_place(&self) -> bool {
        match self {
            Store::Sqlite(store) => store.is_in_place(),
        }
    }
}
