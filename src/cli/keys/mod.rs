//! `tollgate keys create`, `list` and `revoke`: API keys in a file of hashes.
//!
//! In: the path of a `keys.yaml`, or of the configuration that names it. Out: a new key, shown once; the records; the
//! file with one record changed. Not here: what a record may hold
//! (`config::keys`), telling a gateway: it looks at its files by itself.

mod create;
mod file;
mod list;
mod revoke;

use std::path::{Path, PathBuf};

use crate::config::auth_of;
use crate::config::interpolate::Environment;
use crate::config::scalar::KeyPrefix;
use crate::config::section::auth::{Provider, ProviderKind};

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
#[command(group(clap::ArgGroup::new("which").args(["file", "config"]).required(true)))]
struct Which {
    /// The file of keys
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The configuration whose provider names the file, and what keys begin with
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// That provider, where there are several with `type: api_key`
    #[arg(long, value_name = "NAME", requires = "config")]
    provider: Option<String>,
}

/// A file of keys, and what its keys begin with.
struct Chosen {
    file: PathBuf,
    prefix: KeyPrefix,
}

impl Which {
    /// The file that is meant, or how to end where that is not clear.
    fn choose(&self) -> Result<Chosen, Ending> {
        // One of the two is required.
        let Some(config) = &self.config else {
            return Ok(Chosen { file: self.file.clone().unwrap_or_default(), prefix: KeyPrefix::default() });
        };
        let wrong = |problem: String| {
            say(&format!("tollgate: {problem}"));
            Ending::WrongCall
        };
        let providers = providers_of(config)?;
        let known = || providers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let config = config.display();
        let found = match (&self.provider, providers.as_slice()) {
            (_, []) => Err(format!("{config} has no provider with `type: api_key` under `auth`")),
            (Some(name), all) => all.iter().find(|(known, _)| known == name).ok_or_else(|| {
                format!("{config} has no provider `{name}` with `type: api_key`; there are: {}", known())
            }),
            (None, [only]) => Ok(only),
            (None, _) => Err(format!("which provider? Add --provider, with one of: {}", known())),
        };
        let (name, provider) = found.map_err(wrong)?;
        let file =
            provider.keys.clone().ok_or_else(|| wrong(format!("the provider `{name}` names no file (`keys`)")))?;
        Ok(Chosen { file, prefix: provider.prefix.clone().unwrap_or_default() })
    }
}

/// Those that take API keys. Their own files may be missing, or broken: that is what one is here for.
fn providers_of(config: &Path) -> Result<Vec<(String, Provider)>, Ending> {
    let found = auth_of(config, &Environment::of_process());
    let providers = found.auth.into_iter().filter(|(_, provider)| provider.kind == ProviderKind::ApiKey);
    let providers: Vec<_> = providers.collect();
    if found.issues.has_errors() && providers.iter().all(|(_, provider)| provider.keys.is_none()) {
        super::show(&found.issues);
        return Err(super::ending_for(&found.issues));
    }
    Ok(providers)
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
