//! Usage that is not written down yet, in batches.
//!
//! In: sums. Out: batches in the order in which they are written, each with a
//! number that says whether it was written before; where the ledger is another
//! machine's, files that keep them through a restart. Not here: writing them to
//! the ledger, and when (`ledger`).

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::config::scalar::TenantName;
use crate::exchange::usage::{UsageKey, Used};

/// Their folder in `state.dir`.
const FOLDER: &str = "usage-waiting";
/// Sums in a batch: few enough to be written in a fraction of a second.
const MOST: usize = 10_000;

/// Sums that are written together, or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    /// Who cut it: a word that no other has.
    pub(super) writer: Arc<str>,
    /// Each has a larger one than those before it.
    pub(super) number: i64,
    pub(super) rows: Vec<(UsageKey, Used)>,
    since: Instant,
    /// The earliest that something is of.
    minute: Option<u32>,
    file: Option<PathBuf>,
}

/// Batches in their order.
#[derive(Debug)]
pub(super) struct Waiting {
    batches: VecDeque<Batch>,
    writer: Arc<str>,
    next: i64,
    /// None where they are only kept in memory.
    folder: Option<PathBuf>,
}

impl Batch {
    /// How many requests that is.
    pub(super) fn requests(&self) -> u64 {
        self.rows.iter().map(|(_, used)| used.requests).sum()
    }
}

