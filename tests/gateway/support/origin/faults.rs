//! Ready-made broken encodings of a body.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A way to break chunked framing. After each of them the origin closes, so that nobody waits for the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChunkFault {
    /// LF alone after size and data.
    BareLf,
    /// One byte more in the chunk than its size says.
    DataTooLong,
    /// One byte less in the chunk than its size says, then the end of the connection.
    DataTooShort,
    /// A size written `0x5`.
    HexPrefix,
    /// A size beyond 64 bits.
    HugeSize,
    /// Nothing at all after the head.
    NoChunks,
    /// Everything but the last, empty chunk.
    NoLastChunk,
    /// Everything but the empty line after the last chunk.
    NoTrailerEnd,
    /// A size that is no number.
    NotHex,
    /// A size with a minus sign.
    Negative,
    /// A size with a plus sign.
    PlusSign,
    /// An empty size line.
    SizeMissing,
}

/// A way to break a gzip body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GzipFault {
    /// The checksum at the end is wrong.
    Checksum,
    /// Not gzip at all.
    NotGzip,
    /// The second half is missing, though the framing is right.
    Truncated,
}

impl ChunkFault {
    /// All of them, for tables.
    pub const ALL: [Self; 12] = [
        Self::BareLf,
        Self::DataTooLong,
        Self::DataTooShort,
        Self::HexPrefix,
        Self::HugeSize,
        Self::NoChunks,
        Self::NoLastChunk,
        Self::NoTrailerEnd,
        Self::NotHex,
        Self::Negative,
        Self::PlusSign,
        Self::SizeMissing,
    ];

    /// `body` as one chunk, broken this way.
    pub(super) fn encode(self, body: &[u8]) -> Vec<u8> {
        let size = body.len();
        let framed = |size: String| [size.as_bytes(), b"\r\n", body, b"\r\n0\r\n\r\n"].concat();
        match self {
            Self::BareLf => [format!("{size:x}\n").as_bytes(), body, b"\n0\n\n"].concat(),
            Self::DataTooLong => framed(format!("{:x}", size - 1)),
            Self::DataTooShort => [format!("{:x}\r\n", size + 1).as_bytes(), body].concat(),
            Self::HexPrefix => framed(format!("0x{size:x}")),
            Self::HugeSize => framed("10000000000000000".to_owned()),
            Self::Negative => framed(format!("-{size:x}")),
            Self::NoChunks => Vec::new(),
            Self::NoLastChunk => [format!("{size:x}\r\n").as_bytes(), body, b"\r\n"].concat(),
            Self::NoTrailerEnd => [format!("{size:x}\r\n").as_bytes(), body, b"\r\n0\r\n"].concat(),
            Self::NotHex => framed("zz".to_owned()),
            Self::PlusSign => framed(format!("+{size:x}")),
            Self::SizeMissing => framed(String::new()),
        }
    }
}

impl GzipFault {
    /// `body` compressed, then broken this way.
    pub(super) fn encode(self, body: &[u8]) -> Vec<u8> {
        let mut packed = gzip(body);
        match self {
            Self::Checksum => {
                let at = packed.len() - 8;
                packed[at] ^= 0xff;
            }
            Self::NotGzip => packed = b"this is not gzip".to_vec(),
            Self::Truncated => packed.truncate(packed.len() / 2),
        }
        packed
    }
}

/// Compresses whole.
pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// `length` zeros, compressed to about a thousandth.
pub(super) fn gzip_zeros(length: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = [0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let now = left.min(zeros.len());
        encoder.write_all(&zeros[..now]).expect("memory takes it");
        left -= now;
    }
    encoder.finish().expect("memory takes it")
}
