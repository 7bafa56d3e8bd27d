//! Rules between routes: no path may belong to two.

use std::collections::{BTreeMap, HashMap};

use crate::config::ServedPath;
use crate::config::issue::IssueCode;
use crate::config::scalar::{PathPattern, Piece, Segment, Template};

use super::Checker;

impl Checker<'_> {
    pub(super) fn conflicts(&mut self) {
        let served = self.config.served_paths();
        let mut groups: HashMap<String, Vec<&ServedPath<'_>>> = HashMap::new();
        for path in &served {
            let group = groups.entry(skeleton(&path.pattern)).or_default();
            if let Some(other) = group.iter().find(|other| overlap(&other.pattern, &path.pattern)) {
                // Two routes of one pipe are reported by `tinybird_api`.
                if other.route != path.route && !(self.is_made(path) && self.is_made(other)) {
                    let title = match other.pattern == path.pattern {
                        true => format!("two routes serve `{}`", path.pattern),
                        false => format!("`{}` and `{}` can match the same path", path.pattern, other.pattern),
                    };
                    let help = match self.is_made(path) || self.is_made(other) {
                        true => "`tinybird_api` serves this path, too: change the path, or turn it off",
                        false => "change one of the paths, or its `formats`",
                    };
                    let paths: [&[&str]; 2] = [&["routes", other.route.as_str()], &["routes", path.route.as_str()]];
                    self.two_keys(IssueCode::RouteConflict, paths, title, help);
                }
            }
            group.push(path);
        }
    }

    pub(super) fn tinybird_api(&mut self) {
        if !self.config.tinybird_api {
            return;
        }
        let mut seen: BTreeMap<&str, &PathPattern> = BTreeMap::new();
        for (pattern, route) in &self.config.routes {
            let Some(pipe) = route.pipe.as_ref().and_then(Template::literal) else { continue };
            match seen.get(pipe) {
                None => {
                    seen.insert(pipe, pattern);
                }
                Some(first) => {
                    let title =
                        format!("the pipe `{pipe}` has two routes, and `tinybird_api` cannot tell whose rules apply");
                    let paths: [&[&str]; 2] = [&["routes", first.as_str()], &["routes", pattern.as_str()]];
                    let help = "keep one route per pipe, or turn `tinybird_api` off";
                    self.two_keys(IssueCode::TinybirdApi, paths, title, help);
                }
            }
        }
    }

    /// Whether `tinybird_api` made the path, and no route names it.
    fn is_made(&self, path: &ServedPath<'_>) -> bool {
        let written = self.config.routes.get(path.route).and_then(|route| route.paths(path.route).ok());
        written.is_none_or(|paths| paths.iter().all(|(written, _)| *written != path.pattern))
    }
}

/// What two patterns must share to be able to conflict: the literals, and how
/// much fixed text stands around each capture.
fn skeleton(pattern: &PathPattern) -> String {
    let mut text = String::new();
    for segment in pattern.segments() {
        text.push('/');
        match segment {
            Segment::Capture(Piece { prefix, suffix, .. }) => {
                text.push('{');
                text.push_str(&(prefix.len() + suffix.len()).to_string());
                text.push('}');
            }
            Segment::Literal(literal) => text.push_str(literal),
        }
    }
    if pattern.has_tail() {
        text.push_str("/*");
    }
    text
}

/// Whether two patterns with one skeleton can match the same path.
fn overlap(a: &PathPattern, b: &PathPattern) -> bool {
    a.segments().iter().zip(b.segments()).all(|(a, b)| match (a, b) {
        (Segment::Capture(a), Segment::Capture(b)) => {
            let prefix = a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix);
            prefix && (a.suffix.ends_with(&b.suffix) || b.suffix.ends_with(&a.suffix))
        }
        (Segment::Literal(a), Segment::Literal(b)) => a == b,
        (Segment::Capture(_), Segment::Literal(_)) | (Segment::Literal(_), Segment::Capture(_)) => false,
    })
}
