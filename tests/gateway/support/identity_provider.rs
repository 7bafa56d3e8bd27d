//! An identity provider: it publishes public keys, signs tokens, and misbehaves on demand.
//!
//! In: what a test wants of it. Out: HTTP answers, tokens, and what it was asked. It signs with ring, apart from the
//! package that the gateway verifies with. Not here: what the gateway makes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::KeyPair as _;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::watched::Watched;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/jwks";
/// Holds a good set whatever the provider does; only what follows redirects asks for it.
const ELSEWHERE: &str = "/elsewhere";

/// A running provider with a thread of its own, so that tests may block.
#[derive(Debug)]
pub struct IdentityProvider {
    addr: SocketAddr,
    shared: Arc<Watched<Shared>>,
    runtime: Option<Runtime>,
}

/// What it answers instead of the truth.
#[derive(Clone, Debug)]
pub enum Lie {
    /// A set without keys.
    Empty,
    /// Bytes that are nothing.
    Garbage,
    /// The page of a company's proxy.
    Html,
    /// A set of a megabyte, else right.
    Huge,
    /// 302 to this URL.
    Redirect(String),
    /// 200 with this text.
    Says(String),
    /// This status, else right.
    Status(u16),
}

#[derive(Clone, Debug)]
enum Mood {
    Dead,
    Lying(Lie),
    Stalling,
    True,
}

#[derive(Debug)]
struct Shared {
    mood: Mood,
    /// What it calls itself in its discovery document.
    issuer: String,
    cache_control: Option<String>,
    published: Vec<String>,
    keys: BTreeMap<String, Arc<Key>>,
    paths: Vec<String>,
}

#[derive(Debug)]
enum Key {
    Ed(Ed25519KeyPair),
    Es(EcdsaKeyPair),
    Rs(RsaKeyPair),
}

impl IdentityProvider {
    /// A provider with one key, `es-1`.
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let guard = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener can be polled");
        let listener = TcpListener::from_std(listener).expect("a listener can be polled");
        drop(guard);
        let addr = listener.local_addr().expect("the listener is bound");
        let shared = Arc::new(Watched::new(Shared {
            mood: Mood::True,
            issuer: format!("http://{addr}"),
            cache_control: None,
            published: Vec::new(),
            keys: BTreeMap::new(),
            paths: Vec::new(),
        }));
        let answering = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answering), addr));
            }
        });
        let provider = Self { addr, shared, runtime: Some(runtime) };
        provider.rotate(["es-1"]);
        provider
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it calls itself; [`IdentityProvider::url`] unless a test said otherwise.
    pub fn issuer(&self) -> String {
        self.shared.read(|shared| shared.issuer.clone())
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        format!("{}{JWKS}", self.url())
    }

    /// Where a good set is that only redirects lead to.
    pub fn elsewhere(&self) -> String {
        format!("{}{ELSEWHERE}", self.url())
    }

    /// Publishes the keys with these ids, and no others. The id says the kind: `rs-1` RSA, `es-1` P-256, `ed-1` Ed25519.
    pub fn rotate<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let ids: Vec<&str> = ids.into_iter().collect();
        self.shared.update(|shared| {
            for id in &ids {
                shared.key(id);
            }
            shared.published = ids.into_iter().map(str::to_owned).collect();
        });
    }

    /// From now on it calls itself so.
    pub fn call_itself(&self, issuer: &str) {
        self.shared.update(|shared| shared.issuer = issuer.to_owned());
    }

    /// From now on its answers have this `Cache-Control`.
    pub fn cache_control(&self, value: &str) {
        self.shared.update(|shared| shared.cache_control = Some(value.to_owned()));
    }

    /// From now on connections end without an answer.
    pub fn die(&self) {
        self.be(Mood::Dead);
    }

    /// From now on it answers something else.
    pub fn lie(&self, lie: Lie) {
        self.be(Mood::Lying(lie));
    }

    /// From now on it takes requests and never answers them.
    pub fn stall(&self) {
        self.be(Mood::Stalling);
    }

    /// It is well again; what stalls is answered.
    pub fn recover(&self) {
        self.be(Mood::True);
    }

    /// How many times its keys were asked for, whatever it answered.
    pub fn fetches(&self) -> usize {
        self.paths().iter().filter(|path| *path == JWKS).count()
    }

    /// The path of every request.
    pub fn paths(&self) -> Vec<String> {
        self.shared.read(|shared| shared.paths.clone())
    }

    /// The key with this id as the set has it; it need not be published.
    pub fn public_key(&self, id: &str) -> Value {
        self.shared.update(|shared| shared.key(id)).public(id)
    }

    /// A token with these claims, signed by the key with this id; it need not be published.
    pub fn sign(&self, claims: &Value, id: &str) -> String {
        let algorithm = self.shared.update(|shared| shared.key(id)).algorithm();
        self.sign_as(&json!({ "typ": "JWT", "alg": algorithm, "kid": id }), claims, id)
    }

    /// As [`IdentityProvider::sign`], with any header.
    pub fn sign_as(&self, header: &Value, claims: &Value, id: &str) -> String {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.shared.update(|shared| shared.key(id)).sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn be(&self, mood: Mood) {
        self.shared.update(|shared| shared.mood = mood);
    }
}

