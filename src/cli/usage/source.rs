//! Whose usage, and when: what every question to a ledger begins with.
//!
//! In: arguments. Out: a place and a stretch of time. Not here: what is asked.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::scalar::{Moment, Period};
use crate::config::{AdminOf, Known, admin_of};
use crate::state::usage::Place;

use super::super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The configuration of the gateway: its `state` says where the ledger is
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder that has the ledger, where there is no configuration at hand
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// From when on: so long ago (24h, 30d), a day, or a time
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: When,
    /// Until when; left out: now
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
}

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug)]
enum When {
    Ago(Period),
    At(Moment),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse().map(When::Ago);
        ago.or_else(|_| text.parse().map(When::At)).map_err(|_| {
            "write how long ago, like 24h or 30d, a day like 2026-11-22, or a time like 2026-11-22T10:00:00Z".to_owned()
        })
    }
}

impl When {
    /// In seconds since 1970.
    fn seconds(self, now: SystemTime) -> u64 {
        match self {
            When::Ago(period) => seconds(now.checked_sub(period.duration()).unwrap_or(UNIX_EPOCH)),
            When::At(moment) => moment.unix_seconds(),
        }
    }
}

impl Source {
    /// Where the ledger is.
    pub(super) fn place(&self) -> anyhow::Result<Place> {
        match (&self.dir, &self.config) {
            (Some(dir), _) => Ok(Place::Folder(dir.clone())),
            (None, Some(config)) => {
                std::fs::metadata(config).with_context(|| format!("`{}`", config.display()))?;
                let AdminOf { state, store, issues, .. } = admin_of(config, &Environment::of_process());
                if store == Known::Unknown {
                    // Another ledger must not be taken for this one.
                    show(&issues);
                    bail!("where the ledger is cannot be told from the file: give --dir FOLDER for one in a file");
                }
                Ok(Place::of(&state))
            }
            (None, None) => bail!("whose usage? Give the file that the gateway runs: -c FILE"),
        }
    }

    /// From when until when, in seconds since 1970.
    pub(super) fn stretch(&self) -> anyhow::Result<(u64, u64)> {
        let now = Clock::system().wall();
        let (since, until) = (self.since.seconds(now), self.until.map_or(u64::MAX, |until| until.seconds(now)));
        if since >= until {
            bail!("there is no time between --since and --until");
        }
        Ok((since, until))
    }
}

/// Why there is nothing to be asked.
pub(super) fn no_ledger(place: &Place) -> anyhow::Error {
    anyhow::anyhow!(
        "there is no ledger at {place}: it is made with the first request, unless the file says `usage: {{ ledger: false }}`"
    )
}

/// RFC 4180, section 2.
pub(super) fn quoted(word: &str) -> String {
    match word.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word.to_owned(),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_spreadsheets_are_quoted_where_they_must_be() {
        assert_eq!([quoted("a"), quoted("a,b"), quoted("a\"b\n")], ["a", "\"a,b\"", "\"a\"\"b\n\""]);
    }
}
