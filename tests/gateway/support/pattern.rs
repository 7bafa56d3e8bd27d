//! Bytes that need no memory to make or to check, for bodies larger than a test should hold.
//!
//! The period is a prime, so a lost, repeated or moved stretch of any power-of-two size shows.
//! In: an offset. Out: the bytes that belong there; a check for bytes that arrived.

use std::sync::LazyLock;

const PERIOD: usize = 65_521;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..PERIOD).map(|_| next()).collect()
});

/// The longest run of pattern bytes from `offset` on, at most `limit` of them; never empty for a positive limit.
pub fn slice(offset: u64, limit: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).expect("below the period");
    let room = PERIOD - start;
    let length = usize::try_from(limit).unwrap_or(room).min(room);
    &BLOCK[start..start + length]
}

/// The first `length` pattern bytes; for bodies small enough to compare whole.
pub fn bytes(length: u64) -> Vec<u8> {
    let mut check = PatternCheck::default();
    let mut made = Vec::new();
    while check.total < length {
        let run = slice(check.total, length - check.total);
        made.extend_from_slice(run);
        check.total += run.len() as u64;
    }
    made
}

/// Follows a stream of pattern bytes and remembers where it first went wrong.
#[derive(Clone, Debug, Default)]
pub struct PatternCheck {
    total: u64,
    first_wrong: Option<u64>,
}

impl PatternCheck {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = slice(self.total, bytes.len() as u64);
            let (now, later) = bytes.split_at(expected.len());
            if now != expected && self.first_wrong.is_none() {
                let same = now.iter().zip(expected).take_while(|(a, b)| a == b).count();
                self.first_wrong = Some(self.total + same as u64);
            }
            self.total += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes were taken.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The offset of the first byte that was not the pattern's.
    pub fn first_wrong(&self) -> Option<u64> {
        self.first_wrong
    }

    /// Panics unless exactly `length` right bytes were taken.
    #[track_caller]
    pub fn assert_whole(&self, length: u64) {
        assert_eq!(self.first_wrong, None, "a byte of the streamed body is wrong");
        assert_eq!(self.total, length, "the streamed body has another length");
    }
}
