//! `tollgate config show` and `tollgate config diff`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::diff::ConfigDiff;
use crate::config::interpolate::Environment;
use crate::config::show::Origins;
use crate::config::{Loaded, load};

use super::operator::{Question, Whom, text_of};
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

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate config diff old.yaml new.yaml
  tollgate config diff --running -c /etc/tollgate/tollgate.yaml   what a reload would change")]
struct DiffArguments {
    /// The configuration as it was
    #[arg(required_unless_present = "running")]
    old: Option<PathBuf>,
    /// The configuration as it will be
    #[arg(required_unless_present = "running")]
    new: Option<PathBuf>,
    /// Ask a running gateway what a reload of its file would change; changes nothing
    #[arg(long, requires = "gateway", conflicts_with_all = ["old", "new"])]
    running: bool,
    #[command(flatten)]
    whom: Whom,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate config show conf/tollgate.yaml
  tollgate config show conf/tollgate.yaml --origin
  tollgate config show --running -c /etc/tollgate/tollgate.yaml   what a gateway runs")]
struct ShowArguments {
    /// The configuration to show
    #[arg(required_unless_present_any = ["config", "running"], conflicts_with_all = ["config", "running"])]
    file: Option<PathBuf>,
    /// Show what a running gateway runs
    #[arg(long, requires = "gateway", conflicts_with = "origin")]
    running: bool,
    #[command(flatten)]
    whom: Whom,
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
    if arguments.running {
        return show_running(arguments);
    }
    if arguments.whom.is_a_gateway() {
        say("tollgate: a file is shown without a gateway: leave the other options out, or say --running");
        return Ok(Ending::WrongCall);
    }
    let Some(file) = arguments.file.as_deref().or(arguments.whom.config()) else { return Ok(Ending::Impossible) };
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

fn show_running(arguments: &ShowArguments) -> anyhow::Result<Ending> {
    let question = match arguments.format {
        ShowFormat::Json => Question::ReadJson,
        ShowFormat::Yaml => Question::Read,
    };
    let answer = match arguments.whom.ask("/config", question) {
        Ok(answer) => answer,
        Err(error) => return Ok(Ending::could_not(&error)),
    };
    let is_shown = answer.status == http::StatusCode::OK
        && answer
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|found| found.as_bytes().starts_with(b"application/"));
    if !is_shown {
        return Ok(Ending::could_not(&anyhow::anyhow!("the answer ({}) is not that of a gateway", answer.status)));
    }
    print(String::from_utf8_lossy(&answer.body).trim_end());
    Ok(Ending::Success)
}

fn diff_running(arguments: &DiffArguments) -> anyhow::Result<Ending> {
    let report = match arguments.whom.ask_for("result", "/config/diff", Question::Read) {
        Ok(report) => report,
        Err(ending) => return Ok(ending),
    };
    if text_of(&report, "result") != "compared" {
        say(text_of(&report, "text").trim_end());
        return Ok(Ending::Impossible);
    }
    let changes = report.get("changes").cloned().unwrap_or_default();
    let is_empty = changes.as_array().is_none_or(Vec::is_empty);
    match arguments.format {
        DiffFormat::Json => print(&json(&serde_json::json!({ "changes": changes }))?),
        DiffFormat::Text if is_empty => say("no difference"),
        DiffFormat::Text => print(text_of(&report, "diff").trim_end()),
    }
    Ok(if is_empty { Ending::Success } else { Ending::Problems })
}

fn diff(arguments: &DiffArguments) -> anyhow::Result<Ending> {
    let (Some(old), Some(new)) = (&arguments.old, &arguments.new) else { return diff_running(arguments) };
    if arguments.whom.is_given() {
        say("tollgate: two files are compared without a gateway: leave the other options out, or say --running");
        return Ok(Ending::WrongCall);
    }
    // Both are loaded before anything is said, so that the problems of both are seen in one run.
    let (old, new) = (load_quietly(old), load_quietly(new));
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
