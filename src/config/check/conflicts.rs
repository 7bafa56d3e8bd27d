//! Rules between routes: no path may belong to two.

use std::collections::{BTreeMap, HashMap};

use crate::config::issue::IssueCode;
use crate::config::scalar::{PathPattern, Piece, Segment, Template};
use crate::config::{RouteSet, ServedPath, WrittenRoute};

use super::Checker;

/// Comparisons in all.
const MAX_STEPS: usize = 3_000_000;

impl Checker<'_> {
    /// Looks for them among the paths of one set of routes; `steps` counts the comparisons of all sets.
    pub(super) fn conflicts(&mut self, set: RouteSet<'_>, served: &[ServedPath<'_>], steps: &mut usize) {
        if *steps > MAX_STEPS {
            return;
        }
        let mut groups: BTreeMap<String, Vec<&ServedPath<'_>>> = BTreeMap::new();
        for path in served {
            groups.entry(skeleton(&path.pattern)).or_default().push(path);
        }
        for group in groups.values() {
            for (path, other) in first_overlaps(group, steps) {
                // Two routes of one pipe are reported by `tinybird_api`.
                let is_reported_there = is_made(path) && is_made(other);
                if !other.route.is(&path.route) && !is_reported_there {
                    self.conflict(path, other);
                }
            }
        }
        if *steps > MAX_STEPS {
            let title = "too many paths with captures in one place: not all of them were compared";
            let help = "give them different beginnings, like /a-{x} and /b-{x}";
            self.at_key(IssueCode::TooLarge, &set.path(&[]), title.to_owned(), help);
        }
    }

    fn conflict(&mut self, path: &ServedPath<'_>, other: &ServedPath<'_>) {
        let title = match other.pattern == path.pattern {
            true => format!("two routes serve `{}`", path.pattern),
            false => format!("`{}` and `{}` can match the same path", path.pattern, other.pattern),
        };
        let help = match is_made(path) || is_made(other) {
            true => "`tinybird_api` serves this path, too: change the path, or turn it off",
            false => "change one of the paths, or its `formats`",
        };
        let paths: [&[&str]; 2] = [&other.route.path(&[]), &path.route.path(&[])];
        self.two_keys(IssueCode::RouteConflict, paths, title, help);
    }

    pub(super) fn tinybird_api(&mut self, set: RouteSet<'_>) {
        if !self.config.tinybird_api {
            return;
        }
        let mut seen: BTreeMap<&str, WrittenRoute<'_>> = BTreeMap::new();
        for route in set.routes() {
            let Some(pipe) = route.route.pipe.as_ref().and_then(Template::literal) else { continue };
            match seen.get(pipe) {
                None => {
                    seen.insert(pipe, route);
                }
                Some(first) => {
                    let title =
                        format!("the pipe `{pipe}` has two routes, and `tinybird_api` cannot tell whose rules apply");
                    let paths: [&[&str]; 2] = [&first.path(&[]), &route.path(&[])];
                    let help = "keep one route per pipe, or turn `tinybird_api` off";
                    self.two_keys(IssueCode::TinybirdApi, paths, title, help);
                }
            }
        }
    }
}

/// Whether `tinybird_api` made the path, and no route names it.
fn is_made(path: &ServedPath<'_>) -> bool {
    let written = path.route.route.paths(path.route.key);
    written.map_or(true, |paths| paths.iter().all(|(written, _)| *written != path.pattern))
}

/// For each path of a group the first one before it that can match the same.
///
/// Two captures overlap if the fixed text of one goes on from that of the other, in front and behind. So paths are
/// put together by how long their fixed texts are; between two such classes, what both have of the texts is looked up.
fn first_overlaps<'a, 's>(
    group: &[&'a ServedPath<'s>],
    steps: &mut usize,
) -> Vec<(&'a ServedPath<'s>, &'a ServedPath<'s>)> {
    if group.len() < 2 {
        return Vec::new();
    }
    let mut classes: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (at, path) in group.iter().enumerate() {
        classes.entry(pieces(&path.pattern).map(|piece| piece.prefix.len()).collect()).or_default().push(at);
    }
    let classes: Vec<(&Vec<usize>, &Vec<usize>)> = classes.iter().collect();
    let mut first: Vec<Option<usize>> = vec![None; group.len()];
    for (nth, (lengths, members)) in classes.iter().enumerate() {
        for (other_lengths, others) in classes.iter().skip(nth) {
            *steps += members.len() + others.len();
            if *steps > MAX_STEPS {
                break;
            }
            join(group, [(lengths, members), (other_lengths, others)], &mut first);
        }
    }
    let found = group.iter().zip(first);
    found.filter_map(|(path, first)| Some((*path, *group.get(first?)?))).collect()
}

/// Looks for overlaps between the members of two classes of a group, each with the lengths of its prefixes.
fn join(group: &[&ServedPath<'_>], classes: [(&Vec<usize>, &Vec<usize>); 2], first: &mut [Option<usize>]) {
    let [(lengths, members), (other_lengths, others)] = classes;
    let common: Vec<usize> = lengths.iter().zip(other_lengths).map(|(a, b)| *a.min(b)).collect();
    let key = |at: usize| group.get(at).map(|path| common_text(&path.pattern, &common, lengths, other_lengths));
    for (from, to) in [(members, others), (others, members)] {
        let mut known = HashMap::new();
        for at in from {
            known.entry(key(*at)).or_insert(*at);
        }
        for at in to {
            let earlier = known.get(&key(*at)).copied().filter(|earlier| earlier < at);
            if let (Some(earlier), Some(first)) = (earlier, first.get_mut(*at)) {
                *first = Some(first.map_or(earlier, |first| first.min(earlier)));
            }
        }
    }
}

/// What paths of both classes have of each capture's fixed text: the shorter prefix, and the shorter suffix.
fn common_text<'p>(
    pattern: &'p PathPattern,
    common: &[usize],
    lengths: &[usize],
    others: &[usize],
) -> Vec<(&'p str, &'p str)> {
    let longest = lengths.iter().zip(others).map(|(a, b)| *a.max(b));
    let texts = pieces(pattern).zip(common.iter().zip(longest)).map(|(piece, (shorter, longest))| {
        // The texts of both have one length together, so the longer prefix goes with the shorter suffix.
        let suffix = (piece.prefix.len() + piece.suffix.len()).saturating_sub(longest);
        let behind = piece.suffix.len().saturating_sub(suffix);
        (piece.prefix.get(..*shorter), piece.suffix.get(behind..))
    });
    // A text that would be cut inside a character has nothing in common with the other; its whole is as good as any.
    texts.map(|(prefix, suffix)| (prefix.unwrap_or("/"), suffix.unwrap_or("/"))).collect()
}

fn pieces(pattern: &PathPattern) -> impl Iterator<Item = &Piece> {
    pattern.segments().iter().filter_map(|segment| match segment {
        Segment::Capture(piece) => Some(piece),
        Segment::Literal(_) => None,
    })
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
