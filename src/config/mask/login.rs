//! The URL of a Redis or a Postgres without the password that may stand in it.
//!
//! In: where `state.counters` or `state.store` stands in a text. Out: what of it nobody may see:
//! user and password, and whatever is no more than a mistyped one. Variables, a
//! host with its port and database, and the `:` before a password are shown.

use std::ops::Range;

use super::beside_variables;

/// What must not be shown of the value at `span`.
pub(super) fn hidden_of(text: &str, span: &Range<usize>) -> Vec<Range<usize>> {
    let written = text.get(span.clone()).unwrap_or_default();
    let quote = usize::from(written.starts_with(['"', '\'']));
    let end = written.trim_end_matches(['"', '\'']).len().max(quote);
    let body = written.get(quote..end).unwrap_or_default();
    if body.starts_with("file://") {
        return Vec::new();
    }
    let begins = quote + body.find("://").map_or(0, |at| at + "://".len());
    let rest = written.get(begins..end).unwrap_or_default();
    // A password may hold any character, so the last `@` counts.
    let hidden = match rest.rfind('@') {
        Some(at) => [begins..begins + at, begins + behind_place(rest, at)..end],
        None if is_place(rest) => return Vec::new(),
        None => [begins..end, end..end],
    };
    let parts = hidden.into_iter().flat_map(|part| around_colon(written, part));
    parts.flat_map(|part| beside_variables(text, &(span.start + part.start..span.start + part.end))).collect()
}

/// Where a URL goes on behind its path, which it must not: a query may have a password in it.
fn behind_place(rest: &str, at: usize) -> usize {
    let behind = rest.get(at..).unwrap_or_default();
    behind.find(['?', '#']).map_or(rest.len(), |mark| at + mark + 1)
}

/// Whether a text is no more than a host with its port and database, or variables for these.
fn is_place(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "._-:/[]${}".contains(c);
    let port = colon(text).and_then(|at| text.get(at + 1..)).unwrap_or("0");
    let is_port = port.starts_with("${") || port.starts_with(|c: char| c.is_ascii_digit());
    text.chars().all(is_known) && (is_port || text.starts_with('['))
}

/// A login in two, user and password.
fn around_colon(written: &str, part: Range<usize>) -> Vec<Range<usize>> {
    match colon(written.get(part.clone()).unwrap_or_default()) {
        Some(at) => vec![part.start..part.start + at, part.start + at + 1..part.end],
        None => vec![part],
    }
}

/// The first colon that does not stand in a variable.
fn colon(text: &str) -> Option<usize> {
    let mut is_variable = false;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '{' => is_variable = true,
            '}' => is_variable = false,
            ':' if !is_variable => return Some(at),
            _ => {}
        }
        None
    })
}
