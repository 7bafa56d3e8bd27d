//! What the documentation says is true: its files load, its examples run, its tables are complete.
//!
//! Fences: a `yaml` block is a whole configuration; `yaml,fragment` is some top-level keys of one; `yaml,error=TG0108` must
//! fail with that code; `yaml,keys` and `yaml,revoked` are whole files of records. In the README and in docs/commands.md a
//! `sh` block is run (`curl` against a `tollgate demo`, `tollgate` as it stands, `make` only looked up), unless it is `sh,norun`, whose first line is a comment that says why; `sh,exit=1` must
//! end with that code. A `text,answer` block stands below the lines that print it, on stderr or stdout; `…` stands for what
//! was cut or differs. docs/tenancy.md is run against one gateway after another, each with the last `yaml` block for its file;
//! docs/client-certificates.md is run by a shell, with openssl and curl, against a gateway with its `yaml` block;
//! a `json,token=NAME` block is the payload of a token that is signed, and is `$NAME` from then on. A `yaml,error=` block of these two pages is the file `wrong.yaml` of the commands below it.
//!
//! `UPDATE_EXPECT=1 cargo test --test docs` writes anew what stands behind the marks of `generated`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

mod certificates;
mod commands;
mod credentials;
mod curl;
mod generated;
mod markdown;
mod running;
mod support;
mod tables;

use std::path::{Path, PathBuf};

use tollgate::config::interpolate::Environment;
use tollgate::config::issue::Issues;
use tollgate::config::keys::{KeyFile, revoked_of};
use tollgate::config::{Loaded, load, load_text};
use tollgate::demo::ADMIN_TOKEN;

/// What serves a YAML key each; every one has an example and a page.
const NOUNS: [&str; 20] = [
    "admin",
    "auth",
    "cors",
    "hosts",
    "include",
    "limits",
    "listeners",
    "log",
    "params",
    "plans",
    "retry",
    "routes",
    "server",
    "state",
    "tenants",
    "tinybird_api",
    "tls",
    "upstreams",
    "usage",
    "white_label",
];

/// Examples of several parts together.
const TOGETHER: [&str; 9] = [
    "agency",
    "client-certificates",
    "custom-domains",
    "mint",
    "oidc",
    "postgres",
    "redis",
    "tenant_per_host",
    "two_providers",
];

/// What stands in files beside the configuration: a page for each, and no example, which is a whole configuration.
const RECORDS: [&str; 2] = ["keys", "revoked"];

#[test]
fn every_file_under_conf_loads() {
    // The Compose file gives this one to its container; the examples load without any environment.
    let with_token = Environment::of([("TINYBIRD_TOKEN", "p.token"), ("TINYBIRD_ADMIN_TOKEN", ADMIN_TOKEN)]);
    for file in files("conf", "yaml").into_iter().chain(files("conf/examples", "yaml")) {
        let needs_token = ["tollgate.yaml", "full.yaml", "compose.yaml"].iter().any(|name| file.ends_with(name));
        let environment = if needs_token { with_token.clone() } else { Environment::of([]) };
        if file.ends_with("compose.yaml") {
            // The admin token is made in its container, where it is then.
            let folder = tempfile::tempdir().unwrap();
            let token = folder.path().join("token");
            std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
            let text = read(&file).replace("/run/tollgate/admin.token", &token.display().to_string());
            load_text("compose.yaml", &text, project("conf"), &environment).unwrap_or_else(|issues| panic!("{issues}"));
            continue;
        }
        if let Err(issues) = load(&file, &environment) {
            panic!("{issues}");
        }
    }
}

