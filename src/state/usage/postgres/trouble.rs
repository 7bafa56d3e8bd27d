//! Why Postgres did not do what it was asked, in words for the operator.
//!
//! In: what the connection or the server says. Out: a [`Trouble`], which reads
//! on behind "it", without a credential in it. Not here: what happens then
//! (`mod`, `ledger`).

use std::fmt;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::outbound::Failure;
use crate::state::private::Fault;

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state::usage) enum Trouble {
    /// The connection is of no use any more; another one may be.
    Broken(String),
    /// The user may not do it.
    Denied(String),
    /// The tables are not there.
    Missing,
    /// A gateway that knows more made the tables.
    Newer,
    /// Anything else.
    Other(String),
}

impl Trouble {
    /// Nothing came in that time.
    pub(super) fn slow(time: Duration) -> Self {
        Trouble::Other(format!("does not answer within {time:?}"))
    }

    /// It takes no writes.
    pub(super) fn read_only() -> Self {
        let words = "is a replica, or only for reading, and takes no writes: `state.store` must lead to the primary";
        Trouble::Other(words.to_owned())
    }

    /// There are no tables, and there cannot be.
    pub(super) fn no_tables(why: &str) -> Self {
        Trouble::Other(format!(
            "has no tables for the ledger yet, and {why}: GRANT CREATE ON SCHEMA to the user, or let one who may start the \
             gateway once and GRANT ALL on what it made"
        ))
    }

    /// What went wrong with making them.
    pub(super) fn of_making(self) -> Self {
        match self {
            Trouble::Denied(why) => Trouble::no_tables(&format!("this user may not make them ({why})")),
            Trouble::Broken(_) | Trouble::Missing | Trouble::Newer | Trouble::Other(_) => self,
        }
    }

    /// What the server says. Its words for logins name the user, which may be a password in the wrong place.
    fn said(error: &DbError) -> Self {
        let message = error.message();
        let words = match error.code().code() {
            "28P01" | "28000" if message.contains("pg_hba.conf") => {
                "lets nobody in from here with this user and database, or not without TLS: see its pg_hba.conf"
                    .to_owned()
            }
            "28P01" | "28000" => "does not accept the user or the password in `state.store`".to_owned(),
            "3D000" => format!("has no such database ({message}): make it with CREATE DATABASE"),
            "3F000" => format!(
                "has no schema in which tables can be made ({message}): set the user's search_path to one that is there"
            ),
            "42P01" => return Trouble::Missing,
            "42501" => return Trouble::Denied(message.to_owned()),
            "25006" => return Trouble::read_only(),
            "53100" => format!("has no room left on its disk ({message})"),
            "53300" => format!("takes no more connections ({message})"),
            "57014" => "gave up, because it took too long".to_owned(),
            "57P01" | "57P02" | "57P05" => return Trouble::Broken(format!("ended the connection ({message})")),
            "57P03" => format!("is starting or stopping ({message})"),
            code => format!("says: {message} ({code})"),
        };
        Trouble::Other(words)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Trouble::said(said);
        }
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let is_io = std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
        match source {
            _ if error.is_closed() => Trouble::Broken("closed the connection".to_owned()),
            Some(why) if is_io => Trouble::Broken(format!("broke the connection: {why}")),
            Some(why) if why.contains("password missing") => {
                let words = "wants a password: write postgres://USER:PASSWORD@HOST/DATABASE in `state.store`";
                Trouble::Other(words.to_owned())
            }
            Some(why) => Trouble::Other(format!("does not speak as a Postgres does: {error}: {why}")),
            None => Trouble::Other(format!("does not speak as a Postgres does: {error}")),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Other(format!("cannot be reached: {failure}"))
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Newer => Fault::Newer,
            Trouble::Broken(_) | Trouble::Denied(_) | Trouble::Missing | Trouble::Other(_) => {
                Fault::Unusable(format!("it {trouble}"))
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Broken(words) | Trouble::Other(words) => f.write_str(words),
            Trouble::Denied(why) => {
                write!(f, "does not let this user do that ({why}): let the user that made the tables GRANT ALL on them")
            }
            Trouble::Missing => f.write_str("has no tables of a gateway's: somebody removed them"),
            Trouble::Newer => f.write_str("was written by a newer gateway"),
        }
    }
}
