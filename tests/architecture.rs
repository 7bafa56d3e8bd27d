//! Keeps the drawing and the house the same: who may import whom, what stays
//! behind which fence, one noun in five places.
//!
//! Reads the source as text, with comments and strings taken out; needs nothing
//! but the standard library, so it is also the fastest test here.
//!
//! A message says what to move. The table is not loosened to let a change in.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// How much of a module another may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Everything it shows.
    All,
    /// `config::scalar`, and of `config::section` what [`SECTIONS`] gives the step.
    OwnSection,
    /// Traits and record types, not adapters.
    Ports,
    /// `config::scalar` only.
    Scalars,
}

use Part::{All, OwnSection, Ports, Scalars};

/// Bottom to top. A module imports only what its row lists.
const TABLE: [(&str, &[(&str, Part)]); 18] = [
    ("clock", &[]),
    ("config", &[]),
    ("outbound", &[("clock", All), ("config", Scalars)]),
    ("exchange", &[("config", Scalars)]),
    ("jose", &[("config", Scalars)]),
    ("state", &[("clock", All), ("config", All), ("outbound", All), ("exchange", All), ("jose", All)]),
    ("x509", &[]),
    (
        "pipeline",
        &[("clock", All), ("config", OwnSection), ("exchange", All), ("jose", All), ("x509", All), ("state", Ports)],
    ),
    ("tls", &[("clock", All), ("config", All), ("outbound", All), ("state", Ports), ("x509", All)]),
    ("upstream", &[("clock", All), ("config", All), ("exchange", All)]),
    (
        "snapshot",
        &[
            ("clock", All),
            ("config", All),
            ("exchange", All),
            ("jose", All),
            ("state", All),
            ("x509", All),
            ("pipeline", All),
            ("tls", All),
            ("upstream", All),
        ],
    ),
    ("telemetry", &[("clock", All), ("config", All), ("outbound", All), ("exchange", All)]),
    (
        "proxy",
        &[
            ("clock", All),
            ("config", Scalars),
            ("exchange", All),
            ("state", Ports),
            ("x509", All),
            ("pipeline", All),
            ("tls", All),
            ("upstream", All),
            ("snapshot", All),
            ("telemetry", All),
        ],
    ),
    (
        "admin",
        &[
            ("clock", All),
            ("config", All),
            ("exchange", All),
            ("state", All),
            ("pipeline", All),
            ("tls", All),
            ("upstream", All),
            ("snapshot", All),
            ("telemetry", All),
        ],
    ),
    (
        "app",
        &[
            ("clock", All),
            ("config", All),
            ("outbound", All),
            ("exchange", All),
            ("jose", All),
            ("state", All),
            ("x509", All),
            ("pipeline", All),
            ("tls", All),
            ("upstream", All),
            ("snapshot", All),
            ("telemetry", All),
            ("proxy", All),
            ("admin", All),
        ],
    ),
    ("demo", &[("clock", All)]),
    (
        "cli",
        &[
            ("clock", All),
            ("config", All),
            ("outbound", All),
            ("exchange", All),
            ("jose", All),
            ("state", All),
            ("x509", All),
            ("pipeline", All),
            ("tls", All),
            ("upstream", All),
            ("snapshot", All),
            ("telemetry", All),
            ("proxy", All),
            ("admin", All),
            ("app", All),
            ("demo", All),
        ],
    ),
    ("main", &[("cli", All)]),
];

/// Which sections a step is compiled from.
const SECTIONS: [(&str, &[&str]); 13] = [
    ("authn", &["auth", "keys", "revoked"]),
    ("authz", &["routes"]),
    ("client", &[]),
    ("compress", &[]),
    ("cors", &["cors"]),
    ("guard", &["server"]),
    ("limits", &["limits", "plans", "tenants"]),
    ("params", &["params"]),
    ("retry", &["retry", "upstreams"]),
    ("rewrite", &["routes", "upstreams"]),
    ("scrub", &["white_label"]),
    ("statistics", &["limits", "routes", "usage"]),
    ("usage", &["usage"]),
];

