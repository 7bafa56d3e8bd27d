use std::path::PathBuf;

use super::interpolate::Environment;
use super::*;

fn problems(text: &str) -> String {
    let environment = Environment::of([("SET", "value"), ("EMPTY", ""), ("LONG", "a-very-secret-value-indeed")]);
    match load_text("t.yaml", text, PathBuf::new(), &environment) {
        Ok(loaded) => format!("ok\n{}", loaded.warnings),
        Err(issues) => issues.to_string(),
    }
}

#[test]
fn six_lines_are_enough() {
    let text = "upstreams:\n  tinybird:\n    url: https://api.tinybird.co\n    token: ${SET}\nroutes:\n  /top-10-products: { pipe: top-10-products }\n";
    assert!(problems(text).starts_with("ok"), "{}", problems(text));
}

#[test]
fn every_problem_is_reported_in_one_run() {
    let text = "\
upstreams:
  a: { url: ftp://x, tokn: x }
  b: { url: https://b.example.com, token: \"${UNSET}\", retry: { attempts: many } }
routes:
  /x: { pipe: a/b, upstream: c, methods: [GET, FETCH] }
  /y: {}
servre: {}
";
    let found = problems(text);
    for expected in [
        "TG0105",
        "`tokn` is not a key here",
        "did you mean `token`?",
        "the variable `UNSET` is not set",
        "t.yaml:3:",
        "not the name of a pipe",
        "there is no upstream `c`",
        "`FETCH` is not a method here",
        "leads nowhere",
        "did you mean `server`?",
    ] {
        assert!(found.contains(expected), "{expected} is missing in:\n{found}");
    }
}

#[test]
fn a_variable_in_a_flow_map_needs_quotes_and_the_message_says_so() {
    let found =
        problems("upstreams: { a: { url: https://x.example.com, token: ${SET} } }\nroutes: { /x: { pipe: x } }\n");
    assert!(found.contains("TG0002") && found.contains("stands in quotes"), "{found}");
}

#[test]
fn secrets_never_appear_in_messages() {
    let text = "upstreams: { a: { url: '${LONG}', token: 'p.literal-secret-token ' } }\nroutes: { /x: { pipe: x } }\n";
    let found = problems(text);
    assert!(!found.contains("secret"), "{found}");
    assert!(found.contains("TG0106") && found.contains("***"), "{found}");
}

#[test]
fn numbers_keep_their_text() {
    let text = "upstreams: { a: { url: 'http://127.0.0.1:1' } }\nroutes: { /x: { pipe: x, params: { fixed: { a: 007, b: 1.10, c: 1e3, d: yes, e: 12345678901234567890, f: true } } } }\n";
    let loaded = load_text("t", text, PathBuf::new(), &Environment::of([])).unwrap();
    let fixed = &loaded.config.routes.values().next().unwrap().params.fixed;
    let values: Vec<String> = fixed.values().map(ToString::to_string).collect();
    assert_eq!(values, ["007", "1.10", "1e3", "yes", "12345678901234567890", "true"]);
}

#[test]
fn a_file_that_is_being_mended_still_says_where_its_gateway_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    let admin = "# first\nadmin:\n  # here\n  address: 127.0.0.1:7777\n  token: ${TOKEN}\n";
    let environment = Environment::of([("TOKEN", "an-admin-token")]);
    for rest in [
        "",
        "routes: {}\n",
        "routes: { /a: {\n",
        "][\n",
        "routes:\n\tx: y\n",
        "upstreams: { a: ${NO} }\n",
        "more: *x\n",
    ] {
        for text in [format!("{admin}{rest}"), format!("{rest}{admin}")] {
            std::fs::write(&path, &text).unwrap();
            let found = admin_of(&path, &environment);
            assert_eq!(found.admin.address.port(), 7777, "{text}\n{}", found.issues);
            assert_eq!(found.admin.token.unwrap().expose(), "an-admin-token", "{text}");
        }
    }
    std::fs::write(&path, "routes: {\n").unwrap();
    let found = admin_of(&path, &environment);
    assert_eq!(found.admin.address.port(), 9901);
    assert_eq!(found.state.folder(), folder.path().join("./data"));
    // A variable that only the gateway's own environment has is no reason to look elsewhere.
    std::fs::write(&path, admin).unwrap();
    let found = admin_of(&path, &Environment::of([]));
    assert_eq!((found.admin.address.port(), found.issues.errors()), (7777, 1));
}

#[test]
fn the_systems_place_for_state_is_the_default() {
    let text = |state: &str| {
        format!("{state}upstreams: {{ a: {{ url: http://127.0.0.1:1 }} }}\nroutes: {{ /x: {{ pipe: x }} }}\n")
    };
    let folder = |state: &str, directory: &str| {
        let environment = Environment::of([("STATE_DIRECTORY", directory)]);
        load_text("t", &text(state), PathBuf::from("/etc/t"), &environment).unwrap().config.state.folder()
    };
    assert_eq!(folder("", ""), PathBuf::from("/etc/t/./data"));
    assert_eq!(folder("", "/var/lib/t"), PathBuf::from("/var/lib/t/./data"));
    assert_eq!(folder("", "/var/lib/t:/var/lib/u"), PathBuf::from("/var/lib/t/./data"));
    assert_eq!(folder("state: { dir: x }\n", "/var/lib/t"), PathBuf::from("/etc/t/x"));
}
