//! `tollgate keys` from outside: what it prints, and what becomes of the file.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; Clippy exempts only functions that are tests themselves"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tollgate::config::keys::KeyFile;
use tollgate::config::scalar::{KeyHash, api_key};

/// A folder with a file of keys, which is not there at first.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Keys { folder: tempfile::tempdir().unwrap() }
    }

    fn with(text: &str) -> Self {
        let keys = Keys::new();
        std::fs::write(keys.path(), text).unwrap();
        keys
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.yaml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let (name, rest) = arguments.split_first().unwrap();
        command.current_dir(self.folder.path()).args(["keys", name, "-f", "keys.yaml"]).args(rest).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A new key.
    fn create(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["create"], arguments].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output).trim_end().to_owned()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn id_of(key: &str) -> &str {
    api_key::parse(key).unwrap_or_else(|| panic!("{key} is no key")).id
}

#[test]
fn a_key_is_shown_once_and_the_file_has_its_hash() {
    let keys = Keys::new();
    let output = keys.run(&["create", "--tenant", "acme"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let (printed, said) = (out(&output), err(&output));
    let key = printed.trim_end();
    assert_eq!(printed, format!("{key}\n"), "nothing but the key");
    let id = id_of(key);
    assert!(
        said.contains(id) && said.contains("\"Authorization: Bearer $KEY\"") && said.contains("within 2 s"),
        "{said}"
    );
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!said.contains(secret) && !keys.text().contains(secret));
    let file = KeyFile::read(&keys.path()).unwrap();
    assert_eq!(file.records().len(), 1);
    assert_eq!((file.records()[0].id.as_str(), file.records()[0].sha256), (id, KeyHash::of(key)));
    assert_eq!(std::fs::metadata(keys.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(keys.folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn everything_that_is_asked_for_is_written() {
    let keys = Keys::new();
    let key = keys.create(&[
        "--prefix",
        "acme",
        "--tenant",
        "acme",
        "--scope",
        "reports.read",
        "--scope",
        "a:b",
        "--meta",
        "plan=pro",
        "--meta",
        "since=2026",
        "--expires",
        "2099-01-31",
        "--name",
        "Partner \"A\", \u{e9}",
    ]);
    assert!(key.starts_with("acme_"));
    let lines: Vec<Value> =
        out(&keys.run(&["list", "--format", "json"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let created = lines[0]["created"].clone();
    assert!(created.as_str().is_some_and(|created| created.len() == 10), "{created}");
    assert_eq!(
        lines,
        [serde_json::json!({
            "id": id_of(&key), "tenant": "acme", "scopes": ["reports.read", "a:b"],
            "meta": { "plan": "pro", "since": "2026" }, "created": created, "expires": "2099-01-31",
            "name": "Partner \"A\", \u{e9}", "state": "active",
        })]
    );
    let json: Value = serde_json::from_str(&keys.create(&["--format", "json", "--expires", "90d"])).unwrap();
    assert_eq!(id_of(json["key"].as_str().unwrap()), json["id"].as_str().unwrap());
    assert!(json["expires"].is_string() && json["tenant"].is_null());
}

#[test]
fn what_stands_in_the_file_is_kept_byte_for_byte() {
    let before = "# Ours, do not touch\n\n-   id:  aaaaaaaaaaaa   # first\n    sha256: \
                  \"0000000000000000000000000000000000000000000000000000000000000001\"\n# the end, without a line break";
    let keys = Keys::with(before);
    std::fs::set_permissions(keys.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let key = keys.create(&[]);
    let with_one = keys.text();
    assert!(with_one.starts_with(&format!("{before}\n- {{ id: {}", id_of(&key))), "{with_one}");
    assert_eq!(std::fs::metadata(keys.path()).unwrap().permissions().mode() & 0o777, 0o640, "as it was");

    assert_eq!(code(&keys.run(&["revoke", id_of(&key)])), 0);
    assert_eq!(keys.text(), with_one.replace("enabled: true", "enabled: false"));
    assert_eq!(code(&keys.run(&["revoke", "aaaaaaaaaaaa"])), 0);
    let revoked = keys.text();
    assert!(revoked.contains("-   enabled: false\n    id:  aaaaaaaaaaaa   # first\n"), "{revoked}");
    assert_eq!(code(&keys.run(&["revoke", id_of(&key), "--delete"])), 0);
    assert_eq!(keys.text(), format!("{before}\n").replace("-   id", "-   enabled: false\n    id"));
}

#[test]
fn parallel_calls_lose_no_key() {
    let keys = Keys::new();
    let spawn = |_| keys.command(&["create"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..20).map(spawn).collect();
    let printed: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &printed {
        assert_eq!(code(output), 0, "{}", err(output));
    }
    let wanted: BTreeSet<String> = printed.iter().map(|output| id_of(out(output).trim_end()).to_owned()).collect();
    let file = KeyFile::read(&keys.path()).unwrap_or_else(|issues| panic!("{issues}"));
    let found: BTreeSet<String> = file.records().iter().map(|record| record.id.to_string()).collect();
    assert_eq!((wanted.len(), &found), (20, &wanted));

    // The same for calls that change what is there.
    let revoke = |id: &String| keys.command(&["revoke", id]).stderr(Stdio::null()).spawn().unwrap();
    for mut child in wanted.iter().map(revoke).collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    let file = KeyFile::read(&keys.path()).unwrap();
    assert_eq!(file.records().iter().filter(|record| !record.enabled).count(), 20);
}

#[test]
fn list_says_which_keys_count_and_never_a_whole_hash() {
    let keys = Keys::new();
    let (active, revoked) = (keys.create(&["--tenant", "acme", "--name", "A"]), keys.create(&["--scope", "x"]));
    assert_eq!(code(&keys.run(&["revoke", id_of(&revoked)])), 0);
    let mut text = keys.text();
    text.push_str(&format!("- {{ id: eeeeeeeeeeee, sha256: \"{:064}\", expires: 2020-01-01 }}\n", 7));
    std::fs::write(keys.path(), text).unwrap();
    let output = keys.run(&["list"]);
    let lines: Vec<Vec<String>> =
        out(&output).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(lines[0], ["ID", "STATE", "TENANT", "CREATED", "EXPIRES", "SCOPES", "NAME"]);
    for (line, id, state) in
        [(1, id_of(&active), "active"), (2, id_of(&revoked), "revoked"), (3, "eeeeeeeeeeee", "expired")]
    {
        assert_eq!((lines[line][0].as_str(), lines[line][1].as_str()), (id, state));
    }
    for listing in [output, keys.run(&["list", "--format", "json"])] {
        for key in [&active, &revoked] {
            assert!(!out(&listing).contains(&KeyHash::of(key).to_string()));
        }
    }
    assert_eq!(out(&Keys::with("").run(&["list"])), "", "an empty file is fine, and no data");
}

#[test]
fn revoke_takes_an_id_or_the_key_and_never_shows_it() {
    let keys = Keys::new();
    let key = keys.create(&[]);
    let secret = key.rsplit_once('_').unwrap().1;
    let typo = key.replace(secret.get(..3).unwrap(), "abc");
    let other = Keys::new().create(&[]);
    let almost = format!("{}{}", id_of(&key).get(..11).unwrap(), if key.as_bytes()[15] == b'x' { "y" } else { "x" });
    for (given, wanted, said) in [
        (typo.as_str(), 1, "checksum is wrong"),
        (other.as_str(), 1, "has no record of this key"),
        (secret, 1, "not the id of a key"),
        (almost.as_str(), 1, id_of(&key)),
        (id_of(&key).get(..5).unwrap(), 1, id_of(&key)),
        ("zzzzzzzzzzzz", 1, "keys list"),
        (key.as_str(), 0, "Revoked the key"),
        (key.as_str(), 0, "was revoked before"),
    ] {
        let output = keys.run(&["revoke", given]);
        assert_eq!(code(&output), wanted, "{}", err(&output));
        assert!(err(&output).contains(said), "{}", err(&output));
        assert!(!err(&output).contains(secret.get(3..).unwrap()), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
    assert!(keys.text().contains("enabled: false"));
}

#[test]
fn a_file_that_is_wrong_is_left_as_it_is() {
    let text = "- { id: aaaaaaaaaaaa, sha256: 1 }\n";
    let keys = Keys::with(text);
    for arguments in [&["create"][..], &["list"], &["revoke", "aaaaaaaaaaaa"]] {
        let output = keys.run(arguments);
        assert_eq!((code(&output), out(&output)), (1, String::new()), "{}", err(&output));
        assert!(err(&output).contains("keys.yaml:1:31"), "{}", err(&output));
    }
    assert_eq!(keys.text(), text);
    let closed = Keys::with(
        "[{ id: aaaaaaaaaaaa, sha256: \"0000000000000000000000000000000000000000000000000000000000000001\" }]",
    );
    let output = closed.run(&["create"]);
    assert_eq!((code(&output), out(&output)), (2, String::new()), "no key that is in no file");
    assert!(err(&output).contains("nothing was changed"), "{}", err(&output));
}

#[test]
fn what_makes_no_sense_is_a_wrong_call() {
    let keys = Keys::new();
    for arguments in [
        &["create", "--tenant", "a b"][..],
        &["create", "--prefix", "Tgk"],
        &["create", "--scope", "a b"],
        &["create", "--meta", "plan"],
        &["create", "--meta", "a=1", "--meta", "a=2"],
        &["create", "--expires", "2020-01-01"],
        &["create", "--expires", "0s"],
        &["create", "--expires", "soon"],
        &["create", "--name", ""],
        &["revoke"],
    ] {
        let output = keys.run(arguments);
        assert_eq!((code(&output), out(&output)), (64, String::new()), "{arguments:?}: {}", err(&output));
        assert!(!keys.path().exists(), "{arguments:?}");
    }
    for arguments in [&["list"][..], &["revoke", "aaaaaaaaaaaa"]] {
        let output = keys.run(arguments);
        assert_eq!(code(&output), 2, "{}", err(&output));
        assert!(!keys.path().exists(), "only `create` makes the file");
    }
}

#[test]
fn a_link_stays_a_link_and_an_abandoned_file_is_no_hindrance() {
    let keys = Keys::new();
    let real = keys.folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::write(real.join("k.yaml"), "# shared\n").unwrap();
    std::fs::write(real.join(".k.yaml.new"), "half a fi").unwrap();
    symlink("real/k.yaml", keys.path()).unwrap();
    keys.create(&[]);
    assert!(keys.path().symlink_metadata().unwrap().is_symlink());
    let text = std::fs::read_to_string(real.join("k.yaml")).unwrap();
    assert!(text.starts_with("# shared\n- { id: "), "{text}");
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 1);
}

#[test]
fn a_file_that_cannot_be_replaced_is_said_so_and_no_key_is_printed() {
    let keys = Keys::with("");
    let mode = |mode| std::fs::set_permissions(keys.folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    // For the superuser no folder is closed: there a folder stands where the new file would be written.
    let stands_in = keys.folder.path().join(".keys.yaml.new");
    let is_root = std::fs::metadata(keys.path()).unwrap().uid() == 0;
    if is_root {
        std::fs::create_dir(&stands_in).unwrap();
    } else {
        mode(0o500);
    }
    let output = keys.run(&["create"]);
    mode(0o700);
    assert_eq!((code(&output), out(&output)), (2, String::new()), "{}", err(&output));
    assert!(err(&output).contains("nothing was changed"), "{}", err(&output));
    assert_eq!(keys.text(), "");
}
