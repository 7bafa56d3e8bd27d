//! Heads: where they end, and what stands in them.

use super::Violation;
use super::text;

/// A header field as it arrived: name in the sender's case, value without the blanks around it.
pub type Field = (String, Vec<u8>);

/// A request or response head.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Every byte, the final empty line included.
    pub raw: Vec<u8>,
    /// The first line without its line end.
    pub start_line: Vec<u8>,
    /// The fields in order, duplicates included.
    pub fields: Vec<Field>,
    /// What is wrong with the head.
    pub violations: Vec<Violation>,
}

/// Where the head at the front of `bytes` ends, if it does; line ends may be CR LF or LF.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut started = false;
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let empty = line == b"\r\n" || line == b"\n";
        if started && empty {
            return Some(at);
        }
        started |= !empty;
    }
    None
}

impl Head {
    /// Reads a whole head (see [`head_end`]).
    pub fn parse(raw: &[u8]) -> Self {
        let mut head = Self { raw: raw.to_vec(), ..Self::default() };
        let mut started = false;
        for line in raw.split_inclusive(|byte| *byte == b'\n') {
            let line = head.without_line_end(line);
            match (started, line.is_empty()) {
                (false, true) => head.object(Violation::LeadingEmptyLine),
                (false, false) => {
                    head.start_line = line.to_vec();
                    started = true;
                }
                (true, true) => break,
                (true, false) => head.read_field(line),
            }
        }
        head
    }

    /// Reads the field lines of a trailer section, which has no start line.
    pub fn parse_trailers(raw: &[u8]) -> Self {
        let mut head = Self { raw: raw.to_vec(), ..Self::default() };
        for line in raw.split_inclusive(|byte| *byte == b'\n') {
            let line = head.without_line_end(line);
            if !line.is_empty() {
                head.read_field(line);
            }
        }
        head
    }

    /// The three words of the start line, the last one with all that is left.
    pub fn words(&self) -> [String; 3] {
        let mut words = self.start_line.splitn(3, |byte| *byte == b' ').map(text);
        std::array::from_fn(|_| words.next().unwrap_or_default())
    }

    /// Notes a violation once.
    pub fn object(&mut self, violation: Violation) {
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// Notes what is wrong with a request's head as a whole.
    pub fn judge_request(&mut self) {
        let [method, target, version] = self.words();
        let known = version == "HTTP/1.1" || version == "HTTP/1.0";
        let clean = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
        if !known || !clean || !is_token(method.as_bytes()) {
            self.object(Violation::BadStartLine(text(&self.start_line)));
        }
        match super::values(&self.fields, "host").len() {
            0 if version != "HTTP/1.0" => self.object(Violation::MissingHost),
            0 | 1 => {}
            _ => self.object(Violation::DuplicateHost),
        }
    }

    /// Notes what is wrong with a response's status line.
    pub fn judge_response(&mut self) {
        let [version, status, reason] = self.words();
        let known = version == "HTTP/1.1" || version == "HTTP/1.0";
        let number = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        if !known || !number || reason.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            self.object(Violation::BadStartLine(text(&self.start_line)));
        }
    }

    fn without_line_end<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let Some(line) = line.strip_suffix(b"\r") else {
            self.object(Violation::BareLf);
            return line;
        };
        if line.contains(&b'\r') {
            self.object(Violation::BareCr);
        }
        line
    }

    fn read_field(&mut self, line: &[u8]) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            self.object(Violation::ObsFold);
            if let Some((_, value)) = self.fields.last_mut() {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return self.object(Violation::MissingColon(text(line)));
        };
        let name = text(&line[..colon]);
        let value = trim_blanks(&line[colon + 1..]);
        if !is_token(&line[..colon]) {
            self.object(Violation::BadFieldName(name.clone()));
        }
        // A CR has been objected to with its line.
        if value.iter().any(|byte| byte.is_ascii_control() && !b"\t\r".contains(byte)) {
            self.object(Violation::BadFieldValue(name.clone()));
        }
        self.fields.push((name, value.to_vec()));
    }
}

/// Blanks only: `trim_ascii` would also hide form feeds and carriage returns.
fn trim_blanks(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn is_token(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(allowed)
}