/// Modules of `state` that store things, behind its ports.
const ADAPTERS: [&str; 6] = ["cached", "disk", "memory", "postgres", "redis", "sqlite"];

/// YAML keys that something serves on the way of a request, and what serves them.
const NOUNS: [(&str, &str); 13] = [
    ("auth", "src/pipeline/authn/mod.rs"),
    ("cors", "src/pipeline/cors.rs"),
    ("hosts", "src/snapshot/hosts.rs"),
    ("limits", "src/pipeline/limits/mod.rs"),
    ("params", "src/pipeline/params/mod.rs"),
    ("plans", "src/pipeline/limits/plans.rs"),
    ("retry", "src/pipeline/retry.rs"),
    ("routes", "src/pipeline/rewrite/mod.rs"),
    ("tenants", "src/pipeline/authz.rs"),
    ("tls", "src/tls/mod.rs"),
    ("upstreams", "src/upstream/mod.rs"),
    ("usage", "src/pipeline/usage.rs"),
    ("white_label", "src/pipeline/scrub/mod.rs"),
];

/// YAML keys about the gateway itself: they need a section and a page, and no step.
const SETTINGS: [&str; 5] = ["admin", "listeners", "log", "server", "state"];

/// Records of files beside the configuration: they need a page, and no key of their own.
const RECORDS: [&str; 2] = ["keys", "revoked"];

const NAMES_THAT_SAY_NOTHING: [&str; 8] = ["common", "core", "helper", "helpers", "manager", "misc", "prelude", "util"];

#[test]
fn every_module_imports_only_what_its_row_lists() {
    let mut wrong = Report::new();
    for file in sources() {
        let Some((_, row)) = TABLE.iter().find(|(module, _)| *module == file.module()) else {
            continue;
        };
        for path in file.own_paths().filter(|path| path.names[0] != file.module()) {
            let Some((_, part)) = row.iter().find(|(module, _)| *module == path.names[0]) else {
                wrong.add(
                    file,
                    path,
                    &format!(
                        "`{}` may not import `{}`: move what is needed down, to a module that both rows list ({})",
                        file.module(),
                        path.names[0],
                        row.iter().map(|(module, _)| *module).collect::<Vec<_>>().join(", ")
                    ),
                );
                continue;
            };
            if let Some(advice) = beyond(*part, file, path) {
                wrong.add(file, path, &advice);
            }
        }
    }
    wrong.finish();
}

/// What to do where a path reaches further into a module than its row allows.
fn beyond(part: Part, file: &Source, path: &PathUse) -> Option<String> {
    let second = path.names.get(1).map(String::as_str);
    let third = path.names.get(2).map(String::as_str);
    match part {
        All => None,
        OwnSection if second == Some("scalar") || file.is_test => None,
        OwnSection if second == Some("section") => {
            let step = file.path.get(1).map(String::as_str).unwrap_or_default();
            let own = SECTIONS.iter().find(|(name, _)| *name == step).map_or(&[][..], |(_, sections)| sections);
            let is_own = third.is_some_and(|third| own.contains(&third));
            (!is_own).then(|| format!("the step `{step}` is compiled from {own:?} only: hand it the value it needs"))
        }
        OwnSection => Some("a step sees its own section and scalars: hand it the value it needs".to_owned()),
        Ports => path
            .names
            .iter()
            .any(|name| ADAPTERS.contains(&name.as_str()))
            .then(|| "only the port may be used here: move the call behind the trait in `state`".to_owned()),
        Scalars => (second != Some("scalar")).then(|| {
            format!("`{}` sees `config::scalar` only: let the caller take the value out of the section", file.module())
        }),
    }
}

