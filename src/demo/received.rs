//! The parameters of one request, wherever they came in.
//!
//! In: query string, media type, body. Out: names with values in order of arrival, and the SQL if
//! the caller sent some.
//! Query first, body second; where one value is wanted the last one counts. That order is why a
//! gateway which fixes a parameter must remove it from every place before it sets its own.
//! **Not here**: what a pipe declares and which types it wants (`parameter`).

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value as Json;

use super::answer::Failure;

/// Everything a caller passed.
#[derive(Debug, Default)]
pub(super) struct Received {
    values: Vec<(String, Value)>,
    sql: Option<String>,
}

/// One occurrence of a parameter.
#[derive(Debug)]
pub(super) enum Value {
    /// A JSON list.
    List(Vec<String>),
    /// Anything written as one value.
    Text(String),
}

impl Received {
    /// Collects what query and body carry.
    pub(super) fn collect(query: &str, media: Option<&str>, body: &[u8]) -> Result<Self, Failure> {
        let mut received = Self::default();
        received.add_form(query.as_bytes());
        if !body.is_empty() {
            received.add_body(media, body)?;
        }
        if received.values.len() > MOST_VALUES {
            return Err(Failure::bad_request("There are too many parameters"));
        }
        Ok(received)
    }

    /// The single value of a parameter: its last occurrence.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.occurrences(name).last().map(|value| match value {
            Value::List(items) => items.join(","),
            Value::Text(text) => text.clone(),
        })
    }

    /// All elements of an array parameter, or `None` if it was not passed: repeated keys add up,
    /// and each text is split at commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let mut elements = None;
        for value in self.occurrences(name) {
            let elements = elements.get_or_insert_with(Vec::new);
            match value {
                Value::List(items) => elements.extend(items.iter().cloned()),
                Value::Text(text) if text.is_empty() => {}
                Value::Text(text) => elements.extend(text.split(',').map(|item| item.trim().to_owned())),
            }
        }
        elements
    }

    /// Gives a parameter one value, in place of all that came in, wherever that was.
    pub(super) fn fix(&mut self, name: &str, value: &str) {
        self.values.retain(|(key, _)| key != name);
        self.values.push((name.to_owned(), Value::Text(value.to_owned())));
    }

    /// The first thousand names in order of arrival, without the credential.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut seen = BTreeSet::from(["token"]);
        let names = self.values.iter().map(|(name, _)| name.as_str());
        names.filter(|name| seen.insert(name)).take(1_000).collect()
    }

    /// The caller's own SQL: a raw body before `q`.
    pub(super) fn sql(&self) -> Option<String> {
        self.sql.clone().or_else(|| self.text("q")).filter(|sql| !sql.trim().is_empty())
    }

    fn occurrences(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    fn add_form(&mut self, form: &[u8]) {
        let pairs = form_urlencoded::parse(form);
        self.values.extend(pairs.map(|(name, value)| (name.into_owned(), Value::Text(value.into_owned()))));
    }

    fn add_body(&mut self, media: Option<&str>, body: &[u8]) -> Result<(), Failure> {
        let essence = media.unwrap_or("text/plain").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => self.add_json(body),
            "application/x-www-form-urlencoded" => {
                self.add_form(body);
                Ok(())
            }
            "text/plain" | "application/sql" => {
                let sql =
                    std::str::from_utf8(body).map_err(|_| Failure::bad_request("The SQL in the body is not UTF-8"))?;
                self.sql = Some(sql.to_owned());
                Ok(())
            }
            other => Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("A body of type '{other}' is not understood"),
            )),
        }
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), Failure> {
        let document: Json = serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("Invalid JSON body: {error}")))?;
        let Json::Object(members) = document else {
            return Err(Failure::bad_request("The JSON body must be one object of parameters"));
        };
        for (name, value) in members {
            match value {
                Json::Null => {}
                Json::Array(items) => self.values.push((name, Value::List(items.into_iter().map(plain).collect()))),
                single @ (Json::Bool(_) | Json::Number(_) | Json::Object(_) | Json::String(_)) => {
                    self.values.push((name, Value::Text(plain(single))));
                }
            }
        }
        Ok(())
    }
}

/// A JSON value as the text a query string would have carried.
fn plain(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other @ (Json::Array(_) | Json::Bool(_) | Json::Null | Json::Number(_) | Json::Object(_)) => other.to_string(),
    }
}

/// More than any client sends; every look for a name goes through all of them.
const MOST_VALUES: usize = 50_000;
