//! What the operator wrote: text to [`Config`], every problem at once.
//!
//! In: YAML files, environment variables, secret files. Out: a [`Config`] that
//! is typed, filled with defaults and checked, or [`Issues`] with places.
//! Not here: what a configuration does (`snapshot`), reloading it.

pub mod diff;
pub mod interpolate;
pub mod issue;
pub mod keys;
pub mod scalar;
pub mod schema;
pub mod section;
pub mod show;

mod check;
mod complaint;
mod decode;
mod document;
mod fold;
mod mask;
mod parse;
mod report;
mod served;
mod source;
mod touched;
mod trial;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use served::{RouteSet, ServedPath, WrittenRoute};
pub use touched::Touched;
pub use trial::load_trial;

use document::{Document, Node, NodeKind};
use interpolate::Environment;
use issue::{Issues, Place};
use scalar::{HostPattern, PathPattern, TenantName};
use section::admin::Admin;
use section::auth::{AuthRule, Provider};
use section::cors::Cors;
use section::hosts::Host;
use section::limits::Limit;
use section::listeners::{Listener, default_listeners};
use section::log::Log;
use section::plans::Plan;
use section::routes::Route;
use section::server::Server;
use section::state::State;
use section::tenants::Tenant;
use section::tls::Tls;
use section::upstreams::Upstream;
use section::usage::Usage;
use section::white_label::WhiteLabel;
use show::{Origins, Shown};
use touched::Reader;

/// A whole configuration, one field per YAML key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where callers connect; left out: `0.0.0.0:8080`.
    pub listeners: Vec<Listener>,
    /// The operator's own address; left out: `127.0.0.1:9901`.
    pub admin: Admin,
    /// The APIs behind the gateway, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Who may call: providers of credentials, by name. Without it, everybody may call every route.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auth: BTreeMap<String, Provider>,
    /// Who may call routes that say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_auth: Option<AuthRule>,
    /// How often, or how much, somebody may ask, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Limit>,
    /// What tenants can buy, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plans: BTreeMap<String, Plan>,
    /// The plan of tenants for whom neither `tenants` nor a credential names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_plan: Option<String>,
    /// Tenants that need a word of their own.
    pub tenants: BTreeMap<TenantName, Tenant>,
    /// Which paths exist, and what each leads to.
    pub routes: BTreeMap<PathPattern, Route>,
    /// Also serves every configured pipe at `/v0/pipes/NAME.FORMAT`.
    pub tinybird_api: bool,
    /// The hosts that are served; left out: every host, alike.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<HostPattern, Host>,
    /// Certificates, for all hosts.
    pub tls: Tls,
    /// Cross-origin rules for routes and hosts without their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// What of the upstream's answers may be seen.
    pub white_label: WhiteLabel,
    /// What is kept of who used how much.
    pub usage: Usage,
    /// Logs.
    pub log: Log,
    /// Threads, limits and time-outs of the gateway itself.
    pub server: Server,
    /// What outlives a configuration, and where it is kept.
    pub state: State,
    /// Further files with routes, hosts, tenants and what these name, as paths or patterns: `conf.d/*.yaml`.
    // Never written: what they hold stands in the other sections then.
    #[serde(skip_serializing)]
    pub include: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listeners: default_listeners(),
            admin: Admin::default(),
            upstreams: BTreeMap::new(),
            auth: BTreeMap::new(),
            default_auth: None,
            limits: BTreeMap::new(),
            plans: BTreeMap::new(),
            default_plan: None,
            tenants: BTreeMap::new(),
            routes: BTreeMap::new(),
            tinybird_api: false,
            hosts: BTreeMap::new(),
            tls: Tls::default(),
            cors: None,
            white_label: WhiteLabel::default(),
            usage: Usage::default(),
            log: Log::default(),
            server: Server::default(),
            state: State::default(),
            include: Vec::new(),
        }
    }
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
}

