//! `tollgate config show` and `tollgate config diff`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::diff::ConfigDiff;
use crate::config::interpolate::Environment;
use crate::config::show::Origins;
use crate::config::{Loaded, load};

use super::{Ending, ending_for, print, say, show};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compare two configurations: exit 0 no difference, 1 differences, 2 a file cannot be used
    Diff(DiffArguments),
    /// Print a configuration with its defaults filled in; credentials are `***`
    Show(ShowArguments),
}

const DIFF_EXAMPLES: &str = "\
Examples:
  tollgate config diff old.yaml new.yaml
  tollgate config diff --format json old.yaml new.yaml";

const SHOW_EXAMPLES: &str = "\
Examples:
  tollgate config show conf/tollgate.yaml
  tollgate config show conf/tollgate.yaml --origin";

#[derive(Debug, clap::Args)]
#[command(before_help = DIFF_EXAMPLES)]
struct DiffArguments {
    /// The configuration as it was
    old: PathBuf,
    /// The configuration as it will be
    new: PathBuf,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
}

#[derive(Debug, clap::Args)]
#[command(before_help = SHOW_EXAMPLES)]
struct ShowArguments {
    /// The configuration to show
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as other commands have it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Add where each value came from: file and line, variable, or default
    #[arg(long)]
    origin: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = ShowFormat::Yaml)]
    format: ShowFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DiffFormat {
    /// One object, for programs
    Json,
    /// One line for each change
    Text,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ShowFormat {
    /// One object, for programs
    Json,
    /// A configuration, which loads again once its credentials are filled in
    Yaml,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Diff(arguments) => diff(arguments),
        Command::Show(arguments) => show_one(arguments),
    }
}

fn show_one(arguments: &ShowArguments) -> anyhow::Result<Ending> {
    let Some(file) = arguments.file.as_ref().or(arguments.config.as_ref()) else { return Ok(Ending::Impossible) };
    let loaded = match load_quietly(file) {
        Ok(loaded) => loaded,
        Err(ending) => return Ok(ending),
    };
    let origins = if arguments.origin { Origins::Written } else { Origins::LeftOut };
    let shown = loaded.shown(origins);
    match arguments.format {
        ShowFormat::Json => print(&json(&shown)?),
        ShowFormat::Yaml => print(shown.to_string().trim_end()),
    }
    Ok(Ending::Success)
}

fn diff(arguments: &DiffArguments) -> anyhow::Result<Ending> {
    // Both are loaded before anything is said, so that the problems of both are seen in one run.
    let (old, new) = (load_quietly(&arguments.old), load_quietly(&arguments.new));
    let (Ok(Loaded { config: old, .. }), Ok(Loaded { config: new, .. })) = (old, new) else {
        return Ok(Ending::Impossible);
    };
    let diff = ConfigDiff::between(&old, &new);
    match arguments.format {
        DiffFormat::Json => print(&json(&diff)?),
        DiffFormat::Text if diff.is_empty() => say("no difference"),
        DiffFormat::Text => print(diff.to_string().trim_end()),
    }
    Ok(if diff.is_empty() { Ending::Success } else { Ending::Problems })
}

/// As `load_or_explain`, without the warnings: `check` is who gives them.
fn load_quietly(path: &Path) -> Result<Loaded, Ending> {
    load(path, &Environment::of_process()).map_err(|issues| {
        show(&issues);
        say(&format!("{}: {}", path.display(), issues.count()));
        ending_for(&issues)
    })
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}
