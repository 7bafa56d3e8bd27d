//! The JSON Schema for editors says what the loader says.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;
use tollgate::config::schema;
use tollgate::config::show::Origins;
use tollgate::config::{load, load_text};

use crate::show::{good_cases, loadable};
use crate::{cases, environment, read_expected};

const FILE: &str = "conf/tollgate.schema.json";

#[test]
fn the_schema_in_conf_is_that_of_the_program() {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, schema::text()).expect("it can be written");
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == schema::text(), "{FILE} is out of date: UPDATE_EXPECT=1 cargo test --test config schema");
}

#[test]
fn every_sample_names_the_schema_in_its_first_line() {
    for sample in samples() {
        let text = std::fs::read_to_string(&sample).expect("it can be read");
        let first = text.lines().next().unwrap_or_default();
        let target = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| {
            panic!("{} begins with `{first}`, and not with the line that editors look for", sample.display())
        });
        let folder = sample.parent().expect("a folder");
        let (found, wanted) = (folder.join(target).canonicalize(), Path::new(FILE).canonicalize());
        assert_eq!(found.ok(), wanted.ok(), "{}: {target} is not the schema", sample.display());
    }
}

#[test]
fn every_good_file_is_valid() {
    let validator = validator();
    for file in samples()
        .into_iter()
        .chain(good_cases().into_iter().filter(|case| !case.ends_with("lints/words_and_numbers.yaml")))
    {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        assert_valid(&validator, &file.display().to_string(), &text);
    }
}

#[test]
fn what_is_shown_is_valid() {
    let validator = validator();
    for case in good_cases() {
        let shown = load(&case, &environment()).expect("it is good").shown(Origins::LeftOut).to_string();
        let shown = loadable(&shown);
        assert_valid(&validator, &format!("{}, shown", case.display()), &shown);
    }
}

#[test]
fn every_unknown_key_is_invalid() {
    let validator = validator();
    let mut seen = 0;
    for case in cases().iter().filter(|case| read_expected(case).contains("[TG0102]")) {
        if case.parent().is_some_and(|topic| topic.ends_with("include")) || case.ends_with("auth/files_of_records.yaml")
        {
            // The key stands in the file that this one includes, or names.
            continue;
        }
        let text = std::fs::read_to_string(case).expect("it can be read");
        let Ok(value) = serde_yaml::from_str::<Value>(text.trim_start_matches('\u{feff}')) else { continue };
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        let unknown = |error: &String| error.contains("Additional properties are not allowed");
        assert!(errors.iter().any(unknown), "{}: {errors:?}", case.display());
        seen += 1;
    }
    assert!(seen >= 4, "{seen} cases");
}

/// Asserts that the schema takes the first of each pair, and not the second.
fn assert_checked(pairs: &[(&str, &str)]) {
    let validator = validator();
    let valid = |section: &str| {
        let value: Value = serde_yaml::from_str(section).expect("it is YAML");
        validator.is_valid(&value)
    };
    for (good, bad) in pairs {
        assert!(valid(good), "{good}");
        assert!(!valid(bad), "{bad}");
    }
}

#[test]
fn values_are_checked_and_variables_are_not() {
    assert_checked(&[
        ("server: { drain: 20s }", "server: { drain: 20 }"),
        ("server: { drain: '${DRAIN}' }", "server: { drain: 20parsecs }"),
        ("server: { drain: 'file://drain' }", "server: { drain: true }"),
        ("server: { max_uri: 16KiB }", "server: { max_uri: 16KIB }"),
        ("server: { threads: auto }", "server: { threads: many }"),
        ("server: { threads: '${N}' }", "server: { threads: 0 }"),
        ("server: { threads: 2 }", "server: { threads: }"),
        ("server: { trusted_proxies: ['::1'] }", "server: { trusted_proxies: [localhost] }"),
        ("tinybird_api: '${YES:-true}'", "tinybird_api: yess"),
        ("tinybird_api: true", "tinybird_api:"),
        ("log: { level: '${LEVEL}' }", "log: { level: loud }"),
        ("log: { sample: 10% }", "log: { sample: 10 }"),
        ("log: { access: access.log }", "log: { access: '' }"),
        ("listeners: [{ address: '[::1]:80' }]", "listeners: [{ address: localhost:80 }]"),
        ("cors: { origins: ['*'] }", "cors: {}"),
        ("cors: { origins: ['https://*.a.com'] }", "cors: { origins: ['https://a.com/b'] }"),
        ("upstreams: { a: { url: 'https://${HOST}/' } }", "upstreams: { a: { url: 'ftp://a' } }"),
        ("upstreams: { a: { url: 'https://a', token: 5 } }", "upstreams: { a: { url: 'https://a', token: } }"),
        (
            "upstreams: { a: { url: 'https://a', retry: { attempts: 10 } } }",
            "upstreams: { a: { url: 'https://a', retry: { attempts: 11 } } }",
        ),
        (
            "upstreams: { a: { url: 'https://a', retry: { on: ['${S}'] } } }",
            "upstreams: { a: { url: 'https://a', retry: { on: [200] } } }",
        ),
    ]);
}

