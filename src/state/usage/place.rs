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

    /// Makes old minutes hours and old hours days, and removes what is older than `retention`; all times in seconds.
    pub(super) fn tidy(&mut self, now: u64, retention: u64) -> Result<(), Fault> {
        match self {
            Store::Sqlite(store) => store.tidy(now, retention),
        }
    }

    /// What was used, by what it is asked by.
    pub(super) fn answer(&self, question: &Question) -> Result<Answer, Fault> {
        match self {
            Store::Sqlite(store) => store.answer(question),
        }
    }

    /// Whether it can still be written to.
    pub(super) fn is_in_place(&self) -> bool {
        match self {
            Store::Sqlite(store) => store.is_in_place(),
        }
    }
}