#[test]
fn the_table_is_in_topological_order_and_complete() {
    for (index, (module, row)) in TABLE.iter().enumerate() {
        for (imported, _) in *row {
            let below = TABLE.iter().take(index).any(|(lower, _)| lower == imported);
            assert!(below, "`{module}` imports `{imported}`, which does not stand above it in the table: a ring");
        }
    }
    let modules: BTreeSet<String> = sources().iter().map(|file| file.module().to_owned()).collect();
    let rows: BTreeSet<String> = TABLE.iter().map(|(module, _)| (*module).to_owned()).collect();
    let mut known = rows.clone();
    known.insert("lib".to_owned());
    let new: Vec<_> = modules.difference(&known).collect();
    assert!(new.is_empty(), "{new:?}: give each a row in the table, at the lowest place that works");
    let gone: Vec<_> = rows.difference(&modules).collect();
    assert!(gone.is_empty(), "{gone:?}: remove the row, the module is gone");
}

#[test]
fn lib_rs_declares_the_modules_in_the_order_of_the_table() {
    let lib = read("src/lib.rs");
    let declared: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    let table: Vec<&str> = TABLE.iter().map(|(module, _)| *module).filter(|module| *module != "main").collect();
    assert_eq!(declared, table, "src/lib.rs lists the modules in the order of the table, lowest first");
    let again = lib.lines().find(|line| line.starts_with("pub use"));
    assert_eq!(again, None, "no re-exports at the crate root: a path tells the layer");
}

#[test]
fn no_two_modules_import_each_other() {
    let mut arrows: BTreeSet<(String, String)> = BTreeSet::new();
    for file in sources() {
        for path in file.own_paths().filter(|path| path.names[0] != file.module()) {
            arrows.insert((file.module().to_owned(), path.names[0].clone()));
        }
    }
    // Take away modules that nothing is imported by; what cannot be taken away stands in a ring.
    let mut left: BTreeSet<String> = arrows.iter().flat_map(|(from, to)| [from.clone(), to.clone()]).collect();
    loop {
        let free = left.iter().find(|module| !arrows.iter().any(|(from, to)| from == *module && left.contains(to)));
        let Some(free) = free.cloned() else { break };
        left.remove(&free);
    }
    assert!(left.is_empty(), "a ring of imports among {left:?}: move what both need into a module below them");
}

#[test]
fn steps_do_not_know_each_other() {
    let mut wrong = Report::new();
    let steps: BTreeSet<String> = sources()
        .iter()
        .filter(|file| file.module() == "pipeline")
        .filter_map(|file| file.path.get(1).cloned())
        .filter(|step| step != "permit")
        .collect();
    for file in sources().iter().filter(|file| file.module() == "pipeline") {
        // `mod.rs` and `permit.rs` are where steps meet.
        let Some(own) = file.path.get(1).filter(|step| *step != "permit") else { continue };
        for path in file.own_paths().filter(|path| path.names[0] == "pipeline") {
            if let Some(other) = path.names.get(1).filter(|name| steps.contains(*name) && *name != own) {
                let advice = format!(
                    "the step `{own}` may not know the step `{other}`: move what both need to `exchange`, or meet in pipeline/mod.rs"
                );
                wrong.add(file, path, &advice);
            }
        }
    }
    wrong.finish();
}

/// What may only be named in some places.
struct Fence {
    what: &'static str,
    /// Whether a path is fenced.
    is: fn(&[String]) -> bool,
    /// Files, or folders that end in `/`, below `src/`.
    only_in: &'static [&'static str],
    advice: &'static str,
}

/// What asking callers for their certificates takes of `rustls`, and no call of our own.
const ASKING: [&str; 5] =
    ["CertificateError", "DigitallySignedStruct", "DistinguishedName", "Error", "HandshakeSignatureValid"];

