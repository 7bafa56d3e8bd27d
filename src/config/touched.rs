//! Which files a configuration is made of, and whether they have changed.
//!
//! In: paths that are read while a configuration is loaded. Out: their bytes,
//! each file read once, and a [`Touched`] that can be asked later. Not here:
//! what is in them. Asking looks at the content and not at events: those miss
//! what containers do (mounted folders whose link is swapped, network disks).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed more recently than this may change again without its times showing it.
const RECENT: Duration = Duration::from_secs(3);

/// Reads files and remembers what it read.
#[derive(Debug, Default)]
pub struct Reader {
    contents: BTreeMap<PathBuf, Arc<[u8]>>,
    touched: Touched,
}

impl Reader {
    /// The content of a file of at most `cap` bytes.
    ///
    /// # Errors
    /// What the system says, or [`io::ErrorKind::FileTooLarge`].
    pub fn read(&mut self, path: &Path, cap: u64) -> io::Result<Arc<[u8]>> {
        if let Some(known) = self.contents.get(path) {
            return Ok(Arc::clone(known));
        }
        let read = read_capped(path, cap);
        self.touched.note(path, read.as_deref().ok());
        let content: Arc<[u8]> = read?.into();
        self.contents.insert(path.to_owned(), Arc::clone(&content));
        Ok(content)
    }

    /// As [`Reader::read`], for a file that nobody will ask for again.
    ///
    /// # Errors
    /// As for [`Reader::read`].
    pub fn read_once(&mut self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        let read = read_capped(path, cap);
        self.touched.note(path, read.as_deref().ok());
        read
    }

    /// The files that match a pattern, in alphabetical order.
    ///
    /// # Errors
    /// Why the pattern is none.
    pub fn matches(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let found = matches(pattern)?;
        self.touched.patterns.push((pattern.to_owned(), found.clone()));
        Ok(found)
    }

    /// Everything that was read or looked for.
    pub fn into_touched(self) -> Touched {
        self.touched
    }
}

/// Files and patterns, and what they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    files: BTreeMap<PathBuf, Seen>,
    patterns: Vec<(String, Vec<PathBuf>)>,
}

/// A file at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// A hash of its content; none if it could not be read.
    content: Option<u64>,
    /// What its entry in the folder said, where that can be relied on.
    stamp: Option<Stamp>,
}

/// Size, inode and times of a file: while they stay, so does the content.
type Stamp = (u64, u64, i64, i64, i64, i64);

impl Touched {
    /// The files, in alphabetical order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether anything differs from what was read. `now` is the time of day:
    /// a file that has just changed is compared by content however it looks.
    pub fn is_changed(&mut self, now: SystemTime) -> bool {
        let other_files = |(pattern, found): &(String, Vec<PathBuf>)| matches(pattern).is_ok_and(|now| now != *found);
        if self.patterns.iter().any(other_files) {
            return true;
        }
        self.files.iter_mut().any(|(path, seen)| {
            let stamp = stamp(path, now);
            if stamp.is_some() && stamp == seen.stamp {
                return false;
            }
            let content = content_of(path);
            seen.stamp = stamp.filter(|_| content == seen.content);
            content != seen.content
        })
    }

    /// A number that stays while the files do.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for path in self.files() {
            content_of(path).hash(&mut hasher);
        }
        for (pattern, _) in &self.patterns {
            matches(pattern).unwrap_or_default().hash(&mut hasher);
        }
        hasher.finish()
    }

    fn note(&mut self, path: &Path, content: Option<&[u8]>) {
        // What is read from a pipe cannot be read again.
        if let (Entry::Vacant(entry), false) = (self.files.entry(path.to_owned()), is_stream(path)) {
            entry.insert(Seen { content: content.map(hash), stamp: None });
        }
    }
}

fn read_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not by its size in the folder: a device has none, and a file may grow meanwhile.
    std::fs::File::open(path)?.take(cap + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > cap {
        true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        false => Ok(bytes),
    }
}

fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Larger files than this are not compared: none of them could have been used.
const COMPARED: u64 = 16 << 20;

fn content_of(path: &Path) -> Option<u64> {
    read_capped(path, COMPARED).ok().map(|bytes| hash(&bytes))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn stamp(path: &Path, now: SystemTime) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let changed = u64::try_from(metadata.ctime().max(metadata.mtime())).ok()?;
    let changed = UNIX_EPOCH + Duration::from_secs(changed);
    let is_old = now.duration_since(changed).is_ok_and(|age| age > RECENT);
    is_old.then(|| {
        (
            metadata.len(),
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        )
    })
}

/// Files, not folders; hidden ones only where the pattern names them, as a shell does it.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let found = glob::glob_with(pattern, options).map_err(|error| error.msg.to_owned())?;
    // What cannot be looked into has no match; a folder that is missing is no reason to fail either.
    let mut found: Vec<PathBuf> = found.filter_map(Result::ok).filter(|path| !path.is_dir()).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Touched {
        let mut reader = Reader::default();
        let _ = reader.read(path, 100);
        reader.into_touched()
    }

    /// So late that every file's times are old.
    fn later() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1 << 40)
    }

    #[test]
    fn a_change_of_content_is_seen_and_a_change_of_times_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let mut touched = read(&path);
        assert!(!touched.is_changed(later()));
        std::fs::write(&path, "one").unwrap();
        assert!(!touched.is_changed(later()), "the same again");
        std::fs::write(&path, "two").unwrap();
        assert!(touched.is_changed(later()));
        std::fs::write(&path, "one").unwrap();
        assert!(!touched.is_changed(later()), "back to what was read");
        std::fs::remove_file(&path).unwrap();
        assert!(touched.is_changed(later()));
    }

    #[test]
    fn a_file_that_appears_and_a_link_that_turns_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let mut touched = read(&path);
        assert!(!touched.is_changed(later()), "still missing");
        std::fs::create_dir(folder.path().join("v1")).unwrap();
        std::fs::create_dir(folder.path().join("v2")).unwrap();
        std::fs::write(folder.path().join("v1/secret"), "one").unwrap();
        std::fs::write(folder.path().join("v2/secret"), "two").unwrap();
        let data = folder.path().join("..data");
        std::os::unix::fs::symlink("v1", &data).unwrap();
        std::os::unix::fs::symlink("..data/secret", &path).unwrap();
        assert!(touched.is_changed(later()));

        // As Kubernetes changes what it has mounted.
        let mut touched = read(&path);
        assert!(!touched.is_changed(later()));
        std::os::unix::fs::symlink("v2", folder.path().join("new")).unwrap();
        std::fs::rename(folder.path().join("new"), &data).unwrap();
        assert!(touched.is_changed(later()));
    }

    #[test]
    fn a_recent_file_is_compared_by_content_whatever_its_times_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut touched = read(&path);
        assert!(!touched.is_changed(changed));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
        assert!(touched.is_changed(changed));
    }

    #[test]
    fn another_file_for_a_pattern_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::default();
        let pattern = folder.path().join("*.yaml").display().to_string();
        assert_eq!(reader.matches(&pattern), Ok(vec![]));
        let mut touched = reader.into_touched();
        assert!(!touched.is_changed(later()));
        std::fs::write(folder.path().join(".hidden.yaml"), "").unwrap();
        assert!(!touched.is_changed(later()));
        std::fs::write(folder.path().join("a.yaml"), "").unwrap();
        assert!(touched.is_changed(later()));
    }

    #[test]
    fn an_endless_file_is_too_large() {
        let error = Reader::default().read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
