//! Finds what gives JSON its structure, eight bytes at a time.
//!
//! In: up to eight bytes. Out: the quotes, backslashes and brackets among them,
//! and now and then another byte. Not here: what they mean where they stand.
//!
//! Byte by byte a mebibyte takes several milliseconds, which is more than
//! anything else that happens to it.

/// Bytes of a word.
pub(super) const LENGTH: usize = 8;

const ONES: u64 = u64::from_ne_bytes([0x01; LENGTH]);
const LOW: u64 = u64::from_ne_bytes([0x7f; LENGTH]);

/// What is left to look at of a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    word: u64,
    /// The highest bit of each byte that is one.
    left: u64,
}

impl Marks {
    /// Of at most eight bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or_else(|_| {
            let mut padded = [0; LENGTH];
            padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            padded
        }));
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        // `[`, `]`, `{` and `}` differ in these bits only; so do `Y`, `_` and `y`, which nobody writes outside of strings.
        let brackets = zeros((word | (ONES * 0x26)) ^ LOW);
        Marks { word, left: quotes | backslashes | brackets }
    }

    /// The byte with this index is none.
    pub(super) fn clear(&mut self, index: usize) {
        self.left &= !(0x80 << (8 * index));
    }

    /// The next one, and where it stands.
    pub(super) fn next(&mut self) -> Option<(usize, u8)> {
        if self.left == 0 {
            return None;
        }
        let shift = self.left.trailing_zeros() & !7;
        self.left &= self.left - 1;
        Some((shift as usize / 8, (self.word >> shift) as u8))
    }
}

/// The highest bit of each byte that is zero. Nothing is carried from byte to byte, so that each is exact.
fn zeros(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_at_every_place() {
        for byte in 0..=u8::MAX {
            for length in 1..=LENGTH {
                for index in 0..length {
                    for around in [b' ', b'"', 0xff, 0] {
                        let mut bytes = vec![around; length];
                        bytes[index] = byte;
                        let mut marks = Marks::of(&bytes);
                        let found = std::iter::from_fn(|| marks.next()).any(|found| found == (index, byte));
                        assert_eq!(found, b"\"\\[]{}Y_y\x7f".contains(&byte), "{byte:#x} at {index} of {length}");
                    }
                }
            }
        }
    }
}