/// A configuration that can be used, and what in it deserves a look.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Issues,
    /// What it was read from, credentials included.
    document: Document,
}

impl Loaded {
    /// Where the key at the end of `path` stands, for problems that are found later.
    pub fn key_place(&self, path: &[&str]) -> Place {
        self.document.key_place(path)
    }

    /// As [`Loaded::key_place`], for the value.
    pub fn value_place(&self, path: &[&str]) -> Place {
        self.document.value_place(path)
    }
}

impl Loaded {
    /// The configuration as it takes effect, for people and programs: defaults filled, credentials hidden.
    pub fn shown(&self, origins: Origins) -> Shown {
        match origins {
            Origins::LeftOut => Shown::of(&self.config),
            Origins::Written => Shown::with_origins(&self.config, &self.document),
        }
    }
}

// Without the document, whose texts are the file's own.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { config, warnings, document: _ } = self;
        f.debug_struct("Loaded").field("config", config).field("warnings", warnings).finish_non_exhaustive()
    }
}

/// A configuration file that can be loaded again and again.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    environment: Environment,
}

impl ConfigFile {
    /// The file at `path`.
    pub fn new(path: PathBuf, environment: Environment) -> Self {
        ConfigFile { path, environment }
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now, and which files were looked at, whatever came of it, so
    /// that a change of any of them can be noticed.
    pub fn load(&self) -> (Result<Loaded, Issues>, Touched) {
        load_touching(&self.path, &self.environment)
    }
}

/// Reads the file at `path`, and all that it names.
///
/// # Errors
/// Every problem of the files that can be found in one run, in file order.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Issues> {
    load_touching(path, environment).0
}

fn load_touching(path: &Path, environment: &Environment) -> (Result<Loaded, Issues>, Touched) {
    let mut reader = Reader::default();
    let loaded = match source::read(path, environment, &mut reader) {
        Ok((document, issues)) => finish(document, issues, environment, &mut reader),
        Err(mut issues) => {
            issues.sort();
            Err(issues)
        }
    };
    (loaded, reader.into_touched())
}

/// What a file says about the admin address, however wrong the rest of it is.
#[derive(Debug)]
pub struct AdminOf {
    /// The section, or its defaults.
    pub admin: Admin,
    /// Where the token is that the gateway made.
    pub state: State,
    /// How far the address can be relied on.
    pub address: Known,
    /// How far it can be relied on where the ledger is.
    pub store: Known,
    /// What is wrong with these sections, or with the file as a whole.
    pub issues: Issues,
}

/// How far what a file says can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The file is broken where it may say something else.
    Assumed,
    /// It is what the file says, or its default in a file that says nothing.
    Surely,
    /// It is written, and cannot be had from here.
    Unknown,
}

/// Reads only what is needed to ask the gateway that runs the file at `path`:
/// a file that is being mended must not keep its operator from doing so.
pub fn admin_of(path: &Path, environment: &Environment) -> AdminOf {
    let mut reader = Reader::default();
    let sections = ["admin", "state"];
    let whole = source::read(path, environment, &mut reader).map(|(document, _)| document);
    let is_whole = whole.is_ok();
    let mut document = match whole.or_else(|_| source::read_sections(path, &sections, &mut reader)) {
        Ok(mut document) => {
            document.keep_sections(&sections);
            document
        }
        Err(issues) => {
            let folder = || path.parent().map(Path::to_path_buf).unwrap_or_default();
            let beside = environment.state_directory().unwrap_or_else(folder);
            let state = State { beside, ..State::default() };
            let (address, store) = (Known::Assumed, Known::Unknown);
            return AdminOf { admin: Admin::default(), state, address, store, issues };
        }
    };
    let mut issues = interpolate::resolve(&mut document, environment, &mut reader);
    let decoded = decode::decode(&mut document);
    issues.append(decoded.issues);
    let mut config = decoded.config;
    issues.append(check::read_files(&mut config, &document, environment, &mut reader));
    issues.sort();
    let is_broken = |path: &[&str]| document.node(path).is_some_and(|node| matches!(node.kind, NodeKind::Broken));
    let known = |section: &str, key: &str| match () {
        () if is_broken(&[section]) || is_broken(&[section, key]) => Known::Unknown,
        () if !is_whole && document.node(&[section]).is_none() => Known::Assumed,
        () => Known::Surely,
    };
    let (address, store) = (known("admin", "address"), known("state", "store"));
    AdminOf { admin: config.admin, state: config.state, address, store, issues }
}

