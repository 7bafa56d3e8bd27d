//! Tables and lists against the code: nothing is missing, nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_yaml::Value;
use tollgate::config::interpolate::Environment;
use tollgate::config::issue::IssueCode;
use tollgate::config::section::log::Log;
use tollgate::config::section::server::{Overload, Server};
use tollgate::config::section::state::State;
use tollgate::config::section::tls::{Acme, Tls};
use tollgate::config::section::upstreams::{Concurrency, Eject, Health};
use tollgate::config::section::usage::Usage;
use tollgate::config::section::white_label::WhiteLabel;
use tollgate::config::{Config, load_text};

use crate::{load_with_a_token, markdown, project, read};

/// Nothing like any key, so that no "did you mean" hides what is possible.
const PROBE: &str = "zzzzzzzzzzzzzzzz";

#[test]
fn the_full_file_has_every_key() {
    let text = read(&project("conf/full.yaml"));
    for (section, keys) in known_keys(&text) {
        let written = written_keys(&text, &section);
        for key in keys.difference(&written) {
            // A key without a default that would have to name something real may stand in a comment.
            let comment = format!("# {key}: ");
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(&comment)),
                "conf/full.yaml does not have `{key}`, which is possible in `{section}`"
            );
        }
    }
}

#[test]
fn the_full_file_has_the_defaults() {
    let full = load_with_a_token("full.yaml", &read(&project("conf/full.yaml"))).unwrap().config;
    let least = "upstreams: { tinybird: { url: 'https://api.tinybird.co' } }\nroutes: { /a: { pipe: a } }";
    let least = load_with_a_token("least.yaml", least).unwrap().config;
    let Config {
        listeners,
        admin,
        upstreams,
        auth: _,
        default_auth: _,
        limits: _,
        plans: _,
        default_plan: _,
        tenants: _,
        routes,
        tinybird_api,
        hosts: _,
        tls,
        cors: _,
        white_label,
        usage,
        log,
        server,
        state,
        include,
    } = full;
    assert_eq!(listeners[..1], least.listeners);
    assert_eq!(admin, least.admin);
    assert_eq!(tinybird_api, least.tinybird_api);
    assert_eq!(tls.acme, [Acme::default()]);
    assert_eq!(Tls { acme: Vec::new(), ..tls }, least.tls);
    // Examples of what is left out.
    assert_eq!(Usage { export: None, ..usage }, least.usage);
    assert_eq!(
        WhiteLabel { openapi: None, openapi_auth: None, errors: Default::default(), ..white_label },
        least.white_label
    );
    assert_eq!(Server { overload: Overload::default(), ..server }, least.server);
    let beside = least.state.beside.clone();
    assert_eq!(State { beside, ..state }, least.state);
    assert_eq!(include, least.include);
    assert_eq!(log.access, least.log.access);
    assert_eq!(Log { traces: None, ..log }, least.log);
    let mut upstream = upstreams["tinybird"].clone();
    upstream.token = None;
    assert_eq!(upstream, least.upstreams["tinybird"]);
    let least_queue: Concurrency = serde_yaml::from_str("max: 64").unwrap();
    assert_eq!(upstreams["minted"].concurrency.as_ref(), Some(&least_queue));
    let pipe = routes.values().find(|route| route.pipe.is_some()).unwrap();
    let bare = least.routes.values().next().unwrap();
    assert_eq!(pipe.params.conflict, bare.params.conflict);
    assert_eq!(pipe.params.allow_public_tenant, bare.params.allow_public_tenant);
    assert_eq!(pipe.pass_headers, bare.pass_headers);
    assert_eq!(pipe.limits, bare.limits);
}

#[test]
fn the_full_file_has_the_defaults_of_backends() {
    let full = load_with_a_token("full.yaml", &read(&project("conf/full.yaml"))).unwrap().config;
    let warehouse = &full.upstreams["warehouse"];
    assert_eq!(warehouse.eject.as_ref(), Some(&Eject::default()));
    let least_checks: Health = serde_yaml::from_str("path: /health").unwrap();
    assert_eq!(warehouse.health.as_ref(), Some(&least_checks));
}

#[test]
fn every_page_of_the_reference_has_every_key() {
    let pages = [
        ("admin", "admin"),
        ("auth.*", "auth"),
        ("cors", "cors"),
        ("hosts.*", "hosts"),
        ("limits.*", "limits"),
        ("listeners.*", "listeners"),
        ("log", "log"),
        ("log.traces", "log"),
        ("plans.*", "plans"),
        ("routes.*", "routes"),
        ("routes.*.cors", "cors"),
        ("routes.*.params", "params"),
        ("routes.*.require", "routes"),
        ("server", "server"),
        ("server.overload", "server"),
        ("state", "state"),
        ("tenants.*", "tenants"),
        ("tls", "tls"),
        ("tls.acme", "tls"),
        ("tls.on_demand", "tls"),
        ("upstreams.*", "upstreams"),
        ("upstreams.*.concurrency", "upstreams"),
        ("upstreams.*.eject", "upstreams"),
        ("upstreams.*.health", "upstreams"),
        ("upstreams.*.mint", "upstreams"),
        ("upstreams.*.retry", "retry"),
        ("upstreams.*.timeouts", "upstreams"),
        ("upstreams.*.tls", "upstreams"),
        ("usage", "usage"),
        ("usage.export", "usage"),
        ("white_label", "white_label"),
    ];
    let known = known_keys(&read(&project("conf/full.yaml")));
    for (section, keys) in &known {
        let Some((_, noun)) = pages.iter().find(|(known, _)| known == section) else {
            assert_eq!(section, "", "no page of docs/reference/ is said to explain `{section}`");
            continue;
        };
        let page = read(&project(&format!("docs/reference/{noun}.md")));
        let rows: BTreeSet<&str> = markdown::rows(&page).map(|row| row[0]).collect();
        for key in keys {
            let last = section.rsplit('.').next().unwrap();
            let nested = format!("{last}.{key}");
            assert!(
                rows.contains(key.as_str()) || rows.contains(nested.as_str()),
                "docs/reference/{noun}.md has no row for `{key}`, which is possible in `{section}`"
            );
        }
    }
    assert_eq!(
        known.len(),
        pages.len() + 1,
        "a section is gone, or conf/full.yaml does not have it: {:?}",
        known.keys()
    );
}

