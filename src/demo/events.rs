//! `POST /v0/events`: takes lines of NDJSON, and forgets them.
//!
//! In: a request. Out: how many lines it had, as the vendor says it. So that an
//! export can be tried; nothing can be asked about them. **Not here**: who may
//! add lines (`keyring`).

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use serde_json::json;

use super::answer::{Answer, Failure};
use super::received::Received;
use super::surface::Request;

/// Bytes of lines after they are unpacked.
const LARGEST: u64 = 16 << 20;

pub(super) fn take(request: &Request) -> Result<Answer, Failure> {
    if request.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    let asked = Received::collect(&request.query, None, &[])?;
    let Some(name) = asked.text("name").filter(|name| !name.is_empty()) else {
        return Err(Failure::bad_request("The parameter `name` is missing: which data source?"));
    };
    let text = unpacked(request)?;
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let taken = lines().filter(|line| serde_json::from_str::<serde_json::Map<_, _>>(line).is_ok()).count();
    let quarantined = lines().count() - taken;
    log::info!("the demo upstream got {taken} lines for the data source {name:?}");
    let answer = Answer::json(&json!({ "successful_rows": taken, "quarantined_rows": quarantined }));
    Ok(if asked.text("wait").as_deref() == Some("true") { answer } else { answer.with_status(StatusCode::ACCEPTED) })
}

fn unpacked(request: &Request) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match request.is_gzip {
        true => GzDecoder::new(request.body.as_ref()).take(LARGEST).read_to_string(&mut text),
        false => request.body.as_ref().take(LARGEST).read_to_string(&mut text),
    };
    match read {
        Ok(length) if length as u64 == LARGEST => {
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "The lines are larger than 16 MiB"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::bad_request(format!("The body cannot be read: {error}"))),
    }
}
