//! `white_label`: what of the upstream's answers may be seen.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::AuthRule;
use crate::config::scalar::PathPattern;

/// What callers may learn about the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhiteLabel {
    /// Which of the upstream's error texts pass, scrubbed.
    pub error_text: ErrorText,
    /// Members of the document that a pipe answers in JSON which do not leave: `statistics`, `meta`. What has such a name within the rows stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strip: Vec<AnswerKey>,
    /// The path of an OpenAPI document, on every host, of the routes that the host serves; left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openapi: Option<PathPattern>,
    /// Who may read that document: names from `auth`, or `public`; left out: as the host, or `default_auth`, says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openapi_auth: Option<AuthRule>,
    /// Sentences of your own in place of the gateway's, by the code of the refusal; a host's own `errors` win.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: Errors,
}

/// Sentences by the code that stands beside them.
pub type Errors = BTreeMap<ErrorCode, Sentence>;

/// Which of the upstream's error texts pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ErrorText {
    /// Of all errors; 5xx texts of analytics databases quote SQL and values.
    #[serde(rename = "all")]
    All,
    /// Of 4xx only.
    #[default]
    #[serde(rename = "4xx")]
    ClientErrors,
    /// Of none.
    #[serde(rename = "none")]
    Nothing,
}

/// The name of a member of a pipe's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerKey(String);

impl AnswerKey {
    /// Longer names are none that an upstream gives.
    const MAX: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AnswerKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a name is empty: write it, or leave it out".to_owned()),
            "data" => Err("`data` are the rows themselves: nothing would be left of an answer".to_owned()),
            _ if text.len() > Self::MAX => Err(format!("a name here has at most {} bytes", Self::MAX)),
            _ => Ok(AnswerKey(text.to_owned())),
        }
    }
}

impl fmt::Display for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::config::scalar::from_text!(AnswerKey, "the name of a member, like statistics");
crate::config::scalar::as_text!(AnswerKey);

/// The code of an answer that says what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorCode(&'static str);

impl ErrorCode {
    /// Every code of a refusal, and that of an upstream's error whose text does not pass.
    pub const ALL: [&'static str; 25] = [
        "bad_parameter",
        "bad_request",
        "body_too_large",
        "control_parameter",
        "credential_expired",
        "credential_invalid",
        "credential_missing",
        "forbidden",
        "headers_too_large",
        "keys_unavailable",
        "method_not_allowed",
        "misdirected",
        "overloaded",
        "quota_exhausted",
        "rate_limited",
        "request_timeout",
        "route_not_found",
        "tenant_mismatch",
        "tenant_missing",
        "unsupported_body",
        "upstream_error",
        "upstream_failed",
        "upstream_timeout",
        "upstream_unavailable",
        "uri_too_long",
    ];
    /// Of an upstream's error whose text does not pass.
    pub const UPSTREAM: &'static str = "upstream_error";

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for ErrorCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(code) = Self::ALL.into_iter().find(|code| *code == text) {
            return Ok(ErrorCode(code));
        }
        let help = match crate::config::nearest(&text.to_ascii_lowercase(), Self::ALL.into_iter()) {
            Some(nearest) => format!("write `{nearest}`"),
            None => "write one of docs/refusals.md, like `rate_limited` or `route_not_found`".to_owned(),
        };
        Err(format!("`{text}` is not the code of an error: {help}"))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a caller reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence(String);

impl Sentence {
    /// Characters of a sentence.
    const MAX: usize = 300;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sentence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("this sentence is empty: write what callers are to read, or leave it out".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("this sentence has a line break or another control character: write it in one line".to_owned());
        }
        match text.chars().count() {
            0..=Self::MAX => Ok(Sentence(text.to_owned())),
            more => Err(format!("this sentence has {more} characters: write at most {}", Self::MAX)),
        }
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::config::scalar::from_text!(ErrorCode, "the code of an error, like rate_limited");
crate::config::scalar::as_text!(ErrorCode);
crate::config::scalar::from_text!(Sentence, "a sentence");
crate::config::scalar::as_text!(Sentence);
