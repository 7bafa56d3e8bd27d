//! Words and numbers that YAML tools do not agree on.
//!
//! In: the tree of the file, as it was written. Out: a warning where text is
//! wanted and another tool (a template engine, a linter, YAML 1.1) would read,
//! and write back, something else. Not here: values that this gateway refuses.

use crate::config::document::{Document, Key, Node, NodeKind};
use crate::config::issue::{Issue, IssueCode};

use super::Checker;

impl Checker<'_> {
    pub(super) fn traps(&mut self) {
        self.access_log_named_by_accident();
        let document = self.document;
        for name in document.root.child("upstreams").into_iter().flat_map(Node::keys) {
            self.trap_in_key(name);
        }
        let hosts = document.root.child("hosts");
        hosts.into_iter().flat_map(Node::keys).for_each(|name| self.trap_in_key(name));
        for host in hosts.into_iter().flat_map(Node::children) {
            self.trap_in_value(host.child("tenant"));
            self.traps_in_routes(host.child("routes"));
        }
        self.traps_in_routes(document.root.child("routes"));
    }

    fn traps_in_routes(&mut self, routes: Option<&Node>) {
        for route in routes.into_iter().flat_map(Node::children) {
            for key in ["pipe", "upstream", "pass_headers"] {
                self.trap_in_value(route.child(key));
            }
            let params = route.child("params");
            self.trap_in_value(params.and_then(|params| params.child("allow")));
            for key in ["fixed", "default"] {
                let values = params.and_then(|params| params.child(key));
                values.into_iter().flat_map(Node::keys).for_each(|name| self.trap_in_key(name));
                self.trap_in_value(values);
            }
        }
    }

    fn trap_in_value(&mut self, node: Option<&Node>) {
        let Some(node) = node else { return };
        match &node.kind {
            NodeKind::List(items) => items.iter().for_each(|item| self.trap_in_value(Some(item))),
            NodeKind::Map(entries) => entries.iter().for_each(|(_, child)| self.trap_in_value(Some(child))),
            NodeKind::Scalar(scalar) if scalar.plain && !is_alias(self.document, node) => {
                self.trap(&scalar.text, node.span.clone(), What::Value);
            }
            NodeKind::Broken | NodeKind::Null | NodeKind::Scalar(_) => {}
        }
    }

    fn trap_in_key(&mut self, key: &Key) {
        let quoted = written(self.document, &key.span).starts_with(['"', '\'']);
        if !quoted {
            self.trap(&key.text, key.span.clone(), What::Key);
        }
    }

    fn trap(&mut self, text: &str, span: std::ops::Range<usize>, what: What) {
        let Some(other) = other_reading(text) else { return };
        let help = match what {
            What::Value if other != "a number" => format!("write \"{text}\" if the word is meant, or {other}"),
            What::Key | What::Value => format!("write it in quotes: \"{text}\""),
        };
        let title = format!("`{text}` is text here, and {other} to other YAML tools");
        self.issues.push(Issue::at(IssueCode::YamlTrap, self.document.place(&span), title).help(help));
    }

    /// `access` takes a path, so a word for yes or no would be the name of a file.
    fn access_log_named_by_accident(&mut self) {
        let path = ["log", "access"];
        let Some(NodeKind::Scalar(scalar)) = self.document.node(&path).map(|node| &node.kind) else { return };
        let word = scalar.text.as_str();
        let wanted = match word.to_ascii_lowercase().as_str() {
            _ if scalar.hidden => return,
            "on" | "true" | "y" | "yes" => "stdout",
            "false" | "n" | "no" | "off" if !matches!(word, "false" | "off") => "off",
            _ => return,
        };
        let title = format!("`{word}` is taken for the path of a file");
        let help = format!("did you mean `{wanted}`? A file of that name is `./{word}`");
        self.at_value(IssueCode::YamlTrap, &path, title, &help);
    }
}

/// What a plain text stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Key,
    Value,
}

fn written(document: &Document, span: &std::ops::Range<usize>) -> String {
    let place = document.place(span);
    place.listing.text.get(place.span).unwrap_or_default().to_owned()
}

/// An alias stands for what was looked at where it is defined.
fn is_alias(document: &Document, node: &Node) -> bool {
    written(document, &node.span).starts_with('*')
}

/// What YAML 1.1, or a tool that writes values back, makes of a plain text that is no more than text here.
fn other_reading(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        // Those in lower case mean the same everywhere.
        "true" | "y" | "yes" | "on" if text != "true" => return Some("true"),
        "false" | "n" | "no" | "off" if text != "false" => return Some("false"),
        ".inf" | ".nan" => return Some("a number"),
        _ => {}
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let based = |prefix: &str, radix: u32| {
        body.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let leading_zero = body.len() > 1 && body.starts_with('0') && digits(body);
    let grouped =
        body.starts_with(|c: char| c.is_ascii_digit()) && body.contains('_') && digits(&body.replace('_', ""));
    let sexagesimal = body.contains(':')
        && body.split(':').enumerate().all(|(at, part)| digits(part) && (at == 0 || (part.len() <= 2 && *part < *"6")));
    let number = leading_zero
        || grouped
        || sexagesimal
        || based("0x", 16)
        || based("0o", 8)
        || is_float_written_otherwise(body, digits)
        || (text.starts_with('+') && digits(body));
    number.then_some("a number")
}

/// `1e3`, `1.10`, `.5`: the number is kept by other tools, its spelling is not.
fn is_float_written_otherwise(body: &str, digits: impl Fn(&str) -> bool) -> bool {
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = (whole.is_empty() || digits(whole)) && (fraction.is_empty() || digits(fraction));
    let has_digits = mantissa.bytes().any(|byte| byte.is_ascii_digit()) && exponent.is_none_or(&digits);
    is_number
        && has_digits
        && (exponent.is_some() || fraction.ends_with('0') || whole.is_empty() || mantissa.ends_with('.'))
}
