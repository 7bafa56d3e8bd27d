//! Callers who never stop calling: over connections that they keep, and over new ones.
//!
//! In: where to. Out: how many requests were answered and how, and what went wrong. A request on a kept connection that is
//! closed before any byte of an answer is sent again, as every client does; that is counted. On a new one it is a failure.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use h2::Reason;
use h2::client::SendRequest;
use http::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Between two requests of one caller.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where to, and how.
#[derive(Clone)]
pub struct Door {
    pub at: SocketAddr,
    pub tls: Option<TlsConnector>,
}

impl Door {
    /// One that speaks TLS, for `localhost`, by this authority (PEM).
    pub fn of_tls(at: SocketAddr, authority: &std::path::Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Door { at, tls: Some(TlsConnector::from(Arc::new(config))) }
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(connector) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Box::new(connector.connect(name, stream).await?)
            }
        })
    }
}

/// Whether a caller keeps its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    Keeps,
    Renews,
}

/// What came of all calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers, by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that were sent again.
    pub repeats: u64,
    pub failures: Vec<String>,
}

impl Tally {
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }
}

/// Callers at work.
pub struct Calls {
    callers: JoinSet<Tally>,
    is_over: Arc<AtomicBool>,
}

impl Calls {
    /// So many callers of each habit, at each door, call this path.
    pub fn start(doors: &[Door], path: &'static str, each: usize) -> Self {
        let (mut callers, is_over) = (JoinSet::new(), Arc::<AtomicBool>::default());
        for door in doors {
            for habit in [Habit::Keeps, Habit::Renews].repeat(each) {
                callers.spawn(call(door.clone(), path, habit, Arc::clone(&is_over)));
            }
            // HTTP/2, where it can be begun without a handshake.
            if door.tls.is_none() {
                callers.spawn(call_many(door.at, path, Arc::clone(&is_over)));
            }
        }
        Calls { callers, is_over }
    }

    /// One request over a connection of its own.
    pub async fn once(door: Door, path: &'static str) -> Result<u16, String> {
        let mut stream = door.open().await.map_err(|error| error.to_string())?;
        let answer = exchange(&mut stream, path, Habit::Renews).await;
        answer.map(|(status, _)| status).map_err(|(Broken::Before(why) | Broken::Late(why))| why)
    }

    /// Lets them finish what they are at.
    pub async fn end(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for one in self.callers.join_all().await {
            one.answers.into_iter().for_each(|(status, count)| *all.answers.entry(status).or_default() += count);
            all.repeats += one.repeats;
            all.failures.extend(one.failures);
        }
        all
    }
}

async fn call(door: Door, path: &'static str, habit: Habit, is_over: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    while !is_over.load(Ordering::Relaxed) {
        let is_new = kept.is_none();
        let exchange = async {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => door.open().await.map_err(|error| Broken::Late(format!("connecting: {error}")))?,
            };
            exchange(&mut stream, path, habit).await.map(|(status, goes_on)| (status, goes_on.then_some(stream)))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok((status, stream))) => {
                *tally.answers.entry(status).or_default() += 1;
                kept = stream;
            }
            Ok(Err(Broken::Before(_))) if !is_new => {
                tally.repeats += 1;
                continue;
            }
            Ok(Err(Broken::Before(why) | Broken::Late(why))) => tally.failures.push(why),
            Err(_) => tally.failures.push("no answer in time".to_owned()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

/// As [`call`], over HTTP/2.
async fn call_many(at: SocketAddr, path: &'static str, is_over: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    while !is_over.load(Ordering::Relaxed) {
        let exchange = async {
            let sender: SendRequest<Bytes> = match kept.take() {
                Some(sender) => sender,
                None => {
                    let stream = TcpStream::connect(at).await.expect("somebody listens");
                    let (sender, connection) = h2::client::handshake(stream).await?;
                    tokio::spawn(connection);
                    sender
                }
            };
            // One that says goodbye takes no more: nothing has been sent.
            let Ok(mut sender) = sender.ready().await else { return Ok(None) };
            let request = Request::get(format!("http://localhost{path}")).body(()).expect("a request");
            let (response, _) = sender.send_request(request, true)?;
            let (head, mut body) = response.await?.into_parts();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
            }
            Ok::<_, h2::Error>(Some((head.status.as_u16(), sender)))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(None)) => continue,
            Ok(Ok(Some((status, sender)))) => {
                *tally.answers.entry(status).or_default() += 1;
                kept = Some(sender);
            }
            // Sent, and known not to have been looked at.
            Ok(Err(error)) if error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM) => {
                tally.repeats += 1
            }
            Ok(Err(error)) => tally.failures.push(format!("HTTP/2: {error}")),
            Err(_) => tally.failures.push("no answer in time over HTTP/2".to_owned()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

enum Broken {
    /// Before any byte of an answer.
    Before(String),
    Late(String),
}

/// One exchange; its status, and whether the connection may be used again.
async fn exchange(stream: &mut Box<dyn Stream>, path: &str, habit: Habit) -> Result<(u16, bool), Broken> {
    let connection = if habit == Habit::Keeps { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    let before = |error: io::Error| Broken::Before(format!("before an answer: {error}"));
    stream.write_all(request.as_bytes()).await.map_err(before)?;
    stream.flush().await.map_err(before)?;
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = match stream.read(&mut piece).await {
            Ok(0) if text.is_empty() => return Err(Broken::Before("closed before an answer".to_owned())),
            Ok(0) => return Err(Broken::Late("closed within an answer".to_owned())),
            Err(error) if text.is_empty() => return Err(before(error)),
            Err(error) => return Err(Broken::Late(format!("within an answer: {error}"))),
            Ok(length) => length,
        };
        text.extend_from_slice(&piece[..length]);
        let shown = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let Some((head, body)) = shown.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let expected = header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= expected {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            return Ok((status, habit == Habit::Keeps && header("connection:") != Some("close")));
        }
    }
}