const FENCES: [Fence; 14] = [
    Fence {
        what: "Pingora",
        is: |path| path[0].starts_with("pingora"),
        only_in: &[
            "proxy/",
            "upstream/backend.rs",
            "upstream/dial.rs",
            "upstream/mod.rs",
            "upstream/peer.rs",
            "admin/",
            "app/",
        ],
        advice: "speak `http::` types here and let `proxy` translate",
    },
    Fence {
        what: "the YAML decoder",
        is: |path| path[0] == "serde_yaml",
        only_in: &["config/decode.rs"],
        advice: "move it to config/decode.rs, so that the crate can be replaced in one place",
    },
    Fence {
        what: "the YAML parser",
        is: |path| path[0] == "saphyr_parser",
        only_in: &["config/parse.rs"],
        advice: "move it to config/parse.rs, and work on its tree",
    },
    Fence {
        what: "SQL",
        is: |path| path[0] == "rusqlite",
        only_in: &["state/", "demo/"],
        advice: "move the query behind a port of `state`",
    },
    Fence {
        what: "Postgres",
        is: |path| path[0] == "tokio_postgres",
        only_in: &["state/usage/postgres/"],
        advice: "ask `state::usage`, which knows what to do without it",
    },
    Fence {
        what: "Redis",
        is: |path| path[0] == "redis",
        only_in: &["state/counters/redis/"],
        advice: "ask `state::counters`, which knows what to do without it",
    },
    Fence {
        what: "the metrics crate",
        is: |path| path[0] == "prometheus",
        only_in: &["telemetry/"],
        advice: "give telemetry/metrics.rs a method that says what happened",
    },
    Fence {
        what: "the environment",
        is: |path| path.starts_with(&["std".to_owned(), "env".to_owned()]),
        only_in: &["config/interpolate.rs", "cli/"],
        advice: "make it a key of the file: `${VAR}` reads the environment there",
    },
    Fence {
        what: "the system's time",
        is: |path| path.ends_with(&["now".to_owned()]) && has(path, &["Instant", "SystemTime", "Utc", "Local"]),
        only_in: &["clock.rs"],
        advice: "take a `Clock`, so that tests can turn the time",
    },
    Fence {
        what: "a task of its own",
        is: |path| path[0] == "tokio" && has(path, &["spawn", "spawn_local"]),
        only_in: &["app/", "state/", "telemetry/", "tls/", "demo/", "proxy/server.rs"],
        advice: "await it, or let `app` start it: a task that nobody owns outlives its request",
    },
    Fence {
        what: "TLS of our own calls",
        is: |path| {
            let is_of_callers =
                has(path, &["crypto", "pki_types", "server", "sign", "SignatureAlgorithm", "SignatureScheme"])
                    || has(path, &ASKING);
            ["hyper_rustls", "rustls", "rustls_native_certs", "tokio_rustls"].contains(&path[0].as_str())
                && !is_of_callers
        },
        only_in: &["outbound/"],
        advice: "make the call through `outbound`, which verifies, and ends in time",
    },
    Fence {
        what: "TLS of callers",
        is: |path| ["rustls", "tokio_rustls"].contains(&path[0].as_str()),
        // A chain is judged for each request, and not in its handshake: `x509` needs the types of certificates for that.
        only_in: &["config/scalar/key_pair.rs", "outbound/", "tls/", "x509/"],
        advice: "ask `tls` for what a handshake needs; keys are read by `config::scalar::KeyPair`",
    },
    Fence {
        what: "the verifying of certificates",
        is: |path| path[0] == "webpki",
        only_in: &["x509/"],
        advice: "ask `x509::Authorities` whether a chain is believed",
    },
    // The demo upstream is a server of its own behind the gateway and may not import `state`.
    Fence {
        what: "a lock",
        is: |path| has(path, &["Mutex", "RwLock", "Condvar"]),
        only_in: &["state/", "demo/"],
        advice: "keep what is shared and changes in `state`",
    },
];

#[test]
fn what_is_fenced_stays_behind_its_fence() {
    let mut wrong = Report::new();
    for file in sources().iter().filter(|file| !file.is_test) {
        for fence in &FENCES {
            if fence.only_in.iter().any(|place| file.is_in(place)) {
                continue;
            }
            for path in file.paths.iter().filter(|path| !path.own && !path.in_test && (fence.is)(&path.names)) {
                let advice = format!("{} is only for {}: {}", fence.what, fence.only_in.join(", "), fence.advice);
                wrong.add(file, path, &advice);
            }
        }
    }
    wrong.finish();
}

#[test]
fn lower_layers_return_values_instead_of_logging() {
    let mut wrong = Report::new();
    for file in sources().iter().filter(|file| ["config", "exchange", "pipeline", "snapshot"].contains(&file.module()))
    {
        for path in file.paths.iter().filter(|path| !path.own && path.names[0] == "log") {
            wrong.add(file, path, "return it as an Issue, a Refusal or part of the Outcome: the edge reports it once");
        }
    }
    wrong.finish();
}

