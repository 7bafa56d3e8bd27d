//! `white_label`: what of the upstream's answers may be seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What callers may learn about the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhiteLabel {
    /// Which of the upstream's error texts pass, scrubbed.
    pub error_text: ErrorText,
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
