//! Hosts are called by one spelling.
//!
//! In: the tree of a file. Out: the same tree, its hosts in lower case, and an
//! issue for each that is there in two spellings. Not here: which names are
//! possible (`scalar`).

use super::document::{Document, Key, Node, NodeKind};
use super::issue::{Issue, IssueCode, Issues};

/// Hosts know no case: from here on each is called by its one spelling, as [`super::Config`] calls it.
pub(super) fn fold_hosts(document: &mut Document, issues: &mut Issues) {
    let Some(Node { kind: NodeKind::Map(hosts), .. }) = document.root.child_mut("hosts") else { return };
    let mut twice: Vec<(Key, Key)> = Vec::new();
    for at in 0..hosts.len() {
        let Some((key, node)) = hosts.get_mut(at) else { continue };
        let lower = key.text.to_ascii_lowercase();
        if key.text == lower {
            continue;
        }
        let second = key.clone();
        let rest = std::mem::replace(&mut node.kind, NodeKind::Broken);
        match hosts.entry(&lower) {
            Some((other, _)) if other.span.start > second.span.start => twice.push((second, other.clone())),
            Some((other, _)) => twice.push((other.clone(), second)),
            None => {
                hosts.rename(at, &lower);
                if let Some((_, node)) = hosts.get_mut(at) {
                    node.kind = rest;
                }
            }
        }
    }
    for (first, second) in twice {
        let title = format!("`{}` and `{}` are the same host", first.text, second.text);
        let issue = Issue::at(IssueCode::Duplicate, document.place(&second.span), title);
        issues.push(issue.related(document.place(&first.span), "first defined here").help("keep one of them"));
    }
}