#[test]
fn names_say_what_is_inside() {
    for file in sources() {
        for name in file.file.split(['/', '.']) {
            let name = name.strip_suffix('s').filter(|_| name == "utils").unwrap_or(name);
            assert!(
                !NAMES_THAT_SAY_NOTHING.contains(&name),
                "src/{}: `{name}` says nothing; name the file after what it holds",
                file.file
            );
        }
    }
}

#[test]
fn files_are_short_and_begin_with_their_contract() {
    let mut wrong = String::new();
    for file in sources() {
        let lines = file.text.lines().count();
        let limit = match file.file.as_str() {
            "main.rs" => 20,
            "lib.rs" => 60,
            _ => 500,
        };
        if !file.is_test && lines > limit {
            let _ = writeln!(wrong, "src/{} has {lines} lines, at most {limit}: move one idea out", file.file);
        }
        if !file.is_test && !file.text.starts_with("//! ") {
            let _ = writeln!(wrong, "src/{}: begin with `//!`: what it does, In, Out, Not here", file.file);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn one_noun_stands_in_five_places() {
    let mut missing = Vec::new();
    for (noun, step) in NOUNS {
        let places = [
            format!("src/config/section/{noun}.rs"),
            step.to_owned(),
            format!("tests/gateway/{noun}.rs"),
            format!("conf/examples/{noun}.yaml"),
            format!("docs/reference/{noun}.md"),
        ];
        missing.extend(places.into_iter().filter(|place| !root().join(place).is_file()));
    }
    for noun in SETTINGS.iter().chain(&RECORDS) {
        let places = [format!("src/config/section/{noun}.rs"), format!("docs/reference/{noun}.md")];
        missing.extend(places.into_iter().filter(|place| !root().join(place).is_file()));
    }
    assert!(missing.is_empty(), "one noun, five places; write these:\n  {}", missing.join("\n  "));
}

#[test]
fn every_section_is_a_noun_or_a_setting() {
    for file in sources().iter().filter(|file| file.file.starts_with("config/section/")) {
        let name = Path::new(&file.file).file_stem().unwrap().to_str().unwrap();
        let known = NOUNS.iter().any(|(noun, _)| *noun == name)
            || SETTINGS.contains(&name)
            || RECORDS.contains(&name)
            || name == "mod";
        assert!(
            known,
            "src/{}: list `{name}` in NOUNS with the step that serves it, or in SETTINGS or RECORDS",
            file.file
        );
    }
    let steps: BTreeSet<&str> = SECTIONS.iter().map(|(step, _)| *step).collect();
    for file in sources().iter().filter(|file| file.module() == "pipeline") {
        let Some(step) = file.path.get(1).map(String::as_str).filter(|step| *step != "permit") else { continue };
        assert!(steps.contains(step), "src/{}: say in SECTIONS which sections `{step}` is compiled from", file.file);
    }
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text = r##"
        use std::{env, sync::{Mutex as Lock, mpsc}};
        // use std::sync::RwLock;
        use super::other::Thing; /* crate::app /* nested */ */
        fn f<'a>(x: &'a str) { let _ = "crate::cli::run"; let _ = r#"a " tokio::spawn"#; let c = '\''; log::info!("x"); }
        #[cfg(test)]
        mod tests { use super::*; fn g() { crate::demo::start(); } }
        fn h() { section::log::Log; crate::clock::Clock::system(); }
    "##;
    let file = Source::new("pipeline/step/part.rs", text);
    let seen: Vec<(String, bool)> = file.paths.iter().map(|path| (path.names.join("::"), path.in_test)).collect();
    for (path, in_test) in [
        ("std::env", false),
        ("std::sync::Mutex", false),
        ("std::sync::mpsc", false),
        ("pipeline::step::other::Thing", false),
        ("log::info", false),
        ("demo::start", true),
        ("section::log::Log", false),
        ("clock::Clock::system", false),
    ] {
        assert!(seen.contains(&(path.to_owned(), in_test)), "{path} is missing in {seen:?}");
    }
    for path in ["RwLock", "app", "cli", "spawn"] {
        assert!(!seen.iter().any(|(seen, _)| seen.contains(path)), "{path} was seen in {seen:?}");
    }
}

/// A file below `src/`.
struct Source {
    /// Its path below `src/`, with `/`.
    file: String,
    text: String,
    /// The module path: `pipeline`, `params`, `form`.
    path: Vec<String>,
    /// Whether the whole file is test code.
    is_test: bool,
    paths: Vec<PathUse>,
}

/// A path that stands in the code: `tokio::sync::Mutex`.
struct PathUse {
    /// Its names; for our own modules without `crate`.
    names: Vec<String>,
    /// Whether it leads to one of our own modules.
    own: bool,
    in_test: bool,
    line: usize,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let stem = file.strip_suffix(".rs").expect("a Rust file");
        let mut path: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let is_test = stem.ends_with("tests");
        let paths = Scanner { tokens: tokens(text), at: 0, module: &path, paths: Vec::new(), in_test: is_test }.scan();
        Source { file: file.to_owned(), text: text.to_owned(), path, is_test, paths }
    }

    fn module(&self) -> &str {
        &self.path[0]
    }

    /// What of our own it names.
    fn own_paths(&self) -> impl Iterator<Item = &PathUse> {
        self.paths.iter().filter(|path| path.own && !path.names.is_empty())
    }

    fn is_in(&self, place: &str) -> bool {
        self.file == place || place.ends_with('/') && self.file.starts_with(place)
    }
}

fn has(path: &[String], names: &[&str]) -> bool {
    path.iter().any(|name| names.contains(&name.as_str()))
}

/// All mistakes, then one panic.
struct Report(String);

impl Report {
    fn new() -> Self {
        Report(String::new())
    }

    fn add(&mut self, file: &Source, path: &PathUse, advice: &str) {
        let _ = writeln!(self.0, "src/{}:{}: `{}`: {advice}", file.file, path.line, path.names.join("::"));
    }

    fn finish(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Read once for all tests.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut files = Vec::new();
        collect(&root().join("src"), "", &mut files);
        files.sort();
        files.iter().map(|file| Source::new(file, &read(&format!("src/{file}")))).collect()
    });
    &SOURCES
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let entry = entry.expect("src can be read");
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("names are UTF-8"));
        match entry.file_type().expect("src can be read").is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files),
            false if name.ends_with(".rs") => files.push(name),
            false => {}
        }
    }
}

