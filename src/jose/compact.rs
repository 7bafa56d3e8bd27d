//! Compact tokens (JWS, RFC 7515), taken apart.
//!
//! In: the text of a token. Out: its header, its claims, what was signed and
//! with which bytes, or why it is no such token. Every token has one reading:
//! what two programs could understand in two ways is refused, signature or not.
//! Not here: whether the signature is good (`key`), what the claims mean.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::object::{self, Fault};
use crate::config::scalar::Algorithm;

/// Bytes of the longest token; looked at before anything in it is.
pub const MAX_TOKEN: usize = 16 << 10;

/// A token whose parts can be read. Nothing in it is true until [`super::Key::verify`] says so.
#[derive(Clone)]
pub struct Compact<'a> {
    claims: Map<String, Value>,
    header: Header,
    signature: Vec<u8>,
    signed: &'a str,
}

/// What a token says about its signature. Nothing else in a header is looked at: no key that a token brings along (`jwk`,
/// `x5c`), and no place to fetch one from (`jku`, `x5u`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// How it claims to be signed, as it stands there.
    pub alg: Option<String>,
    /// The id of the key.
    pub kid: Option<String>,
    /// What kind of token.
    pub typ: Option<String>,
}

/// One of the three parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The second.
    Claims,
    /// The first.
    Header,
    /// The third.
    Signature,
}

/// Why a text is not a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A part is not base64url as RFC 7515 writes it.
    Base64(Part),
    /// The header has `zip`.
    Compressed,
    /// The header has `crit` or `b64`.
    Critical,
    /// A name stands twice.
    DuplicateName(Part, String),
    /// The token is encrypted (JWE).
    Encrypted,
    /// A part is not a JSON object.
    Json(Part),
    /// This member of the header is not a text.
    NotAText(&'static str),
    /// There are not three parts.
    NotThreeParts,
    /// It has more than [`MAX_TOKEN`] bytes.
    TooLong,
    /// The signature is empty.
    Unsigned,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// If it is not a compact token, or one that could be read in two ways.
    pub fn parse(text: &'a str) -> Result<Compact<'a>, Malformed> {
        if text.len() > MAX_TOKEN {
            return Err(Malformed::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Malformed::NotThreeParts);
        };
        match parts.count() {
            0 => {}
            2 => return Err(Malformed::Encrypted),
            _ => return Err(Malformed::NotThreeParts),
        }
        if signature.is_empty() {
            return Err(Malformed::Unsigned);
        }
        let header = Header::of(object_of(header, Part::Header)?)?;
        let claims = object_of(claims, Part::Claims)?;
        let signature = decode(signature, Part::Signature)?;
        let signed = text.rsplit_once('.').map_or("", |(signed, _)| signed);
        Ok(Compact { claims, header, signature, signed })
    }

    /// What it says about its signature.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it says.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// What it says, to keep.
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }

    /// The text that the signature is about: header and claims as they were sent.
    pub fn signed(&self) -> &str {
        self.signed
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The signature, as the verifiers of `jsonwebtoken` take it.
    pub(super) fn signature_bytes(&self) -> &Vec<u8> {
        &self.signature
    }
}

impl Header {
    /// How it claims to be signed, if that is known here.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.alg.as_deref().and_then(Algorithm::named)
    }

    fn of(mut members: Map<String, Value>) -> Result<Header, Malformed> {
        if members.contains_key("enc") {
            return Err(Malformed::Encrypted);
        }
        if members.contains_key("zip") {
            return Err(Malformed::Compressed);
        }
        // Whoever does not understand every extension that `crit` names must refuse (4.1.11), and none is understood here.
        // `b64` changes what is signed, also where somebody forgot to name it there.
        if members.contains_key("crit") || members.contains_key("b64") {
            return Err(Malformed::Critical);
        }
        let mut text = |name| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::NotAText(name)),
        };
        Ok(Header { alg: text("alg")?, kid: text("kid")?, typ: text("typ")? })
    }
}

/// Without padding, blanks, or bits behind the last byte: each of them would be a second way to write one token, and past
/// a list of revoked ones.
fn decode(text: &str, part: Part) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed::Base64(part))
}

fn object_of(text: &str, part: Part) -> Result<Map<String, Value>, Malformed> {
    object::read(&decode(text, part)?).map_err(|fault| match fault {
        Fault::Duplicate(name) => Malformed::DuplicateName(part, name),
        Fault::NotAnObject => Malformed::Json(part),
    })
}

impl fmt::Debug for Compact<'_> {
    /// Without the text and the signature: together they are a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact")
            .field("header", &self.header)
            .field("claims", &self.claims.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Claims => "payload",
            Part::Header => "header",
            Part::Signature => "signature",
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Base64(part) => write!(
                f,
                "the token's {part} is not base64url: only A-Z, a-z, 0-9, `-` and `_` may stand there, without padding or blanks"
            ),
            Malformed::Compressed => f.write_str("the token is compressed (`zip`), which is not supported"),
            Malformed::Critical => {
                f.write_str("the token's header has `crit` or `b64`, an extension that is not supported")
            }
            // Whoever wrote the token chose the name: without control characters, and not all of a long one.
            Malformed::DuplicateName(part, name) => {
                write!(f, "the token's {part} has {:?} twice", name.chars().take(64).collect::<String>())
            }
            Malformed::Encrypted => {
                f.write_str("the token is encrypted (JWE), and only signed ones (JWS) are supported")
            }
            Malformed::Json(part) => write!(f, "the token's {part} is not a JSON object"),
            Malformed::NotAText(name) => write!(f, "`{name}` in the token's header is not a text"),
            Malformed::NotThreeParts => {
                f.write_str("this is not a signed token: it has three parts with dots between them")
            }
            Malformed::TooLong => write!(f, "the token is longer than {} KiB", MAX_TOKEN >> 10),
            Malformed::Unsigned => f.write_str("the token is not signed"),
        }
    }
}

impl std::error::Error for Malformed {}
