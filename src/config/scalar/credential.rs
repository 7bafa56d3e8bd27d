//! Credentials: values that must never be shown.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What stands in place of a credential wherever one would be shown.
pub const MASK: &str = "***";

/// A token, key or password. It has no `Display`; its `Debug` and its `Serialize` are [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// Words in a name that say that its value is a credential.
const CREDENTIAL_WORDS: [&str; 13] = [
    "apikey",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "passphrase",
    "passw",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
    "xsrf",
];
/// As [`CREDENTIAL_WORDS`], where a name is nothing else or ends with one: `sig`, `db_pass`.
const CREDENTIAL_ENDS: [&str; 6] = ["hmac", "otp", "pass", "pin", "sid", "sig"];

/// Whether a name says that its value is a credential: `api_key`, `X-Session`, `Password`. Of a parameter, of a header, or
/// of a key that does not exist; better once too often than once too rarely.
pub fn is_credential_name(name: &str) -> bool {
    let name = name.split(['[', ']']).next().unwrap_or_default().to_ascii_lowercase();
    let last = name.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    // Whoever wrote a book is no secret; who is authorised is.
    let is_auth = name.contains("auth") && (!name.contains("author") || name.contains("authori"));
    is_auth
        || name.ends_with("key")
        || CREDENTIAL_ENDS.contains(&last)
        || CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

impl Secret {
    /// The value itself: for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // These sentences never quote the value.
        if text.trim().is_empty() {
            return Err("this credential is empty".to_owned());
        }
        if text.trim() != text || text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("this credential begins or ends with a blank, or has a control character in it".to_owned());
        }
        if !text.is_ascii() {
            return Err("this credential has a character outside ASCII, which no HTTP header can carry".to_owned());
        }
        Ok(Secret(Arc::from(text)))
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

super::from_text!(Secret, "a credential");
