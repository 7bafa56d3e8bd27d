//! Header lists that may hold anything, and as much of HPACK (RFC 7541) as a test needs.
//!
//! In: names and values. Out: a header block of literals, neither indexed nor Huffman-coded.
//! Of answers only the status is read: it comes first, and with a table of size 0 it needs no memory.

/// A header list in order, pseudo-header fields included; nothing is checked.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    list: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fields {
    /// `:method`, `:scheme`, `:authority: localhost`, `:path`.
    pub fn new(method: &str, path: &str) -> Self {
        let fields = Self::default().with(":method", method).with(":scheme", "http");
        fields.with(":authority", "localhost").with(":path", path)
    }

    /// GET of this path.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// POST to this path.
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// No field at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// One more field at the end.
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.list.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Another value for the fields of this name, where they stand; at the end if there is none.
    pub fn set(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        let mut found = false;
        for field in self.list.iter_mut().filter(|field| field.0 == name) {
            field.1 = value.as_ref().to_vec();
            found = true;
        }
        if found { self } else { self.with(name, value) }
    }

    /// Without the fields of this name.
    pub fn without(mut self, name: impl AsRef<[u8]>) -> Self {
        self.list.retain(|field| field.0 != name.as_ref());
        self
    }

    /// The header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in &self.list {
            block.push(0);
            literal(&mut block, name);
            literal(&mut block, value);
        }
        block
    }
}

/// The status of a response's header block; panics if it is not the first field.
#[track_caller]
pub(super) fn status(block: &[u8]) -> u16 {
    let mut rest = block;
    // Updates of the table's size may come first.
    while rest.first().is_some_and(|first| first & 0b1110_0000 == 0b0010_0000) {
        rest = integer(rest, 5).1;
    }
    let first = rest.first().copied().unwrap_or_default();
    if first & 0b1000_0000 != 0 {
        let known = [200, 204, 206, 304, 400, 404, 500];
        let index = usize::from(first & 0b0111_1111).wrapping_sub(8);
        return *known.get(index).unwrap_or_else(|| panic!("no status first in {block:x?}"));
    }
    let prefix = if first & 0b0100_0000 == 0 { 4 } else { 6 };
    let (name, rest) = integer(rest, prefix);
    assert!((8..=14).contains(&name), "no status first in {block:x?}");
    let coded = rest.first().is_some_and(|first| first & 0b1000_0000 != 0);
    let (length, rest) = integer(rest, 7);
    let value = &rest[..length];
    let digits = if coded { huffman_digits(value) } else { String::from_utf8_lossy(value).into_owned() };
    digits.parse().unwrap_or_else(|_| panic!("no status first in {block:x?}"))
}

fn literal(block: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("below 127"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).expect("below 128") | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).expect("below 128"));
    }
    block.extend_from_slice(bytes);
}

/// An integer with this many bits in its first byte, and what follows it.
fn integer(bytes: &[u8], prefix: u32) -> (usize, &[u8]) {
    let full = (1 << prefix) - 1;
    let mut value = usize::from(bytes[0]) & full;
    let mut at = 1;
    if value == full {
        let mut shift = 0;
        loop {
            let byte = usize::from(bytes[at]);
            value += (byte & 127) << shift;
            shift += 7;
            at += 1;
            if byte < 128 {
                break;
            }
        }
    }
    (value, &bytes[at..])
}

/// Digits in the code of RFC 7541, appendix B: five bits for 0 to 2, six for 3 to 9.
fn huffman_digits(coded: &[u8]) -> String {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let mut digits = String::new();
    let mut rest = bits.as_slice();
    while rest.len() >= 5 {
        let short = number(&rest[..5]);
        let long = rest.get(..6).map(number);
        let (digit, width) = match (short, long) {
            (0..=2, _) => (short, 5),
            (_, Some(0x19..=0x1f)) => (number(&rest[..6]) - 0x19 + 3, 6),
            _ => break,
        };
        digits.push(char::from(b'0' + digit));
        rest = &rest[width..];
    }
    digits
}
