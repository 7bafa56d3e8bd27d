//! `tollgate routes -c FILE`: the listing. `routes test` stands beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::scalar::HostPattern;
use crate::config::section::auth::AuthRule;
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
    match arguments.format {
        Form::Json => rows.iter().for_each(|row| print(&row.json().to_string())),
        Form::Text => table(&loaded.config, &rows),
    }
    Ok(Ending::Success)
}

/// One line for each path, then what hosts have of their own.
fn table(config: &Config, rows: &[Row]) {
    let shared = match config.hosts.values().any(|host| host.routes.is_some()) {
        true => "other hosts",
        false => "every host",
    };
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            [
                row.host.clone().unwrap_or_else(|| shared.to_owned()),
                row.path.clone(),
                row.methods.clone(),
                row.callers(),
                row.target.clone(),
            ]
        })
        .collect();
    let mut widths = [0; 5];
    for row in &cells {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    // Without hosts, the first column would say the same everywhere.
    let first = usize::from(config.hosts.is_empty());
    for row in &cells {
        let cells = row.iter().zip(widths).skip(first).map(|(cell, width)| format!("{cell:width$}"));
        print(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    let rules_differ = rows.iter().any(|row| row.rule().is_none());
    let width = config.hosts.keys().map(|host| host.as_str().len()).max().unwrap_or_default();
    for (host, section) in &config.hosts {
        let tenant = section.tenant.as_ref().map(|tenant| format!("tenant {tenant}"));
        let auth = section.auth.as_ref().or(config.default_auth.as_ref()).filter(|_| rules_differ);
        let facts: Vec<String> =
            tenant.into_iter().chain(auth.map(|rule| format!("auth {}", callers(Some(rule))))).collect();
        if !facts.is_empty() {
            print(&format!("{:width$}  {}", host.as_str(), facts.join(", ")));
        }
    }
}

struct Row {
    /// The host whose own route it is.
    host: Option<String>,
    path: String,
    methods: String,
    upstream: String,
    target: String,
    /// Who may call it on which host.
    auth: Vec<(Option<String>, Option<AuthRule>)>,
    /// Whose each host is that serves it.
    tenants: BTreeMap<String, String>,
}

impl Row {
    fn json(&self) -> Value {
        let auth = match self.rule() {
            Some(rule) => rule_json(rule),
            None => {
                let each = self.auth.iter().filter_map(|(host, rule)| Some((host.clone()?, rule_json(rule.as_ref()))));
                json!({ "hosts": each.collect::<serde_json::Map<_, _>>() })
            }
        };
        json!({
            "host": self.host, "path": self.path, "methods": self.methods, "upstream": self.upstream,
            "target": self.target, "auth": auth, "tenants": self.tenants,
        })
    }

    /// The rule that holds on every host; none where they differ.
    fn rule(&self) -> Option<Option<&AuthRule>> {
        let mut rules = self.auth.iter().map(|(_, rule)| rule.as_ref());
        let first = rules.next().unwrap_or_default();
        rules.all(|rule| rule == first).then_some(first)
    }

    fn callers(&self) -> String {
        self.rule().map_or_else(|| "as the host says".to_owned(), callers)
    }
}

/// A file in which nobody says anything is open.
fn callers(rule: Option<&AuthRule>) -> String {
    match rule {
        Some(AuthRule::Providers(names)) => names.join(","),
        Some(AuthRule::Public) | None => "public".to_owned(),
    }
}

fn rule_json(rule: Option<&AuthRule>) -> Value {
    match rule {
        Some(AuthRule::Providers(names)) => json!({ "providers": names }),
        Some(AuthRule::Public) | None => json!({ "public": true }),
    }
}

fn row(config: &Config, path: &ServedPath<'_>) -> Row {
    let route = path.route.route;
    let name = config.upstream_of(route).unwrap_or_default();
    let mut bases = config.upstreams.get(name).into_iter().flat_map(|upstream| upstream.endpoints());
    let base = bases.next().map(ToString::to_string).unwrap_or_default();
    let others: String = bases.map(|other| format!(", or at {}", other.authority())).collect();
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
    let callers = config.callers_of(path.route);
    let tenant = |host: &HostPattern| Some((host.to_string(), config.hosts.get(host)?.tenant.as_ref()?.to_string()));
    Row {
        host: path.route.host.map(ToString::to_string),
        path: path.pattern.to_string(),
        methods,
        upstream: name.to_owned(),
        target: target + &others,
        tenants: callers.iter().filter_map(|(host, _)| tenant((*host)?)).collect(),
        auth: callers.into_iter().map(|(host, rule)| (host.map(ToString::to_string), rule.cloned())).collect(),
    }
}
