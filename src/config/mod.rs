//! What the operator wrote: text to [`Config`], every problem at once.
//!
//! In: YAML files, environment variables, secret files. Out: a [`Config`] that
//! is typed, filled with defaults and checked, or [`Issues`] with places.
//! Not here: what a configuration does (`snapshot`), reloading it.

pub mod interpolate;
pub mod issue;
pub mod scalar;
pub mod section;

mod check;
mod decode;
mod document;
mod mask;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use document::Document;
use interpolate::Environment;
use issue::{Issues, Place};
use scalar::PathPattern;
use section::admin::Admin;
use section::cors::Cors;
use section::listeners::{Listener, default_listeners};
use section::log::Log;
use section::routes::{Format, Route};
use section::server::Server;
use section::upstreams::Upstream;
use section::white_label::WhiteLabel;

/// A whole configuration, one field per YAML key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where callers connect; left out: `0.0.0.0:8080`.
    pub listeners: Vec<Listener>,
    /// The operator's own address; left out: `127.0.0.1:9901`.
    pub admin: Admin,
    /// The APIs behind the gateway, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Which paths exist, and what each leads to.
    pub routes: BTreeMap<PathPattern, Route>,
    /// Also serves every configured pipe at `/v0/pipes/NAME.FORMAT`.
    pub tinybird_api: bool,
    /// Cross-origin rules for routes without their own.
    pub cors: Option<Cors>,
    /// What of the upstream's answers may be seen.
    pub white_label: WhiteLabel,
    /// Logs.
    pub log: Log,
    /// Threads, limits and time-outs of the gateway itself.
    pub server: Server,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listeners: default_listeners(),
            admin: Admin::default(),
            upstreams: BTreeMap::new(),
            routes: BTreeMap::new(),
            tinybird_api: false,
            cors: None,
            white_label: WhiteLabel::default(),
            log: Log::default(),
            server: Server::default(),
        }
    }
}

/// One path that the gateway serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPath<'a> {
    /// The pattern that requests are matched against.
    pub pattern: PathPattern,
    /// The key under `routes` that it comes from.
    pub route: &'a PathPattern,
    /// The format a pipe answers in; none for a proxy.
    pub format: Option<Format>,
}

impl Config {
    /// The name of the upstream that `route` leads to, if that is clear.
    pub fn upstream_of<'a>(&'a self, route: &'a Route) -> Option<&'a str> {
        match (&route.upstream, self.upstreams.len()) {
            (Some(name), _) => Some(name),
            (None, 1) => self.upstreams.keys().next().map(String::as_str),
            (None, _) => None,
        }
    }

    /// Every path that is served, those of `tinybird_api` included.
    pub fn served_paths(&self) -> Vec<ServedPath<'_>> {
        let mut served = Vec::new();
        for (pattern, route) in &self.routes {
            // A path that cannot be opened was reported when the file was checked.
            let paths = route.paths(pattern).unwrap_or_default();
            served.extend(paths.into_iter().map(|(path, format)| ServedPath { pattern: path, route: pattern, format }));
        }
        if self.tinybird_api {
            for (pattern, route) in &self.routes {
                served.extend(self.tinybird_paths(pattern, route));
            }
        }
        served
    }

    fn tinybird_paths<'a>(&'a self, pattern: &'a PathPattern, route: &'a Route) -> Vec<ServedPath<'a>> {
        let Some(pipe) = route.pipe.as_ref().and_then(|pipe| pipe.literal()) else { return Vec::new() };
        let mut formats: Vec<Format> =
            route.paths(pattern).unwrap_or_default().into_iter().filter_map(|(_, format)| format).collect();
        formats.sort_unstable();
        formats.dedup();
        formats
            .into_iter()
            .filter_map(|format| {
                let path = format!("/v0/pipes/{pipe}.{}", format.extension()).parse().ok()?;
                Some(ServedPath { pattern: path, route: pattern, format: Some(format) })
            })
            .collect()
    }
}

/// A configuration that can be used, and what in it deserves a look.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Issues,
    /// Where each key under `routes` stands.
    pub route_places: BTreeMap<String, Place>,
}

/// Reads the file at `path`.
///
/// # Errors
/// Every problem of the file that can be found in one run, in file order.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Issues> {
    finish(Document::read(path)?, environment)
}

/// As [`load`], from text that was read elsewhere; relative paths start at `folder`.
///
/// # Errors
/// As for [`load`].
pub fn load_text(name: &str, text: &str, folder: PathBuf, environment: &Environment) -> Result<Loaded, Issues> {
    finish(Document::parse(name, text, folder)?, environment)
}

fn finish(mut document: Document, environment: &Environment) -> Result<Loaded, Issues> {
    let mut issues = interpolate::resolve(&mut document, environment);
    let decoded = decode::decode(&mut document);
    issues.append(decoded.issues);
    let mut config = decoded.config;
    issues.append(check::read_files(&mut config, &document));
    issues.append(check::check(&config, &document));
    issues.sort();
    if issues.has_errors() {
        return Err(issues);
    }
    // Once the file can be used: before, it would stand in every report and help with none.
    issues.append(check::openness(&config, &document));
    issues.sort();
    let routes = document.node(&["routes"]).into_iter().flat_map(|routes| routes.keys());
    let route_places = routes.map(|key| (key.text.clone(), document.place(&key.span))).collect();
    Ok(Loaded { config, warnings: issues, route_places })
}

/// The candidate nearest to `word`, if any is near enough to be meant.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
