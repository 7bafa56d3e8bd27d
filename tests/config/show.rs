//! `config show`: what it prints, and that what it prints loads again.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;
use tollgate::config::diff::ConfigDiff;
use tollgate::config::interpolate::Environment;
use tollgate::config::show::{Origins, Shown};
use tollgate::config::{Config, load, load_text};

use crate::{SECRETS, cases, environment};

/// Cases whose whole text is kept beside them, `.shown` and `.origins`.
const KEPT: [&str; 2] = ["defaults_of_variables", "every_key"];

#[test]
fn what_is_shown_is_what_was_agreed() {
    for case in good_cases() {
        if !KEPT.iter().any(|kept| case.file_stem().is_some_and(|stem| stem == *kept)) {
            continue;
        }
        let loaded = load(&case, &environment()).expect("it is good");
        for (extension, origins) in [("shown", Origins::LeftOut), ("origins", Origins::Written)] {
            let found = loaded.shown(origins).to_string().replace(env!("CARGO_MANIFEST_DIR"), "/HERE");
            let file = case.with_extension(extension);
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(&file, &found).expect("the cases can be written");
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(found, expected, "{}: UPDATE_EXPECT=1 cargo test --test config", file.display());
        }
    }
}

#[test]
fn what_is_shown_loads_again() {
    for case in good_cases() {
        let loaded = load(&case, &environment()).expect("it is good");
        for origins in [Origins::LeftOut, Origins::Written] {
            let shown = loadable(&loaded.shown(origins).to_string());
            // No variable and no folder is needed any more.
            let again = load_text("shown.yaml", &shown, PathBuf::from("/"), &Environment::of([]))
                .unwrap_or_else(|issues| panic!("{}\n{issues}\nin\n{shown}", case.display()));
            let diff = ConfigDiff::between(&loaded.config, &again.config);
            let visible: Vec<_> = diff.changes.iter().filter(|change| change.after.as_deref() != Some("***")).collect();
            assert!(visible.is_empty(), "{}: {visible:?}", case.display());
            assert_eq!(again.shown(Origins::LeftOut).to_string(), loaded.shown(Origins::LeftOut).to_string());
        }
    }
}

/// What is shown, with stars that can be used for what they stand for.
pub(crate) fn loadable(shown: &str) -> String {
    let key = std::fs::read_to_string("tests/config/cases/files/rsa.public.pem").expect("the key can be read");
    // Three stars are too short for an admin token that others may try, and for a secret that signs.
    shown
        .replace("\n  token: \"***\"", "\n  token: \"****************\"")
        .replace(" secret: \"***\"", &format!(" secret: \"{}\"", "*".repeat(32)))
        .replace(" key: \"***\"", &format!(" key: \"{}\"", key.replace('\n', "\\n")))
}

#[test]
fn no_case_shows_a_secret_in_any_form() {
    let mut stars = 0;
    for case in good_cases() {
        let loaded = load(&case, &environment()).expect("it is good");
        for origins in [Origins::LeftOut, Origins::Written] {
            let shown = loaded.shown(origins);
            let json = serde_json::to_string(&shown).expect("it is JSON");
            let bare = serde_json::to_string(&loaded.config).expect("it is JSON");
            let all = format!("{shown}{json}{bare}");
            // The default of a variable is in the text, and is one of its values.
            for secret in SECRETS.iter().chain(&["a-default-token"]) {
                assert!(!all.contains(secret), "{} shows {secret}:\n{all}", case.display());
            }
            let debug = format!("{loaded:?}");
            assert!(SECRETS.iter().all(|secret| !debug.contains(secret)), "{}: {debug}", case.display());
            stars += shown.to_string().matches("\"***\"").count();
        }
    }
    assert!(stars > 10, "credentials are shown as stars");
}

#[test]
fn parameters_with_the_name_of_a_credential_are_hidden() {
    let text = "upstreams: { a: { url: https://a.example.com } }\nroutes:\n  /x: { pipe: x, params: { default: { api_key: hunter2, access_token: hunter2, limit: 7 } } }\n";
    let loaded = load_text("t.yaml", text, PathBuf::new(), &environment()).expect("it is good");
    let shown = loaded.shown(Origins::Written).to_string();
    assert!(!shown.contains("hunter2") && shown.contains("limit: \"7\""), "{shown}");
    let other = load_text("t.yaml", &text.replace("hunter2", "hunter3"), PathBuf::new(), &environment());
    let diff = ConfigDiff::between(&loaded.config, &other.expect("it is good").config).to_string();
    assert_eq!(
        diff,
        "~ routes./x.params.default.access_token: *** (changed)\n~ routes./x.params.default.api_key: *** (changed)\n"
    );
}