#[test]
fn every_noun_has_an_example_and_a_page() {
    let names = |folder: &str, extension: &str| -> Vec<String> {
        files(folder, extension).iter().map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let mut examples: Vec<&str> = NOUNS.into_iter().chain(TOGETHER).collect();
    examples.sort_unstable();
    assert_eq!(names("conf/examples", "yaml"), examples);
    let mut pages: Vec<&str> = NOUNS.into_iter().chain(RECORDS).collect();
    pages.sort_unstable();
    assert_eq!(names("docs/reference", "md"), pages);
    let sections = names("src/config/section", "rs").into_iter().filter(|name| name != "mod");
    for section in sections {
        let is_known = NOUNS.contains(&section.as_str()) || RECORDS.contains(&section.as_str());
        assert!(is_known, "the section `{section}` has no example and no page");
    }
}

#[test]
fn every_yaml_block_is_what_it_says() {
    let mut blocks = 0;
    for page in pages() {
        for block in markdown::blocks(&read(&page)).filter(|block| block.language == "yaml") {
            blocks += 1;
            let place = format!("{}:{}", page.display(), block.line);
            if RECORDS.contains(&block.flags) {
                assert_records(&place, block.flags, &block.text);
                continue;
            }
            let text = match block.flags {
                "" => block.text.clone(),
                _ => completed(&block.text),
            };
            let loaded = load_with_a_token(&place, &text);
            match (block.flags, &loaded) {
                ("" | "fragment", Ok(_)) => {}
                ("" | "fragment", Err(issues)) => panic!("{place}\n{issues}\nin\n{text}"),
                (flags, loaded) => {
                    let code =
                        flags.strip_prefix("error=").unwrap_or_else(|| panic!("{place}: `{flags}` means nothing"));
                    let issues = match loaded {
                        Ok(loaded) => &loaded.warnings,
                        Err(issues) => issues,
                    };
                    assert!(issues.iter().any(|issue| issue.code.to_string() == code), "{place}: no {code}\n{issues}");
                }
            }
        }
    }
    assert!(blocks > 20, "only {blocks} blocks were found");
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let folder = page.parent().unwrap();
        for target in markdown::links(&read(&page)) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            // Written by `make bench`, which not everybody has run.
            if file.ends_with("benchmarks.md") {
                continue;
            }
            assert!(file.exists(), "{}: {target} leads nowhere", page.display());
            let is_there = || markdown::anchors(&read(&file)).any(|found| found == anchor);
            assert!(anchor.is_empty() || is_there(), "{}: {target}: there is no such heading", page.display());
        }
    }
}

/// A block that is a whole `keys.yaml` or `revoked.yaml`.
fn assert_records(place: &str, kind: &str, text: &str) {
    let (records, issues) = match kind {
        "keys" => match KeyFile::of(place, text) {
            Ok(file) => (file.records().len(), Issues::default()),
            Err(issues) => (0, issues),
        },
        _ => {
            let (records, issues) = revoked_of(place, 0, text);
            (records.len(), issues)
        }
    };
    assert!(issues.is_empty() && records > 0, "{place}\n{issues}");
}

fn load_with_a_token(name: &str, text: &str) -> Result<Loaded, Issues> {
    let environment = Environment::of([
        ("TINYBIRD_TOKEN", "p.token"),
        ("TINYBIRD_ADMIN_TOKEN", ADMIN_TOKEN),
        ("SHORT", "too-short"),
        ("STAFF_JWT_SECRET", "a-secret-of-more-than-32-characters"),
        ("TOLLGATE_ADMIN_TOKEN", "an-admin-token-of-some-length"),
        ("CH_KEY", "key"),
        ("REDIS_PASSWORD", "a-password"),
        ("POSTGRES_PASSWORD", "a-password"),
    ]);
    if text.contains("\ninclude:") || text.starts_with("include:") {
        // Which only a file can; nothing matches its patterns.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate.yaml");
        std::fs::write(&file, text).unwrap();
        for part in ["conf.d", "customers"] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
        }
        write_records(folder.path());
        return load(&file, &environment);
    }
    load_text(name, text, records().path().to_path_buf(), &environment)
}

/// A folder with the files of records that pages name.
fn records() -> &'static tempfile::TempDir {
    static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_records(folder.path());
        folder
    })
}

fn write_records(folder: &Path) {
    for name in ["keys.yaml", "revoked.yaml", "examples/partners.d/keys.yaml", "examples/partners.d/revoked.yaml"] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "# none yet\n").unwrap();
    }
    for name in ["machines-ca.pem", "examples/machines.d/ca.pem"] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(project("conf/examples/machines.d/ca.pem"), path).unwrap();
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["data.example.com".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("data.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("data.key"), key.serialize_pem()).unwrap();
}

/// A fragment with the sections that no configuration can do without.
fn completed(fragment: &str) -> String {
    let mut text = fragment.to_owned();
    for (key, section) in [
        ("upstreams:", "upstreams: { t: { url: 'https://api.example.com' } }\n"),
        ("routes:", "routes: { /a: { pipe: a } }\n"),
    ] {
        if !text.lines().any(|line| line.starts_with(key)) {
            text.push_str(section);
        }
    }
    text
}

/// The README and everything under `docs/`.
fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/reference", "docs/decisions"];
    let pages = folders.into_iter().flat_map(|folder| files(folder, "md"));
    [project("README.md"), project("CHANGELOG.md")].into_iter().chain(pages).collect()
}

/// The files of a folder with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
