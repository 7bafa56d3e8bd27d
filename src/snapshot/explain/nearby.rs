//! What a path that nothing serves may have been meant to be.
//!
//! In: a path without a route, and every pattern of its host. Out: a sentence where the
//! mistake is a common one, and the patterns that come near. Not here: finding
//! the route of a path that has one (`table`).

use serde::Serialize;

use crate::config::scalar::{PathPattern, Piece, Segment};
use crate::config::section::routes::Format;
use crate::snapshot::Snapshot;
use crate::snapshot::hosts::Site;

/// Patterns that are shown, at most.
const SHOWN: usize = 3;

/// What the caller may have meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearby {
    /// What is wrong with the path, where that is clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Patterns that are served and come near, the nearest first.
    pub patterns: Vec<String>,
}

impl Nearby {
    pub(super) fn find(snapshot: &Snapshot, site: &Site, path: &str) -> Self {
        let routes = snapshot.routes_of(site).iter();
        let patterns: Vec<PathPattern> = routes.filter_map(|route| route.label.parse().ok()).collect();
        let is_served = |path: &str| snapshot.find(site, path).is_some();
        let hint = slash(&is_served, path)
            .or_else(|| case(&is_served, &patterns, path))
            .or_else(|| extension(&is_served, path))
            .or_else(|| alphabet(&patterns, path));
        Nearby { hint, patterns: nearest(&patterns, path) }
    }
}

fn slash(is_served: &impl Fn(&str) -> bool, path: &str) -> Option<String> {
    if let Some(without) = path.strip_suffix('/').filter(|without| is_served(without)) {
        return Some(format!("`{without}` is served, without the slash at its end: paths match exactly"));
    }
    let with = format!("{path}/");
    is_served(&with).then(|| format!("`{with}` is served, with a slash at its end: paths match exactly"))
}

fn case(is_served: &impl Fn(&str) -> bool, patterns: &[PathPattern], path: &str) -> Option<String> {
    let lower = path.to_lowercase();
    if is_served(&lower) {
        return Some(format!("`{lower}` is served: upper and lower case differ in paths"));
    }
    let same = patterns.iter().find(|pattern| pattern.as_str().eq_ignore_ascii_case(path))?;
    Some(format!("`{same}` is served: upper and lower case differ in paths"))
}

fn extension(is_served: &impl Fn(&str) -> bool, path: &str) -> Option<String> {
    let named = |format: Format| format!(".{}", format.extension());
    let written = Format::ALL.into_iter().map(named).find_map(|end| Some((path.strip_suffix(end.as_str())?, end)));
    let (stem, end) = match &written {
        Some((stem, end)) => (*stem, end.as_str()),
        None => (path, ""),
    };
    let others = std::iter::once(String::new()).chain(Format::ALL.into_iter().map(named)).filter(|other| other != end);
    let served: Vec<String> = others
        .map(|other| format!("{stem}{other}"))
        .filter(|other| is_served(other))
        .map(|other| format!("`{other}`"))
        .collect();
    let list = (!served.is_empty()).then(|| served.join(", "))?;
    Some(match end {
        "" => format!("the path is served with an extension: {list}"),
        end => format!("the path is served as {list}, not with `{end}`: `formats` of a route lists what it answers in"),
    })
}

/// A pattern that fits but for a character that captures do not take.
fn alphabet(patterns: &[PathPattern], path: &str) -> Option<String> {
    let given = segments(path);
    patterns.iter().filter(|pattern| fits(pattern, &given)).find_map(|pattern| {
        let (piece, value) = pattern.segments().iter().zip(&given).find_map(|(segment, given)| match segment {
            Segment::Capture(piece) => Some((piece, inside(piece, given)?)).filter(|(_, value)| !is_plain(value)),
            Segment::Literal(_) => None,
        })?;
        Some(format!(
            "`{pattern}` does not take `{}` for `{{{}}}`: a capture is letters, digits, `_` and `-`",
            value.escape_debug(),
            piece.name
        ))
    })
}

fn segments(path: &str) -> Vec<&str> {
    path.strip_prefix('/').unwrap_or(path).split('/').collect()
}

/// Whether a pattern matches if its captures took any text.
fn fits(pattern: &PathPattern, given: &[&str]) -> bool {
    let wanted = pattern.segments();
    let long_enough = if pattern.has_tail() { given.len() > wanted.len() } else { given.len() == wanted.len() };
    long_enough
        && wanted.iter().zip(given).all(|(segment, given)| match segment {
            Segment::Capture(piece) => inside(piece, given).is_some_and(|value| !value.is_empty()),
            Segment::Literal(text) => text == given,
        })
}

fn inside<'a>(piece: &Piece, given: &'a str) -> Option<&'a str> {
    given.strip_prefix(piece.prefix.as_str())?.strip_suffix(piece.suffix.as_str())
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The nearest patterns, if they are near enough to be meant.
fn nearest(patterns: &[PathPattern], path: &str) -> Vec<String> {
    let given = segments(path);
    let mut near: Vec<(usize, &PathPattern)> = patterns
        .iter()
        .filter(|pattern| pattern.has_tail() || pattern.segments().len() == given.len())
        .map(|pattern| (strsim::damerau_levenshtein(&filled(pattern, &given), path), pattern))
        .filter(|(distance, pattern)| *distance <= (fixed_text(pattern) / 4).max(1))
        .collect();
    near.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.cmp(other)));
    near.into_iter().take(SHOWN).map(|(_, pattern)| pattern.to_string()).collect()
}

/// How much of a pattern can be mistyped.
fn fixed_text(pattern: &PathPattern) -> usize {
    let of = |segment: &Segment| match segment {
        Segment::Capture(piece) => piece.prefix.len() + piece.suffix.len(),
        Segment::Literal(text) => text.len(),
    };
    pattern.segments().iter().map(|segment| 1 + of(segment)).sum()
}

/// A pattern with its captures taken from the path, as far as they fit.
fn filled(pattern: &PathPattern, given: &[&str]) -> String {
    let mut text = String::new();
    for (index, segment) in pattern.segments().iter().enumerate() {
        text.push('/');
        match (segment, given.get(index)) {
            (Segment::Capture(piece), Some(given)) if inside(piece, given).is_some() => text.push_str(given),
            (Segment::Capture(piece), _) => {
                text.push_str(&format!("{}{{{}}}{}", piece.prefix, piece.name, piece.suffix));
            }
            (Segment::Literal(literal), _) => text.push_str(literal),
        }
    }
    if pattern.has_tail() {
        text.push('/');
        text.push_str(&given.get(pattern.segments().len()..).unwrap_or_default().join("/"));
    }
    text
}
