//! Gets the document: from a file, or by one GET.
//!
//! In: what the command line names, and the variable that holds a token. Out:
//! bytes. The token travels in a header and is shown nowhere. Not here: what
//! the document means.

use std::io::Read as _;

use http::header::{self, HeaderValue};

use crate::clock::Clock;
use crate::config::scalar::{Scheme, Secret};
use crate::outbound::{Call, Client, Proxies, ProxyVariables, Target, wait};
use crate::upstream::catalogue::MAX_SIZE;

use super::super::super::say;
use super::super::{TOKEN_VARIABLE, Variable};

/// For a workspace with many pipes, on a slow line.
const TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// The document's bytes.
pub(super) struct Source {
    pub(super) bytes: Vec<u8>,
    /// Where it came from, as it may be shown.
    pub(super) shown: String,
    /// The URL, where it came from one.
    pub(super) target: Option<Target>,
}

/// Whether that can be a URL or the name of a file; what is neither is not repeated, for a token may stand in it.
pub(super) fn check(from: &str) -> Result<(), String> {
    match place_of(from) {
        Place::Elsewhere => {
            Err("--from-openapi: a document is fetched from http:// or https://, or read from a file".to_owned())
        }
        Place::File => Ok(()),
        Place::Web => match from.parse::<Target>() {
            Ok(_) => Ok(()),
            Err(problem) => Err(format!("--from-openapi: {problem}")),
        },
    }
}

enum Place {
    /// What is neither.
    Elsewhere,
    File,
    Web,
}

fn place_of(from: &str) -> Place {
    match from.split_once("://") {
        Some((scheme, _)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => Place::Web,
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => Place::Elsewhere,
        Some(_) | None => Place::File,
    }
}

pub(super) fn fetch(from: &str, token: Option<&Variable>) -> Result<Source, String> {
    let target: Target = match place_of(from) {
        Place::Elsewhere | Place::File => return read(from),
        Place::Web => from.parse()?,
    };
    let token = match token {
        Some(Variable(name)) => Some(token_of(name)?),
        None => None,
    };
    ask(&target, token)
}

fn read(path: &str) -> Result<Source, String> {
    let unreadable = |error: std::io::Error| match path.contains('?') || path.split('@').next() != Some(path) {
        // A URL without its scheme, in which a token may stand.
        true => format!("there is no such file ({error}): a URL begins with https://"),
        false => format!("the file `{path}` cannot be read: {error}"),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than may be, so that the reader of the document sees it and says so.
    file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Source { bytes, shown: path.to_owned(), target: None })
}

fn ask(target: &Target, token: Option<Secret>) -> Result<Source, String> {
    let (target, in_url) = without_token(target);
    if in_url.is_some() {
        say("The token of the URL is sent in a header and written nowhere; your shell may remember the URL.");
    }
    let token = token.or(in_url);
    let mut call = Call { size: MAX_SIZE, ..Call::get(target.clone()).within(TIME) };
    call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(token) = &token {
        if target.scheme() == Scheme::Http && target.host() != "localhost" && !target.host().starts_with("127.") {
            say("The token travels without TLS: use https:// unless every machine on the way is yours.");
        }
        call = call.bearer(token);
    }
    let client = Client::through(Proxies::of(proxy_variables()), Clock::system());
    let answer = wait(client.call(&call))
        .map_err(|error| format!("{target}: {error}"))?
        .map_err(|failure| format!("{target}: {failure}"))?;
    match answer.status.as_u16() {
        200 => Ok(Source { bytes: answer.body.into(), shown: target.to_string(), target: Some(target) }),
        401 | 403 if token.is_none() => Err(format!(
            "{target} answers {}: it wants a token. Name the variable that holds it: --token-env {TOKEN_VARIABLE}",
            answer.status
        )),
        401 | 403 => Err(format!("{target} answers {}: it refuses the token", answer.status)),
        300..=399 => Err(format!("{target} answers {}: give the URL that it leads to", answer.status)),
        _ => Err(format!("{target} answers {}", answer.status)),
    }
}

/// Tinybird's own pages show the URL with `?token=`.
fn without_token(target: &Target) -> (Target, Option<Secret>) {
    let query = target.query().unwrap_or_default();
    let mut token = None;
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.eq_ignore_ascii_case("token") {
            true => token = value.parse().ok(),
            false => {
                rest.append_pair(&name, &value);
            }
        }
    }
    let rest = rest.finish();
    (target.with_query(Some(rest.as_str()).filter(|rest| !rest.is_empty())), token)
}

fn token_of(name: &str) -> Result<Secret, String> {
    let value = variable(name).ok_or_else(|| format!("the variable {name} is not set"))?;
    value.parse().map_err(|problem| format!("the variable {name}: {problem}"))
}

fn proxy_variables() -> ProxyVariables {
    // Tools differ in which case they read, so people set either.
    let either = |upper: &str| variable(upper).or_else(|| variable(&upper.to_ascii_lowercase())).unwrap_or_default();
    ProxyVariables {
        all: either("ALL_PROXY"),
        http: either("HTTP_PROXY"),
        https: either("HTTPS_PROXY"),
        no: either("NO_PROXY"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the options of a command, not the configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
