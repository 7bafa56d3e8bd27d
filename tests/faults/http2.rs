//! Floods of HTTP/2: frames that are cheap to send and dear to receive. The gateway ends the connection, or bears it.
//!
//! In: frames by hand. Out: how the connection fared, what it cost in memory. Not here: requests that HTTP/1.1 could not say
//! (`bytes`; tests/gateway/head.rs).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::origin::{Step, say};
use crate::sized;
use crate::stand::{CANARY, Stand, TOKEN, assert_none_wrong};
use crate::support::eventually::eventually;
use crate::support::h2_client::{Fields, Frame};

/// What all floods together may cost, in KiB.
const MEMORY: u64 = 200 * 1024;
/// Streams that may be open on one connection.
const STREAMS: usize = 100;
/// How long a peer that does not take any more is waited for.
const BLOCKED: Duration = Duration::from_millis(500);
/// The PING behind a flood.
const MARK: [u8; 8] = *b"are you?";

/// How a connection fared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It answers the PING behind the flood.
    Alive,
    /// The gateway reads no more of it as long as nobody reads what it says.
    Blocked,
    /// The gateway has ended it, with the code of its GOAWAY if it said one.
    Closed(Option<u32>),
}

/// Whether the flooder takes what the gateway says.
#[derive(Clone, Copy, Debug)]
enum Reads {
    All,
    Nothing,
}

/// A flood, and how it may end.
struct Flood {
    name: &'static str,
    bytes: Vec<u8>,
    reads: Reads,
    may: fn(End) -> bool,
}

fn flood(name: &'static str, frames: impl IntoIterator<Item = Frame>, may: fn(End) -> bool) -> Flood {
    Flood { name, bytes: frames.into_iter().flat_map(|frame| frame.bytes()).collect(), reads: Reads::All, may }
}

impl Flood {
    /// The same by somebody who does not read.
    fn deaf(self, name: &'static str) -> Self {
        // Whether it fits into the buffers of the system is nobody's promise.
        Flood { name, reads: Reads::Nothing, may: |_| true, ..self }
    }
}

fn any(_: End) -> bool {
    true
}

fn is_alive(end: End) -> bool {
    end == End::Alive
}

fn is_closed(end: End) -> bool {
    matches!(end, End::Closed(_))
}

fn count() -> u32 {
    sized(10_000, 100_000)
}

fn headers(stream: u32, path: &str) -> Frame {
    Frame::new(Frame::HEADERS, Frame::END_HEADERS | Frame::END_STREAM, stream, Fields::get(path).encode())
}

fn reset(stream: u32) -> Frame {
    Frame::new(Frame::RST_STREAM, 0, stream, 8_u32.to_be_bytes())
}

