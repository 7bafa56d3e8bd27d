//! Routes that do not get every request their paths match.
//!
//! In: every served path. Out: a warning for two paths that cross: a more
//! specific beginning wins over a more specific end, and the loser looks as if
//! it answered. Not here: paths of which neither is more specific (`conflicts`);
//! and a path inside another's, which is how the most specific route is meant to win.

use std::collections::{BTreeMap, HashSet};

use crate::config::ServedPath;
use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{PathPattern, Piece, Segment};

use super::Checker;

/// Comparisons in all; files that need more have ten thousand crossing shapes, and are let through.
const MAX_STEPS: usize = 300_000;

impl Checker<'_> {
    pub(super) fn overlaps(&mut self) {
        let served = self.config.served_paths();
        self.too_long(&served);
        let mut root = Branch::default();
        for path in served.iter().filter(|path| !is_exact(&path.pattern)) {
            root.insert(path);
        }
        let shapes: HashSet<String> =
            served.iter().map(|path| shape(path.pattern.segments(), path.pattern.has_tail())).collect();
        let mut steps = 0;
        let mut reported: HashSet<(&str, &str)> = HashSet::new();
        for path in served.iter().filter(|path| !is_exact(&path.pattern)) {
            let mut search = Search { ours: path, shapes: &shapes, both: Vec::new(), steps: &mut steps };
            let Some((winner, both)) = search.follow(&root, Standing::Level) else { continue };
            if reported.insert((path.route.as_str(), winner.route.as_str())) {
                let title = format!("requests for `{both}` go to `{}`, not to `{}`", winner.pattern, path.pattern);
                let place = self.document.key_place(&["routes", path.route.as_str()]);
                let other = self.document.key_place(&["routes", winner.route.as_str()]);
                self.issues.push(
                    Issue::at(IssueCode::ShadowedRoute, place, title)
                        .related(other, "wins: its path is more specific at the first difference")
                        .help(format!(
                            "write a route `{both}` that says who answers there, or change one of the paths"
                        )),
                );
            }
        }
    }

    /// A path that is longer than any request may be is never asked for.
    fn too_long(&mut self, served: &[ServedPath<'_>]) {
        let limit = self.config.server.max_uri;
        for path in served {
            let shortest: usize = path.pattern.segments().iter().map(|segment| 1 + shortest(segment)).sum();
            if shortest <= limit.as_usize() {
                continue;
            }
            let title = format!("no request can ask for `{}`: it is longer than `max_uri` ({limit})", path.pattern);
            let place = self.document.key_place(&["routes", path.route.as_str()]);
            let issue = Issue::at(IssueCode::ShadowedRoute, place, title);
            let written = self.document.value_place(&["server", "max_uri"]);
            self.issues.push(issue.related(written, "`max_uri`").help("raise `max_uri`, or shorten the path"));
        }
    }
}

fn shortest(segment: &Segment) -> usize {
    match segment {
        Segment::Capture(Piece { prefix, suffix, .. }) => prefix.len() + 1 + suffix.len(),
        Segment::Literal(text) => text.len(),
    }
}

fn is_exact(pattern: &PathPattern) -> bool {
    !pattern.has_tail() && pattern.segments().iter().all(|segment| matches!(segment, Segment::Literal(_)))
}

/// A path without the names of its captures.
fn shape(segments: &[Segment], tail: bool) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Capture(Piece { prefix, suffix, .. }) => {
                text.push_str(prefix);
                text.push_str("{}");
                text.push_str(suffix);
            }
            Segment::Literal(literal) => text.push_str(literal),
        }
    }
    text + if tail { "/*" } else { "" }
}

/// Paths by their segments.
#[derive(Default)]
struct Branch<'a> {
    literals: BTreeMap<&'a str, Branch<'a>>,
    captures: BTreeMap<(&'a str, &'a str), Branch<'a>>,
    end: Option<&'a ServedPath<'a>>,
    tail: Option<&'a ServedPath<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, path: &'a ServedPath<'a>) {
        let mut branch = self;
        for segment in path.pattern.segments() {
            branch = match segment {
                Segment::Capture(Piece { prefix, suffix, .. }) => branch.captures.entry((prefix, suffix)).or_default(),
                Segment::Literal(text) => branch.literals.entry(text).or_default(),
            };
        }
        match path.pattern.has_tail() {
            true => branch.tail = Some(path),
            false => branch.end = Some(path),
        }
    }
}

/// How the other path compares with ours so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The other was more specific first, and ours later: they cross.
    Crossed,
    /// The other was more specific first.
    Behind,
    /// No difference yet.
    Level,
}

struct Search<'s> {
    ours: &'s ServedPath<'s>,
    shapes: &'s HashSet<String>,
    /// What both paths match, as far as it was followed.
    both: Vec<Segment>,
    steps: &'s mut usize,
}

