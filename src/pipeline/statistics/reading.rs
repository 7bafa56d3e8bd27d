//! An answer that is read as it passes.
//!
//! In: a body in pieces, as the upstream codes it. Out: its `statistics`. What
//! passes is not changed. Not here: which bodies are read (`super`), what stands
//! at their end (`tail`).

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzDecoder;

use crate::exchange::statistics::Statistics;

use super::Tail;

/// A body that gets longer than so many times its length is not read to its end: it is made to cost time. Rows that are all
/// alike get some two hundred times shorter.
const MOST_TIMES: u64 = 512;
/// What may be had beyond that.
const ALWAYS: u64 = 1 << 20;

/// The state of one body.
#[derive(Debug)]
pub enum Reading {
    /// It cannot be read, or is not worth it.
    GivenUp,
    /// It is compressed with gzip.
    Packed(Box<GzDecoder<Plain>>),
    /// It is as it is.
    Plain(Tail),
}

/// What comes out of a compressed body.
#[derive(Debug, Default)]
pub struct Plain {
    tail: Tail,
    /// Bytes so far.
    length: u64,
    /// Bytes that may come.
    most: u64,
}

impl Write for Plain {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        self.length += plain.len() as u64;
        if self.length > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.tail.push(plain);
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Reading {
    fn default() -> Self {
        Reading::Plain(Tail::default())
    }
}

impl Reading {
    /// Of a body that is compressed with gzip.
    pub fn packed() -> Self {
        Reading::Packed(Box::new(GzDecoder::new(Plain { most: ALWAYS, ..Plain::default() })))
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &Bytes) {
        match self {
            Reading::GivenUp => {}
            Reading::Packed(decoder) => {
                decoder.get_mut().most += MOST_TIMES * piece.len() as u64;
                if decoder.write_all(piece).is_err() {
                    *self = Reading::GivenUp;
                }
            }
            Reading::Plain(tail) => tail.push_piece(piece),
        }
    }

    /// What the document says, which is whole now.
    pub fn read(self) -> Statistics {
        match self {
            Reading::GivenUp => Statistics::default(),
            // A body whose checksum is wrong says nothing.
            Reading::Packed(decoder) => decoder.finish().map(|plain| plain.tail.read()).unwrap_or_default(),
            Reading::Plain(tail) => tail.read(),
        }
    }
}
