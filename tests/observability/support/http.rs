//! The smallest client that will do: one request, one answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Status and body; status 0 where there is no answer.
pub fn get(at: SocketAddr, target: &str) -> (u16, String) {
    get_with(at, target, "")
}

/// As [`get`], with more header lines.
pub fn get_with(at: SocketAddr, target: &str, headers: &str) -> (u16, String) {
    ask(at, &format!("GET {target}"), headers, "").unwrap_or_default()
}

/// Posts a JSON text.
pub fn post(at: SocketAddr, target: &str, json: &str) -> (u16, String) {
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", json.len());
    ask(at, &format!("POST {target}"), &headers, json).unwrap_or_default()
}

fn ask(at: SocketAddr, what: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Version 1.0, so that the answer is in one piece and ends with the connection.
    write!(stream, "{what} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok((status, body.to_owned()))
}
