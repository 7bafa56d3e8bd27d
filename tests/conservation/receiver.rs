//! The data source that the gateway exports to: it is away, refuses, and takes lines without saying so.
//!
//! What it has is what a data source has that keeps one line of each id.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate::clock::TestClock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::state::usage::Usage;

use crate::book::Account;

/// A receiver that listens.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    is_away: AtomicBool,
    /// Calls since it is back, and those while it was away.
    calls: AtomicUsize,
    refused: AtomicUsize,
    /// By id.
    lines: Mutex<BTreeMap<String, Value>>,
}

impl Receiver {
    /// One that is away until it is told to come back.
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let receiver = Arc::new(Self {
            url,
            is_away: AtomicBool::new(true),
            calls: AtomicUsize::default(),
            refused: AtomicUsize::default(),
            lines: Mutex::default(),
        });
        let serving = Arc::clone(&receiver);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = Arc::clone(&serving);
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        receiver
    }

    /// From now on it takes lines, now and then.
    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// One call, one connection, as the gateway makes them.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").trim().parse().expect("a number");
        while bytes.len() < head + length {
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        }
        if self.is_away.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return answer(&mut stream, "503 Service Unavailable", 0).await;
        }
        match self.calls.fetch_add(1, Ordering::SeqCst) % 3 {
            // It has them, and nobody hears of it.
            0 => {
                self.keep(&bytes[head..]);
                None
            }
            1 => answer(&mut stream, "429 Too Many Requests", 0).await,
            _ => {
                let lines = self.keep(&bytes[head..]);
                answer(&mut stream, "200 OK", lines).await
            }
        }
    }

    /// Keeps lines; how many they are.
    fn keep(&self, body: &[u8]) -> usize {
        let mut text = String::new();
        GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
        let mut lines = self.lines.lock().expect("nobody panics");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let id = line["id"].as_str().expect("an id").to_owned();
            let before = lines.insert(id, line.clone());
            assert!(before.is_none_or(|before| before == line), "the same id, another line: {line}");
        }
        text.lines().count()
    }

    /// What it has, once a gateway of this configuration has sent everything that is written, or gave up on it. Minutes need
    /// not pass: this gateway lives ahead of them.
    pub(crate) async fn account(&self, config: &str, written: &Account) -> Account {
        let loaded = load_text("test.yaml", config, Path::new(".").to_path_buf(), &Environment::of([]));
        let config = loaded.unwrap_or_else(|issues| panic!("{issues}")).config;
        // However often it was called before: away at first, then its whole round.
        self.is_away.store(true, Ordering::SeqCst);
        let refused = self.refused.load(Ordering::SeqCst);
        let time = TestClock::at(SystemTime::now() + Duration::from_secs(120));
        let usage = Usage::new(time.clock());
        usage.follow(&config);
        let all = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if self.is_away.load(Ordering::SeqCst) && self.refused.load(Ordering::SeqCst) >= refused + 2 {
                    self.calls.store(0, Ordering::SeqCst);
                    self.come_back();
                }
                // That nothing waits is no end: between two minutes nothing does.
                let exported = usage.standing().exported;
                if exported.sent > 0 && exported.waiting == 0 {
                    let account = self.kept();
                    if written.beyond(&account).is_empty() {
                        return account;
                    }
                }
                time.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let account = all.await.unwrap_or_else(|_| self.kept());
        let exported = usage.standing().exported;
        assert_eq!(exported.dropped, 0);
        assert!(exported.failures >= 4, "away twice, then a lost answer and 429");
        account
    }

    fn kept(&self) -> Account {
        Account::of_lines(self.lines.lock().expect("nobody panics").values())
    }
}

async fn answer(stream: &mut TcpStream, status: &str, lines: usize) -> Option<()> {
    let body = format!(r#"{{"successful_rows":{lines},"quarantined_rows":0}}"#);
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.ok()
}
