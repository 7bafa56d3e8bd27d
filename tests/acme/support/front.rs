//! A server that answers by a function: for tokens on port 80, and for authorities that misbehave.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tollgate::tls::acme::{Challenges, PATH};

/// Status, headers, body.
pub type Reply = (u16, Vec<(&'static str, String)>, String);

/// Listens until it is dropped.
pub struct Front {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Answers every request by its method and target.
pub fn serve(port: u16, answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Front {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (answer, is_over) = (Arc::new(answer), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let thread = thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if over.load(Ordering::Acquire) {
                return;
            }
            let answer = Arc::clone(&answer);
            thread::spawn(move || one(stream, &*answer));
        }
    });
    Front { address, is_over, thread: Some(thread) }
}

/// Answers as the listener on port 80 does.
pub fn answer_challenges(port: u16, challenges: Arc<Challenges>) -> Front {
    serve(port, move |_, target| match target.strip_prefix(PATH).and_then(|token| challenges.get(token)) {
        Some(answer) => (200, Vec::new(), answer.to_string()),
        None => (404, Vec::new(), String::new()),
    })
}

impl Front {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens as long as the test program lives; where.
    pub fn forever(self) -> SocketAddr {
        let address = self.address;
        std::mem::forget(self);
        address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn one(stream: TcpStream, answer: &dyn Fn(&str, &str) -> Reply) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    lines.map_while(Result::ok).find(String::is_empty)?;
    let (status, headers, body) = answer(method, target);
    let mut head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()
}
