//! Whatever a file holds: no panic, and every place lies inside the file.

use std::path::PathBuf;

use proptest::prelude::*;
use tollgate::config::issue::Issues;
use tollgate::config::load_text;

/// Loads `text`, and looks at every place and at the rendered words.
fn look(text: &str) {
    let result = load_text("t.yaml", text, PathBuf::new(), &crate::environment());
    match result {
        Ok(loaded) => look_at(&loaded.warnings, text),
        Err(issues) => {
            assert!(issues.has_errors());
            look_at(&issues, text);
        }
    }
}

fn look_at(issues: &Issues, text: &str) {
    for issue in issues.iter() {
        let related = issue.related.iter().map(|(place, _)| place);
        for place in issue.place.iter().chain(related) {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            assert_eq!(place.listing.text.len(), text.len(), "masking changes no length");
            assert!(place.span.start <= place.span.end, "{issue:?}");
            assert!(place.listing.text.get(place.span.clone()).is_some(), "{:?} is no place in {text:?}", place.span);
            let (line, column) = place.line_and_column();
            assert!(line >= 1 && line <= text.matches('\n').count() + 1 && column >= 1);
        }
    }
    assert!(!issues.to_string().contains('\u{1b}'), "plain text has no escapes");
}

/// Pieces that files are made of, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "upstreams:",
            "routes:",
            "hosts:",
            "A.example.com:",
            "a.example.com:",
            "\"*.example.com\":",
            "tenant:",
            "\"{host.3}\"",
            "cors:",
            "log:",
            "limits:",
            "plans:",
            "state:",
            "counters:",
            "by:",
            "rate:",
            "quota:",
            "cost:",
            "[ip, tenant]",
            "5/s",
            "5GB/day",
            "redis://u:p@h",
            "store:",
            "postgres://u:p@h/d",
            "server:",
            "listeners:",
            "admin:",
            "white_label:",
            "usage:",
            "retention:",
            "tinybird_api:",
            "url:",
            "token:",
            "headers:",
            "retry:",
            "params:",
            "fixed:",
            "default:",
            "allow:",
            "pipe:",
            "proxy:",
            "formats:",
            "methods:",
            "upstream:",
            "origins:",
            "tls:",
            "ca:",
            "timeouts:",
            "attempt:",
            "a:",
            "? ",
            "- ",
            "/x:",
            "/{y}:",
            "/*:",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "&a ",
            "*a",
            "<<:",
            "!!str ",
            "|",
            ">",
            "---",
            "...",
            "\n",
            "\n  ",
            "\n    ",
            "\n      ",
            "\t",
            "\r\n",
            " ",
            "  ",
            "\"",
            "'",
            "#",
            "é",
            "\u{feff}",
            "\u{85}",
            "\0",
            "日本",
            "\u{2028}",
            "${TOKEN}",
            "${NO}",
            "${",
            "$$",
            "file://x",
            "https://x.example.com",
            "http://127.0.0.1:1",
            "10s",
            "20%",
            "16KiB",
            "5",
            "-1",
            "true",
            "~",
            "{path.y}",
            "{path.rest}",
            "%",
        ])
        .prop_map(str::to_owned),
        "[ -~\\n]{0,6}",
        "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        look(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_characters(text in "(?s).{0,120}") {
        look(&text);
    }

    #[test]
    fn almost_yaml(pieces in prop::collection::vec(piece(), 0..60)) {
        look(&pieces.concat());
    }

    #[test]
    fn a_good_file_with_a_wound(at in 0_usize..700, cut in 0_usize..12, insert in piece()) {
        let good = include_str!("cases/good/every_key.yaml");
        let start = (0..=at.min(good.len())).rev().find(|at| good.is_char_boundary(*at)).unwrap_or(0);
        let end = ((start + cut).min(good.len())..=good.len()).find(|at| good.is_char_boundary(*at)).unwrap_or(start);
        look(&[good.get(..start).unwrap(), &insert, good.get(end..).unwrap()].concat());
    }
}

#[test]
fn every_beginning_of_a_good_file() {
    let good = include_str!("cases/good/every_key.yaml");
    for beginning in (0..good.len()).filter_map(|end| good.get(..end)) {
        look(beginning);
    }
}
