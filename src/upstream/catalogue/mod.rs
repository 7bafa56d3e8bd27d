//! What an upstream says it serves: the pipes of its OpenAPI document.
//!
//! In: an OpenAPI 3.0 or 3.1 document, JSON. Out: a [`Catalogue`]: pipes with
//! their parameters, and a [`Remark`] for everything that was not taken over
//! whole. Nothing is left out silently. Not here: fetching it (`outbound`),
//! which of it the gateway lets through.

mod json;
mod pipe;
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::section::routes::Format;

use json::Parsed;
use reference::Document;

/// Where a Tinybird-like API describes the pipes that a token can read. Asking for it runs no query.
pub const PATH: &str = "/v0/pipes/openapi.json";

/// Larger documents than this are no description of pipes.
pub const MAX_SIZE: usize = 10 << 20;

/// The pipes that a document describes.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Where the document says the API is, its variables filled in.
    pub server: Option<String>,
    /// Every pipe that the document names, those included that no route could take over.
    pub named: BTreeSet<String>,
    /// The pipes by name.
    pub pipes: BTreeMap<String, Pipe>,
    /// What was not taken over whole.
    pub remarks: Vec<Remark>,
    /// Bytes that were copied or compared to make it.
    spent: usize,
}

/// References let a short document say much. What is made of it stays below this, in bytes copied or compared.
const MAX_SPENT: usize = 64 << 20;
/// What one thing costs beside its texts.
const ONE: usize = 64;

/// One pipe as described.
#[derive(Clone, Debug, Default)]
pub struct Pipe {
    /// Every folder that its paths stand in, like `/v0/pipes` or `/pipes`.
    pub folders: Vec<String>,
    /// Its formats, in the document's order.
    pub formats: Vec<Format>,
    /// Whether it is read by GET.
    pub get: bool,
    /// Whether it is read by POST.
    pub post: bool,
    /// What it is, in the document's words.
    pub description: Option<String>,
    /// The parameters that callers may send, in the document's order.
    pub parameters: Vec<Parameter>,
}

/// One parameter as described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether a call without it fails.
    pub required: bool,
    /// What stands in for it.
    pub default: Option<String>,
    /// What it is, in the document's words.
    pub description: Option<String>,
}

/// Something that was not taken over whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much is missing.
    pub loss: Loss,
    /// What it is about: a path or a pipe, as the document names it.
    pub subject: String,
    /// What happened, and why.
    pub why: String,
}

/// How much is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// It was taken over, and is not quite the same.
    Approximated,
    /// It was not taken over.
    Dropped,
}

impl Catalogue {
    /// Reads a document.
    ///
    /// # Errors
    /// In one sentence, where it is no OpenAPI 3 document in JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let Parsed { value, twice } = json::parse(bytes)?;
        check_version(&value)?;
        let document = Document::new(&value);
        let mut catalogue = Catalogue { server: server(&value), ..Catalogue::default() };
        let Some(paths) = value.get("paths").and_then(Value::as_object) else {
            return Err("the document has no `paths`".to_owned());
        };
        for (path, item) in paths {
            catalogue.named.extend(pipe::name_of(path));
            if twice.contains(&json::pointer("/paths", path)) {
                catalogue.dropped(path, "the document has this path twice, and nothing says which one is meant");
                continue;
            }
            catalogue.path(&document, path, item);
            if catalogue.is_spent() {
                return Err("the document describes too much, or says it too often, to be a list of pipes".to_owned());
            }
        }
        for place in twice.iter().filter(|place| is_inside_a_path(place)) {
            catalogue.approximated(place, "this key stands twice in the document: the first one is used");
        }
        Ok(catalogue)
    }

    fn dropped(&mut self, subject: &str, why: impl Into<String>) {
        self.remark(Loss::Dropped, subject, why.into());
    }

    fn approximated(&mut self, subject: &str, why: impl Into<String>) {
        self.remark(Loss::Approximated, subject, why.into());
    }

    fn remark(&mut self, loss: Loss, subject: &str, why: String) {
        self.spend(subject.len() + why.len());
        self.remarks.push(Remark { loss, subject: subject.to_owned(), why });
    }

    /// Counts in what one more thing costs.
    fn spend(&mut self, bytes: usize) {
        self.spent = self.spent.saturating_add(ONE).saturating_add(bytes);
    }

    /// Whether so much was made of the document that it is given up.
    fn is_spent(&self) -> bool {
        self.spent > MAX_SPENT
    }
}

fn check_version(document: &Value) -> Result<(), String> {
    if document.get("swagger").is_some() {
        return Err("the document is Swagger 2.0: OpenAPI 3.0 or 3.1 is wanted".to_owned());
    }
    match document.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.0") || version.starts_with("3.1") => Ok(()),
        Some(_) => Err("the document is of another version than OpenAPI 3.0 or 3.1".to_owned()),
        None => Err("the document has no `openapi` version: it is not OpenAPI".to_owned()),
    }
}

/// Longer URLs than this lead nowhere.
const MAX_URL: usize = 2_000;

/// The first server, with the defaults of its variables.
fn server(document: &Value) -> Option<String> {
    let server = document.get("servers")?.get(0)?;
    let mut url = server.get("url")?.as_str()?.to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
        // A variable may hold others, and these again.
        if url.len() > MAX_URL {
            return None;
        }
    }
    Some(url)
}

/// Whether a pointer leads below a path, or to a parameter that paths share.
fn is_inside_a_path(pointer: &str) -> bool {
    pointer.strip_prefix("/paths/").is_some_and(|rest| rest.contains('/')) || pointer.starts_with("/components/")
}

#[cfg(test)]
mod tests;
