//! TG0206 against the table that requests are matched with: what it says is so, and no crossing pair is missed.

use std::path::PathBuf;

use proptest::prelude::*;
use tollgate::clock::TestClock;
use tollgate::config::issue::IssueCode;
use tollgate::config::load_text;
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

/// What is served, and the titles of TG0206; none where the paths are an error.
fn loaded(paths: &[String]) -> Option<(Snapshot, Vec<String>)> {
    let mut text = "upstreams: { t: { url: 'https://t.example.com' } }\nroutes:\n".to_owned();
    for path in paths {
        text.push_str(&format!("  \"{path}\": {{ proxy: /x }}\n"));
    }
    let loaded = load_text("t.yaml", &text, PathBuf::new(), &crate::environment()).ok()?;
    let crossing = loaded.warnings.iter().filter(|issue| issue.code == IssueCode::ShadowedRoute);
    let titles = crossing.map(|issue| issue.title.clone()).collect();
    Some((Snapshot::compile(&loaded.config, &State::new(TestClock::new().clock())), titles))
}

fn winner(snapshot: &Snapshot, path: &str) -> Option<String> {
    let site = snapshot.site_of("localhost")?;
    snapshot.find(site, path).map(|(route, _)| route.label.to_string())
}

/// A path with something for every capture and for the tail.
fn filled(pattern: &str) -> String {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, behind)) = rest.split_once('{') {
        path.push_str(before);
        path.push_str("value7");
        rest = behind.split_once('}').expect("a closed capture").1;
    }
    path.push_str(rest);
    path.replace("/*", "/below/it")
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "{}", "{}", "p-{}", "{}-sx", "p-{}-sx"]);
    (prop::collection::vec(segment, 1..4), any::<bool>()).prop_map(|(segments, tail)| {
        let mut path = String::new();
        for (index, segment) in segments.iter().enumerate() {
            path.push('/');
            path.push_str(&segment.replace("{}", &format!("{{c{index}}}")));
        }
        path + if tail { "/*" } else { "" }
    })
}

/// Every short path of words that the patterns tell apart.
fn universe() -> Vec<String> {
    let words = ["a", "b", "q", "p-q", "q-sx", "p-q-sx", "q.q"];
    let mut paths = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        paths = paths.iter().flat_map(|path| words.iter().map(move |word| format!("{path}/{word}"))).collect();
        all.extend(paths.iter().cloned());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn who_is_said_to_win_wins(paths in prop::collection::btree_set(pattern(), 2..6)) {
        let paths: Vec<String> = paths.into_iter().collect();
        let Some((snapshot, titles)) = loaded(&paths) else { return Ok(()) };
        for title in titles {
            let quoted: Vec<&str> = title.split('`').skip(1).step_by(2).collect();
            let [both, wins, loses] = quoted.as_slice() else { panic!("{title}") };
            let path = filled(both);
            let (only_loser, _) = loaded(&[(*loses).to_owned()]).expect("one path conflicts with nothing");
            prop_assert!(winner(&only_loser, &path).is_some(), "{path} is matched by {loses}");
            let found = winner(&snapshot, &path);
            // A third route may be more specific still; the loser must not get the request.
            prop_assert!(found.as_deref() != Some(*loses), "{title}: {path} goes to {found:?} of {paths:?}");
            let (pair, _) = loaded(&[(*loses).to_owned(), (*wins).to_owned()]).expect("no conflict");
            prop_assert_eq!(winner(&pair, &path), Some((*wins).to_owned()), "{}", title);
        }
    }

    #[test]
    fn a_pair_crosses_if_each_has_paths_of_its_own(a in pattern(), b in pattern()) {
        let Some((_, titles)) = loaded(&[a.clone(), b.clone()]) else { return Ok(()) };
        let (only_a, _) = loaded(std::slice::from_ref(&a)).expect("one path conflicts with nothing");
        let (only_b, _) = loaded(std::slice::from_ref(&b)).expect("one path conflicts with nothing");
        let matched = universe().iter().map(|path| (winner(&only_a, path).is_some(), winner(&only_b, path).is_some())).collect::<Vec<_>>();
        let crosses = [(true, true), (true, false), (false, true)].iter().all(|kind| matched.contains(kind));
        prop_assert_eq!(!titles.is_empty(), crosses, "{} and {}: {:?}", a, b, titles);
    }
}
