//! The OpenAPI document of a host: its routes, as callers may use them.
//!
//! In: the routes that a host serves, and who may call them there. Out: a
//! [`Document`], JSON but for the address of the caller's own that is filled in
//! when it is asked for. Not here: serving it (`proxy`).
//!
//! It is made from what the operator wrote and from nothing else: what the
//! upstream is, what it is called and what it says of itself is not in it, nor
//! are fixed parameters, names of providers, or paths that only clients of a
//! vendor know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use crate::config::scalar::{Segment, Template};
use crate::config::section::auth::{AuthRule, Provider, ProviderKind};
use crate::config::section::routes::Format;
use crate::config::section::white_label::AnswerKey;
use crate::config::{Config, WrittenRoute};
use crate::exchange::head::RequestHead;
use crate::pipeline::authn::Authn;
use crate::pipeline::authz::Authz;
use crate::pipeline::guard::RouteGuard;

/// Characters of a path capture.
const CAPTURE: &str = "^[A-Za-z0-9_-]+$";

/// One host's document, and who may read it.
#[derive(Debug)]
pub struct Document {
    /// Its path.
    pub(super) path: Arc<str>,
    /// Its methods.
    pub(super) guard: RouteGuard,
    /// Who may read it; none where the host, or the top level, says.
    pub(super) authn: Option<Authn>,
    /// What each may do: all that is asked for is to be known.
    pub(super) authz: Authz,
    /// All of it but for the server's address, which stands in front.
    pub(super) text: Box<str>,
}

impl Document {
    /// The document for who asked with this head, at this port of the host.
    pub fn body(&self, head: &RequestHead, port: Option<u16>) -> String {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        // What a host may be made of needs no escapes.
        let url = format!("{}://{}{port}", head.scheme.as_str(), head.host);
        format!("{{\"servers\":[{{\"url\":\"{url}\"}}],{}\n", self.text.trim_start_matches('{'))
    }
}

/// Everything that a document is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) config: &'a Config,
    /// Who may call routes that say nothing.
    pub(super) outer: Option<&'a AuthRule>,
}

impl Plan<'_> {
    /// The document of these routes, without the server's address.
    pub(super) fn text<'r>(&self, routes: impl Iterator<Item = WrittenRoute<'r>>) -> String {
        let mut paths = Map::new();
        let mut schemes = BTreeMap::new();
        for at in routes {
            let rule = at.route.auth.as_ref().or(self.outer);
            let security = self.security(rule, &mut schemes);
            for (pattern, format) in at.route.paths(at.key).unwrap_or_default() {
                let segments = pattern.segments();
                let tail = if pattern.has_tail() { "/{rest}" } else { "" };
                let base = pattern.as_str().strip_suffix("/*").unwrap_or(pattern.as_str());
                let name = format!("{base}{tail}");
                let path = Path { name: &name, at, format, captures: captures(segments, tail), security: &security };
                let item = self.item(&path);
                // Two paths that differ in how they match only are one here.
                paths.entry(name).or_insert(item);
            }
        }
        json!({
            "openapi": "3.0.3",
            "info": { "title": "API", "version": "1" },
            "paths": paths,
            "components": { "schemas": { "Error": error() }, "securitySchemes": schemes },
        })
        .to_string()
    }

    /// Which credentials open a route: any one of these.
    fn security(&self, rule: Option<&AuthRule>, schemes: &mut BTreeMap<String, Value>) -> Value {
        let names = rule.map(AuthRule::names).unwrap_or_default();
        let providers = names.iter().filter_map(|name| self.config.auth.get(name));
        let mut each = BTreeSet::new();
        for (name, scheme) in providers.filter_map(scheme) {
            schemes.entry(name.clone()).or_insert(scheme);
            each.insert(name);
        }
        each.into_iter().map(|name| json!({ name: [] })).collect()
    }

    fn opens_by_certificate(&self, at: WrittenRoute<'_>) -> bool {
        let names = at.route.auth.as_ref().or(self.outer).map(AuthRule::names).unwrap_or_default();
        let mut providers = names.iter().filter_map(|name| self.config.auth.get(name));
        providers.any(|provider| provider.kind == ProviderKind::Mtls)
    }

    fn item(&self, path: &Path<'_>) -> Value {
        let route = path.at.route;
        let mut item = Map::new();
        for method in route.served_methods() {
            // Who answers GET answers HEAD; a document that says so twice helps nobody.
            if method == Method::HEAD && item.contains_key("get") {
                continue;
            }
            let name = method.as_str().to_ascii_lowercase();
            item.insert(name, self.operation(path, &method));
        }
        Value::Object(item)
    }

    fn operation(&self, path: &Path<'_>, method: &Method) -> Value {
        let mut parameters: Vec<Value> = path.captures.clone();
        let known = path.parameters();
        let named = |(name, schema): &(&str, Value)| {
            let schema = schema.clone();
            json!({ "name": name, "in": "query", "required": false, "schema": schema })
        };
        parameters.extend(known.iter().map(named));
        let mut operation = json!({
            "operationId": path.id(method),
            "responses": { "200": self.success(path.format), "default": failure() },
            "security": path.security,
        });
        let Value::Object(members) = &mut operation else { return operation };
        if !parameters.is_empty() {
            members.insert("parameters".to_owned(), parameters.into());
        }
        let certificate = self.opens_by_certificate(path.at).then_some("A client certificate opens it.");
        let more = path.is_open().then_some("Further parameters than those that are listed may be given.");
        let description: Vec<&str> = more.into_iter().chain(certificate).collect();
        if !description.is_empty() {
            members.insert("description".to_owned(), description.join(" ").into());
        }
        if path.format.is_some() && *method == Method::POST {
            let properties: Map<String, Value> =
                known.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
            let schema = json!({ "schema": { "type": "object", "properties": properties } });
            let content = json!({ "application/json": schema, "application/x-www-form-urlencoded": schema });
            members.insert("requestBody".to_owned(), json!({ "required": false, "content": content }));
        }
        operation
    }

    /// What a good answer looks like.
    fn success(&self, format: Option<Format>) -> Value {
        let (media, schema) = match format {
            None => return json!({ "description": "The answer." }),
            Some(Format::Csv | Format::CsvWithNames) => ("text/csv", json!({ "type": "string" })),
            Some(Format::Json) => ("application/json", rows(&self.config.white_label.strip)),
            Some(Format::Ndjson) => ("application/x-ndjson", json!({ "type": "string" })),
            Some(Format::Parquet) => {
                ("application/vnd.apache.parquet", json!({ "type": "string", "format": "binary" }))
            }
            Some(Format::Prometheus) => ("text/plain", json!({ "type": "string" })),
        };
        json!({ "description": "The rows.", "content": { media: { "schema": schema } } })
    }
}

