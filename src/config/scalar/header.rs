//! Names of header fields.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header;

/// The name of a header that the gateway may pass or set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldName(String);

impl FieldName {
    /// The name in the form that header maps are keyed by.
    pub fn name(&self) -> HeaderName {
        // Parsed once before, so the fallback is never taken.
        HeaderName::from_bytes(self.0.as_bytes()).unwrap_or(header::WARNING)
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Connection management and message framing belong to the gateway.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl FromStr for FieldName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| format!("`{}` is not the name of a header: write letters, digits and `-`", beginning(text)))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("`{text}` belongs to the connection and is set by the gateway itself: leave it out"));
        }
        Ok(FieldName(name.as_str().to_owned()))
    }
}

/// What of a text could be a name: behind it a value may stand, which nobody must see.
fn beginning(text: &str) -> String {
    match text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c)) {
        None => text.to_owned(),
        Some(at) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::from_text!(FieldName, "the name of a header");
super::as_text!(FieldName);