fn window(stream: u32, by: u32) -> Frame {
    Frame::new(Frame::WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

fn setting(id: u8, value: u32) -> Frame {
    Frame::new(Frame::SETTINGS, 0, 0, [&[0, id], value.to_be_bytes().as_slice()].concat())
}

/// The numbers of so many streams.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| number * 2 + 1)
}

fn floods_of_streams() -> Vec<Flood> {
    let rapid = |path| streams(count()).flat_map(move |stream| [headers(stream, path), reset(stream)]);
    vec![
        flood("rapid reset", rapid(CANARY), any),
        flood("rapid reset", rapid(CANARY), any).deaf("rapid reset, unread"),
        flood("rapid reset of what waits", rapid("/top?row=never"), any),
        // The server is made to reset the streams itself.
        flood(
            "MadeYouReset by a window",
            streams(count()).flat_map(|stream| [headers(stream, CANARY), window(stream, 0)]),
            any,
        ),
        flood(
            "MadeYouReset by data behind the end",
            streams(count()).flat_map(|stream| [headers(stream, CANARY), Frame::new(Frame::DATA, 0, stream, b"x")]),
            any,
        ),
        flood("1 000 streams", streams(1_000).map(|stream| headers(stream, "/top?row=never")), any),
        flood("streams in wrong order", [headers(5, CANARY), headers(3, CANARY)], is_closed),
        flood("streams with even numbers", [headers(2, CANARY)], is_closed),
        flood("a stream twice", [headers(1, CANARY), headers(1, CANARY)], any),
        flood("resets of streams that never were", streams(count()).map(reset), is_closed),
        flood(
            "answers that nobody has room for",
            [setting(4, 0)].into_iter().chain(streams(100).map(|stream| headers(stream, "/top?row=large"))),
            any,
        ),
        flood(
            "room for one byte at a time",
            [setting(4, 1), headers(1, "/top?row=large")].into_iter().chain((0..count()).map(|_| window(1, 1))),
            is_alive,
        ),
    ]
}

fn floods_of_headers() -> Vec<Flood> {
    let begun = || Frame::new(Frame::HEADERS, Frame::END_STREAM, 1, Fields::get(CANARY).encode());
    let go_on = |piece: &'static [u8], times: u32| {
        [begun()].into_iter().chain((0..times).map(move |_| Frame::new(Frame::CONTINUATION, 0, 1, piece)))
    };
    let literal = Fields::none().with("x-a", "a".repeat(1_000)).encode();
    let large = literal.repeat(16);
    let list = (0..sized(200, 2_000)).map(move |_| Frame::new(Frame::CONTINUATION, 0, 1, &large));
    let whole = |block: Vec<u8>| Frame::new(Frame::HEADERS, Frame::END_HEADERS | Frame::END_STREAM, 1, block);
    // One entry of nearly 4 KiB put into the table, and then named again and again by one byte each.
    let entry = [&[0x40, 3][..], b"x-b", &[0x7f, 0xc1, 0x1d], &[b'b'; 3_904]].concat();
    let bomb = [Fields::get(CANARY).encode(), entry, vec![0xbe; 12_000]].concat();
    let resize = [vec![0x3f, 0xe1, 0xff, 0xff, 0x0f], Fields::get(CANARY).encode()].concat();
    vec![
        flood("CONTINUATION without an end", go_on(b"", count()), is_closed),
        flood("CONTINUATION byte by byte", go_on(&[0x82], count()), any),
        flood("CONTINUATION of megabytes", [begun()].into_iter().chain(list), is_closed),
        flood("CONTINUATION of nothing", [Frame::new(Frame::CONTINUATION, 0, 1, b"")], is_closed),
        flood("something else within a head", [begun(), Frame::new(Frame::PING, 0, 0, MARK)], is_closed),
        flood("a bomb of HPACK", [whole(bomb)], any),
        flood("a table of a megabyte", [whole(resize)], is_closed),
        flood("a table of 4 GiB", [setting(1, u32::MAX), headers(1, CANARY)], any),
        flood("an index that is none", [whole(vec![0xff, 0xff, 0xff, 0xff, 0x0f])], is_closed),
        flood("a code of Huffman that is none", [whole([&[0, 0x84][..], &[0xff; 4], &[1, b'a']].concat())], is_closed),
    ]
}

fn floods_of_others() -> Vec<Flood> {
    let many = |frame: Frame| (0..count()).map(move |_| frame.clone());
    let ping = || many(Frame::new(Frame::PING, 0, 0, [0; 8]));
    let settings = || many(Frame::new(Frame::SETTINGS, 0, 0, []));
    let open = || Frame::new(Frame::HEADERS, Frame::END_HEADERS, 1, Fields::post("/raw").encode());
    let priority = Frame::new(2, 0, 3, [0, 0, 0, 1, 16]);
    vec![
        flood("PING", ping(), any),
        flood("PING", ping(), any).deaf("PING, unread"),
        flood("SETTINGS", settings(), any),
        flood("SETTINGS", settings(), any).deaf("SETTINGS, unread"),
        flood("SETTINGS that change the windows", (0..count()).map(|at| setting(4, at % 2 * 65_535)), any),
        flood("PRIORITY", many(priority), any),
        flood("frames of an unknown kind", many(Frame::new(0xee, 0, 0, b"evil")), any),
        flood("empty DATA", [open()].into_iter().chain(many(Frame::new(Frame::DATA, 0, 1, b""))), any),
        flood(
            "padding",
            [open()]
                .into_iter()
                .chain((0..200).map(|_| Frame::new(Frame::DATA, Frame::PADDED, 1, [&[255][..], &[0; 255]].concat()))),
            any,
        ),
        flood("a window beyond its bound", [window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)], is_closed),
        flood("a window of nothing", [window(0, 0)], is_closed),
        flood("a frame of 16 MiB", [Frame::new(Frame::DATA, 0, 1, vec![0; (1 << 24) - 1])], is_closed),
        flood("a frame that is too short", [Frame::new(Frame::PING, 0, 0, b"x")], is_closed),
        flood("data for nobody", [Frame::new(Frame::DATA, 0, 0, b"x")], is_closed),
        flood("an acknowledgement too many", many(Frame::new(Frame::SETTINGS, Frame::ACK, 0, [])), any),
        flood("a push", [Frame::new(5, Frame::END_HEADERS, 1, [0, 0, 0, 2])], is_closed),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_floods_of_http2_cost_others_nothing() {
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "a".repeat(1_000_000));
    let scripts = [("never", vec![Step::Hold]), ("large", vec![say(large)])];
    let sections = format!(
        "upstreams:
  canary: {{ url: '{{origin}}', token: '{TOKEN}' }}
  t: {{ url: '{{origin}}', token: '{TOKEN}' }}
routes:
  /canary: {{ pipe: canary, upstream: canary }}
  /top: {{ pipe: top, upstream: t }}
  /raw: {{ proxy: /raw, upstream: t, methods: [POST] }}"
    );
    let stand = Stand::start(&sections, scripts.map(|(name, steps)| (name.to_owned(), steps))).await;
    let before = stand.gateway.memory("VmRSS");
    let mut wrong = Vec::new();
    for flood in floods_of_streams().into_iter().chain(floods_of_headers()).chain(floods_of_others()) {
        let (end, most) = pour(&stand, &flood).await;
        println!("{}: {end:?}", flood.name);
        if !(flood.may)(end) {
            wrong.push(format!("{}: {end:?}", flood.name));
        }
        if most > STREAMS {
            wrong.push(format!("{}: the upstream worked for {most} streams of one connection", flood.name));
        }
        if let Err(what) = stand.assert_serves(CANARY).await {
            wrong.push(format!("after {}: {what}", flood.name));
        }
    }
    assert_none_wrong(&wrong);
    let grown = stand.gateway.memory("VmHWM").saturating_sub(before);
    println!("floods of HTTP/2 cost {grown} KiB at most");
    assert!(grown < MEMORY, "{grown} KiB");
    stand.end("floods of HTTP/2").await;
}

