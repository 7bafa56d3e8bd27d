//! `white_label`: what of the upstream's answers may be seen.

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
}

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
