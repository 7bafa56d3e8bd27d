//! A way to Redis or Postgres on which answers can be held up, or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a Postgres says behind a COMMIT.
const COMMITTED: &[u8] = b"COMMIT\0";

/// A port in front of another; it lives on the test's runtime.
#[derive(Debug)]
pub struct Way {
    pub port: u16,
    delay: Arc<AtomicU64>,
    losses: Arc<AtomicU64>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let way =
            Self { port: listener.local_addr().expect("a port").port(), delay: Arc::default(), losses: Arc::default() };
        let (delay, losses) = (Arc::clone(&way.delay), Arc::clone(&way.losses));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                tokio::spawn(pass(client, server, Arc::clone(&delay), Arc::clone(&losses)));
            }
        });
        way
    }

    /// From now on answers take so much longer.
    pub fn hold_up(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    /// The next so many connections on which a Postgres says that it has committed break before that is heard.
    #[cfg(feature = "postgres")]
    pub fn lose_commits(&self, times: u64) {
        self.losses.store(times, Ordering::SeqCst);
    }

    /// How many of those are still to come.
    #[cfg(feature = "postgres")]
    pub fn left_to_lose(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: TcpStream, delay: Arc<AtomicU64>, losses: Arc<AtomicU64>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let back = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let size = from_server.read(&mut buffer).await?;
            if size == 0 {
                return Ok(());
            }
            let is_commit = buffer[..size].windows(COMMITTED.len()).any(|part| part == COMMITTED);
            let less = |left: u64| left.checked_sub(1);
            if is_commit && losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
            }
            tokio::time::sleep(Duration::from_millis(delay.load(Ordering::SeqCst))).await;
            to_client.write_all(&buffer[..size]).await?;
        }
    };
    drop(tokio::try_join!(there, back));
}
