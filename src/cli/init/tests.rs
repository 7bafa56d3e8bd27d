//! Whatever a document says, the file is the configuration that was meant.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::upstream::catalogue::Catalogue;

fn configuration(document: &serde_json::Value) -> (Import, String, Config) {
    let catalogue = Catalogue::read(document.to_string().as_bytes()).unwrap();
    let import = import::convert(catalogue, "document.json".to_owned(), None);
    let facts = Facts { url: UPSTREAM_URL.parse().unwrap(), variable: TOKEN_VARIABLE.to_owned() };
    let text = text::configuration(&facts, Some(&import));
    let environment = Environment::of([(TOKEN_VARIABLE, "p.token"), ("HOME", "p.leaked")]);
    match load_text("tollgate.yaml", &text, PathBuf::new(), &environment) {
        Ok(loaded) => (import, text, loaded.config),
        Err(issues) => panic!("{issues}\n{text}"),
    }
}

fn document(pipe: &str, words: &str, names: &[String]) -> serde_json::Value {
    let parameters: Vec<_> = names
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "description": words, "schema": { "default": words } }))
        .collect();
    json!({
        "openapi": "3.0.0",
        "info": { "title": words },
        "paths": { format!("/pipes/{pipe}.json"): { "get": { "summary": words, "parameters": parameters } } },
    })
}

/// What YAML, comments, variables and terminals give a meaning to.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\n",
        "\r",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\u{feff}",
        "\u{0}",
        "\u{1b}[31m",
        "routes:",
        "  /evil: { pipe: evil }",
        "# ",
        ": ",
        " #",
        "- ",
        "${HOME}",
        "$HOME",
        "$$",
        "$",
        "file:///etc/passwd",
        "\"",
        "'",
        "\\",
        "*a",
        "&a",
        "!tag",
        "{",
        "}",
        "[",
        "]",
        "~",
        "null",
        "yes",
        "0x10",
        "1e3",
        "007",
        "%TAG",
        "---",
        "...",
        "| ",
        "> ",
        "? ",
        "@",
        "`",
        "é",
        "😀",
        "a",
        "b_",
        "-",
        ".",
    ]);
    prop::collection::vec(pieces, 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_document_writes_yaml(pipe in "[A-Za-z0-9_-]{1,8}", words in hostile(), names in prop::collection::vec(hostile(), 0..6)) {
        let (import, text, config) = configuration(&document(&pipe, &words, &names));
        let path = format!("/{pipe}");
        prop_assert_eq!(config.routes.keys().map(|key| key.as_str()).collect::<Vec<_>>(), vec![path.as_str()], "{}", text);
        let route = config.routes.values().next().unwrap();
        prop_assert_eq!(route.pipe.as_ref().map(ToString::to_string), Some(pipe));
        // Every name arrives as it was, or is in the report.
        let allow = route.params.allow.clone().unwrap();
        let report = import.report();
        for name in names {
            let kept = allow.contains(&name);
            prop_assert!(kept || report.contains("approximated") || report.contains("NOT converted"), "{:?}: {}", name, report);
        }
        prop_assert!(allow.iter().all(|name| text::comment(name, 1000) == *name), "{:?}", allow);
        prop_assert!(!text.contains("p.leaked"), "{}", text);
        prop_assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{:?}", report);
    }
}

#[test]
fn names_that_yaml_or_variables_would_change_arrive_as_they_are() {
    let names: Vec<String> =
        ["yes", "NO", "null", "~", "1e3", "0x10", "007", "*a", "!a", "@a", "$a", "$$", "a:b", "-", "p[]", "1.5"]
            .map(str::to_owned)
            .into();
    let (_, text, config) = configuration(&document("123", "words", &names));
    let route = config.routes.values().next().unwrap();
    assert_eq!(route.params.allow.as_deref(), Some(names.as_slice()), "{text}");
    assert_eq!(route.pipe.as_ref().unwrap().to_string(), "123");
}

#[test]
fn a_pipe_called_like_a_word_of_yaml_is_a_text() {
    for pipe in ["null", "true", "no", "y", "0", "1e3", "-", "_"] {
        let (_, text, config) = configuration(&document(pipe, "words", &[]));
        let route = config.routes.values().next().unwrap();
        assert_eq!(route.pipe.as_ref().unwrap().to_string(), pipe, "{text}");
        assert_eq!(route.params.allow.as_deref(), Some([].as_slice()), "nothing is declared, so nothing goes on");
    }
}

#[test]
fn a_name_that_is_a_file_is_not_taken_over() {
    let (import, _, config) =
        configuration(&document("a", "words", &["file:///etc/passwd".to_owned(), "limit".to_owned()]));
    assert_eq!(config.routes.values().next().unwrap().params.allow.as_deref(), Some(["limit".to_owned()].as_slice()));
    assert!(import.has_dropped() && import.report().contains("as a file"), "{}", import.report());
}

#[test]
fn comments_are_cut_and_stay_on_their_line() {
    assert_eq!(text::comment(" a\n b\u{2028}\u{202e}c\t", 10), "a b c");
    assert_eq!(text::comment(&"é".repeat(200), 3), "ééé…");
}

#[test]
fn what_a_shell_would_read_is_quoted() {
    for (path, written) in [
        (".env", "./.env"),
        ("./.env", "./.env"),
        ("/etc/t/.env", "/etc/t/.env"),
        ("my folder/.env", "'./my folder/.env'"),
        ("it's/$(x)", r"'./it'\''s/$(x)'"),
        ("-x", "./-x"),
    ] {
        assert_eq!(files::for_a_shell(Path::new(path)), written);
    }
}

#[test]
fn a_document_cannot_send_the_token_elsewhere() {
    let document = json!({
        "openapi": "3.0.0",
        "servers": [{ "url": "https://evil.example.com/v0" }],
        "paths": { "/pipes/a.json": { "get": {} } },
    });
    let upstream = |fetched: Option<&str>| {
        let catalogue = Catalogue::read(document.to_string().as_bytes()).unwrap();
        let target = fetched.map(|url| url.parse().unwrap());
        let import = import::convert(catalogue, "x".to_owned(), target.as_ref());
        (import.upstream.as_ref().unwrap().to_string(), import.report())
    };
    let (url, report) = upstream(Some("https://api.tinybird.co/v0/pipes/openapi.json"));
    assert_eq!(url, "https://api.tinybird.co");
    assert!(report.contains("names https://evil.example.com"), "{report}");
    let (url, _) = upstream(Some("https://gw.example.com/base/v0/pipes/openapi.json"));
    assert_eq!(url, "https://gw.example.com/base");
    assert_eq!(upstream(None).0, "https://evil.example.com", "a file is all there is to go by");
}
