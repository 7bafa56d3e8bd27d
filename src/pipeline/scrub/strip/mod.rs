//! Members of a JSON document that do not leave, taken out while it streams.
//!
//! In: the names of members, a document in pieces. Out: the same bytes without
//! those members of the document itself; what has their name deeper stays. Kept
//! is a name and what stands before it, however long the document is. Not here:
//! which answers are such documents (`scrub`), reading what they say.
//!
//! Only structure is looked at: strings, brackets, commas and colons. From where
//! that cannot be followed, everything passes as it came.

mod brackets;
mod weave;
mod words;

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::config::section::white_label::AnswerKey;

use brackets::Brackets;
use weave::Weave;
use words::Marks;

/// How much white space is held back, together with the comma before it. JSON that is written by programs has less.
const MAX_BLANK: usize = 1024;

/// The names of members that do not leave.
#[derive(Clone, Debug, Default)]
pub struct Names {
    each: Arc<[Box<str>]>,
    /// The most bytes that one of them takes, with every character escaped.
    longest: usize,
}

impl Names {
    /// As configured.
    pub fn compile(keys: &[AnswerKey]) -> Self {
        // `\u0061` is `a`; what takes four bytes plain takes two of these.
        let longest = keys.iter().map(|key| key.as_str().len() * 6).max().unwrap_or_default();
        Names { each: keys.iter().map(|key| key.as_str().into()).collect(), longest }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Whether this is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.each.iter().any(|own| **own == *name)
    }

    /// The same for a name as a document writes it, between its quotes.
    fn has_written(&self, written: &[u8]) -> bool {
        match written.contains(&b'\\') {
            false => self.each.iter().any(|own| own.as_bytes() == written),
            // What cannot be read is none of them.
            true => {
                let quoted = [b"\"", written, b"\""].concat();
                serde_json::from_slice::<String>(&quoted).is_ok_and(|name| self.has(&name))
            }
        }
    }
}

/// The state of one document.
#[derive(Debug)]
pub struct Strip {
    names: Names,
    spot: Spot,
    /// What becomes of the bytes that are read now.
    way: Way,
    /// What becomes of the current member.
    fate: Fate,
    /// Whether some member has stayed so far: the next one needs its comma.
    kept: Kept,
    comma: Comma,
    /// What is not decided, from earlier pieces.
    held: Vec<u8>,
    /// The name that is being read, between its quotes.
    name: SmallVec<[u8; 64]>,
    escape: Escape,
    brackets: Brackets,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// A comma, or the end of the document.
    Behind,
    /// A colon.
    Colon,
    /// The first name, or the end of the document.
    First,
    /// What follows a name that is none of ours and longer than all of them.
    LongName,
    /// A name.
    Name,
    /// What is in an object or a list.
    Nest,
    /// A string in an object or a list.
    NestText,
    /// A further name.
    Next,
    /// The document.
    Start,
    /// A string.
    Text,
    /// Nothing more: the document is over, or cannot be followed.
    Through,
    /// A value.
    Value,
    /// A number or a word.
    Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Drop,
    Hold,
    Pass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Goes,
    Stays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    Something,
}

/// Where the comma in front of an undecided member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comma {
    /// First of what is held.
    Held,
    /// There is none.
    None,
    /// It is still to be written, behind white space that was too long to hold.
    Owed,
}

/// Whether a backslash stands before the next byte of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Yes,
}

impl Strip {
    /// For a document of which nothing has come.
    pub fn new(names: Names) -> Self {
        Strip {
            names,
            spot: Spot::Start,
            way: Way::Pass,
            fate: Fate::Stays,
            kept: Kept::Nothing,
            comma: Comma::None,
            held: Vec::new(),
            name: SmallVec::new(),
            escape: Escape::No,
            brackets: Brackets::default(),
        }
    }

