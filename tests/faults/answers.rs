//! The table: what a faulty upstream says, and what callers are to see of it.
//!
//! Out: [`rows`]. Whatever is not to reach anybody has the word "evil" in it. Not here: trying them (`upstream`).

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::origin::{Step, say};

/// The body of every answer that is meant well.
pub(crate) const BODY: &str = r#"{"data":[{"n":1}],"rows":1}"#;

/// What a caller is to see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// An incomplete message; 502 where nothing had gone out.
    Cut,
    /// 502, or the whole answer without what was wrong with it.
    Either,
    /// The gateway's own sentence, with this status and code.
    Refused(u16, &'static str),
    /// An error of the upstream's with this status, in the gateway's own words.
    Replaced(u16),
    /// The whole answer.
    Whole,
}

/// Which upstream of the gateway it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Its connections are nobody else's.
    Aside,
    /// With short time-outs.
    Hasty,
    /// Nobody listens there.
    Refusing,
    /// Healthy callers use its connections, too.
    Shared,
    /// Connecting to it neither succeeds nor fails.
    Silent,
}

/// A fault.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Expected,
}

const FAILED: Expected = Expected::Refused(502, "upstream_failed");
const TIMEOUT: Expected = Expected::Refused(504, "upstream_timeout");

/// All of them.
pub(crate) fn rows() -> Vec<Row> {
    let groups = [unreachable(), broken_off(), slow(), lengths(), chunks(), surplus(), floods(), heads(), errors()];
    groups.into_iter().flatten().collect()
}

fn row<const N: usize>(name: &'static str, expected: Expected, steps: [Step; N]) -> Row {
    Row { name, way: Way::Shared, steps: steps.into(), expected }
}

impl Row {
    /// Where callers ask for it.
    pub(crate) fn path(&self) -> &'static str {
        match self.way {
            Way::Aside => "/aside",
            Way::Hasty => "/hasty",
            Way::Refusing => "/refusing",
            Way::Shared => "/shared",
            Way::Silent => "/silent",
        }
    }

    fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }
}

/// A head with these lines, and a body.
fn answer(lines: &str, body: &str) -> Step {
    say(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{lines}\r\n{body}"))
}

/// What is right.
fn right() -> Step {
    answer(&length(), BODY)
}

fn length() -> String {
    format!("Content-Length: {}\r\n", BODY.len())
}

fn chunked(body: &str) -> Step {
    answer("Transfer-Encoding: chunked\r\n", body)
}

/// The right answer with one more line in its head.
fn with(line: &str) -> Step {
    answer(&format!("{line}{}", length()), BODY)
}

fn unreachable() -> Vec<Row> {
    vec![
        row("refuses", FAILED, []).by(Way::Refusing),
        row("does not accept", TIMEOUT, []).by(Way::Silent),
        row("accepts and says nothing", TIMEOUT, [Step::Hold]).by(Way::Hasty),
    ]
}

fn broken_off() -> Vec<Row> {
    let half = BODY.split_at(BODY.len() / 2).0;
    let size = format!("{:x}\r\n", BODY.len());
    let pause = || Step::Pause(Duration::from_millis(20));
    vec![
        row("closes before the head", FAILED, [Step::Close]),
        row("resets before the head", FAILED, [Step::Reset]),
        row("closes in the status line", FAILED, [say("HTTP/1.1 20"), pause(), Step::Close]),
        row("resets in the status line", FAILED, [say("HTTP/1.1 20"), pause(), Step::Reset]),
        row("closes in the head", FAILED, [say("HTTP/1.1 200 OK\r\nContent-Ty"), pause(), Step::Close]),
        row("resets in the head", FAILED, [say("HTTP/1.1 200 OK\r\nContent-Ty"), pause(), Step::Reset]),
        row("closes behind the head", Expected::Cut, [answer(&length(), ""), pause(), Step::Close]),
        row("resets behind the head", Expected::Cut, [answer(&length(), ""), pause(), Step::Reset]),
        row("closes in a body with a length", Expected::Cut, [answer(&length(), half), pause(), Step::Close]),
        row("resets in a body with a length", Expected::Cut, [answer(&length(), half), pause(), Step::Reset]),
        row("resets in a body with a length at once", Expected::Cut, [answer(&length(), half), Step::Reset]),
        row("closes behind the head of chunks", Expected::Cut, [chunked(""), pause(), Step::Close]),
        row("closes in a chunk", Expected::Cut, [chunked(&format!("{size}{half}")), pause(), Step::Close]),
        row("resets in a chunk", Expected::Cut, [chunked(&format!("{size}{half}")), pause(), Step::Reset]),
        row("closes in the size of a chunk", Expected::Cut, [chunked(size.trim_end()), pause(), Step::Close]),
        row("closes between chunks", Expected::Cut, [chunked(&format!("{size}{BODY}\r\n")), pause(), Step::Close]),
        row("resets between chunks", Expected::Cut, [chunked(&format!("{size}{BODY}\r\n")), pause(), Step::Reset]),
        row("closes in the last chunk", Expected::Cut, [chunked(&format!("{size}{BODY}\r\n0")), pause(), Step::Close]),
        row("resets a body without a length", Expected::Cut, [answer("", half), pause(), Step::Reset]),
        row("ends a body without a length", Expected::Whole, [answer("", BODY), Step::Close]),
        row("closes behind the answer", Expected::Whole, [right(), Step::Close]),
        row("resets behind the answer", Expected::Whole, [right(), pause(), Step::Reset]),
        row("closes the idle connection", Expected::Whole, [right(), pause(), Step::Close]),
    ]
}

fn slow() -> Vec<Row> {
    let half = BODY.split_at(BODY.len() / 2).0;
    let every = Duration::from_millis(50);
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(2_000));
    let rows = [
        row("drips its head", TIMEOUT, [Step::Drip(Bytes::from(long), every)]),
        row("stops in its head", TIMEOUT, [say("HTTP/1.1 200 OK\r\nContent-Ty"), Step::Hold]),
        row("sends hints for ever", TIMEOUT, [Step::Drip(HINT.repeat(100).into(), every)]),
        row("stops in a body with a length", Expected::Cut, [answer(&length(), half), Step::Hold]),
        row("stops in a chunk", Expected::Cut, [chunked(&format!("{:x}\r\n{half}", BODY.len())), Step::Hold]),
        row("stops in a body without a length", Expected::Cut, [answer("", half), Step::Hold]),
        row(
            "stops before the last chunk",
            Expected::Cut,
            [chunked(&format!("{:x}\r\n{BODY}\r\n", BODY.len())), Step::Hold],
        ),
        row("says less than it announced", Expected::Cut, [answer("Content-Length: 1000\r\n", BODY), Step::Hold]),
        row(
            "drips its body",
            Expected::Whole,
            [answer(&length(), ""), Step::Drip(Bytes::from(BODY), Duration::from_millis(20))],
        ),
    ];
    rows.map(|row| row.by(Way::Hasty)).into()
}

