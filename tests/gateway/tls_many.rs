//! A thousand hosts with a certificate each, all of them replaced while callers call.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tollgate::clock::Clock;

use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::TestGateway;
use crate::support::tls_caller::TlsCaller;
use crate::support::tls_origin::Authority;
use crate::support::watched::PATIENCE;

const HOSTS: usize = 1000;
/// Half of them keep their connection, half open one for each request.
const CALLERS: usize = 200;

#[tokio::test]
async fn a_thousand_certificates_are_replaced_while_two_hundred_connections_call() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let before = write_pairs(&authority, folder.path());
    let next = tempfile::tempdir().expect("a folder");
    let after = write_pairs(&authority, next.path());
    let gw = TestGateway::from_folder(folder, &sections(), Clock::system());
    let caller = TlsCaller::trusting(authority.der());
    let chain = async |host: usize| caller.open(gw.addr(), Some(&name(host))).await.expect("a handshake").chain;
    let traffic = Traffic::start(&caller, gw.addr());
    traffic.goes_on().await;
    assert_eq!(chain(HOSTS - 1).await, [before[HOSTS - 1].clone()]);

    // Two files are never replaced at one time: here all keys are there before the first certificate.
    copy(next.path(), &gw.folder(), "key");
    let told = gw.reload().await;
    assert_eq!(told.status, 400);
    assert!(told.body_text().contains("does not belong to the certificate of h0.example.com"));
    traffic.goes_on().await;
    assert_eq!(chain(HOSTS - 1).await, [before[HOSTS - 1].clone()], "half of a pair is no pair");

    copy(next.path(), &gw.folder(), "pem");
    let written = Instant::now();
    eventually_async("the new certificates", || async { chain(0).await == [after[0].clone()] }).await;
    println!("{HOSTS} certificates: the first new one {:?} after the last was written", written.elapsed());
    traffic.goes_on().await;
    let (answered, failed) = traffic.end().await;
    println!("{answered} requests by {CALLERS} callers");
    assert_eq!(failed, Vec::<String>::new());
    // All came at once, so that it is not too late to look.
    for (host, new) in after.iter().enumerate() {
        assert_eq!(chain(host).await, std::slice::from_ref(new), "{}", name(host));
    }
}

fn name(host: usize) -> String {
    format!("h{host}.example.com")
}

fn sections() -> String {
    let mut text =
        "listeners: [{ address: 127.0.0.1:0, tls: true }]\nroutes: { /top: { pipe: top } }\nhosts:\n".to_owned();
    for host in 0..HOSTS {
        text.push_str(&format!("  {}: {{ tls: {{ cert: {host}.pem, key: {host}.key }} }}\n", name(host)));
    }
    text
}

fn write_pairs(authority: &Authority, folder: &Path) -> Vec<Vec<u8>> {
    (0..HOSTS).map(|host| authority.write_pair(folder, &host.to_string(), &[&name(host)])).collect()
}

/// In place, as `cp` does it: a file is empty for a moment, and half written for another.
fn copy(from: &Path, to: &Path, kind: &str) {
    for host in 0..HOSTS {
        let file = format!("{host}.{kind}");
        std::fs::copy(from.join(&file), to.join(&file)).expect("a file");
    }
}

/// Callers that call until they are told to end, or get something else than an answer.
struct Traffic {
    callers: JoinSet<Result<(), String>>,
    answered: Arc<[AtomicUsize]>,
    enough: Arc<AtomicBool>,
}

impl Traffic {
    fn start(caller: &TlsCaller, addr: SocketAddr) -> Self {
        let answered: Arc<[AtomicUsize]> = (0..CALLERS).map(|_| AtomicUsize::new(0)).collect();
        let enough = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (caller, answered, enough) = (caller.clone(), Arc::clone(&answered), Arc::clone(&enough));
            callers.spawn(async move {
                while !enough.load(Ordering::Acquire) {
                    let turn = async {
                        match number % 2 {
                            0 => once(&caller, addr, number, &answered[number]).await,
                            _ => kept(&caller, addr, number, &answered[number], &enough).await,
                        }
                    };
                    turn.await.map_err(|error| format!("caller {number}: {error}"))?;
                }
                Ok(())
            });
        }
        Self { callers, answered, enough }
    }

    /// Waits until each of them has been answered two more requests: at least one of them was asked from now on.
    async fn goes_on(&self) {
        let count = || self.answered.iter().map(|count| count.load(Ordering::Acquire)).collect::<Vec<_>>();
        let now = count();
        eventually("answers for every caller", || {
            self.callers.len() < CALLERS || count().iter().zip(&now).all(|(count, before)| *count >= before + 2)
        })
        .await;
    }

    /// How many requests were answered, and what went wrong.
    async fn end(self) -> (usize, Vec<String>) {
        self.enough.store(true, Ordering::Release);
        let ended = timeout(PATIENCE, self.callers.join_all()).await.expect("callers end");
        let answered = self.answered.iter().map(|count| count.load(Ordering::Acquire)).sum();
        (answered, ended.into_iter().filter_map(Result::err).collect())
    }
}

/// A connection for one request, to one host after another.
async fn once(caller: &TlsCaller, addr: SocketAddr, number: usize, answered: &AtomicUsize) -> Result<(), String> {
    let host = name((number + answered.load(Ordering::Acquire) * CALLERS) % HOSTS);
    let mut stream = caller.connect(addr, Some(&host)).await?;
    ask(&mut stream, &host).await?;
    answered.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

/// A connection that is kept.
async fn kept(
    caller: &TlsCaller,
    addr: SocketAddr,
    number: usize,
    answered: &AtomicUsize,
    enough: &AtomicBool,
) -> Result<(), String> {
    let host = name(number);
    let mut stream = caller.connect(addr, Some(&host)).await?;
    while !enough.load(Ordering::Acquire) {
        ask(&mut stream, &host).await?;
        answered.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// One request; anything but a whole answer with 200 is an error.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), host: &str) -> Result<(), String> {
    let request = format!("GET /top HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => return Err(format!("the connection ended after {:?}", String::from_utf8_lossy(&bytes))),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.ok_or_else(|| format!("no length: {head}"))?;
            if body.len() >= length {
                let is_whole = head.starts_with("HTTP/1.1 200 ") && body.len() == length;
                return if is_whole { Ok(()) } else { Err(text.into_owned()) };
            }
        }
    }
}
