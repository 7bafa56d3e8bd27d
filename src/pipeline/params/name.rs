//! What happens to a parameter, by its name alone.
//!
//! In: a decoded name. Out: its [`Fate`], or a refusal. Names are compared
//! without case and without an array suffix, because upstreams differ in both.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::exchange::refusal::Refusal;

use super::Fixed;

/// What becomes of a caller's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a caller's credential and does not reach the upstream.
    Credential,
    /// It is the fixed parameter at this position, in whatever spelling.
    Fixed(usize),
    /// It goes on as it is.
    Keep,
    /// The route has an allow-list without it, so it does not reach the upstream.
    Unlisted,
}

/// The names a route knows.
#[derive(Clone, Debug)]
pub(super) struct Names {
    allow: Option<HashSet<Box<str>, ahash::RandomState>>,
    /// In the order of the fixed parameters, folded.
    fixed: Box<[Box<str>]>,
}

/// Parameters of Tinybird's and ClickHouse's engines rather than of a pipe
/// (config.md rule 9). Compared folded.
const CONTROL: [&str; 12] = [
    "explain",
    "finalize_aggregations",
    "format",
    "job_timestamp",
    "pipeline",
    "playground",
    "q",
    "query_id",
    "release_replacements",
    "tag",
    "template_parameters",
    "token",
];

/// As [`CONTROL`], for every name that begins so.
const CONTROL_PREFIXES: [&str; 3] = ["__tb__", "debug", "output_format_"];

impl Names {
    pub(super) fn compile<'a>(allow: Option<&[String]>, fixed: impl Iterator<Item = &'a String>) -> Self {
        Names {
            allow: allow.map(|names| names.iter().map(|name| name.as_str().into()).collect()),
            fixed: fixed.map(|name| fold(name).into()).collect(),
        }
    }

    /// Whether only listed names go on.
    pub(super) fn is_closed(&self) -> bool {
        self.allow.is_some()
    }

    /// `fixed` are all that are fixed in this request, those of the route first.
    pub(super) fn fate(&self, name: &str, fixed: &[Fixed<'_>]) -> Result<Fate, Refusal> {
        if !is_possible_name(name) {
            return Err(Refusal::bad_parameter(name, "has a character in its name that parameters cannot have"));
        }
        let folded = fold(name);
        // A caller's credential: never forwarded, wherever it stands.
        if folded == "token" {
            return Ok(Fate::Credential);
        }
        if let Some(index) = self.fixed.iter().position(|fixed| **fixed == *folded) {
            return Ok(Fate::Fixed(index));
        }
        let of_token = fixed.iter().enumerate().skip(self.fixed.len());
        if let Some((index, _)) = of_token.into_iter().find(|(_, fixed)| folds_to(fixed.name, &folded)) {
            return Ok(Fate::Fixed(index));
        }
        let allowed = self.allow.as_ref().map(|allow| allow.contains(name));
        if allowed != Some(true) && is_control(&folded) {
            return Err(Refusal::ControlParameter { name: name.to_owned() });
        }
        Ok(if allowed == Some(false) { Fate::Unlisted } else { Fate::Keep })
    }
}

/// Whether a name belongs to the upstream's engine rather than to a pipe, in any spelling.
pub fn is_control_name(name: &str) -> bool {
    is_control(&fold(name))
}

/// Whether a caller may send a parameter of this name at all.
pub fn is_possible_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}

/// Whether two names are one, in any spelling.
pub(super) fn folds_to(name: &str, other: &str) -> bool {
    fold(name) == fold(other)
}

/// Lower case, without an array suffix: `Tenant_Id[]` is `tenant_id`.
fn fold(name: &str) -> Cow<'_, str> {
    let end = name.bytes().position(|byte| matches!(byte, b'[' | b']'));
    let bare = end.and_then(|end| name.get(..end)).unwrap_or(name);
    match bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(bare.to_ascii_lowercase()),
        false => Cow::Borrowed(bare),
    }
}

fn is_control(folded: &str) -> bool {
    CONTROL.contains(&folded) || CONTROL_PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
}

/// What no separator, quote or decoder gives a second meaning to.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.[]$:@~!*()/".contains(&byte)
}
