//! Limits and plans that are tried out before they are used.
//!
//! In: a file that need not be a whole configuration, and one that may be: the
//! one that it is to change. Out: what it says, checked as in a configuration.
//! Not here: trying (`cli`).

use std::path::Path;

use super::document::{Document, Node, NodeKind};
use super::interpolate::{self, Environment};
use super::issue::{Issue, IssueCode, Issues};
use super::touched::Reader;
use super::{Loaded, check, decode, finish, source};

/// What a file of plans may hold beside another configuration.
const SECTIONS: [&str; 4] = ["limits", "plans", "default_plan", "tenants"];
/// What makes a file a whole configuration.
const OF_GATEWAYS: [&str; 4] = ["hosts", "include", "routes", "upstreams"];

/// Reads the limits and plans of the file at `path`; those of `base` are replaced by them, and the rest of it stays. Without
/// `base` the file may be a whole configuration, or nothing but limits, plans and tenants.
///
/// # Errors
/// Every problem of the files that can be found in one run.
pub fn load_trial(path: &Path, base: Option<&Path>, environment: &Environment) -> Result<Loaded, Issues> {
    let mut reader = Reader::default();
    let read = |path: &Path, reader: &mut Reader| source::read(path, environment, reader).map_err(sorted);
    let Some(base) = base else {
        let (document, issues) = read(path, &mut reader)?;
        return match is_whole(&document.root) {
            true => finish(document, issues, environment, &mut reader),
            false => finish_alone(document, issues, environment, &mut reader),
        };
    };
    let (mut document, mut issues) = read(base, &mut reader)?;
    let order = document.file_count();
    let (sections, found) = source::read_beside(&mut document, path, &SECTIONS, &mut reader).map_err(sorted)?;
    issues.append(found);
    document.replace_sections(sections);
    let mut loaded = finish(document, issues, environment, &mut reader)?;
    // What else the configuration deserves a look for is not what is asked.
    loaded.warnings = only(loaded.warnings, |issue_order| issue_order >= order);
    Ok(loaded)
}

fn is_whole(root: &Node) -> bool {
    OF_GATEWAYS.iter().any(|section| root.child(section).is_some())
}

/// A file with nothing of the gateway around it.
fn finish_alone(
    mut document: Document,
    mut issues: Issues,
    environment: &Environment,
    reader: &mut Reader,
) -> Result<Loaded, Issues> {
    if matches!(document.root.kind, NodeKind::Null) {
        let title = format!("the file `{}` is empty", document.name());
        issues.push(Issue::whole(IssueCode::MissingKey, title).help("begin with `limits:` and `plans:`"));
        return Err(issues);
    }
    issues.append(interpolate::resolve(&mut document, environment, reader));
    let decoded = decode::decode(&mut document);
    issues.append(decoded.issues);
    let config = decoded.config;
    if !matches!(document.root.kind, NodeKind::Broken) {
        issues.append(check::plans_alone(&config, &document));
    }
    issues.sort();
    match issues.has_errors() {
        true => Err(issues),
        false => Ok(Loaded { config, warnings: issues, document }),
    }
}

/// Those whose file is one of these.
fn only(issues: Issues, is_meant: impl Fn(usize) -> bool) -> Issues {
    let mut some = Issues::default();
    let meant = issues.iter().filter(|issue| issue.place.as_ref().is_some_and(|place| is_meant(place.listing.order)));
    meant.cloned().for_each(|issue| some.push(issue));
    some
}

fn sorted(mut issues: Issues) -> Issues {
    issues.sort();
    issues
}
