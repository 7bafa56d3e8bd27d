use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::AsyncWrite;

use super::Joined;

/// Takes so much a time, and is busy every other time if it is told to.
struct Wire {
    writes: Vec<Vec<u8>>,
    most: usize,
    busy: Option<bool>,
}

impl Wire {
    fn new(most: usize, busy: Option<bool>) -> Self {
        Wire { writes: Vec::new(), most, busy }
    }

    fn all(&self) -> Vec<u8> {
        self.writes.concat()
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(busy) = &mut self.busy {
            *busy = !*busy;
            if *busy {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let taken = bytes.len().min(self.most);
        self.writes.push(bytes.iter().take(taken).copied().collect());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn write(joined: &mut Joined, wire: &mut Wire, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|context| joined.poll_write(wire, context, &[IoSlice::new(bytes)])).await.unwrap();
        assert!(written > 0);
        bytes = bytes.get(written..).unwrap();
    }
}

async fn flush(joined: &mut Joined, wire: &mut Wire) {
    poll_fn(|context| joined.poll_out(wire, context)).await.unwrap();
}

#[tokio::test]
async fn a_head_and_a_small_body_are_one_write() {
    let (mut joined, mut wire) = (Joined::default(), Wire::new(usize::MAX, None));
    for _ in 0..2 {
        write(&mut joined, &mut wire, b"HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(wire.writes.is_empty(), "it waits for what follows");
        write(&mut joined, &mut wire, &[b'a'; 3000]).await;
        assert_eq!(wire.writes.len(), 1);
        write(&mut joined, &mut wire, b"more").await;
        assert_eq!(wire.writes.len(), 2, "a body is not held up");
        wire.writes.clear();
    }
}

#[tokio::test]
async fn a_head_alone_goes_out_when_it_is_flushed() {
    let (mut joined, mut wire) = (Joined::default(), Wire::new(usize::MAX, None));
    write(&mut joined, &mut wire, b"HTTP/1.1 103 Early Hints\r\n\r\n").await;
    flush(&mut joined, &mut wire).await;
    assert_eq!(wire.all(), b"HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_eq!(joined.held.capacity(), 0, "nothing stays with an idle connection");
}

#[tokio::test]
async fn what_is_large_is_not_copied() {
    let (mut joined, mut wire) = (Joined::default(), Wire::new(usize::MAX, None));
    write(&mut joined, &mut wire, b"HTTP/1.1 200 OK\r\n\r\n").await;
    write(&mut joined, &mut wire, &[b'a'; 64 << 10]).await;
    assert_eq!(wire.writes.iter().map(Vec::len).collect::<Vec<_>>(), [19, 64 << 10]);
}

proptest! {
    #[test]
    fn every_byte_comes_once_and_in_order_however_slow_the_wire_is(
        pieces in proptest::collection::vec((any::<bool>(), 0_usize..20_000, any::<bool>()), 1..12),
        most in 1_usize..9_000,
        busy in proptest::option::of(any::<bool>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut joined, mut wire, mut expected) = (Joined::default(), Wire::new(most, busy), Vec::new());
            for (index, (is_head, length, flushes)) in pieces.iter().enumerate() {
                let mut piece = if *is_head { b"HTTP/1.1 ".to_vec() } else { Vec::new() };
                piece.resize(piece.len() + length, u8::try_from(index).unwrap());
                write(&mut joined, &mut wire, &piece).await;
                expected.extend(piece);
                if *flushes {
                    flush(&mut joined, &mut wire).await;
                    prop_assert_eq!(&wire.all(), &expected);
                }
            }
            flush(&mut joined, &mut wire).await;
            prop_assert_eq!(wire.all(), expected);
            Ok(())
        })?;
    }
}
