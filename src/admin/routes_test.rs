//! What would happen to one request, asked of the gateway that runs.
//!
//! In: a request as JSON. Out: its explanation. Not here: the explanation
//! (`snapshot::explain`). Nothing is sent, and the request is not counted.

use std::time::SystemTime;

use std::net::IpAddr;

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::snapshot::Snapshot;
use crate::snapshot::explain::{Question, explain};

/// A request that is asked about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// Where the connection comes from; left out: this machine.
    from: Option<IpAddr>,
    /// What its caller shows in the handshake, PEM; left out: nothing.
    certificate: Option<String>,
}

pub(super) fn answer(snapshot: &Snapshot, body: &[u8], now: SystemTime) -> Response<Vec<u8>> {
    let asked: Asked = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => {
            let help = "send {\"method\": \"GET\", \"url\": \"/path?x=1\", \"headers\": [[\"Name\", \"value\"]], \"body\": \"\"}";
            return super::text(StatusCode::BAD_REQUEST, &format!("{error}\n{help}\n"));
        }
    };
    let Asked { method, url, headers, body, from, certificate } = asked;
    let question = Question::new(&method, &url, &headers, body.into_bytes(), &Question::host(&snapshot.config));
    let question = question.and_then(|question| match certificate {
        Some(pem) => question.with_certificate(&url, pem.as_bytes()),
        None => Ok(question),
    });
    match question {
        Err(why) => super::text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
        Ok(question) => {
            let question = match from {
                Some(address) => question.from_peer(address),
                None => question,
            };
            let explanation = explain(snapshot, &question, now);
            let text = explanation.to_string();
            super::json(StatusCode::OK, &json!({ "explanation": explanation, "text": text }))
        }
    }
}
