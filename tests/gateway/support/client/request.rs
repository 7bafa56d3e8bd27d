//! Makes the bytes of a request: a right one to begin with, each method makes one thing different.
//!
//! In: what the test wants to say. Out: bytes. Nothing is checked, so anything can be said.

use std::net::SocketAddr;

use super::Asked;
use super::RawClient;
use super::Response;

/// A request. Without further words: HTTP/1.1 with `Host: localhost`.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    version: &'static str,
    host: Option<Vec<u8>>,
    lines: Vec<Vec<u8>>,
    body: Vec<u8>,
}

impl Request {
    /// This method and target.
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            version: "HTTP/1.1",
            host: Some(b"localhost".to_vec()),
            lines: Vec::new(),
            body: Vec::new(),
        }
    }

    /// GET.
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// HEAD; `send` reads the answer accordingly.
    pub fn head(target: impl AsRef<[u8]>) -> Self {
        Self::new("HEAD", target)
    }

    /// POST without a body.
    pub fn post(target: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target)
    }

    /// A CORS preflight.
    pub fn preflight(target: impl AsRef<[u8]>, origin: &str, method: &str) -> Self {
        Self::new("OPTIONS", target).header("Origin", origin).header("Access-Control-Request-Method", method)
    }

    /// Another `Host`.
    pub fn host(mut self, host: impl AsRef<[u8]>) -> Self {
        self.host = Some(host.as_ref().to_vec());
        self
    }

    /// No `Host`.
    pub fn without_host(mut self) -> Self {
        self.host = None;
        self
    }

    /// HTTP/1.0.
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// One more field. A `Host` given here comes in addition to the one of `host`.
    pub fn header(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.raw_header_line([name.as_ref(), b": ", value.as_ref()].concat())
    }

    /// One more header line, without line end, whatever it is.
    pub fn raw_header_line(mut self, line: impl AsRef<[u8]>) -> Self {
        self.lines.push(line.as_ref().to_vec());
        self
    }

    /// `Authorization: Bearer ...`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// `Connection: close`.
    pub fn close(self) -> Self {
        self.header("Connection", "close")
    }

    /// This body with its `Content-Length`.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        self.header("Content-Length", length).raw_body(body)
    }

    /// This body with its length and type.
    pub fn typed_body(self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.header("Content-Type", content_type).body(body)
    }

    /// This JSON text as the body.
    pub fn json(self, json: impl AsRef<[u8]>) -> Self {
        self.typed_body("application/json", json)
    }

    /// This body, already form-encoded.
    pub fn form(self, form: impl AsRef<[u8]>) -> Self {
        self.typed_body("application/x-www-form-urlencoded", form)
    }

    /// The body in these chunks, with `Transfer-Encoding: chunked`.
    pub fn chunked<'a>(self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut body = Vec::new();
        for chunk in chunks {
            body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked").raw_body(body)
    }

    /// These bytes after the head, without any header that announces them.
    pub fn raw_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The bytes of the head.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.target, b" ", self.version.as_bytes(), b"\r\n"].concat();
        if let Some(host) = &self.host {
            bytes.extend_from_slice(&[b"Host: ", host.as_slice(), b"\r\n"].concat());
        }
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The bytes of head and body.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head_bytes(), self.body.clone()].concat()
    }

    /// Sends it on a new connection and reads the answer. A peer that refuses while the body is still being sent is
    /// heard all the same.
    pub async fn send(&self, addr: SocketAddr) -> Response {
        let mut client = RawClient::connect(addr).await;
        self.send_on(&mut client).await
    }

    /// Sends it on this connection and reads the answer.
    pub async fn send_on(&self, client: &mut RawClient) -> Response {
        // A failed send shows in what can or cannot be read.
        drop(client.try_send(self.bytes()).await);
        match self.asked() {
            Asked::Body => client.read_response().await,
            Asked::Head => client.read_response_to_head().await,
        }
    }

    fn asked(&self) -> Asked {
        if self.method == "HEAD" { Asked::Head } else { Asked::Body }
    }
}
