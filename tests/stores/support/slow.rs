//! A way to Redis on which answers can be held up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A port in front of another; it lives on the test's runtime.
#[derive(Debug)]
pub struct Way {
    pub port: u16,
    delay: Arc<AtomicU64>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let way = Self { port: listener.local_addr().expect("a port").port(), delay: Arc::default() };
        let delay = Arc::clone(&way.delay);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                tokio::spawn(pass(client, server, Arc::clone(&delay)));
            }
        });
        way
    }

    /// From now on answers take so much longer.
    pub fn hold_up(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).expect("a short time"), Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, server: TcpStream, delay: Arc<AtomicU64>) {
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
            tokio::time::sleep(Duration::from_millis(delay.load(Ordering::SeqCst))).await;
            to_client.write_all(&buffer[..size]).await?;
        }
    };
    drop(tokio::try_join!(there, back));
}
