//! What is said of one request, in one line.
//!
//! In: an [`Outcome`]. Out: text or JSON that a terminal shows as it is. Not
//! here: where lines go (`access_log`); queries and credentials, which an outcome
//! does not have.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::config::section::log::Format;
use crate::exchange::outcome::Outcome;
use crate::exchange::statistics::Statistics;

/// Appends one line.
pub fn append(text: &mut String, outcome: &Outcome, format: Format) {
    match format {
        Format::Json => json(text, outcome),
        // Writing to a string does not fail.
        Format::Text => _ = plain(text, outcome),
    }
    text.push('\n');
}

fn plain(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let time = timestamp(outcome.at);
    write!(text, "{time} {} {} ", outcome.client, outcome.method)?;
    escape(text, &outcome.path);
    write!(text, " {} {:.1}ms", outcome.status, millis(outcome.elapsed))?;
    write!(text, " route={}", outcome.route.as_deref().unwrap_or("-"))?;
    if let Some(upstream) = &outcome.upstream {
        write!(
            text,
            " upstream={upstream} upstream_ms={:.1} gateway_ms={:.1} attempts={}",
            millis(outcome.upstream_elapsed),
            millis(rest(outcome)),
            outcome.attempts
        )?;
    }
    if let Some((provider, id)) = &outcome.caller {
        text.push_str(" caller=");
        // Who makes tokens chooses the name.
        word(text, &format!("{provider}:{id}"));
    }
    if let Some(tenant) = &outcome.tenant {
        write!(text, " tenant={tenant}")?;
    }
    write!(text, " in={} out={}", outcome.request_bytes, outcome.response_bytes)?;
    costs(text, outcome)?;
    if let Some(refusal) = outcome.refusal {
        write!(text, " refusal={}", refusal.as_str())?;
    }
    if let Some(limit) = &outcome.limited_by {
        write!(text, " limit={limit}")?;
    }
    if !outcome.would_refuse.is_empty() {
        write!(text, " would_refuse={}", outcome.would_refuse.join(","))?;
    }
    if let Some(fault) = &outcome.fault {
        text.push_str(" fault=\"");
        escape(text, fault);
        text.push('"');
    }
    text.push_str(" host=");
    escape(text, &outcome.host);
    write!(text, " id={}", outcome.request_id)
}

/// What was not spent waiting for the upstream's response headers.
fn rest(outcome: &Outcome) -> Duration {
    outcome.elapsed.saturating_sub(outcome.upstream_elapsed)
}

/// What is known of what the query cost.
fn costs(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Statistics { rows_read, bytes_read, elapsed } = outcome.statistics;
    for (name, number) in [("unpacked", outcome.unpacked_bytes), ("rows_read", rows_read), ("bytes_read", bytes_read)] {
        if let Some(number) = number {
            write!(text, " {name}={number}")?;
        }
    }
    match elapsed {
        Some(elapsed) => write!(text, " query_ms={:.1}", elapsed.as_secs_f64() * 1000.0),
        None => Ok(()),
    }
}

fn json(text: &mut String, outcome: &Outcome) {
    /// What stands before a value. In one piece: there are thirty of them in each line.
    macro_rules! member {
        ($name:literal) => {
            concat!(",\"", $name, "\":")
        };
    }
    let Statistics { rows_read, bytes_read, elapsed } = outcome.statistics;
    text.push_str("{\"time\":\"");
    text.push_str(&timestamp(outcome.at));
    text.push('"');
    let mut line = Line(text);
    line.text(member!("request_id"), Some(&outcome.request_id));
    line.text(member!("trace_id"), outcome.trace_id.as_deref());
    line.address(member!("client"), outcome.client);
    line.text(member!("provider"), outcome.caller.as_ref().map(|(provider, _)| &**provider));
    line.text(member!("caller"), outcome.caller.as_ref().map(|(_, id)| &**id));
    line.text(member!("tenant"), outcome.tenant.as_ref().map(|tenant| tenant.as_str()));
    line.text(member!("method"), Some(outcome.method.as_str()));
    line.text(member!("host"), Some(&outcome.host));
    line.text(member!("path"), Some(&outcome.path));
    line.text(member!("route"), outcome.route.as_deref());
    line.text(member!("upstream"), outcome.upstream.as_deref());
    line.number(member!("status"), Some(outcome.status.into()));
    line.text(member!("refusal"), outcome.refusal.map(|refusal| refusal.as_str()));
    line.text(member!("limit"), outcome.limited_by.as_deref());
    line.texts(member!("would_refuse"), &outcome.would_refuse);
    line.text(member!("fault"), outcome.fault.as_deref());
    line.number(member!("attempts"), Some(outcome.attempts.into()));
    line.number(member!("bytes_in"), Some(outcome.request_bytes));
    line.number(member!("bytes_out"), Some(outcome.response_bytes));
    line.number(member!("bytes_unpacked"), outcome.unpacked_bytes);
    line.number(member!("rows_read"), rows_read);
    line.number(member!("bytes_read"), bytes_read);
    line.millis(member!("query_ms"), elapsed);
    line.millis(member!("ms"), Some(outcome.elapsed));
    line.millis(member!("upstream_ms"), Some(outcome.upstream_elapsed));
    line.millis(member!("gateway_ms"), Some(rest(outcome)));
    text.push('}');
}

