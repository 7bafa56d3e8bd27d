//! An origin and a caller, on threads of their own, which ask for no memory once they run: it would be counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 67\r\n\r\n\
    {\"data\":[],\"rows\":0,\"statistics\":{\"rows_read\":48213,\"bytes_read\":1}}";

/// Answers every request with the same, and ends with the process.
pub(super) fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            std::thread::spawn(move || {
                connection.set_nodelay(true).expect("a connection");
                let mut buffer = [0; 8192];
                while head_of(&mut connection, &mut buffer).is_some() {
                    connection.write_all(ANSWER).expect("the gateway reads");
                }
            });
        }
    });
    address
}

/// Asks for the same again and again, on one connection.
pub(super) struct Caller {
    connection: TcpStream,
    request: String,
    buffer: [u8; 8192],
}

impl Caller {
    pub(super) fn of(address: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let connection = TcpStream::connect(address).expect("somebody listens");
        connection.set_nodelay(true).expect("a connection");
        connection.set_read_timeout(Some(PATIENCE)).expect("a connection");
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path}?limit=5 HTTP/1.1\r\nHost: data.example.com\r\nAccept: */*\r\n{bearer}\r\n");
        Caller { connection, request, buffer: [0; 8192] }
    }

    pub(super) fn ask(&mut self, times: usize) {
        for _ in 0..times {
            self.connection.write_all(self.request.as_bytes()).expect("it is read");
            let (read, head) = head_of(&mut self.connection, &mut self.buffer).expect("an answer");
            let text = std::str::from_utf8(&self.buffer[..head]).expect("a head is text");
            assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
            let mut body = read - head;
            let length = body_of(text);
            while body < length {
                match self.connection.read(&mut self.buffer).expect("the rest") {
                    0 => panic!("the answer ended after {body} bytes of {length}"),
                    read => body += read,
                }
            }
        }
    }
}

/// How much came, and how much of it is the head; none if the connection ended.
fn head_of(connection: &mut TcpStream, buffer: &mut [u8]) -> Option<(usize, usize)> {
    let mut read = 0;
    loop {
        read += match connection.read(&mut buffer[read..]) {
            Ok(0) | Err(_) => return None,
            Ok(more) => more,
        };
        if let Some(end) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n") {
            return Some((read, end + 4));
        }
    }
}

fn body_of(head: &str) -> usize {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(field).expect("a length")
}
