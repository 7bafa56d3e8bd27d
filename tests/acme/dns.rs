//! Names that are proven by records in DNS, which a program sets.

use std::fs;
use std::time::Duration;

use tollgate::tls::acme::{Hook, Issuer};

use crate::support::life::{Life, eventually};
use crate::support::pebble::Pebble;

/// A program that keeps records as files, as the tests' DNS server has them, and a diary.
fn hook(pebble: &Pebble) -> Hook {
    let program = pebble.folder().join("hook");
    let (records, diary) = (pebble.dns.folder(), pebble.folder().join("diary"));
    let script = format!(
        "#!/bin/sh
echo \"$2 $3\" >>{diary}
[ ! -e {broken} ] || {{ echo 'the zone is locked' >&2; exit 1; }}
case $2 in
present) echo \"$4\" >>{records}/\"$3\" ;;
cleanup) rm {records}/\"$3\" ;;
esac
",
        broken = pebble.folder().join("broken").display(),
        records = records.display(),
        diary = diary.display(),
    );
    fs::write(&program, script).unwrap();
    Hook { program: "/bin/sh".into(), arguments: vec![program.to_str().unwrap().to_owned(), "first".to_owned()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_proven_by_a_record() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let issuer = Issuer { dns_hook: Some(hook(&pebble)), ..pebble.issuer() };
    let life = Life::begin(folder.path(), pebble.http_port, vec![issuer.clone()], &["*.wild.example"]);
    let issued = life.active("*.wild.example").await;
    assert!(issued.key.keys_match().is_ok());
    assert!(life.store.find("any.wild.example").is_some() && life.store.find("a.b.wild.example").is_none());
    let diary = || fs::read_to_string(pebble.folder().join("diary")).unwrap();
    assert_eq!(diary(), "present _acme-challenge.wild.example\ncleanup _acme-challenge.wild.example\n");
    assert_eq!(fs::read_dir(pebble.dns.folder()).unwrap().count(), 0, "nothing is left in the zone");
    drop(life);
    let life = Life::silent(folder.path(), vec![issuer], &["*.wild.example"]);
    assert!(life.store.get("*.wild.example").is_some(), "it is on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_without_a_program_says_what_is_missing() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &["*.bare.example"]);
    let why = life.failed("*.bare.example").await;
    assert!(why.contains("`dns_hook`"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_fails_is_quoted_and_asked_again() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let issuer = Issuer { dns_hook: Some(hook(&pebble)), ..pebble.issuer() };
    fs::write(pebble.folder().join("broken"), "").unwrap();
    let life = Life::begin(folder.path(), pebble.http_port, vec![issuer], &["*.locked.example"]);
    let why = life.failed("*.locked.example").await;
    assert!(why.contains("could not be set") && why.contains("the zone is locked"), "{why}");
    fs::remove_file(pebble.folder().join("broken")).unwrap();
    life.time.advance(Duration::from_secs(120));
    life.active("*.locked.example").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_proven_on_port_80_is_proven_by_a_record() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let issuer = Issuer { dns_hook: Some(hook(&pebble)), ..pebble.issuer() };
    let life = Life::silent(folder.path(), vec![issuer], &["closed80.example"]);
    life.failed("closed80.example").await;
    life.time.advance(Duration::from_secs(120));
    eventually(|| life.store.get("closed80.example").is_some(), || life.error("closed80.example")).await;
}