/// A word or a mark, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// The code without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => skip_while(bytes, at, |c| c != b'\n'),
            b'/' if bytes.get(at + 1) == Some(&b'*') => skip_comment(bytes, at),
            b'"' => skip_string(bytes, at),
            b'r' | b'b' if raw_string(bytes, at).is_some() => raw_string(bytes, at).expect("just seen"),
            b'\'' => skip_quote(bytes, at),
            c if is_name(c) => {
                let end = skip_while(bytes, at, is_name);
                tokens.push(Token { text: String::from_utf8_lossy(&bytes[at..end]).into_owned(), line });
                end
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                tokens.push(Token { text: "::".to_owned(), line });
                at + 2
            }
            c => {
                if !c.is_ascii_whitespace() {
                    tokens.push(Token { text: char::from(c).to_string(), line });
                }
                at + 1
            }
        };
        line += bytes[at..end].iter().filter(|c| **c == b'\n').count();
        at = end;
    }
    tokens
}

/// Part of a name; what is not ASCII can only be that, outside of strings.
fn is_name(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || !c.is_ascii()
}

fn skip_while(bytes: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
    at + bytes[at..].iter().take_while(|c| wanted(**c)).count()
}

fn skip_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn skip_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a raw or byte string that begins here, if one does.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    if at > 0 && (is_name(bytes[at - 1])) {
        return None;
    }
    let mut start = at;
    if bytes[start] == b'b' {
        start += 1;
    }
    if bytes.get(start) != Some(&b'r') {
        return (bytes.get(start) == Some(&b'"') && start > at).then(|| skip_string(bytes, start));
    }
    let hashes = bytes[start + 1..].iter().take_while(|c| **c == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
    Some((open + 1 + length + close.len()).min(bytes.len()))
}