    /// What of the next piece, and of what was held before, may leave.
    pub fn piece(&mut self, piece: &Bytes) -> Bytes {
        let mut weave = Weave::new(piece);
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let at = piece.len() - rest.len();
            let read = self.step(&mut weave, rest, at);
            rest = rest.get(read..).unwrap_or_default();
        }
        match self.way {
            Way::Drop => {}
            Way::Hold => self.hold_on(&mut weave),
            Way::Pass => weave.keep_to(piece.len()),
        }
        weave.finish()
    }

    /// What was held, when nothing more comes: a document that broke off.
    pub fn end(&mut self) -> Bytes {
        let nothing = Bytes::new();
        let mut weave = Weave::new(&nothing);
        if self.way == Way::Hold {
            self.release(&mut weave);
        }
        weave.finish()
    }

    /// Reads on; returns how much was read. `at` is where `rest` begins in the piece.
    fn step(&mut self, weave: &mut Weave<'_>, rest: &[u8], at: usize) -> usize {
        if self.spot == Spot::Behind && self.way == Way::Drop {
            // What went is over; whether what follows it may stay depends on what that is.
            weave.skip_to(at);
            self.way = Way::Hold;
        }
        match self.spot {
            Spot::Nest | Spot::NestText => self.nest(weave, rest, at),
            Spot::LongName | Spot::Text => self.text(rest),
            Spot::Name => self.name(weave, rest),
            Spot::Through => rest.len(),
            Spot::Word => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                let length = rest.iter().position(|byte| !is_part(byte));
                if length.is_some() {
                    self.spot = Spot::Behind;
                }
                length.unwrap_or(rest.len())
            }
            Spot::Behind | Spot::Colon | Spot::First | Spot::Next | Spot::Start | Spot::Value => {
                let Some(blank) = rest.iter().position(|byte| !self.is_blank(*byte)) else { return rest.len() };
                let Some(byte) = rest.get(blank) else { return rest.len() };
                self.mark(weave, *byte, at + blank);
                blank + 1
            }
        }
    }

    fn is_blank(&self, byte: u8) -> bool {
        // Readers may skip a byte order mark (RFC 8259 section 8.1).
        matches!(byte, b' ' | b'\n' | b'\r' | b'\t') || (self.spot == Spot::Start && matches!(byte, 0xef | 0xbb | 0xbf))
    }

    /// A byte that is not white space, between names and values.
    fn mark(&mut self, weave: &mut Weave<'_>, byte: u8, at: usize) {
        self.spot = match (self.spot, byte) {
            (Spot::Start, b'{') => {
                weave.keep_to(at + 1);
                self.way = Way::Hold;
                Spot::First
            }
            (Spot::First | Spot::Next, b'"') => {
                self.name.clear();
                Spot::Name
            }
            (Spot::First, b'}') => {
                self.release(weave);
                Spot::Through
            }
            (Spot::Colon, b':') => Spot::Value,
            (Spot::Value, b'"') => Spot::Text,
            (Spot::Value, b'{' | b'[') => {
                self.brackets.open(byte);
                Spot::Nest
            }
            (Spot::Value, byte) if byte.is_ascii_alphanumeric() || byte == b'-' => Spot::Word,
            (Spot::Behind, b',') => {
                self.before_next(weave, at);
                Spot::Next
            }
            (Spot::Behind, b'}') => {
                // White space behind what went is what stood before the bracket.
                self.release(weave);
                Spot::Through
            }
            (_, _) => {
                self.give_up(weave, at);
                Spot::Through
            }
        };
    }

    /// A name: what stands before it is held until it is known whose it is.
    fn name(&mut self, weave: &mut Weave<'_>, rest: &[u8]) -> usize {
        let end = end_of_text(rest, &mut self.escape);
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if self.name.len() + text.len() > self.names.longest {
            self.kept_member(weave);
            self.spot = if end.is_some() { Spot::Colon } else { Spot::LongName };
        } else {
            self.name.extend_from_slice(text);
            if end.is_some() {
                match self.names.has_written(&self.name) {
                    false => self.kept_member(weave),
                    true => self.dropped_member(),
                }
                self.spot = Spot::Colon;
            }
        }
        end.map_or(rest.len(), |end| end + 1)
    }

    fn kept_member(&mut self, weave: &mut Weave<'_>) {
        self.fate = Fate::Stays;
        self.release(weave);
        self.kept = Kept::Something;
    }

    fn dropped_member(&mut self) {
        self.fate = Fate::Goes;
        self.held.clear();
        self.comma = Comma::None;
        self.way = Way::Drop;
    }

    /// A string, to its end.
    fn text(&mut self, rest: &[u8]) -> usize {
        let Some(end) = end_of_text(rest, &mut self.escape) else { return rest.len() };
        self.spot = if self.spot == Spot::LongName { Spot::Colon } else { Spot::Behind };
        end + 1
    }

    /// An object or a list, to its end: almost all of a document is read here.
    fn nest(&mut self, weave: &mut Weave<'_>, rest: &[u8], at: usize) -> usize {
        for (number, bytes) in rest.chunks(words::LENGTH).enumerate() {
            let mut marks = Marks::of(bytes);
            if self.escape == Escape::Yes {
                marks.clear(0);
                self.escape = Escape::No;
            }
            while let Some((index, byte)) = marks.next() {
                let read = number * words::LENGTH + index + 1;
                match (self.spot == Spot::NestText, byte) {
                    (true, b'"') => self.spot = Spot::Nest,
                    // Whatever stands behind a backslash ends nothing.
                    (true, b'\\') if index + 1 == bytes.len() => self.escape = Escape::Yes,
                    (true, b'\\') => marks.clear(index + 1),
                    (false, b'"') => self.spot = Spot::NestText,
                    (false, b'[' | b'{') => self.brackets.open(byte),
                    (false, b']' | b'}') if !self.brackets.close(byte) => {
                        self.give_up(weave, at + read - 1);
                        self.spot = Spot::Through;
                        return read;
                    }
                    (false, b']' | b'}') if self.brackets.is_closed() => {
                        self.spot = Spot::Behind;
                        return read;
                    }
                    (_, _) => {}
                }
            }
        }
        rest.len()
    }

    /// A comma behind a member: it belongs to the next one.
    fn before_next(&mut self, weave: &mut Weave<'_>, at: usize) {
        match self.fate {
            Fate::Goes => weave.skip_to(at),
            Fate::Stays => weave.keep_to(at),
        }
        self.held.clear();
        self.comma = Comma::Held;
        self.way = Way::Hold;
    }

    /// What is held may leave, and what follows it.
    fn release(&mut self, weave: &mut Weave<'_>) {
        if self.way != Way::Hold {
            return;
        }
        match (self.comma, self.kept) {
            (Comma::Held, Kept::Nothing) if self.held.is_empty() => weave.skip(1),
            (Comma::Held, Kept::Nothing) => drop(self.held.remove(0)),
            (Comma::Owed, Kept::Something) => weave.copy(b","),
            (Comma::Held, Kept::Something) | (Comma::None, _) | (Comma::Owed, Kept::Nothing) => {}
        }
        weave.copy(&self.held);
        self.held.clear();
        self.comma = Comma::None;
        self.way = Way::Pass;
    }

    /// Keeps what is undecided for the next piece.
    fn hold_on(&mut self, weave: &mut Weave<'_>) {
        self.held.extend_from_slice(weave.rest());
        if self.held.len() <= MAX_BLANK {
            return;
        }
        if self.spot == Spot::Behind {
            // White space between something that goes and a bracket: nobody misses it.
            self.held.truncate(MAX_BLANK);
        } else if matches!(self.spot, Spot::First | Spot::Next) {
            if self.comma == Comma::Held {
                self.held.remove(0);
                self.comma = Comma::Owed;
            }
            weave.copy(&self.held);
            self.held.clear();
        }
    }

    /// From here on nothing is understood, and nothing is taken out.
    fn give_up(&mut self, weave: &mut Weave<'_>, at: usize) {
        match self.way {
            Way::Drop => weave.skip_to(at),
            Way::Hold => self.release(weave),
            Way::Pass => {}
        }
        self.way = Way::Pass;
    }
}

/// Where the quotes are that end a string, from inside it.
fn end_of_text(bytes: &[u8], escape: &mut Escape) -> Option<usize> {
    let mut at = match *escape {
        Escape::No => 0,
        Escape::Yes => 1,
    };
    if at > bytes.len() {
        return None;
    }
    *escape = Escape::No;
    loop {
        let found = at + bytes.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes.get(found) == Some(&b'"') {
            return Some(found);
        }
        // Whatever stands behind a backslash ends nothing.
        at = found + 2;
        if at > bytes.len() {
            *escape = Escape::Yes;
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
