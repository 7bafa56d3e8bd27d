//! `routes`: which paths exist and what each leads to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::AuthRule;
use super::cors::Cors;
use super::params::Params;
use crate::config::scalar::{FieldName, PathPattern, Template};

/// One path: exactly one of `pipe` and `proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// The Tinybird pipe that answers: `top-10-products`, `report_{path.report}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipe: Option<Template>,
    /// The upstream's path that answers, for any HTTP API: `/{path.rest}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Template>,
    /// Formats of a pipe. Each opens the path with its extension; the first also answers the bare path. Left out: `json` on the bare path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formats: Option<Vec<Format>>,
    /// Which upstream; may be left out when there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Methods. Left out: GET, HEAD and POST for a pipe, GET and HEAD for a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<Method>>,
    /// Further request headers that reach the upstream.
    pub pass_headers: Vec<FieldName>,
    /// The pipe's id (`t_...`), where Tinybird JWTs name it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipe_id: Option<String>,
    /// Who may call: names from `auth`, or `public`; left out: as the host, or `default_auth`, says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthRule>,
    /// What a caller's credential must allow.
    pub require: Require,
    /// Rules for parameters.
    pub params: Params,
    /// Names from `limits` that hold on this route, beside those of the tenant's plan, of the host and of `server`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Cross-origin rules of this route; left out: those of the host, or of the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

/// What a caller's credential must allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    /// Scopes that it must have, every one. The scope for the pipe stands in for them in a Tinybird JWT, unless its provider has `scopes`.
    pub scopes: Vec<String>,
    /// On a `proxy` route: the pipe that a Tinybird JWT must be for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipe: Option<Template>,
}

impl Route {
    /// The methods that are answered: those written, or those of its kind.
    pub fn served_methods(&self) -> Vec<http::Method> {
        match (&self.methods, &self.pipe) {
            (Some(methods), _) => {
                let mut served: Vec<http::Method> = methods.iter().map(|method| method.0.clone()).collect();
                // RFC 9110 section 9.1: who answers GET answers HEAD.
                if served.contains(&http::Method::GET) && !served.contains(&http::Method::HEAD) {
                    served.push(http::Method::HEAD);
                }
                served
            }
            (None, Some(_)) => vec![http::Method::GET, http::Method::HEAD, http::Method::POST],
            (None, None) => vec![http::Method::GET, http::Method::HEAD],
        }
    }

    /// Every path that `pattern` opens for this route, with the format it asks for.
    ///
    /// A pipe with `formats` answers the bare path in the first of them and each
    /// at the path with its extension; a path that already ends in an extension
    /// opens only itself.
    pub fn paths(&self, pattern: &PathPattern) -> Result<Vec<(PathPattern, Option<Format>)>, String> {
        if self.pipe.is_none() {
            return Ok(vec![(pattern.clone(), None)]);
        }
        let written = Format::ALL
            .into_iter()
            .find(|format| pattern.as_str().rsplit_once('.').is_some_and(|(_, end)| end == format.extension()));
        match (&self.formats, written) {
            (None, format) => Ok(vec![(pattern.clone(), Some(format.unwrap_or(Format::Json)))]),
            (Some(formats), Some(format)) if formats.contains(&format) => Ok(vec![(pattern.clone(), Some(format))]),
            (Some(_), Some(format)) => {
                Err(format!("the path ends in .{0} and `formats` has no `{0}`", format.extension()))
            }
            (Some(formats), None) => {
                let bare = formats.first().map(|format| (pattern.clone(), Some(*format)));
                // Written twice, a format is one path all the same.
                let mut formats = formats.clone();
                let mut seen = BTreeSet::new();
                formats.retain(|format| seen.insert(*format));
                let each =
                    formats.iter().map(|format| Ok((pattern.with_extension(format.extension())?, Some(*format))));
                bare.into_iter().map(Ok).chain(each).collect()
            }
        }
    }
}

/// Formats that Tinybird gives a pipe's rows in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// Comma-separated values with a header line.
    CsvWithNames,
    /// One JSON document with `meta`, `data`, `rows`, `statistics`.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// Prometheus' text format.
    Prometheus,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] =
        [Format::Csv, Format::CsvWithNames, Format::Json, Format::Ndjson, Format::Parquet, Format::Prometheus];

    /// The extension in paths, ours and the upstream's.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::CsvWithNames => "csvwithnames",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
            Format::Prometheus => "prometheus",
        }
    }
}

/// An HTTP method that a route may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub http::Method);

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" => {
                http::Method::from_bytes(text.as_bytes()).map(Method).map_err(|_| format!("`{text}` is not a method"))
            }
            "OPTIONS" => Err("OPTIONS is answered by the gateway itself, from `cors`: leave it out".to_owned()),
            "get" | "head" | "post" | "put" | "patch" | "delete" => {
                Err(format!("`{text}` is not in capitals: write {}", text.to_ascii_uppercase()))
            }
            _ => Err(format!("`{text}` is not a method here: write GET, HEAD, POST, PUT, PATCH or DELETE")),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

crate::config::scalar::from_text!(Method, "one of GET, HEAD, POST, PUT, PATCH, DELETE");
crate::config::scalar::as_text!(Method);