impl Waiting {
    /// Nothing yet; `folder` is `state.dir`, where batches may be kept.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        let writer = format!("{:016x}", rand::random::<u64>()).into();
        let folder = folder.map(|folder| folder.join(FOLDER));
        Waiting { batches: VecDeque::new(), writer, next: 1, folder }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many sums wait.
    pub(super) fn sums(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.len()).sum()
    }

    /// Since when the oldest waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.since)
    }

    /// Makes batches of sums, which have waited since then.
    pub(super) fn cut(&mut self, sums: impl IntoIterator<Item = (UsageKey, Used)>, since: Instant) {
        let mut sums = sums.into_iter();
        loop {
            let rows: Vec<_> = sums.by_ref().take(MOST).collect();
            if rows.is_empty() {
                return;
            }
            let (writer, number) = (Arc::clone(&self.writer), self.next);
            self.next += 1;
            self.batches.push_back(Batch { writer, number, minute: earliest(&rows), rows, since, file: None });
        }
    }

    /// The one that is written next.
    pub(super) fn first(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// The first was written.
    pub(super) fn written(&mut self) {
        let Some(Batch { file: Some(file), .. }) = self.batches.pop_front() else { return };
        // One that stays is written again, and its number says that it was.
        drop(fs::remove_file(file));
    }

    /// Keeps all of them on disk, where there is a place for them.
    ///
    /// # Errors
    /// What the system says, and how many requests are in none of the files.
    pub(super) fn keep(&mut self) -> Result<(), (io::Error, u64)> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut result = Ok(());
        // In their order: a number that is known must not come before a smaller one.
        for batch in self.batches.iter_mut().filter(|batch| batch.file.is_none()) {
            result = match result {
                Ok(()) => write(folder, batch).map_err(|error| (error, batch.requests())),
                Err((error, lost)) => Err((error, lost + batch.requests())),
            };
        }
        result
    }

    /// The earliest minute of which something waits.
    pub(super) fn minute(&self) -> Option<u32> {
        self.batches.iter().filter_map(|batch| batch.minute).min()
    }

    /// How many requests wait, all together.
    pub(super) fn requests(&self) -> u64 {
        self.batches.iter().map(Batch::requests).sum()
    }

    /// Where they are kept.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Adds what gateways that ended could not write, and is not among these yet.
    ///
    /// # Errors
    /// What the system says; those that could be read wait all the same.
    pub(super) fn restore(&mut self, now: Instant) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        let is_known = |path: &PathBuf| self.batches.iter().any(|batch| batch.file.as_ref() == Some(path));
        paths.retain(|path| path.extension().is_some_and(|end| end == "json") && !is_known(path));
        // By writer and number.
        paths.sort();
        for path in paths {
            match read(&path, now) {
                Ok(batch) => self.batches.push_back(batch),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => set_aside(&path, &error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn set_aside(path: &Path, why: &io::Error) -> io::Result<()> {
    let aside = path.with_extension("corrupt");
    fs::rename(path, &aside)?;
    log::error!(
        "{} is damaged ({why}): it was moved to {}, and its usage is not counted",
        path.display(),
        aside.display()
    );
    Ok(())
}

/// A batch as a file says it.
#[derive(Deserialize, Serialize)]
struct Written {
    writer: String,
    number: i64,
    rows: Vec<Row>,
}

/// Minute, tenant, provider and caller, route, class, sums.
type Row = (u32, Option<TenantName>, Option<(String, String)>, Option<String>, u8, [u64; 9]);

fn write(folder: &Path, batch: &mut Batch) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let rows = batch.rows.iter().map(|(key, used)| {
        let UsageKey { minute, tenant, caller, route, class } = key;
        let caller = caller.as_ref().map(|(provider, id)| (provider.to_string(), id.to_string()));
        (*minute, tenant.clone(), caller, route.as_deref().map(str::to_owned), *class, used.sums())
    });
    let written = Written { writer: batch.writer.to_string(), number: batch.number, rows: rows.collect() };
    let path = folder.join(format!("{}-{:012}.json", batch.writer, batch.number));
    let unfinished = path.with_extension("part");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec(&written)?)?;
    fs::rename(&unfinished, &path)?;
    batch.file = Some(path);
    Ok(())
}

fn read(path: &Path, since: Instant) -> io::Result<Batch> {
    let wrong = |error: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let Written { writer, number, rows } = serde_json::from_slice(&fs::read(path)?).map_err(wrong)?;
    let rows = rows.into_iter().map(|(minute, tenant, caller, route, class, sums)| {
        let caller = caller.map(|(provider, id)| (provider.into(), id.into()));
        (UsageKey { minute, tenant, caller, route: route.map(Into::into), class }, Used::of(sums))
    });
    let rows: Vec<_> = rows.collect();
    Ok(Batch { writer: writer.into(), number, minute: earliest(&rows), rows, since, file: Some(path.to_owned()) })
}

fn earliest(rows: &[(UsageKey, Used)]) -> Option<u32> {
    rows.iter().map(|(key, _)| key.minute).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn sums(count: u64) -> Vec<(UsageKey, Used)> {
        let key = |number: u64| UsageKey {
            minute: 7,
            tenant: "acme".parse().ok(),
            caller: Some(("keys".into(), format!("\0 \u{fffd} \"{number}").into())),
            route: None,
            class: 2,
        };
        (0..count)
            .map(|number| (key(number), Used { requests: number, bytes_read: u64::MAX, ..Used::default() }))
            .collect()
    }

    fn opened(folder: &Path) -> Waiting {
        let mut waiting = Waiting::new(Some(folder));
        waiting.restore(TestClock::new().clock().now()).unwrap();
        waiting
    }

    #[test]
    fn what_is_kept_waits_for_the_next_one_under_its_own_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut waiting = opened(folder.path());
        waiting.cut(sums(MOST as u64 + 2), waiting.since().unwrap_or(TestClock::new().clock().now()));
        assert_eq!((waiting.batches.len(), waiting.sums()), (2, MOST + 2));
        waiting.keep().unwrap();
        let mut again = opened(folder.path());
        let parts = |waiting: &Waiting| {
            let part = |batch: &Batch| (batch.writer.to_string(), batch.number, batch.rows.clone());
            waiting.batches.iter().map(part).collect::<Vec<_>>()
        };
        assert_eq!(parts(&again), parts(&waiting));
        // Once more, of one that has kept something meanwhile.
        waiting.cut(sums(1), TestClock::new().clock().now());
        waiting.keep().unwrap();
        again.restore(TestClock::new().clock().now()).unwrap();
        assert_eq!(parts(&again), parts(&waiting));
        again.batches.pop_back().and_then(|batch| batch.file).map(fs::remove_file).unwrap().unwrap();
        waiting.batches.pop_back();
        again.written();
        assert_eq!(parts(&opened(folder.path())), parts(&waiting)[1..]);
        again.written();
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut waiting = opened(folder.path());
        waiting.cut(sums(1), TestClock::new().clock().now());
        waiting.keep().unwrap();
        let wrong = folder.path().join(FOLDER).join("0-1.json");
        fs::write(&wrong, "{").unwrap();
        assert_eq!(opened(folder.path()).sums(), 1);
        assert!(!wrong.exists() && wrong.with_extension("corrupt").exists());
    }
}
