//! What kind of parameter body a request has, by what its head says.
//!
//! In: method and headers, and the bytes once they are there. Out: a
//! [`ParameterBody`], or why parameters cannot be read from it. Not here:
//! reading the bytes (`proxy::body`), what they mean (`form`, `json`).

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::exchange::grant::Grant;
use crate::exchange::refusal::Refusal;

use super::{ParameterBody, Params};

const BODY_OF_A_READ: Refusal =
    Refusal::UnsupportedBody("A GET or HEAD request cannot have a body here. Send parameters by POST.");

const BODY_BESIDE_A_TOKEN: Refusal = Refusal::UnsupportedBody(
    "A request with this credential cannot have a body here: the credential decides its parameters. Send them in the query.",
);

/// The media types that hold parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MediaType {
    Form,
    Json,
}

impl ParameterBody {
    /// Refuses by the head alone a body that is to come.
    ///
    /// # Errors
    /// 415 for a body that no parameters can be read from.
    pub fn expect(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        // A body that is chunked may still turn out to be empty, and then needs no type.
        let announced = headers.contains_key(header::CONTENT_LENGTH);
        media_type(method, headers).err().filter(|_| announced).map_or(Ok(()), Err)
    }

    /// The whole body, none where it is empty.
    ///
    /// # Errors
    /// 415 for a body that no parameters can be read from.
    pub fn read(method: &Method, headers: &HeaderMap, bytes: Bytes) -> Result<Option<ParameterBody>, Refusal> {
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(match media_type(method, headers)? {
            MediaType::Form => ParameterBody::Form(bytes),
            MediaType::Json => ParameterBody::Json(bytes),
        }))
    }
}

impl Params {
    /// Looks at a request whose body passes as bytes. ClickHouse, for one, takes the body of a GET for the rest of its
    /// query.
    ///
    /// # Errors
    /// 415 for a body that reading has no need of, on a route that confines its parameters; and for any body of a caller
    /// whose own token fixes parameters, which nobody looks for in it.
    pub fn let_body_pass(&self, method: &Method, grant: &Grant) -> Result<(), Refusal> {
        match (is_read(method) && self.confines(grant), grant.fixed().is_empty()) {
            (true, _) => Err(BODY_OF_A_READ),
            (false, true) => Ok(()),
            (false, false) => Err(BODY_BESIDE_A_TOKEN),
        }
    }
}

fn media_type(method: &Method, headers: &HeaderMap) -> Result<MediaType, Refusal> {
    if is_read(method) {
        return Err(BODY_OF_A_READ);
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::UnsupportedBody("The request body must not be compressed."));
    }
    const WANTED: Refusal = Refusal::UnsupportedBody(
        "The request body must be application/x-www-form-urlencoded or application/json, in UTF-8, and its Content-Type must say so.",
    );
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return Err(WANTED) };
    let text = value.to_str().map_err(|_| WANTED)?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let foreign = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let charset = name.trim().eq_ignore_ascii_case("charset");
        charset && !matches!(value.trim().trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8")
    };
    if parameters.split(';').any(foreign) {
        return Err(WANTED);
    }
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Ok(MediaType::Form),
        "application/json" => Ok(MediaType::Json),
        _ => Err(WANTED),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
