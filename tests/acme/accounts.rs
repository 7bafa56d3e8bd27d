//! Accounts that are lost, closed, or bound to others.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use instant_acme::{Account, AccountCredentials, BodyWrapper, BytesResponse, Error, HttpClient};
use serde_json::Value;
use tollgate::clock::Clock;
use tollgate::outbound::{Call, Client, Trust};
use tollgate::tls::acme::{Eab, Issuer};

use crate::support::life::{Life, eventually, files, set};
use crate::support::pebble::{Options, Pebble};

fn account(folder: &Path, issuer: &Issuer) -> Value {
    let text = fs::read(folder.join(issuer.slug()).join("account.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_closed_is_replaced() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &["one.closed.example"]);
    let first = life.active("one.closed.example").await;
    let before = account(folder.path(), &pebble.issuer());
    close(&before, &pebble).await;
    life.engine.want(&set(&["one.closed.example", "two.closed.example"]));
    life.active("two.closed.example").await;
    assert_eq!(life.report("two.closed.example").last_error, None, "at the first try");
    assert_ne!(account(folder.path(), &pebble.issuer())["id"], before["id"]);
    // What the old account got is served as before.
    assert!(std::sync::Arc::ptr_eq(&life.active("one.closed.example").await, &first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_authority_does_not_know_is_replaced() {
    let (mut pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &["one.unknown.example"]);
    life.active("one.unknown.example").await;
    let before = account(folder.path(), &pebble.issuer());
    pebble.kill();
    pebble.run();
    life.engine.want(&set(&["one.unknown.example", "two.unknown.example"]));
    life.active("two.unknown.example").await;
    assert_ne!(account(folder.path(), &pebble.issuer())["credentials"], before["credentials"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_told_of_another_address_and_stays() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let issuer = |contact: &str| Issuer { contact: Some(contact.to_owned()), ..pebble.issuer() };
    let life = Life::begin(folder.path(), pebble.http_port, vec![issuer("a@mail.example")], &["one.told.example"]);
    life.active("one.told.example").await;
    let before = account(folder.path(), &pebble.issuer());
    assert_eq!(before["contact"], "a@mail.example");
    life.engine.issuers(vec![issuer("b@mail.example")]);
    life.engine.want(&set(&["two.told.example"]));
    life.active("two.told.example").await;
    let after = account(folder.path(), &pebble.issuer());
    assert_eq!((&after["id"], &after["contact"]), (&before["id"], &Value::from("b@mail.example")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_can_be_bound_to_one_at_the_authoritys_own_site() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::with(Options { external: vec![("kid-1", key), ("kid-2", key)], ..Options::default() });
    let folder = tempfile::tempdir().unwrap();
    let bound = |key_id: &str, key: &str| Issuer {
        eab: Some(Eab { key_id: key_id.to_owned(), hmac_key: key.parse().unwrap() }),
        ..pebble.issuer()
    };
    let name = "bound.example";
    let life = Life::begin(folder.path(), pebble.http_port, vec![pebble.issuer()], &[name]);
    let why = life.failed(name).await;
    assert!(why.contains("`eab`"), "{why}");
    let wrong = "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BIt2XrJMDHJZBM5NuQmQJQH";
    life.engine.issuers(vec![bound("kid-1", wrong)]);
    eventually(|| life.error(name).contains("check the key of `eab`"), || life.error(name)).await;
    assert!(!life.error(name).contains(wrong));
    life.engine.issuers(vec![bound("kid-1", key)]);
    life.active(name).await;
    let before = account(folder.path(), &pebble.issuer());
    // Another account there is another account here.
    life.engine.issuers(vec![bound("kid-2", key)]);
    life.engine.want(&set(&[name, "other.bound.example"]));
    life.active("other.bound.example").await;
    assert_ne!(account(folder.path(), &pebble.issuer())["id"], before["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_for_their_owner_only() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    let acme = folder.path().join("tls/acme");
    let life = Life::begin(&acme, pebble.http_port, vec![pebble.issuer()], &["private.example"]);
    life.active("private.example").await;
    let slug = pebble.issuer().slug();
    let found = files(&acme);
    let expected = ["account.json", "certificates/private.example.pem"].map(|file| acme.join(&slug).join(file));
    assert_eq!(found, expected);
    for file in found {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for up in file.ancestors().skip(1).take_while(|up| *up != folder.path()) {
            assert_eq!(fs::metadata(up).unwrap().permissions().mode() & 0o777, 0o700, "{}", up.display());
        }
    }
}

/// What its owner may do at any time, elsewhere.
async fn close(account: &Value, pebble: &Pebble) {
    let credentials: AccountCredentials = serde_json::from_value(account["credentials"].clone()).unwrap();
    let wire = Box::new(Direct(vec![pebble.ca()]));
    let account = Account::builder_with_http(wire).from_credentials(credentials).await.unwrap();
    account.deactivate().await.unwrap();
}

struct Direct(Vec<Vec<u8>>);

impl HttpClient for Direct {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let trust = Trust::Given(self.0.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Error::Str("a body"))?.to_bytes();
            let target = head.uri.to_string().parse().map_err(|_| Error::Str("a URL"))?;
            let call = Call { method: head.method, headers: head.headers, body, trust, ..Call::get(target) };
            let answer = Client::direct(Clock::system()).call(&call).await.map_err(|_| Error::Str("an answer"))?;
            let mut response = Response::new(());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            let (parts, ()) = response.into_parts();
            Ok(BytesResponse { parts, body: Box::new(answer.body) })
        })
    }
}
