//! A body that is compressed while it streams.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Fast: what is saved beyond that is not worth the time of whoever waits.
const LEVEL: Compression = Compression::new(2);

/// The state of one body.
#[derive(Debug)]
pub struct Gzip(GzEncoder<Vec<u8>>);

impl Gzip {
    /// Nothing so far.
    pub fn new() -> Self {
        Gzip(GzEncoder::new(Vec::new(), LEVEL))
    }

    /// All that there is to send after this piece: whoever has it can read the piece.
    ///
    /// # Errors
    /// None that are known: memory takes everything.
    pub fn piece(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(piece)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    /// The last piece, and the mark that says that all came. A body that breaks off must not get one.
    ///
    /// # Errors
    /// As [`Gzip::piece`].
    pub fn last(mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(piece)?;
        Ok(self.0.finish()?.into())
    }
}

impl Default for Gzip {
    fn default() -> Self {
        Gzip::new()
    }
}
