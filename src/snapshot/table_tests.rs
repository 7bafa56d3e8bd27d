use proptest::prelude::*;

use super::*;

fn table(patterns: &[&str]) -> PathTable {
    let parsed: Vec<PathPattern> = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    PathTable::compile(parsed.iter().zip(0..))
}

fn find(patterns: &[&str], path: &str) -> Option<(usize, Vec<(String, String)>)> {
    let found = table(patterns).find(path)?;
    Some((found.route, found.captures.0.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

#[test]
fn the_most_specific_pattern_wins() {
    let patterns = ["/a", "/{x}", "/*", "/a/{x}", "/a/{x}.csv", "/a/b", "/a/*", "/{y}/b"];
    for (path, expected) in [
        ("/a", Some(0)),
        ("/b", Some(1)),
        ("/a/b", Some(5)),
        ("/a/c", Some(3)),
        ("/a/c.csv", Some(4)),
        ("/a/c.d.csv", Some(6)),
        ("/a/c/d", Some(6)),
        ("/q/b", Some(7)),
        ("/q/c", Some(2)),
        ("/a.b", Some(2)),
        ("/", Some(2)),
    ] {
        assert_eq!(find(&patterns, path).map(|(route, _)| route), expected, "{path}");
    }
}

#[test]
fn all_matches_come_in_the_order_in_which_they_win() {
    let patterns = ["/a", "/{x}", "/*", "/a/{x}", "/a/{x}.csv", "/a/b", "/a/*", "/{y}/b", "/{y}/*"];
    let all = |path| -> Vec<usize> { table(&patterns).find_all(path).iter().map(|found| found.route).collect() };
    assert_eq!(all("/a/b"), [5, 3, 6, 7, 8, 2]);
    assert_eq!(all("/a/c.csv"), [4, 6, 8, 2]);
    assert_eq!(all("/a"), [0, 1, 2]);
    assert_eq!(table(&patterns[..2]).find_all("/a/b"), []);
}

#[test]
fn captures_stay_inside_a_segment_and_their_alphabet() {
    assert_eq!(find(&["/r/{x}.csv"], "/r/a-b_C9.csv"), Some((0, vec![("x".into(), "a-b_C9".into())])));
    for path in ["/r/.csv", "/r/a.b.csv", "/r/a/b.csv", "/r/a%20.csv", "/r/é.csv", "/r/a.csvX", "/r/a.csv/"] {
        assert_eq!(find(&["/r/{x}.csv"], path), None, "{path}");
    }
}

#[test]
fn exact_paths_are_exact() {
    for path in ["/top-10-productsX", "/top-10-products/", "/top-10-product", "/TOP-10-PRODUCTS", "", "/"] {
        assert_eq!(find(&["/top-10-products"], path), None, "{path}");
    }
    assert_eq!(find(&["/"], "/"), Some((0, vec![])));
}

#[test]
fn tails_take_the_rest() {
    let rest = |path| find(&["/ch/*"], path).map(|(_, captures)| captures[0].1.clone());
    assert_eq!(rest("/ch/a/b"), Some("a/b".into()));
    assert_eq!(rest("/ch/"), Some(String::new()));
    assert_eq!(rest("/ch"), None);
    assert_eq!(find(&["/{t}/x/*"], "/q/x/y"), Some((0, vec![("t".into(), "q".into()), ("rest".into(), "y".into())])));
}

/// The slow and obvious reading of a pattern.
fn naive(pattern: &PathPattern, path: &str) -> bool {
    let segments: Vec<&str> = path.strip_prefix('/').map_or(vec![], |path| path.split('/').collect());
    let wanted = pattern.segments();
    let long_enough = if pattern.has_tail() { segments.len() > wanted.len() } else { segments.len() == wanted.len() };
    long_enough
        && wanted.iter().zip(&segments).all(|(wanted, given)| match wanted {
            Segment::Literal(text) => text == given,
            Segment::Capture(piece) => captured(piece, given).is_some(),
        })
}

proptest! {
    #[test]
    fn a_path_is_found_exactly_when_some_pattern_matches(
        patterns in proptest::collection::vec("(/(a|b|\\{x\\}|a\\{y\\}|\\{z\\}\\.c)){1,3}(/\\*)?", 1..8),
        path in "(/(a|b|ab|a\\.c|q|)){1,4}",
    ) {
        let parsed: Vec<PathPattern> = patterns.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        let table = PathTable::compile(parsed.iter().zip(0..));
        let found = table.find(&path);
        let all = table.find_all(&path);
        prop_assert_eq!(all.first(), found.as_ref());
        prop_assert!(all.iter().all(|found| naive(&parsed[found.route], &path)));
        prop_assert_eq!(found.is_some(), parsed.iter().any(|pattern| naive(pattern, &path)));
        if let Some(found) = found {
            prop_assert!(naive(&parsed[found.route], &path));
            prop_assert_eq!(found.captures.0.len(), parsed[found.route].captures().count());
        }
    }
}