/// What a file says about who may call, however wrong the rest of it is.
#[derive(Debug, Default)]
pub struct AuthOf {
    /// The providers that could be read.
    pub auth: BTreeMap<String, Provider>,
    /// What is wrong with them, with the files that they name, or with the file as a whole.
    pub issues: Issues,
}

/// Reads only the providers: the file of keys that one names may have to be made first.
pub fn auth_of(path: &Path, environment: &Environment) -> AuthOf {
    let mut reader = Reader::default();
    let (mut document, _) = match source::read(path, environment, &mut reader) {
        Ok(read) => read,
        Err(issues) => return AuthOf { issues, ..AuthOf::default() },
    };
    document.keep_sections(&["auth"]);
    let mut issues = interpolate::resolve(&mut document, environment, &mut reader);
    let decoded = decode::decode(&mut document);
    issues.append(decoded.issues);
    let mut config = decoded.config;
    issues.append(check::read_files(&mut config, &document, environment, &mut reader));
    issues.sort();
    AuthOf { auth: config.auth, issues }
}

/// As [`load`], from text that was read elsewhere; relative paths start at
/// `folder`, and other files are not included.
///
/// # Errors
/// As for [`load`].
pub fn load_text(name: &str, text: &str, folder: PathBuf, environment: &Environment) -> Result<Loaded, Issues> {
    let (document, mut issues) = source::of_text(name, text, folder)?;
    let is_list = |node: &Node| matches!(&node.kind, NodeKind::List(items) if !items.is_empty());
    if document.root.child("include").is_some_and(is_list) {
        let title = "`include` has no meaning here: this text is not read from a folder of files";
        issues.push(
            issue::Issue::at(issue::IssueCode::BadValue, document.key_place(&["include"]), title).help("remove it"),
        );
    }
    finish(document, issues, environment, &mut Reader::default())
}

fn finish(
    mut document: Document,
    mut issues: Issues,
    environment: &Environment,
    reader: &mut Reader,
) -> Result<Loaded, Issues> {
    issues.append(interpolate::resolve(&mut document, environment, reader));
    let decoded = decode::decode(&mut document);
    issues.append(decoded.issues);
    let mut config = decoded.config;
    issues.append(check::read_files(&mut config, &document, environment, reader));
    issues.append(check::check(&config, &document));
    issues.sort();
    if issues.has_errors() {
        return Err(issues);
    }
    // Once the file can be used: before, it would stand in every report and help with none.
    issues.append(check::openness(&config, &document));
    issues.sort();
    Ok(Loaded { config, warnings: issues, document })
}

/// Longer words than this are not compared: nobody mistypes them.
const MAX_WORD: usize = 100;

/// The candidate nearest to `word`, if any is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let reach = |candidate: &str| 1 + candidate.len().min(word.len()) / 4;
    candidates
        .filter(|candidate| word.len().max(candidate.len()) <= MAX_WORD)
        // Most are too long or too short, which needs no comparison.
        .filter(|candidate| word.len().abs_diff(candidate.len()) <= 4 * reach(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= reach(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// At most this many names are listed in a sentence.
const LISTED: usize = 10;

/// Names for a sentence: `a, b, c`, and how many there are beside the first ten.
pub(crate) fn listed(names: &[&str]) -> String {
    let mut text = names.get(..LISTED).unwrap_or(names).join(", ");
    let more = names.len().saturating_sub(LISTED);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests;
