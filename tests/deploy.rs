//! What `deploy/` and docker-compose.yml say, as far as it can be tried without an engine, an init system or an installation.
//!
//! Not here: rules and dashboards (`observability`), and what systemd is told while a gateway runs (`gateway/supervisor.rs`).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program in the project, and shows what it said if it fails.
fn run(command: &mut Command, install: &str) -> String {
    let output = output(command, install);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

fn output(command: &mut Command, install: &str) -> Output {
    command.current_dir(project("")).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {install}"))
}

const INSTALL: &str = "run .ci/setup stack";

// --- docker-compose.yml ---

/// The stack as docker-compose understands it.
fn stack() -> Value {
    let text = run(Command::new("docker-compose").args(["-f", "docker-compose.yml", "config"]), INSTALL);
    serde_yaml::from_str(&text).expect("docker-compose prints YAML")
}

fn words(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}

/// `ADDRESS:PORT` of what a service publishes; versions of docker-compose write it in three ways.
fn published(service: &Value) -> Vec<String> {
    let ports = service["ports"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let each = |port: &Value| match port.as_str() {
        Some(port) => port.rsplit_once(':').map_or(port, |(published, _)| published).to_owned(),
        None if port["host_ip"].is_null() => text(&port["published"]),
        None => format!("{}:{}", text(&port["host_ip"]), text(&port["published"])),
    };
    ports.iter().map(each).collect()
}

/// `SOURCE:TARGET:MODE` of what a service mounts.
fn mounted(service: &Value) -> Vec<String> {
    let volumes = service["volumes"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |volume: &Value| match volume.as_str() {
        Some(volume) => volume.to_owned(),
        None => {
            let mode = if volume["read_only"] == true { "ro" } else { "rw" };
            format!("{}:{}:{mode}", text(&volume["source"]), text(&volume["target"]))
        }
    };
    volumes.iter().map(each).collect()
}

#[test]
fn every_container_is_hardened_and_every_image_has_a_version() {
    let stack = stack();
    let services = stack["services"].as_object().expect("services");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["admin-token", "demo-upstream", "grafana", "prometheus", "redis", "tollgate"]);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let image = service["image"].as_str().expect("an image");
        let tag = image.split_once(':').map(|(_, tag)| tag);
        let is_ours = service["build"]["dockerfile"] == "deploy/Dockerfile";
        assert!(is_ours || tag.is_some_and(|tag| tag.contains('.') && tag != "latest"), "{name}: {image}");
    }
}

#[test]
fn only_callers_reach_the_stack_from_other_machines() {
    let stack = stack();
    let mut all = BTreeSet::new();
    for (name, service) in stack["services"].as_object().expect("services") {
        all.extend(published(service).iter().map(|port| format!("{name} {port}")));
    }
    let expected = ["grafana 127.0.0.1:3000", "prometheus 127.0.0.1:9090", "tollgate 8080"];
    assert_eq!(all, expected.map(str::to_owned).into());
}

#[test]
fn the_stack_finds_what_it_names() {
    let stack = stack();
    let services = stack["services"].as_object().expect("services");
    for (name, service) in services {
        for volume in mounted(service) {
            let (source, rest) = volume.split_once(':').expect("source and target");
            let is_folder = Path::new(source).is_dir();
            assert!(
                is_folder || stack["volumes"].get(source).is_some(),
                "{name}: {source} is no folder, and no volume"
            );
            // A file that is mounted by itself stays what it was when an editor replaces it.
            assert!(!is_folder || rest.ends_with(":ro"), "{name} may write into {source}");
        }
    }
    let gateway = read("conf/compose.yaml");
    let prometheus = read("deploy/prometheus/prometheus.yml");
    let source = read("deploy/grafana/provisioning/datasources/prometheus.yml");
    for (text, needle) in [
        (&gateway, "http://demo-upstream:7181"),
        (&gateway, "redis://redis:6379"),
        (&gateway, "file:///run/tollgate/admin.token"),
        (&prometheus, "/run/tollgate/admin.token"),
        (&prometheus, "tollgate:9901"),
        (&source, "http://prometheus:9090"),
    ] {
        assert!(text.contains(needle), "{needle} is not where it was");
    }
    for (service, volume) in [
        ("tollgate", "admin-token:/run/tollgate:ro"),
        ("prometheus", "admin-token:/run/tollgate:ro"),
        ("admin-token", "admin-token:/run/tollgate:rw"),
    ] {
        assert!(mounted(&services[service]).iter().any(|found| found == volume), "{service}: {volume}");
    }
    // Where Grafana is told to look for dashboards is where they are mounted.
    let boards =
        serde_yaml::from_str::<Value>(&read("deploy/grafana/provisioning/dashboards/tollgate.yml")).expect("YAML");
    let place = boards["providers"][0]["options"]["path"].as_str().expect("a folder");
    assert!(mounted(&services["grafana"]).iter().any(|volume| volume.contains(&format!(":{place}:"))));
}

#[test]
fn the_token_of_the_stack_is_made_once_and_read_by_few() {
    let stack = stack();
    let service = &stack["services"]["admin-token"];
    assert_eq!(words(&service["entrypoint"]), ["sh", "-euc"]);
    // docker-compose prints a dollar sign as it must be written: twice.
    let script = words(&service["command"])[0].replace("$$", "$");
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = folder.path().display().to_string();
    assert!(script.contains("/run/tollgate"));
    // Who runs tests may not give files away; the container may.
    let script = format!("chown() {{ :; }}\n{}", script.replace("/run/tollgate", &place));
    let token = || {
        run(Command::new("sh").args(["-euc", &script]), "a POSIX shell");
        std::fs::read_to_string(folder.path().join("admin.token")).expect("a token")
    };
    let first = token();
    assert_eq!(first.len(), 65, "{first}");
    assert!(first.trim_end().chars().all(|c| c.is_ascii_hexdigit()), "{first}");
    assert_eq!(token(), first, "a second start leaves it as it is");
    let mode = std::fs::metadata(folder.path().join("admin.token")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o440);
}

// --- deploy/Dockerfile ---

#[test]
fn the_image_is_made_by_steps_of_the_script_and_nothing_else() {
    run(Command::new("sh").args(["-n", "deploy/build.sh"]), "a POSIX shell");
    let dockerfile = read("deploy/Dockerfile").replace("\\\n", " ");
    let runs: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("RUN ")).collect();
    let commands = runs.iter().flat_map(|run| run.split("&&")).map(|command| {
        let words = command.split_whitespace().filter(|word| !word.starts_with("--mount"));
        words.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(
        commands.collect::<Vec<_>>(),
        [
            "deploy/build.sh tools",
            "deploy/build.sh binary",
            "deploy/build.sh root target/release/tollgate /out",
            "deploy/build.sh try /out"
        ]
    );
    for line in [
        "FROM scratch",
        "USER 65532:65532",
        "ENV STATE_DIRECTORY=/var/lib/tollgate",
        "ENTRYPOINT [\"/usr/local/bin/tollgate\"]",
    ] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
    assert!(dockerfile.contains("HEALTHCHECK") && dockerfile.contains("\"healthcheck\", \"-c\""));
    let oldest = read("Cargo.toml").lines().find_map(|line| line.strip_prefix("rust-version = ").map(str::to_owned));
    let minor = |version: &str| version.trim_matches('"').split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let builder = dockerfile.split("FROM rust:").nth(1).and_then(|rest| rest.split('-').next()).expect("a builder");
    assert!(minor(builder) >= minor(&oldest.expect("a version")), "the builder's Rust {builder} is too old");
}

#[test]
fn the_steps_that_install_and_compile_call_what_they_should() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let log = folder.path().join("log");
    for program in ["apt-get", "cargo"] {
        let stub = folder.path().join(program);
        std::fs::write(&stub, format!("#!/bin/sh\necho {program} \"$@\" >>{}\n", log.display())).expect("a stub");
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).expect("a stub");
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
    for step in ["tools", "binary"] {
        run(Command::new("deploy/build.sh").arg(step).env("PATH", &path), "a POSIX shell");
    }
    assert_eq!(
        std::fs::read_to_string(log).expect("the calls"),
        "apt-get update -q
apt-get install -q -y --no-install-recommends ca-certificates cmake
cargo build --release --locked
"
    );
    let wrong = output(Command::new("deploy/build.sh").arg("everything"), "a POSIX shell");
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn the_gateway_runs_with_nothing_but_what_the_image_holds() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    // Also for who is not the owner.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("our own folder");
    let root = folder.path().join("root");
    let root_text = root.display().to_string();
    run(Command::new("deploy/build.sh").args(["root", env!("CARGO_BIN_EXE_tollgate"), &root_text]), "ldd");
    let said = run(Command::new("deploy/build.sh").args(["try", &root_text]), "chroot or unshare");
    assert_eq!(said, format!("tollgate {}\n", env!("CARGO_PKG_VERSION")));
    let found = glob::glob(&format!("{root_text}/**/*")).expect("a pattern").filter_map(Result::ok);
    let files: Vec<String> = found
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(&root).expect("below it").display().to_string())
        .collect();
    let is_library = |file: &str| file.starts_with("lib");
    let others: Vec<&str> = files.iter().map(String::as_str).filter(|file| !is_library(file)).collect();
    let expected =
        ["etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/local/bin/tollgate"];
    assert_eq!(others, expected, "no shell, no package manager");
    assert!(files.len() < others.len() + 8, "{files:?}");
    let mode = |path: &str| std::fs::metadata(root.join(path)).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode("var/lib/tollgate"), mode("tmp"), mode("usr/local/bin/tollgate")), (0o700, 0o1777, 0o755));
}

