//! `tollgate keys create`, `list` and `revoke`: API keys in a file of hashes.
//!
//! In: the path of a `keys.yaml`. Out: a new key, shown once; the records; the
//! file with one record changed. Not here: what a record may hold
//! (`config::keys`), telling a gateway: it looks at its files by itself.

mod create;
mod file;
mod list;
mod revoke;

use std::path::{Path, PathBuf};

use crate::config::scalar::KeyPrefix;

use super::{Ending, say};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key, add its hash to the file, and print the key: it is shown only once
    Create(create::Arguments),
    /// List the keys of a file, and which of them count
    List(list::Arguments),
    /// Take a key back: exit 0 done, 1 it is not there
    Revoke(revoke::Arguments),
}

/// Which file of keys is meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// The file of keys
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
}

/// A file of keys, and what its keys begin with.
struct Chosen<'a> {
    file: &'a Path,
    prefix: KeyPrefix,
}

impl Which {
    fn choose(&self) -> Chosen<'_> {
        Chosen { file: &self.file, prefix: KeyPrefix::default() }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Revoke(arguments) => revoke::run(arguments),
    }
}

/// What happens next, once a file has changed.
fn say_when() {
    say("A running gateway that reads this file notices within 2 s; it needs no reload.");
}
