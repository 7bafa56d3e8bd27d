//! What an upstream says it serves: the pipes of its OpenAPI document.
//!
//! In: an OpenAPI 3.0 or 3.1 document, JSON. Out: a [`Catalogue`]: pipes with
//! their parameters, and a [`Remark`] for everything that was not taken over
//! whole; or only their [`Names`]. Nothing is left out silently, and no document
//! costs more than it is worth. Not here: fetching it (`outbound`), which of it
//! the gateway lets through.

mod body;
mod json;
mod names;
mod pipe;
mod reading;
mod reference;
mod server;
mod shape;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::section::routes::Format;

use json::{Depth, Parsed};
use reading::Reading;

pub use names::Names;

/// Where a Tinybird-like API describes the pipes that a token can read. Asking for it runs no query.
pub const PATH: &str = "/v0/pipes/openapi.json";

/// Larger documents than this are no description of pipes.
pub const MAX_SIZE: usize = 10 << 20;

/// The pipes that a document describes.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Where the document says the API is, its variables filled in.
    pub server: Option<String>,
    /// The pipes by name.
    pub pipes: BTreeMap<String, Pipe>,
    /// What was not taken over whole.
    pub remarks: Vec<Remark>,
}

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
        let Parsed { value, twice } = json::parse(bytes, Depth::Whole)?;
        check_version(&value)?;
        let paths = paths_of(&value)?;
        let mut reading = Reading::of(&value);
        reading.server();
        reading.paths(paths, &twice.paths);
        reading.twice(&twice);
        Ok(reading.catalogue)
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

fn paths_of(document: &Value) -> Result<&Map<String, Value>, String> {
    shape::object(document, "paths")?.ok_or_else(|| "the document has no `paths`".to_owned())
}

/// The beginning of a text, which may be of any length.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