/// A line in JSON, whose members are appended one by one: what serde's way costs is mostly for names, whose every byte it
/// looks at each time.
struct Line<'a>(&'a mut String);

impl Line<'_> {
    fn text(&mut self, member: &str, value: Option<&str>) {
        self.0.push_str(member);
        match value {
            Some(value) => quoted(self.0, value),
            None => self.0.push_str("null"),
        }
    }

    fn texts(&mut self, member: &str, values: &[Arc<str>]) {
        self.0.push_str(member);
        self.0.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            quoted(self.0, value);
        }
        self.0.push(']');
    }

    fn address(&mut self, member: &str, address: IpAddr) {
        self.0.push_str(member);
        self.0.push('"');
        match address {
            // Formatting takes as long as half of the line.
            IpAddr::V4(address) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.0.push('.');
                    }
                    self.0.push_str(itoa::Buffer::new().format(octet));
                }
            }
            // Writing to a string does not fail.
            IpAddr::V6(address) => _ = write!(self.0, "{address}"),
        }
        self.0.push('"');
    }

    fn number(&mut self, member: &str, value: Option<u64>) {
        self.0.push_str(member);
        match value {
            Some(value) => self.0.push_str(itoa::Buffer::new().format(value)),
            None => self.0.push_str("null"),
        }
    }

    /// To the microsecond, with as few digits as that takes: `12.345`, `11.0`.
    fn millis(&mut self, member: &str, time: Option<Duration>) {
        let Some(time) = time else { return self.number(member, None) };
        // Longer than any request lasts.
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 500);
        let micros = (nanos + 500) / 1_000;
        self.number(member, Some(micros / 1_000));
        self.0.push('.');
        let mut rest = micros % 1_000;
        for unit in [100, 10, 1] {
            self.0.push(char::from(b'0' + (rest / unit) as u8));
            rest %= unit;
            if rest == 0 {
                return;
            }
        }
    }
}

/// Appends a text as JSON has it, and so that a terminal shows it as it is.
fn quoted(text: &mut String, raw: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    // To the end in any case: many bytes are looked at together.
    if raw.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        text.push('"');
        text.push_str(raw);
        text.push('"');
    } else {
        text.push_str(&written(&raw));
    }
}

/// One line of JSON that a terminal shows as it is.
pub(super) fn written(line: &impl Serialize) -> String {
    // Texts, numbers and lists of them always serialise.
    let plain = serde_json::to_string(line).unwrap_or_default();
    if plain.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return plain;
    }
    let mut text = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        match is_obeyed(c) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
}

/// What JSON itself lets through though some terminals obey it: controls above ASCII, line ends and changes of direction.
pub(super) fn is_obeyed(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The value of a field: in quotes where it could seem to be more fields than one.
fn word(text: &mut String, raw: &str) {
    let quote = if raw.contains([' ', '=']) { "\"" } else { "" };
    text.push_str(quote);
    escape(text, raw);
    text.push_str(quote);
}

/// One line stays one line, and a terminal obeys nobody: control characters,
/// quotes and what is not ASCII are escaped.
fn escape(text: &mut String, raw: &str) {
    for c in raw.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            ' '..='~' => text.push(c),
            _ => text.extend(c.escape_default()),
        }
    }
}

/// `2026-11-22T17:06:18.123Z`.
pub(super) fn timestamp(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}
