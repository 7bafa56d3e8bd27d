//! What is on disk, whole and damaged.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::life::{Life, eventually, files};
use crate::support::pebble::Pebble;
use crate::support::said;

fn certificate(folder: &std::path::Path, pebble: &Pebble, name: &str) -> PathBuf {
    folder.join(pebble.issuer().slug()).join("certificates").join(format!("{name}.pem"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_on_disk_are_served_at_once_and_nobody_is_asked() {
    let (mut pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let name = "disk.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let first = life.active(name).await;
    drop(life);
    pebble.kill();
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let second = life.store.get(name).expect("before anything is awaited");
    assert_eq!(first.key.cert, second.key.cert);
    assert_eq!(life.report(name).last_error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_moved_aside_and_issued_again() {
    said::listen();
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let names = ["cut.disk.example", "mixed.disk.example", "whole.disk.example"];
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &names);
    for name in names {
        life.active(name).await;
    }
    drop(life);
    let file = |name: &str| certificate(folder.path(), &pebble, name);
    let whole = fs::read_to_string(file(names[2])).unwrap();
    let cut = fs::read(file(names[0])).unwrap();
    fs::write(file(names[0]), &cut[..cut.len() / 2]).unwrap();
    // The key of another certificate.
    let (key, _) = whole.split_once("-----BEGIN CERTIFICATE").unwrap();
    let mixed = fs::read_to_string(file(names[1])).unwrap();
    let (_, chain) = mixed.split_once("-----BEGIN CERTIFICATE").unwrap();
    fs::write(file(names[1]), format!("{key}-----BEGIN CERTIFICATE{chain}")).unwrap();
    fs::write(folder.path().join(pebble.issuer().slug()).join("account.json"), "{\"directory\":").unwrap();

    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &names);
    assert_eq!(names.map(|name| life.store.get(name).is_some()), [false, false, true]);
    for name in names {
        life.active(name).await;
    }
    assert_eq!(fs::read_to_string(file(names[2])).unwrap(), whole);
    let aside = files(folder.path()).into_iter().filter(|file| file.to_string_lossy().contains(".unusable-")).count();
    assert_eq!(aside, 3);
    for name in &names[..2] {
        assert_eq!(said::of(&format!("on disk for {name} cannot be used")).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_said_and_tried_again() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let acme = folder.path().join("acme");
    fs::write(&acme, "in the way").unwrap();
    let name = "full.example";
    let life = Life::begin(&acme, pebble.http_port, vec![pebble.issuer()], &[name]);
    let why = life.failed(name).await;
    assert!(why.contains("`state.dir`"), "{why}");
    fs::remove_file(&acme).unwrap();
    life.time.advance(Duration::from_secs(120));
    eventually(|| life.store.get(name).is_some(), || life.error(name)).await;
}
