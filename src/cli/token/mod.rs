//! `tollgate token sign`, `verify` and `inspect`: a credential to try with, and
//! what is wrong with one.
//!
//! In: credentials and keys from files, the standard input or the environment.
//! Never from arguments: every user of the machine can list those. Out: a token;
//! a verdict in words. Not here: judging (`pipeline::authn`), signing (`jose`).

mod advice;
mod age;
mod inspect;
mod look;
mod report;
mod sign;
mod verify;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::anyhow;

use crate::config::scalar::api_key;

use super::Ending;

/// Much more than any credential has.
const LONGEST: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what a token or key says, without verifying it: exit 0 shown, 1 it is nothing that is known here
    Inspect(inspect::Arguments),
    /// Make a token to try with
    Sign(Box<sign::Arguments>),
    /// Say whether a gateway would accept a token or key, and why not: exit 0 accepted, 1 refused, 2 cannot be told
    Verify(verify::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Sign(arguments) => sign::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
    }
}

/// The text of a file, or of the standard input for `-`, without blanks around it.
fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().take(LONGEST).read_to_string(&mut text),
        Some(_) | None => File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    match read {
        Err(_) if is_credential(path) => Err(anyhow!(
            "{what} is read from a file, or from the standard input for `-`; what stands there looks like a credential \
             itself, which other users of this machine can see in the list of processes: take it out of the history of \
             your shell, too"
        )),
        Err(error) => Err(anyhow!("{what} cannot be read from `{}`: {error}", path.display())),
        Ok(_) if text.trim().is_empty() => Err(anyhow!("{what} cannot be read from `{}`: it is empty", path.display())),
        Ok(_) => Ok(text.trim().to_owned()),
    }
}

/// Whether the name of a file looks like what should stand in it.
fn is_credential(path: &Path) -> bool {
    let text = path.to_string_lossy();
    !api_key::find(&text).is_empty() || text.starts_with("p.") || text.starts_with("ey") || text.contains("PRIVATE KEY")
}

/// A text from a token for a terminal: whoever made the token chose it.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() || steers(c) { '?' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that turn the direction of a text, or are not seen.
fn steers(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