impl Search<'_> {
    /// The path that takes requests from ours, and what both match.
    fn follow<'a>(&mut self, branch: &Branch<'a>, standing: Standing) -> Option<(&'a ServedPath<'a>, String)> {
        *self.steps += 1;
        if *self.steps > MAX_STEPS {
            return None;
        }
        let depth = self.both.len();
        let Some(segment) = self.ours.pattern.segments().get(depth) else {
            return match self.ours.pattern.has_tail() {
                // Whatever stands below is matched by our tail, and is more specific than it.
                true => (standing == Standing::Crossed).then(|| self.any_below(branch)).flatten(),
                false => branch.end.and_then(|other| self.crossing(other, standing, Tail::None)),
            };
        };
        for (standing, common, next) in onward(segment, branch, standing) {
            self.both.push(common);
            let found = self.follow(next, standing);
            self.both.pop();
            if found.is_some() {
                return found;
            }
        }
        // The other's tail takes the rest of ours, which is more specific than a tail.
        let other = branch.tail.filter(|_| standing != Standing::Level)?;
        self.both.extend(self.ours.pattern.segments().iter().skip(depth).cloned());
        let tail = if self.ours.pattern.has_tail() { Tail::Rest } else { Tail::None };
        let found = self.crossing(other, Standing::Crossed, tail);
        self.both.truncate(depth);
        found
    }

    fn any_below<'a>(&mut self, branch: &Branch<'a>) -> Option<(&'a ServedPath<'a>, String)> {
        *self.steps += 1;
        let here = branch.tail.and_then(|other| self.crossing(other, Standing::Crossed, Tail::Rest));
        if here.is_some() || *self.steps > MAX_STEPS {
            return here;
        }
        let literals = branch.literals.iter().map(|(text, next)| (Segment::Literal((*text).to_owned()), next));
        let captures = branch.captures.iter().map(|((prefix, suffix), next)| (capture(prefix, suffix), next));
        for (segment, next) in literals.chain(captures) {
            self.both.push(segment);
            let end = next.end.and_then(|other| self.crossing(other, Standing::Crossed, Tail::None));
            let found = end.or_else(|| self.any_below(next));
            self.both.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn crossing<'a>(
        &self,
        other: &'a ServedPath<'a>,
        standing: Standing,
        tail: Tail,
    ) -> Option<(&'a ServedPath<'a>, String)> {
        // A route for exactly what both match settles it.
        let settled = self.shapes.contains(&shape(&self.both, tail == Tail::Rest));
        let crossed = standing == Standing::Crossed && other.route != self.ours.route && !settled;
        crossed.then(|| (other, text(&self.both, tail)))
    }
}

/// Whether what both paths match ends in `/*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    None,
    Rest,
}

/// The branches that match what `segment` matches, with what both match.
fn onward<'b, 'a>(
    segment: &Segment,
    branch: &'b Branch<'a>,
    standing: Standing,
) -> Vec<(Standing, Segment, &'b Branch<'a>)> {
    let ours_is_narrower = |standing| if standing == Standing::Level { None } else { Some(Standing::Crossed) };
    let mut found = Vec::new();
    match segment {
        Segment::Literal(text) => {
            found.extend(branch.literals.get(text.as_str()).map(|next| (standing, segment.clone(), next)));
            let matching = branch.captures.iter().filter(|((prefix, suffix), _)| matches_piece(prefix, suffix, text));
            let standing = ours_is_narrower(standing);
            found.extend(matching.filter_map(|(_, next)| Some((standing?, segment.clone(), next))));
        }
        Segment::Capture(piece) => {
            let theirs_is_narrower = if standing == Standing::Level { Standing::Behind } else { standing };
            let matching = branch.literals.iter().filter(|(text, _)| matches_piece(&piece.prefix, &piece.suffix, text));
            found.extend(matching.map(|(text, next)| (theirs_is_narrower, Segment::Literal((*text).to_owned()), next)));
            for ((prefix, suffix), next) in &branch.captures {
                let same = *prefix == piece.prefix && *suffix == piece.suffix;
                let inside = prefix.starts_with(&piece.prefix) && suffix.ends_with(&piece.suffix);
                let around = piece.prefix.starts_with(prefix) && piece.suffix.ends_with(suffix);
                if same {
                    found.push((standing, segment.clone(), next));
                } else if inside {
                    found.push((theirs_is_narrower, capture(prefix, suffix), next));
                } else if around {
                    found.extend(ours_is_narrower(standing).map(|standing| (standing, segment.clone(), next)));
                } else if let Some(both) = crossed_pieces(piece, prefix, suffix) {
                    let wins = prefix.len() + suffix.len() > piece.prefix.len() + piece.suffix.len();
                    if wins || standing != Standing::Level {
                        found.push((Standing::Crossed, both, next));
                    }
                }
            }
        }
    }
    found
}

/// What `{x}-csv` and `top-{x}` both match: `top-{x}-csv`.
fn crossed_pieces(piece: &Piece, prefix: &str, suffix: &str) -> Option<Segment> {
    let prefix = longer(&piece.prefix, prefix, |long, short| long.starts_with(short))?;
    let suffix = longer(&piece.suffix, suffix, |long, short| long.ends_with(short))?;
    Some(capture(prefix, suffix))
}

fn longer<'t>(a: &'t str, b: &'t str, covers: impl Fn(&str, &str) -> bool) -> Option<&'t str> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    covers(long, short).then_some(long)
}

fn capture(prefix: &str, suffix: &str) -> Segment {
    Segment::Capture(Piece { prefix: prefix.to_owned(), name: "x".to_owned(), suffix: suffix.to_owned() })
}

/// Whether `text` is `prefix`, one or more of the characters of a capture, and `suffix`.
fn matches_piece(prefix: &str, suffix: &str, text: &str) -> bool {
    let inner = text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).unwrap_or_default();
    !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A path as an operator writes it; captures of one path get different names.
fn text(segments: &[Segment], tail: Tail) -> String {
    let mut text = String::new();
    let mut names: HashSet<String> = HashSet::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Capture(Piece { prefix, name, suffix }) => {
                let mut name = name.clone();
                while !names.insert(name.clone()) {
                    name.push('x');
                }
                text.push_str(&format!("{prefix}{{{name}}}{suffix}"));
            }
            Segment::Literal(literal) => text.push_str(literal),
        }
    }
    text + if tail == Tail::Rest { "/*" } else { "" }
}
