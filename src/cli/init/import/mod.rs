//! From an OpenAPI document to routes.
//!
//! In: a URL or a file. Out: one route for each pipe, with the parameters that
//! callers may send, and a report that names everything that is not as the
//! document has it. Not here: reading the document (`upstream::catalogue`), the
//! text (`text`).

mod fetch;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::scalar::Endpoint;
use crate::config::section::routes::Format;
use crate::outbound::Target;
use crate::pipeline::params::{is_control_name, is_possible_name};
use crate::upstream::catalogue::{self, Catalogue, Loss, Parameter, Pipe, Remark};

use super::super::count;
use super::Variable;
use super::text::comment;

/// More remarks of a kind than these are counted only.
const MAX_SHOWN: usize = 50;

/// A document as routes.
#[derive(Debug)]
pub(super) struct Import {
    /// Where the document came from, as it may be shown.
    pub(super) source: String,
    /// Where the API is, if that is known.
    pub(super) upstream: Option<Endpoint>,
    /// By the name of the pipe.
    pub(super) routes: Vec<NewRoute>,
    remarks: Vec<Remark>,
}

/// A route to be written.
#[derive(Debug)]
pub(super) struct NewRoute {
    pub(super) pipe: String,
    pub(super) formats: Vec<Format>,
    pub(super) get: bool,
    pub(super) post: bool,
    pub(super) description: Option<String>,
    pub(super) allow: Vec<Parameter>,
    /// Names that the document has and no caller may use.
    pub(super) left_out: Vec<String>,
}

/// Whether that can be where a document is.
///
/// # Errors
/// A sentence that does not repeat it.
pub(super) fn check(from: Option<&str>) -> Result<(), String> {
    from.map_or(Ok(()), fetch::check)
}

/// Fetches or reads the document and converts it.
///
/// # Errors
/// In one sentence, where there is no document.
pub(super) fn import(from: &str, token: Option<&Variable>) -> Result<Import, String> {
    let source = fetch::fetch(from, token)?;
    let catalogue = Catalogue::read(&source.bytes).map_err(|problem| format!("{}: {problem}", source.shown))?;
    Ok(convert(catalogue, source.shown, source.target.as_ref()))
}

pub(super) fn convert(catalogue: Catalogue, source: String, target: Option<&Target>) -> Import {
    let Catalogue { server, pipes, remarks } = catalogue;
    let mut converter = Converter { remarks, server: server.as_deref().map(Server::of).unwrap_or_default() };
    let base = converter.base(&pipes);
    let upstream = converter.upstream(&base, target);
    let mut routes = Vec::new();
    for (name, pipe) in pipes {
        if !pipe.folders.iter().any(|folder| converter.base_of(folder) == base) {
            let why = format!("it lies below `{}`, and most pipes lie elsewhere", pipe.folders.join("`, `"));
            converter.remark(Loss::Dropped, &name, why);
            continue;
        }
        routes.push(converter.route(name, pipe));
    }
    Import { source, upstream, routes, remarks: converter.remarks }
}

/// Where a document says that the API is.
#[derive(Debug, Default)]
struct Server {
    /// Scheme, host and port; none in a URL that begins with `/`.
    origin: Option<String>,
    /// Without a slash at its end.
    path: String,
}

impl Server {
    fn of(url: &str) -> Self {
        match url.parse::<Target>() {
            Ok(target) => {
                Server { origin: Some(target.origin()), path: target.path().trim_end_matches('/').to_owned() }
            }
            Err(_) if url.starts_with('/') => Server { origin: None, path: url.trim_end_matches('/').to_owned() },
            Err(_) => Server::default(),
        }
    }
}

struct Converter {
    remarks: Vec<Remark>,
    server: Server,
}

impl Converter {
    fn remark(&mut self, loss: Loss, subject: &str, why: impl Into<String>) {
        self.remarks.push(Remark { loss, subject: subject.to_owned(), why: why.into() });
    }

    /// What stands before `/v0/pipes`, for a folder of the document.
    fn base_of(&self, folder: &str) -> String {
        let full = format!("{}{folder}", self.server.path);
        let base = full.strip_suffix("/v0/pipes").or_else(|| full.strip_suffix("/pipes"));
        base.unwrap_or_default().to_owned()
    }

