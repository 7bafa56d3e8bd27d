//! What becomes of one piece of a body: parts of it, and what was held before it.
//!
//! In: a piece, and which bytes of it stay. Out: what leaves; where that is one
//! run of the piece, nothing is copied. Not here: deciding.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// One piece, as far as it is decided.
#[derive(Debug)]
pub(super) struct Weave<'a> {
    piece: &'a Bytes,
    /// Where what is not decided begins.
    from: usize,
    /// What leaves, as long as it is one run of the piece.
    run: Range<usize>,
    /// What leaves, once it is not.
    copied: Option<BytesMut>,
}

impl<'a> Weave<'a> {
    pub(super) fn new(piece: &'a Bytes) -> Self {
        Weave { piece, from: 0, run: 0..0, copied: None }
    }

    /// What is not decided stays, up to here.
    pub(super) fn keep_to(&mut self, at: usize) {
        let run = self.from..at.max(self.from);
        self.from = run.end;
        if run.is_empty() {
            return;
        }
        if self.copied.is_none() && self.run.is_empty() {
            self.run = run;
        } else if self.copied.is_none() && self.run.end == run.start {
            self.run.end = run.end;
        } else {
            let piece = self.piece;
            self.copied().extend_from_slice(piece.get(run).unwrap_or_default());
        }
    }

    /// What is not decided goes, up to here.
    pub(super) fn skip_to(&mut self, at: usize) {
        self.from = at.max(self.from);
    }

    /// So many bytes of what is not decided go.
    pub(super) fn skip(&mut self, count: usize) {
        self.from += count;
    }

    /// Bytes that are not of this piece, in front of what is not decided.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.copied().extend_from_slice(bytes);
        }
    }

    /// What is not decided.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.piece.get(self.from..).unwrap_or_default()
    }

    pub(super) fn finish(self) -> Bytes {
        match self.copied {
            Some(copied) => copied.freeze(),
            None => self.piece.slice(self.run),
        }
    }

    fn copied(&mut self) -> &mut BytesMut {
        let (piece, run) = (self.piece, &self.run);
        self.copied.get_or_insert_with(|| {
            let mut bytes = BytesMut::with_capacity(piece.len() + 64);
            bytes.extend_from_slice(piece.get(run.clone()).unwrap_or_default());
            bytes
        })
    }
}