/// Behind a character (`'a'`, `'\''`) or a lifetime (`'a`).
fn skip_quote(bytes: &[u8], at: usize) -> usize {
    match (bytes.get(at + 1), bytes.get(at + 2)) {
        (Some(b'\\'), _) => {
            let end = skip_while(bytes, at + 3, |c| c != b'\'');
            (end + 1).min(bytes.len())
        }
        (Some(_), Some(b'\'')) => at + 3,
        _ => skip_while(bytes, at + 1, is_name),
    }
}

/// Finds the paths among the tokens, `use` trees spread out.
struct Scanner<'a> {
    tokens: Vec<Token>,
    at: usize,
    module: &'a [String],
    paths: Vec<PathUse>,
    in_test: bool,
}

impl Scanner<'_> {
    fn scan(mut self) -> Vec<PathUse> {
        let mut depth = 0_usize;
        // The depth at which the test code that we are in began.
        let mut test_from = None;
        let mut test_next = false;
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "{" => {
                    depth += 1;
                    if test_next && test_from.is_none() {
                        test_from = Some(depth);
                    }
                    test_next = false;
                }
                "}" => {
                    if test_from == Some(depth) {
                        test_from = None;
                    }
                    depth = depth.saturating_sub(1);
                }
                ";" => test_next = false,
                "cfg" if self.text(self.at + 2) == "test" => test_next = true,
                _ if self.starts_path() => {
                    let in_test = self.in_test || test_from.is_some();
                    let found = self.tree(Vec::new());
                    for (names, line) in found {
                        self.add(names, line, in_test);
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.paths
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn is_word(&self, at: usize) -> bool {
        self.text(at).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    fn starts_path(&self) -> bool {
        self.is_word(self.at) && self.text(self.at + 1) == "::"
    }

    /// Every path of the tree that begins here, behind `prefix`.
    fn tree(&mut self, mut prefix: Vec<String>) -> Vec<(Vec<String>, usize)> {
        let line = self.tokens[self.at].line;
        loop {
            if self.is_word(self.at) {
                prefix.push(self.text(self.at).to_owned());
                self.at += 1;
            } else if self.text(self.at) == "*" {
                self.at += 1;
            } else if self.text(self.at) == "{" {
                return self.branches(&prefix);
            }
            let goes_on = self.text(self.at) == "::"
                && (self.is_word(self.at + 1) || self.text(self.at + 1) == "{" || self.text(self.at + 1) == "*");
            if !goes_on {
                return vec![(prefix, line)];
            }
            self.at += 1;
        }
    }

    fn branches(&mut self, prefix: &[String]) -> Vec<(Vec<String>, usize)> {
        let mut found = Vec::new();
        self.at += 1;
        while self.at < self.tokens.len() && self.text(self.at) != "}" {
            if self.is_word(self.at) && self.text(self.at) != "as" {
                found.extend(self.tree(prefix.to_vec()));
                if self.text(self.at) == "as" {
                    self.at += 2;
                }
            } else {
                self.at += 1;
            }
        }
        self.at += 1;
        found
    }

    fn add(&mut self, mut names: Vec<String>, line: usize, in_test: bool) {
        let own = match names[0].as_str() {
            "crate" | "tollgate" => {
                names.remove(0);
                true
            }
            "super" => {
                let up = names.iter().take_while(|name| *name == "super").count();
                // Inside `mod tests { .. }` the first `super` only leaves that block.
                let up_from_file = if in_test && !self.in_test { up.saturating_sub(1) } else { up };
                let above = self.module.iter().take(self.module.len().saturating_sub(up_from_file));
                names = above.cloned().chain(names.into_iter().skip(up)).collect();
                true
            }
            _ => false,
        };
        self.paths.push(PathUse { names, own, in_test, line });
    }
}
