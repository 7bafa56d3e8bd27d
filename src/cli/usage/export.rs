//! `tollgate usage export`: the lines of the ledger for other programs, and what takes them.
//!
//! In: the ledger. Out: NDJSON or CSV, the same lines that a running gateway
//! sends; with `--ddl`, the data source for them and pipes that ask it. Not here:
//! sending them (`state::usage`).

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::config::section::usage::DataSource;
use crate::state::usage::{COLUMNS, Row, lines};

use super::super::{Ending, print, say};
use super::source::{Source, no_ledger, quoted};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate usage export --ddl                                     the data source and pipes, to read
  tollgate usage export --ddl --out ./tinybird                    the same as files
  tollgate usage export -c tollgate.yaml --since 30d              every line, as NDJSON
  tollgate usage export -c tollgate.yaml --since 2026-10-01 --until 2026-11-01 --csv")]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Exact numbers for spreadsheets, instead of NDJSON
    #[arg(long)]
    csv: bool,
    /// The data source for `usage.export`, and pipes that ask it, instead of lines
    #[arg(long, conflicts_with_all = ["csv", "config", "dir", "since", "until"])]
    ddl: bool,
    /// The name of that data source
    #[arg(long, value_name = "NAME", requires = "ddl", default_value_t)]
    events: DataSource,
    /// Write files into this folder instead of printing them
    #[arg(long, value_name = "FOLDER", requires = "ddl")]
    out: Option<PathBuf>,
}

/// Files of a Tinybird project: the folder, what is behind the data source's name, and the text for the name `gateway_usage`.
const DATAFILES: [(&str, &str, &str); 4] = [
    ("datasources", ".datasource", include_str!("datafiles/usage.datasource")),
    ("endpoints", "_per_tenant.pipe", include_str!("datafiles/usage_per_tenant.pipe")),
    ("endpoints", "_top_routes.pipe", include_str!("datafiles/usage_top_routes.pipe")),
    ("endpoints", "_invoice.pipe", include_str!("datafiles/usage_invoice.pipe")),
];

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match (arguments.ddl, &arguments.out) {
        (false, _) => print_lines(arguments)?,
        (true, None) => print_files(&arguments.events),
        (true, Some(folder)) => write_files(&arguments.events, folder)?,
    }
    Ok(Ending::Success)
}

fn print_lines(arguments: &Arguments) -> anyhow::Result<()> {
    let place = arguments.source.place()?;
    let stretch = arguments.source.stretch()?;
    if arguments.csv {
        print(&COLUMNS.join(","));
    }
    let each = |gateway: &str, row: &Row| match arguments.csv {
        true => print(&row.cells(gateway).map(|cell| quoted(&cell)).join(",")),
        false => print(row.json(gateway).trim_end()),
    };
    let count = lines(&place, stretch, each).map_err(anyhow::Error::msg)?.ok_or_else(|| no_ledger(&place))?;
    if count == 0 {
        say(&format!("nothing was used in that time, says {place}"));
    }
    Ok(())
}

/// The path of each file in a project, and its text.
fn files(events: &DataSource) -> impl Iterator<Item = (String, String)> {
    DATAFILES.into_iter().map(move |(folder, end, text)| {
        let text = text.replace(DataSource::default().as_str(), events.as_str());
        (format!("{folder}/{events}{end}"), text)
    })
}

fn print_files(events: &DataSource) {
    for (path, text) in files(events) {
        print(&format!("# {path}\n{text}"));
    }
    say("these are files of a Tinybird project: `--out FOLDER` writes them, `tb deploy` takes them over");
}

fn write_files(events: &DataSource, folder: &Path) -> anyhow::Result<()> {
    let files: Vec<(PathBuf, String)> = files(events).map(|(path, text)| (folder.join(path), text)).collect();
    // All or none: a project that was changed by hand is not mixed with ours.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        bail!("{} is there already: name another folder, or remove it", path.display());
    }
    for (path, text) in files {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
        print(&path.display().to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_source_has_the_columns_of_a_line() {
        let (_, text) = files(&"billing".parse().unwrap()).next().unwrap();
        let columns: Vec<&str> =
            text.lines().filter_map(|line| line.trim().strip_prefix('`')?.split('`').next()).collect();
        assert_eq!(columns, COLUMNS);
        for column in COLUMNS {
            assert!(text.contains(&format!("`json:$.{column}`")), "{column}");
        }
    }

    #[test]
    fn pipes_ask_the_data_source_by_its_name_and_no_line_twice() {
        for (path, text) in files(&"billing".parse().unwrap()).skip(1) {
            assert!(text.contains("FROM billing AS u FINAL"), "{path}: {text}");
            assert!(!text.contains("gateway_usage"), "{path}: {text}");
        }
    }

    #[test]
    fn nobody_sees_an_invoice_without_saying_whose() {
        let (_, text) = files(&DataSource::default()).find(|(path, _)| path.contains("invoice")).unwrap();
        assert!(text.contains("WHERE tenant = {{String(tenant, required=True"), "{text}");
    }
}