fn lengths() -> Vec<Row> {
    let lines = |lines: &str| answer(lines, BODY);
    let own = BODY.len();
    vec![
        row("announces more than comes", Expected::Cut, [lines("Content-Length: 1000\r\n"), Step::Close]),
        row("announces 2^64 - 1", Expected::Cut, [lines("Content-Length: 18446744073709551615\r\n"), Step::Close]),
        row("announces more than 2^64", FAILED, [lines("Content-Length: 99999999999999999999\r\n"), Step::Close]),
        row("announces less than comes", Expected::Whole, [answer(&length(), &format!("{BODY}evil"))]),
        row("announces a negative length", FAILED, [lines("Content-Length: -1\r\n"), Step::Close]),
        row("announces a length with a plus", FAILED, [lines(&format!("Content-Length: +{own}\r\n")), Step::Close]),
        row(
            "announces a length in hexadecimal",
            FAILED,
            [lines(&format!("Content-Length: {own:#x}\r\n")), Step::Close],
        ),
        row("announces no number", FAILED, [lines("Content-Length: many\r\n"), Step::Close]),
        row("announces two lengths", FAILED, [lines(&format!("Content-Length: 5\r\n{}", length())), Step::Close]),
        row("announces a list of two lengths", FAILED, [lines(&format!("Content-Length: 5, {own}\r\n")), Step::Close]),
        row("announces one length twice", Expected::Either, [with(&length())]),
        row(
            "announces a length and chunks",
            Expected::Either,
            [answer(
                &format!("{}Transfer-Encoding: chunked\r\n", length()),
                &format!("{own:x}\r\n{BODY}\r\n0\r\n\r\n"),
            )],
        ),
        row(
            "announces a short length and chunks",
            Expected::Either,
            [answer("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &format!("{own:x}\r\n{BODY}\r\n0\r\n\r\n"))],
        ),
        row(
            "announces chunks twice",
            Expected::Either,
            [
                answer(
                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                    &format!("{own:x}\r\n{BODY}\r\n0\r\n\r\n"),
                ),
                Step::Close,
            ],
        ),
    ]
}

fn chunks() -> Vec<Row> {
    let size = BODY.len();
    let framed = |size: &str| chunked(&format!("{size}\r\n{BODY}\r\n0\r\n\r\n"));
    let broken = |name, size: &str| row(name, Expected::Cut, [framed(size), Step::Close]);
    vec![
        broken("says a size that is no number", "zz"),
        broken("says a negative size", &format!("-{size:x}")),
        broken("says a size with a plus", &format!("+{size:x}")),
        broken("says a size with 0x", &format!("0x{size:x}")),
        broken("says a size beyond 64 bits", "10000000000000000"),
        broken("says a size of nearly 64 bits", "fffffffffffffff0"),
        broken("says a size with a blank before", &format!(" {size:x}")),
        broken("says a size that is too small", &format!("{:x}", size - 1)),
        broken("says a size that is too large", &format!("{:x}", size + 30)),
        row("ends chunks with LF", Expected::Cut, [chunked(&format!("{size:x}\n{BODY}\n0\n\n")), Step::Close]),
        row(
            "forgets the line end behind a chunk",
            Expected::Cut,
            [chunked(&format!("{size:x}\r\n{BODY}0\r\n\r\n")), Step::Close],
        ),
        row("says a size with an extension", Expected::Whole, [framed(&format!("{size:x};a=\"b\""))]),
        row("says a size with zeros before", Expected::Whole, [framed(&format!("0000{size:x}"))]),
        row(
            "says trailers",
            Expected::Whole,
            [chunked(&format!("{size:x}\r\n{BODY}\r\n0\r\nSet-Cookie: evil\r\n\r\n"))],
        ),
        row("says an extension for ever", Expected::Cut, [chunked("5;"), Step::Flood(Bytes::from("evil"))]),
        row(
            "says trailers for ever",
            Expected::Cut,
            [chunked(&format!("{size:x}\r\n{BODY}\r\n0\r\n")), Step::Flood(Bytes::from("X-Evil: evil\r\n"))],
        )
        .by(Way::Hasty),
    ]
}

/// What nobody asked for.
fn surplus() -> Vec<Row> {
    let evil = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"evil\"}";
    let behind = |bytes: &str| answer(&length(), &format!("{BODY}{bytes}"));
    let late = |bytes: &str| [right(), Step::Pause(Duration::from_millis(20)), say(bytes)];
    let whole = |name, steps: Vec<Step>| Row { steps, ..row(name, Expected::Whole, []) };
    let large = "evil".repeat(100_000);
    vec![
        whole("says a second answer behind the first", vec![behind(evil)]),
        whole(
            "says a second answer behind chunks",
            vec![chunked(&format!("{:x}\r\n{BODY}\r\n0\r\n\r\n{evil}", BODY.len()))],
        ),
        whole("says a line end behind the answer", vec![behind("\r\n")]),
        whole("says half a head behind the answer", vec![behind("HTTP/1.1 200 OK\r\nX-Evil: ")]),
        whole("says 400 kB behind the answer", vec![behind(&large)]),
        whole("says a second answer later", late(evil).into()).by(Way::Aside),
        whole("says a hint later", late("HTTP/1.1 103 Evil\r\nX-Evil: evil\r\n\r\n").into()).by(Way::Aside),
        whole("says one byte later", late("e").into()).by(Way::Aside),
        whole("says 400 kB later", late(&large).into()).by(Way::Aside),
    ]
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: evil\r\n\r\n";

fn floods() -> Vec<Row> {
    let flood = |bytes: &str| Step::Flood(Bytes::copy_from_slice(bytes.as_bytes()));
    let begun = || say("HTTP/1.1 200 OK\r\n");
    let large = "a".repeat(10 * 1024 * 1024);
    let many = |count: usize| with(&(0..count).map(|at| format!("X-Evil-{at}: evil\r\n")).collect::<String>());
    vec![
        row("sends a thousand hints", Expected::Whole, [say(HINT.repeat(1_000)), right()]),
        row(
            "sends a thousand continues",
            Expected::Whole,
            [say("HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000)), right()],
        ),
        row("sends hints as fast as it can", Expected::Refused(504, "upstream_timeout"), [flood(HINT)]).by(Way::Hasty),
        row("sends a header of 10 MiB", FAILED, [with(&format!("X-Evil: {large}\r\n"))]),
        row("sends 10 MiB of headers", FAILED, [with(&"X-Evil: evil\r\n".repeat(750_000))]),
        row("sends 1 000 headers", FAILED, [many(1_000)]),
        row("sends headers for ever", FAILED, [begun(), flood("X-Evil: evil\r\n")]),
        row("sends a header for ever", FAILED, [begun(), say("X-Evil: "), flood("evil")]),
        row("sends a status line for ever", FAILED, [say("HTTP/1.1 200 "), flood("evil")]),
        row("sends a status line of 1 MiB", FAILED, [say(format!("HTTP/1.1 200 {}\r\n\r\n", "evil".repeat(1 << 18)))]),
        row("sends line ends for ever", FAILED, [flood("\r\n")]).by(Way::Hasty),
        row("sends noise for ever", FAILED, [flood("\u{0}\u{1}evil")]),
    ]
}

fn heads() -> Vec<Row> {
    let starts = |name, line: &str| {
        let rest = format!("{line}\r\nContent-Type: application/json\r\n{}\r\n{BODY}", length());
        row(name, FAILED, [say(rest), Step::Close])
    };
    let either = |name, line: &str| row(name, Expected::Either, [with(line), Step::Close]);
    let says = |name, bytes: &[u8]| row(name, FAILED, [say(bytes), Step::Close]);
    vec![
        row(
            "switches protocols",
            FAILED,
            [say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil")],
        ),
        either("folds a line", "ETag: \"a\"\r\n Set-Cookie: b\r\n"),
        either("has NUL in a value", "ETag: \"a\0evil\"\r\n"),
        either("has NUL in a name", "X-\0Evil: evil\r\n"),
        either("has CR in a value", "ETag: \"a\rSet-Cookie: evil\"\r\n"),
        either("has a blank before the colon", "ETag : \"a\"\r\n"),
        either("has a line without a colon", "evil\r\n"),
        either("has a line without a name", ": evil\r\n"),
        either("ends a line with LF", "X-Evil: evil\n"),
        row("sets a cookie", Expected::Whole, [with("Set-Cookie: evil=1\r\n")]),
        row("says who it is", Expected::Whole, [with("Server: evil\r\nVia: evil\r\nX-Powered-By: evil\r\n")]),
        row("nominates our headers", Expected::Whole, [with("Connection: x-request-id, content-type, evil\r\n")]),
        row(
            "answers in HTTP/1.0",
            Expected::Whole,
            [say(format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n{}\r\n{BODY}", length())), Step::Close],
        ),
        says("answers in HTTP/0.9", b"<html>evil</html>"),
        says("answers in HTTP/2", b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64evil"),
        says("answers with the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nevil"),
        says("answers in TLS", b"\x15\x03\x03\x00\x02\x02\x46evil"),
        says("answers as SSH", b"SSH-2.0-evil\r\n"),
        starts("has a status of two digits", "HTTP/1.1 20 OK"),
        starts("has a status of four digits", "HTTP/1.1 2000 OK"),
        starts("has status 000", "HTTP/1.1 000 Nothing"),
        starts("has a status that is a word", "HTTP/1.1 OK evil"),
        starts("says HTTP/9.9", "HTTP/9.9 200 OK"),
    ]
}

fn errors() -> Vec<Row> {
    let of = |status: &str, kind: &str, lines: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        say([head.as_bytes(), body].concat())
    };
    let page = "<html><script>evil()</script></html>";
    let json = r#"{"error":"evil"}"#;
    let gzip = "Content-Encoding: gzip\r\n";
    let json_type = "application/json";
    vec![
        row("u2 refuses with a page", Expected::Replaced(404), [of("404 No", "text/html", "", page.as_bytes())]),
        row("u2 fails with a page", Expected::Replaced(503), [of("503 No", "text/html", "", page.as_bytes())]),
        row("fails with a trace", Expected::Replaced(502), [of("502 No", json_type, "", json.as_bytes())]),
        row("refuses with 100 kB", Expected::Replaced(400), [of("400 No", json_type, "", &b"evil".repeat(25_000))]),
        row("d1 refuses with a bomb of gzip", Expected::Replaced(400), [of("400 No", json_type, gzip, &bomb())]),
        row("refuses with gzip that is none", Expected::Replaced(400), [of("400 No", json_type, gzip, b"evil")]),
        row("d7 refuses with deep JSON", Expected::Replaced(400), [of("400 No", json_type, "", &b"[".repeat(60_000))]),
        row("breaks off in an error", Expected::Cut, [
            say("HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"error\":\"evil"),
            Step::Pause(Duration::from_millis(20)),
            Step::Close,
        ]),
        row("stops in an error", Expected::Cut, [
            say("HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"error\":\"evil"),
            Step::Hold,
        ])
        .by(Way::Hasty),
        row("says an error for ever", Expected::Cut, [
            say("HTTP/1.1 400 No\r\nContent-Type: application/json\r\n\r\n"),
            Step::Flood(Bytes::from("evil")),
        ]),
    ]
}

/// A hundred mebibytes of blanks, a thousandth of that on the wire.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..100 {
        encoder.write_all(&blanks).expect("memory takes it");
    }
    encoder.finish().expect("memory takes it")
}