/// Sends a flood on a connection of its own. How that fares, and for how many of its streams the upstream worked at most.
async fn pour(stand: &Stand, flood: &Flood) -> (End, usize) {
    let stream = TcpStream::connect(stand.addr).await.expect("the gateway accepts");
    let (read, mut write) = stream.into_split();
    let settings = Frame::new(Frame::SETTINGS, 0, 0, []).bytes();
    let ping = Frame::new(Frame::PING, 0, 0, MARK).bytes();
    let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &flood.bytes, &ping].concat();
    let working = || stand.origin.playing().iter().filter(|row| !row.is_empty()).count();
    let (end, most) = match flood.reads {
        Reads::All => {
            let (said, heard) = watch::channel(None);
            let listening = tokio::spawn(listen(read, said));
            // What cannot be sent shows in what is heard.
            let _ = send(&mut write, &bytes, Duration::from_secs(10)).await;
            let end = verdict(heard).await;
            let most = working();
            listening.abort();
            (end, most)
        }
        Reads::Nothing => {
            let sent = send(&mut write, &bytes, BLOCKED).await;
            drop(read);
            (sent.err().unwrap_or(End::Alive), working())
        }
    };
    drop(write);
    eventually(&format!("the upstream to be let go after {}", flood.name), || working() == 0).await;
    (end, most)
}

/// Sends all of it, unless the gateway ends the connection or takes nothing for so long.
async fn send(write: &mut OwnedWriteHalf, bytes: &[u8], patience: Duration) -> Result<(), End> {
    for piece in bytes.chunks(64 * 1024) {
        match timeout(patience, write.write_all(piece)).await {
            Err(_) => return Err(End::Blocked),
            Ok(Err(_)) => return Err(End::Closed(None)),
            Ok(Ok(())) => {}
        }
    }
    Ok(())
}

/// What was heard, once that is the last word.
async fn verdict(mut heard: watch::Receiver<Option<End>>) -> End {
    let first = timeout(Duration::from_secs(10), heard.wait_for(Option::is_some)).await;
    let first = first.ok().and_then(|heard| heard.ok().and_then(|end| *end)).unwrap_or(End::Blocked);
    // A connection that is about to end may have heard the PING before.
    let closed = timeout(Duration::from_millis(20), heard.wait_for(|end| matches!(end, Some(End::Closed(_))))).await;
    closed.ok().and_then(|heard| heard.ok().and_then(|end| *end)).unwrap_or(first)
}

/// Reads frames until the connection ends, and says how it fares.
async fn listen(mut read: OwnedReadHalf, say: watch::Sender<Option<End>>) {
    let mut goaway = None;
    let mut header = [0; 9];
    while read.read_exact(&mut header).await.is_ok() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        if read.read_exact(&mut payload).await.is_err() {
            break;
        }
        match header[3] {
            Frame::GOAWAY => goaway = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four"))),
            Frame::PING if header[4] & Frame::ACK != 0 && payload == MARK => {
                say.send_replace(Some(End::Alive));
            }
            _ => {}
        }
    }
    say.send_replace(Some(End::Closed(goaway)));
}