impl Drop for IdentityProvider {
    /// A plain drop of a runtime panics inside an async test.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn key(&mut self, id: &str) -> Arc<Key> {
        Arc::clone(self.keys.entry(id.to_owned()).or_insert_with(|| Arc::new(Key::make(id))))
    }

    fn set(&self) -> Value {
        json!({ "keys": self.published.iter().map(|id| self.keys[id].public(id)).collect::<Vec<_>>() })
    }
}

impl Key {
    fn make(id: &str) -> Self {
        let random = SystemRandom::new();
        match id.get(..2) {
            Some("ed") => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                Key::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("it was made just now"))
            }
            Some("es") => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
                Key::Es(EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).expect("it was made just now"))
            }
            // Two there are: ids that end in `2` have the second.
            Some("rs") => Key::Rs(committed(if id.ends_with('2') { "rsa-2.pem" } else { "rsa-1.pem" })),
            _ => panic!("`{id}` says no kind of key: begin it with ed, es or rs"),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Key::Ed(_) => "EdDSA",
            Key::Es(_) => "ES256",
            Key::Rs(_) => "RS256",
        }
    }

    fn public(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match self {
            Key::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
            Key::Es(pair) => {
                // 4, then x and y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Key::Rs(pair) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": text(&parts.n), "e": text(&parts.e) })
            }
        };
        key["kid"] = id.into();
        key["use"] = "sig".into();
        key["alg"] = self.algorithm().into();
        key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Es(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Key::Rs(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }
}

/// A key from `tests/keys`.
fn committed(file: &str) -> RsaKeyPair {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(file);
    let pem = std::fs::read_to_string(&path).expect("a committed key");
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(text).expect("base64")).expect("an RSA key")
}

/// One request.
async fn serve(mut stream: TcpStream, shared: Arc<Watched<Shared>>, addr: SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.update(|shared| shared.paths.push(path.clone()));
    let answer = shared.found(|shared| answer(shared, &path, addr)).await;
    // The peer may be gone.
    drop(stream.write_all(&answer).await);
    drop(stream.shutdown().await);
}

/// Nothing for now while it stalls; no bytes when it is dead.
fn answer(shared: &Shared, path: &str, addr: SocketAddr) -> Option<Vec<u8>> {
    let good = match path {
        DISCOVERY => json!({ "issuer": shared.issuer, "jwks_uri": format!("http://{addr}{JWKS}") }).to_string(),
        ELSEWHERE => return Some(http(shared, 200, "", &shared.set().to_string())),
        JWKS => shared.set().to_string(),
        _ => return Some(http(shared, 404, "", "")),
    };
    let lie = match &shared.mood {
        Mood::Dead => return Some(Vec::new()),
        Mood::Lying(lie) => lie,
        Mood::Stalling => return None,
        Mood::True => return Some(http(shared, 200, "", &good)),
    };
    Some(match lie {
        Lie::Empty => http(shared, 200, "", r#"{"keys":[]}"#),
        Lie::Garbage => http(shared, 200, "", "\u{0}\u{1}{{{"),
        Lie::Html => http(shared, 200, "", "<!doctype html><title>Please log in</title>"),
        Lie::Huge => http(shared, 200, "", &format!("{}{good}", " ".repeat(1 << 20))),
        Lie::Redirect(to) => http(shared, 302, &format!("Location: {to}\r\n"), ""),
        Lie::Says(text) => http(shared, 200, "", text),
        Lie::Status(status) => http(shared, *status, "", &good),
    })
}

fn http(shared: &Shared, status: u16, more: &str, body: &str) -> Vec<u8> {
    let cache = shared.cache_control.as_ref().map(|value| format!("Cache-Control: {value}\r\n")).unwrap_or_default();
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{cache}{more}Connection: close\r\n\r\n{body}").into()
}