    /// The base of most pipes: an upstream has one.
    fn base(&mut self, pipes: &BTreeMap<String, Pipe>) -> String {
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for folder in pipes.values().filter_map(|pipe| pipe.folders.first()) {
            *votes.entry(self.base_of(folder)).or_default() += 1;
        }
        let most = votes.values().max().copied().unwrap_or_default();
        let base = votes.into_iter().find(|(_, count)| *count == most).map(|(base, _)| base).unwrap_or_default();
        let full = |folder: &String| format!("{}{folder}", self.server.path);
        let mut folders = pipes.values().flat_map(|pipe| &pipe.folders).map(full);
        if self.server.origin.is_some() && folders.any(|folder| !folder.ends_with("/v0/pipes")) {
            let why = "the document has pipes below /pipes, and the gateway calls /v0/pipes, where Tinybird has them";
            self.remark(Loss::Approximated, "servers", why);
        }
        base
    }

    fn upstream(&mut self, base: &str, target: Option<&Target>) -> Option<Endpoint> {
        // It answered there, and to this token: a document must not be able to send the token elsewhere.
        let fetched = target.and_then(|target| {
            let before = target.path().strip_suffix(catalogue::PATH)?;
            Some((target.origin(), format!("{}{before}", target.origin())))
        });
        let url = match (fetched, &self.server.origin) {
            (Some((origin, url)), said) => {
                if let Some(said) = said.clone().filter(|said| *said != origin) {
                    let why = format!("the document names {said}; the upstream is {origin}, where it came from");
                    self.remark(Loss::Approximated, "servers", why);
                }
                url
            }
            (None, Some(origin)) => format!("{origin}{base}"),
            (None, None) => return None,
        };
        match url.parse() {
            Ok(endpoint) => Some(endpoint),
            Err(_) => {
                let why = format!("{url} cannot be an upstream: give one with --upstream-url");
                self.remark(Loss::Approximated, "servers", why);
                None
            }
        }
    }

    fn route(&mut self, name: String, pipe: Pipe) -> NewRoute {
        let Pipe { folders: _, mut formats, get, post, description, parameters } = pipe;
        // The first also answers the path without an extension.
        formats.sort_by_key(|format| *format != Format::Json);
        let mut allow = Vec::new();
        let mut left_out = Vec::new();
        for parameter in parameters {
            if is_control_name(&parameter.name) {
                let why = match parameter.name.eq_ignore_ascii_case("token") {
                    true => "`token` is left out: the gateway sends its own".to_owned(),
                    false => format!("`{}` is left out: it steers the engine and not the pipe", parameter.name),
                };
                self.remark(Loss::Approximated, &name, why);
                left_out.push(parameter.name);
            } else if !is_possible_name(&parameter.name) || parameter.name.starts_with('[') {
                let why = format!("`{}`: a parameter's name cannot have such characters here", parameter.name);
                self.remark(Loss::Dropped, &name, why);
            } else if parameter.name.starts_with("file://") {
                // In a configuration that would be the contents of a file.
                let why = format!("`{}`: a configuration would read this name as a file", parameter.name);
                self.remark(Loss::Dropped, &name, why);
            } else {
                allow.push(parameter);
            }
        }
        NewRoute { pipe: name, formats, get, post, description, allow, left_out }
    }
}

impl Import {
    /// Whether something of the document is not in the routes.
    pub(super) fn has_dropped(&self) -> bool {
        self.remarks.iter().any(|remark| remark.loss == Loss::Dropped)
    }

    /// What became of the document.
    pub(super) fn report(&self) -> String {
        let of = |loss: Loss| self.remarks.iter().filter(move |remark| remark.loss == loss);
        let mut text = format!("{}: {} converted", self.source, count(self.routes.len(), "pipe"));
        for (loss, words) in [(Loss::Approximated, "approximated"), (Loss::Dropped, "NOT converted")] {
            let number = of(loss).count();
            if number == 0 {
                continue;
            }
            let _ = write!(text, "\n{words} ({number}):");
            for Remark { subject, why, .. } in of(loss).take(MAX_SHOWN) {
                let _ = write!(text, "\n  {}: {}", comment(subject, 80), comment(why, 160));
            }
            if number > MAX_SHOWN {
                let _ = write!(text, "\n  and {} more", number - MAX_SHOWN);
            }
        }
        text
    }
}