// --- deploy/systemd, and the package ---

const UNIT: &str = "deploy/systemd/tollgate.service";

#[test]
fn systemd_understands_the_unit_and_finds_little_to_attack() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let unit = folder.path().join("tollgate.service");
    // Where the programs are that it starts: systemd-analyze looks for them.
    let text = read(UNIT).replace("/usr/bin/tollgate", env!("CARGO_BIN_EXE_tollgate"));
    std::fs::write(&unit, text).expect("a unit");
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit), INSTALL);
    assert_eq!(said, "");
    let threshold = "--threshold=20";
    run(Command::new("systemd-analyze").args(["security", "--offline=true", threshold]).arg(UNIT), INSTALL);
}

#[test]
fn the_unit_waits_until_callers_are_served_and_checks_before_it_reloads() {
    let unit = read(UNIT);
    let values = |key: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    let file = "/etc/tollgate/tollgate.yaml";
    assert_eq!(values("Type"), ["notify"]);
    assert_eq!(values("ExecStartPre"), [format!("/usr/bin/tollgate check {file}")]);
    assert_eq!(values("ExecStart"), [format!("/usr/bin/tollgate run -c {file}")]);
    assert_eq!(values("ExecReload"), [&format!("/usr/bin/tollgate check {file}"), "/bin/kill -HUP $MAINPID"]);
    for (key, value) in [
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("StateDirectory", "tollgate"),
    ] {
        assert_eq!(values(key), [value], "{key}");
    }
    let limit = values("LimitNOFILE")[0].parse::<u64>().expect("a number");
    assert!(limit >= 100_000);
}

