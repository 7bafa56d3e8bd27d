//! The brackets that are open in a JSON value.
//!
//! In: brackets. Out: whether each closes the last one that is open. Not here:
//! the text between them.

use smallvec::SmallVec;

/// How many are told apart. Deeper ones are counted: most readers refuse such a document.
const MAX_TOLD: usize = 1024;

/// Open brackets, the outermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Brackets {
    /// What each is closed by.
    closers: SmallVec<[u8; 32]>,
    /// How many more are open.
    deeper: u64,
}

impl Brackets {
    pub(super) fn open(&mut self, bracket: u8) {
        if self.closers.len() < MAX_TOLD {
            self.closers.push(if bracket == b'{' { b'}' } else { b']' });
        } else {
            self.deeper += 1;
        }
    }

    /// Closes the last one; false where this is none that could.
    pub(super) fn close(&mut self, bracket: u8) -> bool {
        match self.deeper.checked_sub(1) {
            Some(left) => {
                self.deeper = left;
                true
            }
            None => self.closers.pop() == Some(bracket),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closers.is_empty()
    }
}
