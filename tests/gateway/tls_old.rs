//! What TLS no longer is: old versions, and ciphers without forward secrecy or with known weaknesses.
//!
//! No library offers these any more, so the first message of a handshake is written here by hand (RFC 5246 section
//! 7.4.1.2). What is looked for with more effort, testssl.sh looks for: `make conformance`.

use tollgate::clock::Clock;

use crate::support::client::RawClient;
use crate::support::gateway::TestGateway;
use crate::support::tls_origin::Authority;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, which everybody knows.
const GOOD: u16 = 0xc02b;

#[tokio::test]
async fn t3_nothing_older_than_tls_1_2_and_no_weak_cipher_is_agreed_on() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write_pair(folder.path(), "a", &["a.example.com"]);
    let sections = "listeners: [{ address: 127.0.0.1:0, tls: true }]\nroutes: { /top: { pipe: top } }\n\
        hosts: { a.example.com: { tls: { cert: a.pem, key: a.key } } }\n";
    let gw = TestGateway::from_folder(folder, sections, Clock::system());
    for (what, version, cipher, expected) in [
        ("the same in TLS 1.2", 0x0303, GOOD, (HANDSHAKE, None)),
        ("SSL 3.0", 0x0300, GOOD, (ALERT, Some(PROTOCOL_VERSION))),
        ("TLS 1.0", 0x0301, GOOD, (ALERT, Some(PROTOCOL_VERSION))),
        ("TLS 1.1", 0x0302, GOOD, (ALERT, Some(PROTOCOL_VERSION))),
        ("no encryption", 0x0303, 0xc006, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("RC4", 0x0303, 0xc007, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("3DES", 0x0303, 0xc008, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("CBC with SHA-1", 0x0303, 0xc009, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("CBC with SHA-256", 0x0303, 0xc023, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("a key encrypted by RSA, without forward secrecy", 0x0303, 0x009c, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("Diffie and Hellman without curves", 0x0303, 0x009e, (ALERT, Some(HANDSHAKE_FAILURE))),
        ("nobody's certificate", 0x0303, 0xc018, (ALERT, Some(HANDSHAKE_FAILURE))),
    ] {
        let mut raw = RawClient::connect(gw.addr()).await;
        raw.send(hello(version, cipher)).await;
        // Kind, version, length; of an alert, its level and what it says.
        let answer = raw.read_exact(7).await;
        let says = (answer[0], (answer[0] == ALERT).then(|| answer[6]));
        assert_eq!(says, expected, "{what}: {answer:02x?}");
    }
    gw.assert_alive().await;
}

/// The first message of a caller that knows one version and one cipher.
fn hello(version: u16, cipher: u16) -> Vec<u8> {
    let name = b"a.example.com";
    let server_name = [&[0_u8][..], &sized(name)].concat();
    let extensions = [
        extension(0, &sized(&server_name)),
        // X25519 and P-256.
        extension(10, &sized(&[0, 29, 0, 23])),
        // Points that are written out.
        extension(11, &[1, 0]),
        // ECDSA with P-256 and SHA-256, RSA-PSS with SHA-256.
        extension(13, &sized(&[4, 3, 8, 4])),
    ]
    .concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &sized(&cipher.to_be_bytes()),
        // No compression.
        &[1, 0],
        &sized(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(body)].concat()
}

/// Behind its length in two bytes.
fn sized(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short message");
    [&length.to_be_bytes()[..], body].concat()
}
