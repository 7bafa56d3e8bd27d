//! Where a credential stands in a request.
//!
//! In: headers and query. Out: the one credential, or none; two that differ
//! are refused, because somebody else might look at the other one. Not here:
//! what it is worth.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;

use super::rejection::Rejection;

/// The parameter that Tinybird's clients put their token in.
const PARAMETER: &str = "token";

/// A text that proves who somebody is, and where it stood.
#[derive(Debug)]
pub(super) struct Credential<'a> {
    text: Cow<'a, str>,
    /// The header; none for the query.
    header: Option<&'a HeaderName>,
}

impl Credential<'_> {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether who expects credentials in this header takes it. What stands in the query, everybody takes.
    pub(super) fn is_for(&self, header: &HeaderName) -> bool {
        self.header.is_none_or(|own| own == header)
    }
}

/// The credential of a request, in one of these headers or in the query.
///
/// # Errors
/// Where there are two, or one that cannot be read.
pub(super) fn find<'a>(
    headers: &'a HeaderMap,
    query: &'a str,
    accepted: &'a [HeaderName],
) -> Result<Option<Credential<'a>>, Rejection> {
    let mut found: Option<Credential<'a>> = None;
    for name in accepted {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(Rejection::Ambiguous("A header with a credential is given twice."));
        }
        let text = in_header(name, value)?;
        agree(&mut found, Credential { text: Cow::Borrowed(text), header: Some(name) })?;
    }
    // Most requests have no such parameter, and decoding costs more than this look.
    if query.bytes().any(|byte| matches!(byte, b'k' | b'%')) {
        for pair in query.split('&') {
            let Some(text) = in_query(pair)? else { continue };
            agree(&mut found, Credential { text, header: None })?;
        }
    }
    Ok(found)
}

fn agree<'a>(found: &mut Option<Credential<'a>>, credential: Credential<'a>) -> Result<(), Rejection> {
    match found {
        None => *found = Some(credential),
        Some(first) if first.text == credential.text => {}
        Some(_) => return Err(Rejection::Ambiguous("Two different credentials are given.")),
    }
    Ok(())
}

/// RFC 6750 section 2.1; other headers hold the credential alone.
fn in_header<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Rejection> {
    let text = value.to_str().map_err(|_| Rejection::Unrecognised)?;
    if name != header::AUTHORIZATION {
        return Ok(text.trim_matches([' ', '\t']));
    }
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(rest.trim_matches(' ')),
        false => Err(Rejection::NotBearer),
    }
}

fn in_query(pair: &str) -> Result<Option<Cow<'_, str>>, Rejection> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let is_it = name == PARAMETER || (name.contains('%') && percent_decode_str(name).eq(PARAMETER.bytes()));
    if !is_it || value.is_empty() {
        return Ok(None);
    }
    // Nothing that anybody gives out has a blank in it, so `+` needs no look.
    percent_decode_str(value).decode_utf8().map(Some).map_err(|_| Rejection::Unrecognised)
}
