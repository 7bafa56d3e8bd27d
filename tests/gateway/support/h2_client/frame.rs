//! HTTP/2 frames (RFC 9113, section 4) as they stand on the wire.

/// One frame; nothing is checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The type; see the constants.
    pub kind: u8,
    /// The flags; see the constants.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// All after the frame header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Type of DATA.
    pub const DATA: u8 = 0;
    /// Type of HEADERS.
    pub const HEADERS: u8 = 1;
    /// Type of RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// Type of SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// Type of PING.
    pub const PING: u8 = 6;
    /// Type of GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// Type of WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 8;
    /// Type of CONTINUATION.
    pub const CONTINUATION: u8 = 9;

    /// Flag ACK of SETTINGS and PING.
    pub const ACK: u8 = 0x1;
    /// Flag END_STREAM of DATA and HEADERS.
    pub const END_STREAM: u8 = 0x1;
    /// Flag END_HEADERS of HEADERS and CONTINUATION.
    pub const END_HEADERS: u8 = 0x4;
    /// Flag PADDED of DATA and HEADERS.
    pub const PADDED: u8 = 0x8;
    /// Flag PRIORITY of HEADERS.
    pub const PRIORITY: u8 = 0x20;

    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, stream, payload: payload.as_ref().to_vec() }
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame that can be sent").to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }

    /// The length in a frame header of nine bytes, and the frame so far.
    pub(super) fn from_header(header: &[u8]) -> (usize, Self) {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let length = usize::try_from(number(&header[..3])).expect("24 bits");
        (length, Self::new(header[3], header[4], number(&header[5..9]) & 0x7fff_ffff, []))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without padding and priority.
    pub(super) fn content(&self) -> &[u8] {
        let mut content = self.payload.as_slice();
        if self.has(Self::PADDED) {
            let padding = usize::from(content[0]);
            content = &content[1..content.len() - padding];
        }
        let priority = self.kind == Self::HEADERS && self.has(Self::PRIORITY);
        if priority { &content[5..] } else { content }
    }

    /// The 32-bit number at this place of the payload.
    pub(super) fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).unwrap_or_default();
        bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}