/// One path of a route.
struct Path<'a> {
    /// As the document writes it.
    name: &'a str,
    at: WrittenRoute<'a>,
    format: Option<Format>,
    captures: Vec<Value>,
    security: &'a Value,
}

impl Path<'_> {
    /// The parameters that callers may give, as far as the file names them.
    fn parameters(&self) -> Vec<(&str, Value)> {
        let params = &self.at.route.params;
        let is_fixed = |name: &str| params.fixed.keys().any(|fixed| fixed.eq_ignore_ascii_case(name));
        let names: BTreeSet<&str> = match &params.allow {
            Some(allow) => allow.iter().map(String::as_str).collect(),
            None => params.default.keys().map(String::as_str).collect(),
        };
        let names = names.into_iter().filter(|name| !is_fixed(name));
        names.map(|name| (name, value(params.default.get(name)))).collect()
    }

    /// Whether callers may give others than those that the file names.
    fn is_open(&self) -> bool {
        self.at.route.params.allow.is_none()
    }

    /// A name that no other operation of the document has.
    fn id(&self, method: &Method) -> String {
        let mut id = method.as_str().to_ascii_lowercase();
        for byte in self.name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => id.push(char::from(byte)),
                b'/' => id.push('_'),
                // Each of its own, or `/a-b` and `/a.b` would be one.
                other => id.push_str(&format!("_{other:02x}")),
            }
        }
        id
    }
}

/// What a caller writes into the path.
fn captures(segments: &[Segment], tail: &str) -> Vec<Value> {
    let named = segments.iter().filter_map(|segment| match segment {
        Segment::Capture(piece) => Some(piece.name.as_str()),
        Segment::Literal(_) => None,
    });
    let parameter =
        |name: &str, schema: Value| json!({ "name": name, "in": "path", "required": true, "schema": schema });
    let mut each: Vec<Value> =
        named.map(|name| parameter(name, json!({ "type": "string", "pattern": CAPTURE }))).collect();
    if !tail.is_empty() {
        let mut rest = parameter("rest", json!({ "type": "string" }));
        if let Value::Object(members) = &mut rest {
            members.insert("description".to_owned(), "The rest of the path, with its slashes.".into());
        }
        each.push(rest);
    }
    each
}

/// A parameter's value; what it is when it is left out, where that is the same for everybody.
fn value(default: Option<&Template>) -> Value {
    match default.and_then(Template::literal) {
        Some(literal) => json!({ "type": "string", "default": literal }),
        None => json!({ "type": "string" }),
    }
}

/// How a credential of this kind is sent. The provider's name is the operator's own affair.
fn scheme(provider: &Provider) -> Option<(String, Value)> {
    Some(match (&provider.header, provider.kind) {
        // OpenAPI 3.0 has no word for it: the operation says it in a sentence.
        (_, ProviderKind::Mtls) => return None,
        (Some(header), ProviderKind::ApiKey) if header.name() != http::header::AUTHORIZATION => {
            let name = header.name();
            (name.as_str().to_owned(), json!({ "type": "apiKey", "in": "header", "name": name.as_str() }))
        }
        (_, ProviderKind::ApiKey | ProviderKind::Jwt | ProviderKind::TinybirdJwt) => {
            ("bearer".to_owned(), json!({ "type": "http", "scheme": "bearer" }))
        }
    })
}

/// The document that a pipe answers in JSON.
fn rows(strip: &[AnswerKey]) -> Value {
    let mut properties = Map::new();
    properties.insert("data".to_owned(), json!({ "type": "array", "items": { "type": "object" } }));
    let others = [
        ("meta", json!({ "type": "array", "items": { "type": "object" } })),
        ("rows", json!({ "type": "integer" })),
        ("statistics", json!({ "type": "object" })),
    ];
    let stays = |name: &str| !strip.iter().any(|key| key.as_str() == name);
    properties
        .extend(others.into_iter().filter(|(name, _)| stays(name)).map(|(name, schema)| (name.to_owned(), schema)));
    json!({ "type": "object", "required": ["data"], "properties": properties })
}

fn failure() -> Value {
    json!({
        "description": "Anything else.",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error", "code", "request_id"],
        "properties": {
            "error": { "type": "string", "description": "What is wrong, for people." },
            "code": { "type": "string", "description": "What is wrong, for programs." },
            "request_id": { "type": "string", "description": "What to tell whoever helps." },
        },
    })
}
