//! One-shot calls: a new connection for each, closed afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use super::Asked;
use super::Ending;
use super::RawClient;
use super::Request;
use super::Response;
use super::reader::ResponseReader;

/// How long a connection that has begun to answer must be quiet to count as through.
const QUIET: Duration = Duration::from_millis(500);

/// All that came back for some bytes.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Every byte.
    pub bytes: Vec<u8>,
    /// How the peer ended the connection; `None` if it kept it open.
    pub ending: Option<Ending>,
}

impl Exchange {
    /// The responses in the bytes, each read as an answer to something else than HEAD. Half a head at the end is left
    /// out.
    pub fn responses(&self) -> Vec<Response> {
        let mut buffer = BytesMut::from(self.bytes.as_slice());
        let mut responses = Vec::new();
        while !buffer.is_empty() {
            let ending = Some(self.ending.unwrap_or(Ending::Closed));
            match ResponseReader::new(Asked::Body).advance(&mut buffer, ending, None) {
                Some(Ok(response)) => responses.push(response),
                Some(Err(_)) | None => break,
            }
        }
        responses
    }

    /// The statuses of `responses`.
    pub fn statuses(&self) -> Vec<u16> {
        self.responses().iter().map(|response| response.status).collect()
    }
}

/// GET.
pub async fn get(addr: SocketAddr, target: &str) -> Response {
    Request::get(target).send(addr).await
}

/// One request. `Host: localhost`, unless a header says otherwise; `Content-Length` if there is a body and no header
/// that frames it.
pub async fn request(addr: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let given = |name: &str| headers.iter().any(|header| header.0.eq_ignore_ascii_case(name));
    let mut request = Request::new(method, target);
    if given("host") {
        request = request.without_host();
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let framed = given("content-length") || given("transfer-encoding") || body.is_empty();
    let request = if framed { request.raw_body(body) } else { request.body(body) };
    request.send(addr).await
}

/// Sends these bytes and returns all that comes back; see [`exchange`].
pub async fn raw(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    exchange(addr, bytes).await.bytes
}

/// Sends these bytes and reads until the peer ends the connection, or has begun to answer and then said nothing for
/// half a second. Ask for `Connection: close` in the last request to be spared that guess. Panics if nothing at all
/// happens for 10 s.
pub async fn exchange(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> Exchange {
    let mut client = RawClient::connect(addr).await;
    // A failed send shows in what can or cannot be read.
    drop(client.try_send(bytes).await);
    let mut received = client.read_some().await;
    if !received.is_empty() {
        received.extend(client.read_until_quiet(QUIET).await);
    }
    let ending = client.is_closed_by_peer().then(|| client.ending.unwrap_or(Ending::Closed));
    Exchange { bytes: received, ending }
}