#[test]
fn the_package_has_what_the_unit_needs_and_every_file_is_there() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[package.metadata.deb]").nth(1).and_then(|rest| rest.split("\n[").next());
    let section = section.expect("metadata for cargo-deb");
    let assets: Vec<Vec<&str>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    [\"")?.strip_suffix("\"],"))
        .map(|line| line.split("\", \"").collect())
        .collect();
    assert!(assets.len() > 8, "{assets:?}");
    let mut installed = BTreeSet::new();
    for asset in &assets {
        let [source, target, mode] = asset[..] else { panic!("{asset:?}") };
        let sources: Vec<PathBuf> =
            glob::glob(&project(source).display().to_string()).expect("a pattern").filter_map(Result::ok).collect();
        // The binary is there after a release build only.
        assert!(!sources.is_empty() || source == "target/release/tollgate", "{source} is nowhere");
        assert!(["644", "755"].contains(&mode), "{asset:?}");
        let name = target.rsplit('/').next().filter(|name| !name.is_empty());
        let name = name.or_else(|| source.rsplit('/').next()).expect("a name");
        let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
        installed.insert(format!("/{folder}/{name}"));
    }
    let unit = read(UNIT);
    for path in ["/usr/bin/tollgate", "/etc/tollgate/tollgate.yaml"] {
        assert!(unit.contains(path) && installed.contains(path), "{path}: {installed:?}");
    }
    assert!(section.contains("conf-files = [\"/etc/tollgate/tollgate.yaml\"]"));
    assert!(section.contains("unit-scripts = \"deploy/systemd\", unit-name = \"tollgate\""));
    for script in ["postinst", "postrm"] {
        let path = format!("deploy/deb/{script}");
        run(Command::new("sh").args(["-n", &path]), "a POSIX shell");
        assert!(read(&path).contains("\n#DEBHELPER#\n"), "{path}: cargo-deb writes the unit's part there");
    }
}