#[test]
fn values_of_limits_and_callers_are_checked_too() {
    assert_checked(&[
        ("limits: { a: { by: ip, rate: 50/s } }", "limits: { a: { by: ip, rate: 50 } }"),
        ("limits: { a: { by: [ip, route], rate: '${R}', burst: 5 } }", "limits: { a: { by: [ip, user], rate: 5/s } }"),
        ("limits: { a: { by: '${BY}', quota: 1_000/day, cost: 1 } }", "limits: { a: { rate: 5/s } }"),
        (
            "limits: { a: { by: ip, quota: 5 GB/month, cost: bytes_read, assume: 5MB, anchor: '2026-01-15' } }",
            "limits: { a: { by: ip, quota: 5GB/week } }",
        ),
        (
            "limits: { a: { by: ip, quota: 10h/day, cost: seconds } }",
            "limits: { a: { by: ip, quota: 1/day, cost: 2 } }",
        ),
        ("plans: { a: { limits: [b] } }", "plans: { a: { limits: b } }"),
        ("state: { counters: memory }", "state: { counters: redis }"),
        ("state: { counters: 'rediss://:${PW}@h:6379/0' }", "state: { counters: 'https://h' }"),
        ("state: { store: sqlite }", "state: { store: postgres }"),
        ("state: { store: 'postgres://u:${PW}@h/d?sslmode=disable' }", "state: { store: 'mysql://h/d' }"),
        ("state: { max_counters: 1000 }", "state: { max_counters: 999 }"),
        (
            "upstreams: { a: { url: 'https://a', rate: 5/s, concurrency: { max: 1, queue: 0 } } }",
            "upstreams: { a: { url: 'https://a', concurrency: { queue: 1 } } }",
        ),
        ("routes: { /a: { pipe: 'a_{path.x}' } }", "routes: { /a: { pipe: 'a_{tenants}' } }"),
        (
            "auth: { a: { type: jwt, issuer: i, audience: [a], algorithms: [RS256], leeway: 30s } }",
            "auth: { a: { type: jwt, issuer: i, audience: [a], algorithms: [RS257] } }",
        ),
        ("auth: { a: { type: '${KIND}' } }", "auth: { a: { issuer: i } }"),
        ("auth: { a: { type: jwt, key: 'file://a.pem' } }", "auth: { a: { type: jwt, key: 'abc' } }"),
        ("auth: { a: { type: api_key, prefix: tgk } }", "auth: { a: { type: api_key, prefix: TGK } }"),
        ("auth: { a: { type: jwt, tenants: [acme, 7] } }", "auth: { a: { type: jwt, tenants: ['a,b'] } }"),
        ("auth: { a: { type: jwt, tenant: '{claims.a.b}' } }", "auth: { a: { type: jwt, tenant: '{claim.a}' } }"),
        ("default_auth: public", "default_auth: { a: b }"),
        ("routes: { /a: { pipe: a, auth: [a, b] } }", "routes: { /a: { pipe: a, auth: [[a]] } }"),
        (
            "upstreams: { a: { url: 'https://a', auth: mint, mint: { secret: '${S}', workspace_id: w } } }",
            "upstreams: { a: { url: 'https://a', auth: mint, mint: { secret: '${S}' } } }",
        ),
        ("tenants: { acme: { enabled: '${ON}' } }", "tenants: { acme: { enabled: 2 } }"),
        ("routes: { /a: { pipe: a } }", "routes: { a: { pipe: a } }"),
        ("routes: { /a: { pipe: a, methods: [GET] } }", "routes: { /a: { pipe: a, methods: [get] } }"),
        (
            "routes: { /a: { params: { fixed: { a: 1, b: true } } } }",
            "routes: { /a: { params: { fixed: { a: [1] } } } }",
        ),
    ]);
}

#[test]
fn the_samples_are_as_good_for_the_loader() {
    // What only editors have seen before may be nothing that the loader takes.
    let text = "upstreams: { a: { url: 'https://${HOST}', token: 5, retry: { attempts: '${N:-4}', on: ['${S:-429}'] } } }\n\
        routes: { /a: { pipe: a, methods: ['${M:-GET}'] } }\ntinybird_api: '${YES:-true}'\n\
        log: { level: '${LEVEL:-warn}' }\nserver: { threads: '${T:-2}', drain: '${DRAIN:-5s}' }\n";
    let loaded = load_text("t.yaml", text, PathBuf::new(), &environment()).unwrap_or_else(|issues| panic!("{issues}"));
    assert_eq!(loaded.config.upstreams.values().next().map(|upstream| upstream.retry.attempts), Some(4));
}

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&schema::text()).expect("it is JSON");
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("the schema is none: {error}"));
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("the schema is none: {error}"))
}

fn assert_valid(validator: &Validator, name: &str, text: &str) {
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

fn samples() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("conf")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            // Files of records are beside those that name them.
            if path.is_dir() && !path.ends_with("partners.d") {
                folders.push(path);
            } else if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}
