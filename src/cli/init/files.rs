//! The files of a first configuration.
//!
//! In: a folder and texts. Out: files, all of them or an error that names the
//! one that failed. Not here: what stands in them (`text`).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

pub(super) const CONFIG: &str = "tollgate.yaml";
pub(super) const VARIABLES: &str = ".env.example";
pub(super) const SCHEMA: &str = "tollgate.schema.json";

/// One file to write.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: &'static str,
    text: String,
    mode: u32,
}

impl File {
    /// Anybody may read it.
    pub(super) fn open(name: &'static str, text: String) -> Self {
        File { name, text, mode: 0o644 }
    }

    /// Only its owner may: a copy of it, which `cp` gives the same mode, will have secrets in it.
    pub(super) fn closed(name: &'static str, text: String) -> Self {
        File { name, text, mode: 0o600 }
    }
}

/// The files that a run writes.
pub(super) fn names() -> [&'static str; 3] {
    [CONFIG, VARIABLES, SCHEMA]
}

/// Those of `names` that are there already, as somebody would name them.
pub(super) fn existing(folder: &Path, names: &[&str]) -> Vec<String> {
    let paths = names.iter().map(|name| folder.join(name));
    // A link that leads nowhere is there, too.
    paths.filter(|path| path.symlink_metadata().is_ok()).map(|path| path.display().to_string()).collect()
}

/// Writes each beside its place and moves it there: nobody sees half a file, and a link is replaced, not followed.
pub(super) fn write(folder: &Path, files: &[File]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    for file in files {
        let path = folder.join(file.name);
        let new = folder.join(format!(".{}.new", file.name.trim_start_matches('.')));
        let place = || -> std::io::Result<()> {
            let mut options = fs::OpenOptions::new();
            let mut handle = options.write(true).create_new(true).mode(file.mode).open(&new)?;
            handle.write_all(file.text.as_bytes())?;
            handle.sync_all()?;
            fs::rename(&new, &path)
        };
        place().with_context(|| format!("{} cannot be written", path.display())).inspect_err(|_| {
            // What is left of it helps nobody; that it cannot be removed either is not the news.
            let _ = fs::remove_file(&new);
        })?;
    }
    Ok(())
}

/// A path as it stands in a command.
pub(super) fn for_a_shell(path: &Path) -> String {
    let text = path.display().to_string();
    // Without a slash `.` would look a file up among the programs, and a dash would make an option of it.
    let text = if path.is_relative() && !text.starts_with("./") { format!("./{text}") } else { text };
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
