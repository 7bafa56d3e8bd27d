//! What an expression of PromQL names: series and labels.
//!
//! Not here: whether it is right; promtool and Prometheus say that.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

/// Names of series and of labels, apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) series: BTreeSet<String>,
    pub(crate) labels: BTreeSet<String>,
}

static TEXT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*""#).expect("a pattern"));
static RANGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]").expect("a pattern"));
static MATCHERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{([^}]*)\}").expect("a pattern"));
static GROUPING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:by|on|without|ignoring|group_left|group_right) *\(([^)]*)\)").expect("a pattern")
});
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*( *\()?").expect("a pattern"));

/// Takes an expression apart.
pub(crate) fn named(expression: &str) -> Named {
    let bare = RANGE.replace_all(expression, "");
    let bare = TEXT.replace_all(&bare, "").into_owned();
    let mut labels = BTreeSet::new();
    for pattern in [&MATCHERS, &GROUPING] {
        for found in pattern.captures_iter(&bare) {
            let words = found[1].split([',', '=', '!', '~']).map(str::trim).filter(|word| !word.is_empty());
            labels.extend(words.map(str::to_owned));
        }
    }
    let bare = MATCHERS.replace_all(&bare, "");
    // A space for what groups, so that what stands beside it stays apart; `sum ( ... )` is still a call.
    let bare = GROUPING.replace_all(&bare, "").replace("  ", " ");
    let words = NAME.find_iter(&bare).map(|found| found.as_str());
    let is_series = |word: &&str| !word.ends_with('(') && !["and", "or", "unless", "bool", "offset"].contains(word);
    let series = words.filter(is_series).map(str::to_owned).collect();
    Named { series, labels }
}

#[test]
fn an_expression_is_taken_apart() {
    let of = |text: &str| -> (Vec<String>, Vec<String>) {
        let Named { series, labels } = named(text);
        (series.into_iter().collect(), labels.into_iter().collect())
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (series, labels) = of(r#"topk(10, sum by (a, b) (rate(x_total{c="d e", f!~"g|h"}[$__rate_interval])))"#);
    assert_eq!((series, labels), (words(&["x_total"]), words(&["a", "b", "c", "f"])));
    let (series, labels) = of("(a > 0.5 or 0 * b:c:rate5m) / on (job) group_left (v) d unless time() - e < 14 * 86400");
    assert_eq!((series, labels), (words(&["a", "b:c:rate5m", "d", "e"]), words(&["job", "v"])));
}
