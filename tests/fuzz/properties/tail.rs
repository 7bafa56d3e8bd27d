//! Any bytes as an answer whose `statistics` are read as it passes: as whoever reads all of it reads them, in whatever
//! pieces it comes, packed or not; and of one that is too long to be kept, the same or nothing.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};
use tollgate::exchange::statistics::Statistics;
use tollgate::pipeline::statistics::{Reading, Tail};

/// The longest document of which all is kept, however it comes.
const KEPT: usize = 4096;

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    let found = read(bytes, bytes.len().max(1));
    for size in [1, 7, 1 + bytes.len() / 3, 1 + bytes.len() / 2] {
        let in_pieces = read(bytes, size);
        // Pieces decide how much more than `KEPT` is kept, and so what there is to say of a long one.
        assert!(in_pieces == found || bytes.len() > KEPT, "{in_pieces:?} in pieces of {size}, {found:?} in one");
    }
    let whole = said(bytes);
    if let Some(whole) = whole {
        assert!(found == whole || (bytes.len() > KEPT && found == Statistics::default()), "{found:?}, not {whole:?}");
        let long = lengthened(bytes);
        for size in [long.len(), 1000, 4096, 4097] {
            let found = read(&long, size);
            assert!(found == whole || found == Statistics::default(), "{found:?} of a long one, not {whole:?}");
        }
    }
    assert_eq!(unpacked(&packed(bytes), bytes.len()), read(bytes, bytes.len().max(1)), "packed");
    // As if it were packed already.
    let _ = unpacked(bytes, 3);
}

fn read(bytes: &[u8], size: usize) -> Statistics {
    let mut tail = Tail::default();
    bytes.chunks(size).for_each(|piece| tail.push(piece));
    let mut of_pieces = Tail::default();
    bytes.chunks(size).for_each(|piece| of_pieces.push_piece(&Bytes::copy_from_slice(piece)));
    assert_eq!(of_pieces.read(), tail.read(), "the first piece may be the only one");
    tail.read()
}

/// What the whole document says to who reads all of it; none where it is no JSON object.
fn said(bytes: &[u8]) -> Option<Statistics> {
    let document: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let of = |name: &str| document.get("statistics").and_then(|statistics| statistics.get(name));
    Some(Statistics {
        rows_read: count(of("rows_read")),
        bytes_read: count(of("bytes_read")),
        elapsed: time(of("elapsed")),
    })
}

fn count(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    let number = value.as_f64().filter(|number| *number >= 0.0).map(|number| number.ceil() as u64);
    value.as_u64().or(number).or_else(|| value.as_str()?.parse().ok())
}

fn time(value: Option<&Value>) -> Option<Duration> {
    let value = value?;
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The same object, with so much in front that its beginning is forgotten.
fn lengthened(object: &[u8]) -> Vec<u8> {
    let inside = object.trim_ascii_start().get(1..).unwrap_or_default();
    let comma = if inside.trim_ascii_start().first() == Some(&b'}') { "" } else { "," };
    let filler = format!("{{\"filler\":\"{}\"{comma}", "x".repeat(3 * KEPT));
    [filler.as_bytes(), inside].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn unpacked(bytes: &[u8], size: usize) -> Statistics {
    let mut reading = Reading::packed();
    bytes.chunks(size.max(1)).for_each(|piece| reading.push(&Bytes::copy_from_slice(piece)));
    reading.read()
}
