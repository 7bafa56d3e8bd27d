//! How much memory an identity takes.
//!
//! In: an identity. Out: bytes, right within a factor of two. Not here: how
//! many there may be (`super`). The text of a token says little: a payload of
//! many tiny objects takes a hundred times its length.

use serde_json::{Map, Value};

use crate::exchange::caller::{Facts, Identity, PipeScope};

/// What the allocator keeps beside each piece, and the step in which it gives them out.
const PIECE: usize = 16;
/// Members of an object for which there is room in each node of its tree, and how many are there, about.
const NODE_ROOM: usize = 11;
const NODE_FILL: usize = 7;

/// Bytes of an identity, and of all that belongs to it.
pub(super) fn of(identity: &Identity) -> usize {
    let facts = match &identity.facts {
        Facts::Certificate(says) => of_object(says),
        Facts::Claims(claims) => of_object(claims),
        Facts::Key { meta, .. } => meta.iter().map(|(name, value)| of_text(name) + of_text(value) + PIECE).sum(),
    };
    let scopes: usize = identity.scopes.iter().flatten().map(|scope| of_member(scope)).sum();
    let pipes: usize = identity.pipes.iter().map(of_pipe).sum();
    let token = identity.token.as_ref().map_or(0, |token| of_text(token.expose()));
    PIECE
        + size_of::<Identity>()
        + of_text(&identity.id)
        + of_text(&identity.bearer)
        + of_text(identity.plan.as_deref().unwrap_or_default())
        + facts
        + scopes
        + pipes
        + token
}

fn of_pipe(pipe: &PipeScope) -> usize {
    let fixed = pipe.fixed.iter().flatten();
    let fixed: usize = fixed.map(|(name, value)| of_member(name) + of_member(value)).sum();
    size_of::<PipeScope>() + of_text(&pipe.resource) + fixed
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => of_text(text),
        Value::Array(items) if items.is_empty() => 0,
        // A list that grew has room for more.
        Value::Array(items) => {
            PIECE + items.capacity() * size_of::<Value>() + items.iter().map(of_value).sum::<usize>()
        }
        Value::Object(members) => of_object(members),
    }
}

fn of_object(members: &Map<String, Value>) -> usize {
    let nodes = members.len().div_ceil(NODE_FILL);
    let node = PIECE + NODE_ROOM * (size_of::<String>() + size_of::<Value>());
    nodes * node + members.iter().map(|(name, value)| of_text(name) + of_value(value)).sum::<usize>()
}

/// A text in a list.
fn of_member(text: &str) -> usize {
    size_of::<Box<str>>() + of_text(text)
}

fn of_text(text: &str) -> usize {
    if text.is_empty() { 0 } else { PIECE + text.len().next_multiple_of(PIECE) }
}
