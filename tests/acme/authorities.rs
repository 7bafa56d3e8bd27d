//! Authorities that are away, come back, stand in for each other.

use std::sync::Arc;
use std::time::Duration;

use tollgate::outbound::Target;
use tollgate::tls::acme::{Issuer, State};

use crate::support::life::{Life, eventually};
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::free_port;
use crate::support::{front, said};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_away_is_asked_again() {
    said::listen();
    let (mut pebble, folder) = (Pebble::stopped(Options::default()), tempfile::tempdir().unwrap());
    let name = "away.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let why = life.failed(name).await;
    assert!(why.contains("no connection") && why.contains("check that this machine may connect"), "{why}");
    pebble.run();
    life.time.advance(2 * MINUTE);
    life.active(name).await;
    assert_eq!(life.report(name).last_error, None);
    assert_eq!(said::of(&format!("no certificate for {name} yet:")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_certificate_is_served_while_the_authority_is_away() {
    said::listen();
    let mut pebble = Pebble::with(Options { validity: Some(3_600), ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let name = "kept.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let first = life.active(name).await;
    pebble.kill();
    life.time.advance(41 * MINUTE);
    eventually(|| life.report(name).last_error.is_some(), || format!("{:?}", life.report(name))).await;
    assert_eq!(life.report(name).state, State::Active);
    assert!(Arc::ptr_eq(&life.store.get(name).unwrap(), &first));
    let said = said::of(&format!("the certificate for {name}, which ends at "));
    assert!(said.len() == 1 && said[0].contains("cannot be renewed yet: the authority does not answer"), "{said:?}");
    // Even when it is over: some callers take it, and none would take nothing.
    life.time.advance(30 * MINUTE);
    eventually(|| life.report(name).state == State::Failed, || format!("{:?}", life.report(name))).await;
    assert!(Arc::ptr_eq(&life.store.get(name).unwrap(), &first));
    assert_eq!(life.report(name).days_left, Some(-1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_authority_stands_in() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let nobody: Target = format!("https://127.0.0.1:{}/dir", free_port()).parse().unwrap();
    let page = front::serve(0, |_, _| (503, Vec::new(), "<html>".to_owned())).forever();
    let page: Target = format!("http://{page}/dir").parse().unwrap();
    let issuers = vec![Issuer::new(nobody), Issuer::new(page), pebble.issuer()];
    let life = Life::begin(folder.path(), pebble.http_port, issuers, &["third.example"]);
    life.active("third.example").await;
    assert_eq!(life.report("third.example").issuer, Some(pebble.issuer().slug()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_authority_that_is_not_wanted_any_more_is_replaced() {
    let (staging, production) = (Pebble::start(), Pebble::start());
    let folder = tempfile::tempdir().unwrap();
    let name = "moved.example";
    let life = Life::begin(folder.path(), staging.http_port, vec![staging.issuer()], &[name]);
    let first = life.active(name).await;
    // Nobody answers for the second one yet: the first one stays until there is another.
    life.engine.issuers(vec![production.issuer()]);
    eventually(|| life.report(name).last_error.is_some(), || format!("{:?}", life.report(name))).await;
    assert!(Arc::ptr_eq(&life.store.get(name).unwrap(), &first));
    // Back again: it is on disk, and due at its own time.
    life.engine.issuers(vec![staging.issuer()]);
    assert_eq!(life.report(name).issuer, Some(staging.issuer().slug()));
    assert_eq!((life.report(name).last_error, life.report(name).state), (None, State::Active));
    drop(life);

    // After a restart, too, what the wrong authority issued is not served as if it were right.
    let life = Life::begin(folder.path(), production.http_port, vec![production.issuer()], &[name]);
    life.active(name).await;
    assert_eq!(life.report(name).issuer, Some(production.issuer().slug()));
}
