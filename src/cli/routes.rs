//! `tollgate routes -c FILE`: the listing. `routes test` stands beside it.

use std::path::{Path, PathBuf};

use crate::config::section::routes::Format;
use crate::config::{Config, ServedPath};

use super::{Ending, Form, load_or_explain, print, routes_test};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate routes -c conf/tollgate.yaml
  tollgate routes test GET /top -c conf/tollgate.yaml")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration to list
    #[arg(short = 'c', long = "config", value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Form of the answer: text for people, json (one object a line) for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what would happen to one request; nothing is sent
    Test(routes_test::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    if let Some(Command::Test(arguments)) = &arguments.command {
        return routes_test::run(arguments);
    }
    // Without the sub-command the file is required.
    let file = arguments.config.as_deref().unwrap_or(Path::new(""));
    let loaded = match load_or_explain(file) {
        Ok(loaded) => loaded,
        Err(ending) => return Ok(ending),
    };
    let rows: Vec<Row> = loaded.config.served_paths().iter().map(|path| row(&loaded.config, path)).collect();
    if arguments.format == Form::Json {
        for row in &rows {
            let line = serde_json::json!({ "host": row.host, "path": row.path, "methods": row.methods, "upstream": row.upstream, "target": row.target });
            print(&line.to_string());
        }
        return Ok(Ending::Success);
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or_default();
    let (path, methods) = (width(|row| &row.path), width(|row| &row.methods));
    let shared = match loaded.config.hosts.values().any(|host| host.routes.is_some()) {
        true => "other hosts",
        false => "every host",
    };
    let host = |row: &Row| row.host.clone().unwrap_or_else(|| shared.to_owned());
    let hosts = rows.iter().map(|row| host(row).len()).max().unwrap_or_default();
    for row in &rows {
        let line = format!("{:path$}  {:methods$}  {}", row.path, row.methods, row.target);
        match loaded.config.hosts.is_empty() {
            true => print(&line),
            false => print(&format!("{:hosts$}  {line}", host(row))),
        }
    }
    Ok(Ending::Success)
}

struct Row {
    /// The host whose own route it is.
    host: Option<String>,
    path: String,
    methods: String,
    upstream: String,
    target: String,
}

fn row(config: &Config, path: &ServedPath<'_>) -> Row {
    let route = path.route.route;
    let name = config.upstream_of(route).unwrap_or_default();
    let base = config.upstreams.get(name).map(|upstream| upstream.url.to_string()).unwrap_or_default();
    let target = match (&route.pipe, &route.proxy) {
        (Some(pipe), _) => {
            format!("{base}/v0/pipes/{pipe}.{}", path.format.unwrap_or(Format::Json).extension())
        }
        (None, Some(proxy)) => format!("{base}{proxy}"),
        (None, None) => base,
    };
    let methods = match &route.methods {
        Some(methods) => methods.iter().map(|method| method.0.as_str()).collect::<Vec<_>>().join(","),
        None if path.format.is_some() => "GET,HEAD,POST".to_owned(),
        None => "GET,HEAD".to_owned(),
    };
    let host = path.route.host.map(ToString::to_string);
    Row { host, path: path.pattern.to_string(), methods, upstream: name.to_owned(), target }
}
