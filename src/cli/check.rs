//! `tollgate check FILE…`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::app::probe::Finding;
use crate::config::interpolate::Environment;
use crate::config::issue::Issues;
use crate::config::{Config, Loaded, load};

use super::{Ending, check_online, count, ending_for, print, say, show};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate check conf/tollgate.yaml                     every problem, with its place
  tollgate check --online conf/tollgate.yaml            also what the file names
  tollgate check --strict --format github conf/*.yaml   in a workflow")]
pub(super) struct Arguments {
    /// The configurations to check, each on its own
    #[arg(value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// The configuration to check, as the other commands take it
    #[arg(short = 'c', long = "config", value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    /// Form of the answer: text for people, json for programs, github for its workflows
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Also try what the file names: upstreams, their certificates and tokens, addresses, the access log
    #[arg(long)]
    online: bool,
    /// Print problems only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Github,
    Json,
    Text,
}

/// What was found in one file.
struct Checked<'a> {
    file: &'a Path,
    issues: Issues,
    /// None where the file cannot be used.
    config: Option<Config>,
    /// What was tried; nothing unless that was asked for.
    findings: Vec<Finding>,
    /// Why nothing could be tried, though it was asked for.
    untried: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let files = arguments.files.iter().chain(&arguments.config);
    let checked: Vec<Checked<'_>> = files.map(|file| check(file, arguments)).collect();
    match arguments.format {
        Format::Github => checked.iter().for_each(|checked| to_github(checked, arguments)),
        Format::Json => print(&to_json(&checked).to_string()),
        Format::Text => checked.iter().for_each(|checked| to_text(checked, arguments)),
    }
    Ok(checked.iter().map(ending).max().unwrap_or(Ending::Success))
}

fn check<'a>(file: &'a Path, arguments: &Arguments) -> Checked<'a> {
    let mut checked = match load(file, &Environment::of_process()) {
        Ok(loaded) if arguments.online => try_out(file, loaded),
        Ok(Loaded { config, warnings, .. }) => {
            Checked { file, issues: warnings, config: Some(config), findings: Vec::new(), untried: None }
        }
        Err(issues) => Checked { file, issues, config: None, findings: Vec::new(), untried: None },
    };
    if arguments.strict {
        checked.issues.raise();
    }
    checked
}

fn try_out(file: &Path, loaded: Loaded) -> Checked<'_> {
    let probed = check_online::run(&loaded);
    let Loaded { config, warnings: mut issues, .. } = loaded;
    let (findings, untried) = match probed {
        Ok(probed) => {
            issues.append(probed.issues);
            issues.sort();
            (probed.findings, None)
        }
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Checked { file, issues, config: Some(config), findings, untried }
}

fn ending(checked: &Checked<'_>) -> Ending {
    match (checked.issues.has_errors(), &checked.untried) {
        (true, _) => ending_for(&checked.issues),
        (false, Some(_)) => Ending::Impossible,
        (false, None) => Ending::Success,
    }
}

fn to_text(checked: &Checked<'_>, arguments: &Arguments) {
    show(&checked.issues);
    if !checked.findings.is_empty() && !arguments.quiet {
        print(&check_online::table(&checked.findings));
    }
    if !arguments.quiet {
        summarize(checked, print);
    }
}

fn to_github(checked: &Checked<'_>, arguments: &Arguments) {
    let commands = checked.issues.to_github(&checked.file.display().to_string());
    commands.lines().for_each(print);
    if !arguments.quiet {
        // Beside the commands, for whoever reads the log.
        summarize(checked, say);
    }
}

/// One line for a file that is fine, or how much is wrong with it.
fn summarize(checked: &Checked<'_>, fine: fn(&str)) {
    let Checked { file, issues, config, findings: _, untried } = checked;
    if let Some(why) = untried {
        say(&format!("{}: nothing could be tried: {why}", file.display()));
    }
    match config {
        Some(config) if !issues.has_errors() => {
            let warnings = if issues.is_empty() { String::new() } else { format!(", {}", issues.count()) };
            let hosts = match config.hosts.len() {
                0 => String::new(),
                hosts => format!(", {}", count(hosts, "host")),
            };
            fine(&format!(
                "{}: fine: {} ({}){hosts}, {}{warnings}",
                file.display(),
                count(config.all_routes().count(), "route"),
                count(config.served_paths().len(), "path"),
                count(config.upstreams.len(), "upstream"),
            ));
        }
        _ => say(&format!("{}: {}", file.display(), issues.count())),
    }
}

fn to_json(checked: &[Checked<'_>]) -> Value {
    let issues = checked.iter().flat_map(|checked| checked.issues.to_json(&checked.file.display().to_string()));
    let issues: Vec<Value> = issues.collect();
    let total = |of: fn(&Issues) -> usize| checked.iter().map(|checked| of(&checked.issues)).sum::<usize>();
    let files: Vec<String> = checked.iter().map(|checked| checked.file.display().to_string()).collect();
    let summaries: Vec<Value> = checked.iter().map(summary).collect();
    json!({
        "files": files,
        "issues": issues,
        "errors": total(Issues::errors),
        "warnings": total(Issues::warnings),
        "summary": summaries,
    })
}

/// What a file that is fine holds; `ok` says whether it is.
fn summary(checked: &Checked<'_>) -> Value {
    let Checked { file, issues, config, findings, untried } = checked;
    let mut summary = match config {
        Some(config) if !issues.has_errors() => json!({
            "file": file.display().to_string(),
            "ok": untried.is_none(),
            "hosts": config.hosts.len(),
            "routes": config.all_routes().count(),
            "paths": config.served_paths().len(),
            "upstreams": config.upstreams.len(),
            "listeners": config.listeners.len(),
        }),
        _ => json!({ "file": file.display().to_string(), "ok": false }),
    };
    if let (Some(summary), false) = (summary.as_object_mut(), findings.is_empty()) {
        summary.insert("tried".to_owned(), check_online::to_json(findings));
    }
    summary
}