#[test]
fn every_fault_has_its_test_and_every_test_its_fault() {
    let page = read(&project("docs/faults.md"));
    let files = [rust_files(&project("tests")), rust_files(&project("src"))].concat();
    let tests: BTreeSet<String> = files.iter().flat_map(|file| names_of_tests(file)).collect();
    let mut named = BTreeSet::new();
    for row in markdown::rows(&page).filter(|row| row.len() == 3 && row[0] != "Fault" && !row[0].starts_with("---")) {
        let names: Vec<&str> = row[2].split(", ").map(|name| name.trim_matches('`')).collect();
        for name in names {
            assert!(tests.contains(name), "docs/faults.md says that `{name}` proves a row, and there is no such test");
            named.insert(name.to_owned());
        }
    }
    for file in rust_files(&project("tests/faults")) {
        for name in names_of_tests(&file) {
            assert!(named.contains(&name), "{}: docs/faults.md does not name `{name}`", file.display());
        }
    }
}

/// The files of a folder and of those in it, what the compiler made left out.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The functions of a file that are tests.
fn names_of_tests(file: &Path) -> Vec<String> {
    let text = read(file);
    let mut lines = text.lines().map(str::trim_start);
    let mut names = Vec::new();
    while let Some(line) = lines.next() {
        if line != "#[test]" && !line.starts_with("#[tokio::test") {
            continue;
        }
        let name = lines.find_map(|line| line.split_once("fn ")?.1.split_once('('));
        names.extend(name.map(|(name, _)| name.to_owned()));
    }
    names
}

/// The keys that are possible in each section, as the decoder itself lists them: an unknown key is put into every map of
/// the full file in turn. Names that are the operator's, and places in lists, are `*`.
fn known_keys(full: &str) -> BTreeMap<String, BTreeSet<String>> {
    let root: Value = serde_yaml::from_str(full).unwrap();
    let mut known = BTreeMap::new();
    for path in maps(&root) {
        let mut probed = root.clone();
        let map = path.iter().fold(&mut probed, |value, step| match step.parse::<usize>() {
            Ok(index) => &mut value[index],
            Err(_) => &mut value[step.as_str()],
        });
        map[PROBE] = Value::from(1);
        let text = serde_yaml::to_string(&probed).unwrap();
        let result = load_text("probe.yaml", &text, crate::records().path().to_path_buf(), &Environment::of([]));
        let Err(issues) = result else { continue };
        let Some(issue) = issues.iter().find(|issue| issue.code == IssueCode::UnknownKey) else { continue };
        let help = issue.help.as_deref().unwrap();
        let keys = help.strip_prefix("possible here: ").unwrap_or_else(|| panic!("{path:?}: {help}"));
        known.insert(schema_path(&path), keys.split(", ").map(str::to_owned).collect());
    }
    known
}

/// The keys that the full file has in a section.
fn written_keys(full: &str, section: &str) -> BTreeSet<String> {
    let root: Value = serde_yaml::from_str(full).unwrap();
    let mut keys = BTreeSet::new();
    for path in maps(&root).into_iter().filter(|path| schema_path(path) == section) {
        let map = path.iter().fold(&root, |value, step| match step.parse::<usize>() {
            Ok(index) => &value[index],
            Err(_) => &value[step.as_str()],
        });
        keys.extend(map.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap().to_owned()));
    }
    keys
}

/// The path of every map.
fn maps(root: &Value) -> Vec<Vec<String>> {
    fn visit(value: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
        let step = |step: String| [path, &[step]].concat();
        match value {
            Value::Mapping(map) => {
                found.push(path.to_vec());
                for (key, value) in map {
                    visit(value, &step(key.as_str().unwrap().to_owned()), found);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    visit(item, &step(index.to_string()), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
        }
    }
    let mut found = Vec::new();
    visit(root, &[], &mut found);
    found
}

/// A host's own routes and cross-origin rules are what they are elsewhere.
fn schema_path(path: &[String]) -> String {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let words = match words.as_slice() {
        ["hosts", _, inner @ ..] if !inner.is_empty() => inner,
        words => words,
    };
    let owned = |index: usize| {
        let named = ["auth", "hosts", "limits", "listeners", "plans", "routes", "tenants", "upstreams"];
        index == 1 && named.contains(&words[0])
    };
    let steps = words.iter().enumerate().map(|(index, step)| if owned(index) { "*" } else { *step });
    steps.collect::<Vec<_>>().join(".")
}