#[test]
fn the_password_of_counters_or_of_the_ledger_shows_nowhere() {
    let base = "upstreams: { a: { url: https://a.example.com } }\nroutes: { /x: { pipe: x } }\n";
    for (key, form) in urls() {
        for secret in ["hunter2", "hunter2-p#ss", "hunter2%2F"] {
            let form = form.replace("SECRET", secret);
            let lines = [
                format!("state: {{ {key}: \"{form}\" }}"),
                format!("state: {{ {key}: '{form}', dirs: x }}"),
                format!("state:\n  {key}: {form}\n  max_counters: few"),
                format!("state:\n  {key}: >\n    {form}\n  max_counters: few"),
                format!("state:\n  {key}: [\"{form}\"]\n"),
                format!("state:\n  {key}: !x {form}\n"),
                format!("state:\n  {key}: {form} # {form}\n"),
                format!("state: {{ {}: \"{form}\" }}", key.replace('o', "")),
                format!("state: \"{form}\""),
                format!("state: {{ {key}: \"{form}\"\n  dir: ["),
            ];
            for state in lines {
                let text = format!("{base}{state}\n");
                let said = match load_text("t.yaml", &text, PathBuf::new(), &environment()) {
                    Err(issues) => format!("{issues}{}{}", issues.to_github("t"), json!(issues.to_json("t"))),
                    Ok(loaded) => {
                        let shown = loaded.shown(Origins::Written);
                        let other = load_text("t.yaml", base, PathBuf::new(), &environment()).expect("it is good");
                        let diff = ConfigDiff::between(&other.config, &loaded.config);
                        let json = serde_json::to_string(&shown).expect("it is JSON");
                        format!("{}{shown}{json}{diff}{:?}", loaded.warnings, loaded.config.state)
                    }
                };
                assert!(!said.contains("hunter2"), "{state}\n{said}");
            }
        }
    }
}

/// Keys of `state`, and URLs in which a password may stand, as people write them.
fn urls() -> Vec<(&'static str, String)> {
    let forms = [
        "redis://:SECRET@h.example.com:6379/0",
        "redis://user:SECRET@h.example.com",
        "rediss://SECRET:SECRET@[::1]:6379/3",
        "redis://SECRET@h.example.com",
        "redis://:SECRET",
        "redis://user:SECRET/0",
        "redis://:SE:CRET@SECRET@h/0",
        "redis://h.example.com/0?password=SECRET",
        "redis://:x@h.example.com/0?password=SECRET",
        "redis://:x@h.example.com/0#SECRET",
        "redis//:SECRET@h",
        "user:SECRET@h:6379",
        ":SECRET@h",
        "h:SECRET",
        "${URL:-redis://:SECRET@h}",
        "redis://:${PW:-SECRET}@h",
        "redis://${USER:-SECRET}:${TOKEN}@h",
        "redis://:SECRET${TOKEN}SECRET@h",
        "redis://:${TOKEN",
        "redis://:${SECRET@h",
        "redis://:SECRET\\n@h",
        " redis://:SECRET@h",
        "http://:SECRET@h",
    ];
    let both = ["counters", "store"].map(|key| forms.map(|form| (key, form.to_owned())));
    let of_postgres = |(_, form): (_, String)| ("store", form.replace("rediss", "redis").replace("redis", "postgres"));
    let more = [
        "postgres://user:SECRET@h/d?sslmode=disable",
        "postgres://user:SECRET@h/d?sslmode=disable&password=SECRET",
        "postgresql://SECRET@h.example.com/d",
        "host=h user=u password=SECRET",
    ];
    let more = more.map(|form| ("store", form.to_owned()));
    both.clone().into_iter().flatten().chain(both.into_iter().flatten().map(of_postgres)).chain(more).collect()
}

#[test]
fn origins_name_the_line_the_variable_or_the_default() {
    let text = "\
upstreams:
  a:
    url: https://${HOST}
    token: ${TOKEN:-a-default-token}
routes:
  /x: { pipe: x, params: { allow: [
    a, \"${WORD}\",
  ] } }
log: { sample: 100% }
";
    let loaded = load_text("t.yaml", text, PathBuf::new(), &environment()).expect("it is good");
    let shown = loaded.shown(Origins::Written).to_string();
    let lines: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "url: https://api.example.com # ${HOST} at t.yaml:3",
        "token: \"***\" # ${TOKEN:-…} at t.yaml:4",
        "- a # t.yaml:7",
        "sample: 100% # t.yaml:9",
        "level: info # default",
        "# upstream: a # the only one",
        "# methods: [GET, HEAD, POST] # default of a pipe",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is missing in\n{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_read_back_as_it_was(
        texts in prop::collection::vec("[^{}]{0,16}|[-:#,&*!|>%@`'\"$ \\\\a1.~\\n\\t]{0,12}|(file://|\\$|\\$\\$|0x|yes|~)[a-z]{0,3}", 1..6),
        name in "[a-z][^{}\\p{C}]{0,8}",
    ) {
        let base = "upstreams: { a: { url: https://a.example.com } }\nroutes: { /x: { pipe: x } }\n";
        let mut config: Config = load_text("t.yaml", base, PathBuf::new(), &environment()).unwrap().config;
        let upstream = config.upstreams.pop_first().unwrap().1;
        config.upstreams.insert(name.clone(), upstream);
        let route = config.routes.values_mut().next().unwrap();
        route.upstream = Some(name);
        route.params.default = texts.iter().enumerate().map(|(at, text)| (format!("p{at}"), text.parse().unwrap())).collect();
        let shown = Shown::of(&config).to_string();
        let again = load_text("t.yaml", &shown, PathBuf::new(), &Environment::of([]));
        let again = again.unwrap_or_else(|issues| panic!("{issues}\nin\n{shown}"));
        prop_assert_eq!(again.config, config, "{}", shown);
    }
}

/// Everything that loads.
pub(crate) fn good_cases() -> Vec<PathBuf> {
    let good: Vec<PathBuf> = cases().into_iter().filter(|case| load(case, &environment()).is_ok()).collect();
    assert!(good.len() > 7 && good.iter().any(|case| case.starts_with(Path::new(crate::CASES).join("good"))));
    good
}
