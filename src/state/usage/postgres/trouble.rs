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
            "42501" => {
                format!("does not let this user do it ({message}): see what the documentation says of its rights")
            }
            "25006" => "is a replica, or only for reading, and takes no writes: `state.store` must lead to the primary"
                .to_owned(),
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
            Trouble::Broken(_) | Trouble::Missing | Trouble::Other(_) => Fault::Unusable(format!("it {trouble}")),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Broken(words) | Trouble::Other(words) => f.write_str(words),
            Trouble::Missing => f.write_str("has no tables of a gateway's: somebody removed them"),
            Trouble::Newer => f.write_str("was written by a newer gateway"),
        }
    }
}
