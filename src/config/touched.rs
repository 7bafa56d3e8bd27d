//! Which files a configuration is made of, and whether they have changed.
//!
//! In: paths that are read while a configuration is loaded. Out: their bytes,
//! each file read once, and a [`Touched`] that can be asked later. Not here:
//! what is in them. Asking looks at the content and not at events: those miss
//! what containers do (mounted folders whose link is swapped, network disks).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    /// The content of a file of at most `cap` bytes. It is a file, or a link to
    /// one: what could keep the reader waiting is not opened.
    ///
    /// # Errors
    /// What the system says, or [`io::ErrorKind::FileTooLarge`].
    pub fn read(&mut self, path: &Path, cap: u64) -> io::Result<Arc<[u8]>> {
        if let Some(known) = self.contents.get(path) {
            return Ok(Arc::clone(known));
        }
        let content: Arc<[u8]> = self.read_once(path, cap)?.into();
        self.contents.insert(path.to_owned(), Arc::clone(&content));
        Ok(content)
    }

    /// As [`Reader::read`], for a file that nobody will ask for again.
    ///
    /// # Errors
    /// As for [`Reader::read`].
    pub fn read_once(&mut self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        let read = read_capped(path, cap);
        self.touched.files.insert(path.to_owned(), Seen { content: read.as_deref().ok().map(hash), cap, stamp: None });
        within(read?, cap)
    }

    /// As [`Reader::read_once`], also from a pipe, which cannot be read again.
    ///
    /// # Errors
    /// As for [`Reader::read`].
    pub fn read_stream(&mut self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        match is_stream(path) {
            false => self.read_once(path, cap),
            true => within(read_open(&mut std::fs::File::open(path)?, cap)?, cap),
        }
    }

    /// The files that match a pattern, in alphabetical order.
    ///
    /// # Errors
    /// Why the pattern is none, or why a folder cannot be looked into.
    pub fn matches(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let found = matches(pattern);
        self.touched.patterns.push((pattern.to_owned(), found.clone()));
        found
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
    patterns: Vec<(String, Found)>,
}

/// What a pattern matches.
type Found = Result<Vec<PathBuf>, String>;

/// A file at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// A hash of its content, or of the beginning of one that is too large; none if it could not be read.
    content: Option<u64>,
    /// How much of it is looked at, and one byte more.
    cap: u64,
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
        let other_files = |(pattern, found): &(String, Found)| matches(pattern) != *found;
        if self.patterns.iter().any(other_files) {
            return true;
        }
        self.files.iter_mut().any(|(path, seen)| {
            let stamp = stamp(path, now);
            if stamp.is_some() && stamp == seen.stamp {
                return false;
            }
            let content = content_of(path, seen.cap);
            seen.stamp = stamp.filter(|_| content == seen.content);
            content != seen.content
        })
    }

    /// A number that stays while the files do.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, seen) in &self.files {
            content_of(path, seen.cap).hash(&mut hasher);
        }
        for (pattern, _) in &self.patterns {
            matches(pattern).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether none of it can be looked at again: it came from a pipe.
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty()
    }

    /// From now on this file counts, too.
    pub fn watch(&mut self, path: &Path, cap: u64) {
        let content = content_of(path, cap);
        self.files.insert(path.to_owned(), Seen { content, cap, stamp: None });
    }
}

/// At most one byte more than `cap`, so that a file that is too large is not read to its end.
fn read_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    // A pipe without a writer would keep even the opening waiting.
    let mut file = std::fs::File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    // Of a folder, reading says the same in the system's own words.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::other("it is not a file"));
    }
    read_open(&mut file, cap)
}

fn read_open(file: &mut std::fs::File, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not by its size in the folder: a device has none, and a file may grow meanwhile.
    file.take(cap + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn within(bytes: Vec<u8>, cap: u64) -> io::Result<Vec<u8>> {
    match bytes.len() as u64 > cap {
        true => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        false => Ok(bytes),
    }
}

/// Of open(2) on Linux; regular files do not care.
const O_NONBLOCK: i32 = 0o4000;

fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn content_of(path: &Path, cap: u64) -> Option<u64> {
    read_capped(path, cap).ok().map(|bytes| hash(&bytes))
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

/// Files, not folders; hidden ones only where the pattern names them, as a shell
/// does it. A folder that is not there or cannot be looked into is an error: its
/// files may be on their way, and a pattern that matches nothing takes routes away.
fn matches(pattern: &str) -> Found {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let paths =
        glob::glob_with(pattern, options).map_err(|error| format!("this is not a pattern of files: {}", error.msg))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| {
            format!("the folder `{}` cannot be looked into: {}", error.path().display(), error.error())
        })?;
        if !path.is_dir() {
            found.push(path);
        }
    }
    let folder = folder_of(pattern);
    if found.is_empty() && is_pattern(pattern) && !folder.is_dir() {
        return Err(format!("there is no folder `{}`", folder.display()));
    }
    found.sort();
    Ok(found)
}

/// Whether a path has places to fill.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The folder that a pattern begins in, by its parts without places to fill.
fn folder_of(pattern: &str) -> PathBuf {
    let path = Path::new(pattern);
    let fixed: PathBuf =
        path.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
    if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed }
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
        let error = Reader::default().read_stream(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            Reader::default().read(path, 1000).unwrap_err();
            assert_eq!(content_of(path, 1000), None);
        }
    }

    #[test]
    fn a_file_that_is_too_large_changes_when_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x".repeat(1000)).unwrap();
        let mut touched = read(&path);
        assert!(!touched.is_changed(later()));
        std::fs::write(&path, "x").unwrap();
        assert!(touched.is_changed(later()));
    }

    #[test]
    fn a_folder_that_goes_is_no_folder_without_files() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("conf.d");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a.yaml"), "").unwrap();
        let pattern = inner.join("*.yaml").display().to_string();
        let mut reader = Reader::default();
        assert_eq!(reader.matches(&pattern).unwrap().len(), 1);
        let mut touched = reader.into_touched();
        std::fs::rename(&inner, folder.path().join("away")).unwrap();
        assert!(touched.is_changed(later()));
        assert!(matches(&pattern).unwrap_err().contains("there is no folder"));
        std::fs::create_dir(&inner).unwrap();
        assert_eq!(matches(&pattern), Ok(vec![]));
    }
}
