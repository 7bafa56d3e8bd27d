//! Routes that do not get every request their paths match.
//!
//! In: every served path. Out: a warning for two paths that cross: a more
//! specific beginning wins over a more specific end, and the loser looks as if
//! it answered. Not here: paths of which neither is more specific (`conflicts`);
//! and a path inside another's, which is how the most specific route is meant to win.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use crate::config::issue::{Issue, IssueCode};
use crate::config::scalar::{PathPattern, Piece, Segment};
use crate::config::{RouteSet, ServedPath};

use super::Checker;

/// Comparisons in all; files that need more have thousands of crossing shapes.
const MAX_STEPS: usize = 3_000_000;
/// What it costs to go on to another branch, in comparisons.
const BRANCH: usize = 10;

impl Checker<'_> {
    /// Looks for them among the paths of one set of routes; `steps` counts the comparisons of all sets.
    pub(super) fn overlaps(&mut self, set: RouteSet<'_>, served: &[ServedPath<'_>], steps: &Cell<usize>) {
        if steps.get() > MAX_STEPS {
            return;
        }
        self.too_long(served);
        let mut root = Branch::default();
        for path in served.iter().filter(|path| !is_exact(&path.pattern)) {
            root.insert(path);
        }
        if root.captures.is_empty() && root.literals.is_empty() && root.tail.is_none() {
            return;
        }
        let shapes: HashSet<String> =
            served.iter().map(|path| shape(path.pattern.segments(), path.pattern.has_tail())).collect();
        let mut reported: HashSet<(&str, &str)> = HashSet::new();
        for path in served.iter().filter(|path| !is_exact(&path.pattern)) {
            let mut search = Search { ours: path, shapes: &shapes, both: Vec::new(), steps };
            let Some((winner, both)) = search.follow(&root, Standing::Level) else { continue };
            if reported.insert((path.route.key.as_str(), winner.route.key.as_str())) {
                let title = format!("requests for `{both}` go to `{}`, not to `{}`", winner.pattern, path.pattern);
                let place = self.document.key_place(&path.route.path(&[]));
                let other = self.document.key_place(&winner.route.path(&[]));
                self.issues.push(
                    Issue::at(IssueCode::ShadowedRoute, place, title)
                        .related(other, "wins: its path is more specific at the first difference")
                        .help(format!(
                            "write a route `{both}` that says who answers there, or change one of the paths"
                        )),
                );
            }
        }
        if steps.get() > MAX_STEPS {
            let title = "too many paths with captures can cross: not all of them were compared";
            let place = self.document.key_place(&set.path(&[]));
            self.issues.push(Issue::at(IssueCode::ShadowedRoute, place, title).help(
                "begin paths with fixed text, like /reports/{name}: those with different beginnings need no comparing",
            ));
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
            let place = self.document.key_place(&path.route.path(&[]));
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
    steps: &'s Cell<usize>,
}

impl<'s> Search<'s> {
    /// The path that takes requests from ours, and what both match.
    fn follow(&mut self, branch: &Branch<'s>, standing: Standing) -> Option<(&'s ServedPath<'s>, String)> {
        self.steps.set(self.steps.get() + BRANCH);
        if self.steps.get() > MAX_STEPS {
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
        for (standing, common, next) in onward(segment, branch, standing, self.steps) {
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

    fn any_below(&mut self, branch: &Branch<'s>) -> Option<(&'s ServedPath<'s>, String)> {
        self.steps.set(self.steps.get() + BRANCH);
        let here = branch.tail.and_then(|other| self.crossing(other, Standing::Crossed, Tail::Rest));
        if here.is_some() || self.steps.get() > MAX_STEPS {
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

    fn crossing(
        &self,
        other: &'s ServedPath<'s>,
        standing: Standing,
        tail: Tail,
    ) -> Option<(&'s ServedPath<'s>, String)> {
        // A route for exactly what both match settles it.
        let settled = self.shapes.contains(&shape(&self.both, tail == Tail::Rest));
        let crossed = standing == Standing::Crossed && !other.route.is(&self.ours.route) && !settled;
        crossed.then(|| (other, text(&self.both, tail)))
    }
}

/// Whether what both paths match ends in `/*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    None,
    Rest,
}

/// A branch to go on to, how it compares, and what it and a segment of ours both match.
type Onward<'b, 's> = (Standing, Segment, &'b Branch<'s>);

/// The branches that match what `segment` matches. One by one, because the first of thousands may be enough.
fn onward<'b, 's>(
    segment: &'s Segment,
    branch: &'b Branch<'s>,
    standing: Standing,
    steps: &'b Cell<usize>,
) -> Box<dyn Iterator<Item = Onward<'b, 's>> + 'b> {
    let is_within_bounds = move || {
        steps.set(steps.get() + 1);
        steps.get() <= MAX_STEPS
    };
    match segment {
        Segment::Literal(text) => {
            let same = branch.literals.get(text.as_str()).map(|next| (standing, segment.clone(), next));
            let narrower = ours_is_narrower(standing);
            let captures = beginning_like(branch, text).take_while(move |_| is_within_bounds());
            let matching = captures.filter(|((prefix, suffix), _)| matches_piece(prefix, suffix, text));
            Box::new(
                same.into_iter().chain(matching.filter_map(move |(_, next)| Some((narrower?, segment.clone(), next)))),
            )
        }
        Segment::Capture(piece) => {
            let theirs_is_narrower = if standing == Standing::Level { Standing::Behind } else { standing };
            let literals = branch.literals.range::<str, _>((Bound::Included(piece.prefix.as_str()), Bound::Unbounded));
            let literals = literals
                .take_while(move |(text, _)| text.starts_with(&piece.prefix) && is_within_bounds())
                .filter(|(text, _)| matches_piece(&piece.prefix, &piece.suffix, text))
                .map(move |(text, next)| (theirs_is_narrower, Segment::Literal((*text).to_owned()), next));
            let captures = beginning_like(branch, &piece.prefix)
                .take_while(move |_| is_within_bounds())
                .filter_map(move |((prefix, suffix), next)| beside(piece, (prefix, suffix), next, standing));
            Box::new(literals.chain(captures))
        }
    }
}

/// How a capture compares with a capture of ours, if both match something.
fn beside<'b, 's>(
    piece: &Piece,
    (prefix, suffix): (&str, &str),
    next: &'b Branch<'s>,
    standing: Standing,
) -> Option<Onward<'b, 's>> {
    let inside = prefix.starts_with(&piece.prefix) && suffix.ends_with(&piece.suffix);
    let around = piece.prefix.starts_with(prefix) && piece.suffix.ends_with(suffix);
    if inside && around {
        return Some((standing, Segment::Capture(piece.clone()), next));
    }
    if inside {
        let theirs_is_narrower = if standing == Standing::Level { Standing::Behind } else { standing };
        return Some((theirs_is_narrower, capture(prefix, suffix), next));
    }
    if around {
        return ours_is_narrower(standing).map(|standing| (standing, Segment::Capture(piece.clone()), next));
    }
    let both = crossed_pieces(piece, prefix, suffix)?;
    let wins = prefix.len() + suffix.len() > piece.prefix.len() + piece.suffix.len();
    (wins || standing != Standing::Level).then_some((Standing::Crossed, both, next))
}

fn ours_is_narrower(standing: Standing) -> Option<Standing> {
    if standing == Standing::Level { None } else { Some(Standing::Crossed) }
}

/// The captures whose prefix is the beginning of `text`, or begins with it: no others match anything that does.
fn beginning_like<'b, 's>(
    branch: &'b Branch<'s>,
    text: &'s str,
) -> impl Iterator<Item = (&'b (&'s str, &'s str), &'b Branch<'s>)> {
    let shorter = (0..text.len()).filter_map(|end| text.get(..end));
    let shorter = shorter
        .flat_map(|start| branch.captures.range((start, "")..).take_while(move |((prefix, _), _)| *prefix == start));
    let longer = branch.captures.range((text, "")..).take_while(move |((prefix, _), _)| prefix.starts_with(text));
    shorter.chain(longer)
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
