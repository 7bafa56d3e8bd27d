//! What an answer's body consists of: bytes, made bytes, and pauses between them.

use std::time::Duration;

use bytes::Bytes;

use super::Gate;

/// A part of a body. With chunked framing each part that has bytes is one chunk (generated ones: many).
#[derive(Clone, Debug)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// A pause of this length.
    Delay(Duration),
    /// This many bytes of [`super::super::pattern`], made while they are sent.
    Pattern(u64),
    /// A pause until the test opens the gate; what stands before it has been written by then.
    Wait(Gate),
}

impl Piece {
    /// These bytes.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A pause until `gate` is open.
    pub fn wait(gate: &Gate) -> Self {
        Self::Wait(gate.clone())
    }

    /// How many bytes of body this is.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Delay(_) | Self::Wait(_) => 0,
            Self::Pattern(length) => *length,
        }
    }
}
