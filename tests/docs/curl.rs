//! As much of curl as the documentation uses, so that its lines can be run where curl is not installed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// One `curl` line, read.
pub(crate) struct Request {
    method: Option<String>,
    headers: Vec<String>,
    body: Option<String>,
    pub(crate) url: String,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Head and body as received, chunks put together.
    pub(crate) text: String,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Request {
    /// Reads the words behind `curl`.
    pub(crate) fn read(line: &str) -> Self {
        let words = words(line);
        let mut words = words.iter().skip(1);
        let mut request = Self { method: None, headers: Vec::new(), body: None, url: String::new() };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("`{word}` without its value in {line}")).clone();
            match word.as_str() {
                "-d" => request.body = Some(value()),
                "-H" => request.headers.push(value()),
                "-X" => request.method = Some(value()),
                "-i" | "-s" | "-si" => {}
                // Whom to believe, and where names lead, the test knows by itself.
                "--cacert" | "--resolve" => drop(value()),
                url if url.starts_with("http://") || url.starts_with("https://") => request.url = url.to_owned(),
                other => panic!("this curl does not know `{other}`, in {line}"),
            }
        }
        assert!(!request.url.is_empty(), "no URL in {line}");
        request
    }

    /// The request to `authority`, whatever the URL says.
    pub(crate) fn send(&self, authority: &str) -> Answer {
        let stream = TcpStream::connect(authority).unwrap_or_else(|error| panic!("{authority}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.exchange(stream, authority)
    }

    /// As [`Request::send`], over TLS with the URL's own host; `root` is the file of the authority that is believed.
    pub(crate) fn send_over_tls(&self, address: SocketAddr, root: &Path) -> Answer {
        let authority = self.url.trim_start_matches("https://").split('/').next().unwrap();
        let host = authority.split(':').next().unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(root).unwrap_or_else(|error| panic!("{}: {error}", root.display())))
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.exchange(StreamOwned::new(connection, stream), authority)
    }

    fn exchange(&self, mut stream: impl Read + Write, authority: &str) -> Answer {
        let path = self.url.split_once("://").unwrap().1;
        let target = path.find('/').map_or("/", |slash| path.get(slash..).unwrap());
        let body = self.body.as_deref().unwrap_or_default();
        let method = self.method.as_deref().unwrap_or(if self.body.is_some() { "POST" } else { "GET" });
        let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !self.headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
            head.push_str(&format!("Host: {authority}\r\n"));
        }
        for header in &self.headers {
            head.push_str(&format!("{header}\r\n"));
        }
        if self.body.is_some() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            if !self.headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type:")) {
                head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            }
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::read(&String::from_utf8(bytes).unwrap())
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an answer: {text}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Self { status, text: format!("{head}\r\n\r\n{body}") }
    }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(behind.get(..size).unwrap());
        rest = behind.get(size..).unwrap().trim_start_matches("\r\n");
    }
    body
}

/// The words of a shell line with single quotes, up to a comment.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let quote = rest.chars().next().filter(|c| ['\'', '"'].contains(c));
        let (word, behind) = match quote.and_then(|quote| Some((quote, rest.strip_prefix(quote)?))) {
            Some((quote, quoted)) => quoted.split_once(quote).unwrap_or_else(|| panic!("an open quote in {line}")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}
