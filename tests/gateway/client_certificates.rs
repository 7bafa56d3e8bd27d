//! Callers who are known by the certificate of their connection (`type: mtls`).

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, SanType, date_time_ymd};
use serde_json::Value;
use tokio_rustls::rustls::HandshakeKind;
use tollgate::clock::{Clock, TestClock};

use crate::support::caller_certificate::{Shown, Signer, another_o, another_ou, dns, self_signed, serial, subject};
use crate::support::client::{RawClient, Request, Response};
use crate::support::credentials::{api_key, record};
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::tls_caller::TlsCaller;
use crate::support::tls_origin::Authority;

const LISTENERS: &str = "listeners: [{ address: 127.0.0.1:0, tls: true }, { address: 127.0.0.1:0 }]\ntls: { default: { cert: server.pem, key: server.key } }\n";
const MACHINES: &str = "  machines: { type: mtls, ca: machines.pem, tenant: '{certificate.subject.o}' }\n";
const ROUTES: &str = "routes:
  /top: { pipe: top, auth: machines, params: { fixed: { company_id: '{tenant}' } } }
  /open: { pipe: open, auth: public }
";

/// Who signs what in a test, and where it lies.
struct House {
    server: Authority,
    machines: Signer,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::of(Signer::new("Machines CA"))
    }

    fn of(machines: Signer) -> Self {
        let (server, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        server.write_pair(folder.path(), "server", &["localhost", "127.0.0.1", "acme.example.com", "beta.example.com"]);
        machines.write(&folder.path().join("machines.pem"));
        House { server, machines, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn gateway(self, sections: &str) -> (TestGateway, Callers, Signer) {
        self.gateway_on(sections, Clock::system())
    }

    fn gateway_on(self, sections: &str, clock: Clock) -> (TestGateway, Callers, Signer) {
        let gw = TestGateway::from_folder(self.folder, &format!("{LISTENERS}{sections}"), clock);
        let callers = Callers { addr: gw.addr(), plain: TlsCaller::trusting(self.server.der()) };
        (gw, callers, self.machines)
    }
}

/// Those who call the gateway.
struct Callers {
    addr: SocketAddr,
    plain: TlsCaller,
}

impl Callers {
    fn showing(&self, shown: &Shown) -> TlsCaller {
        self.plain.clone().showing(shown.clone())
    }

    async fn tunnel(&self, shown: &Shown) -> SocketAddr {
        self.showing(shown).tunnel(self.addr, None).await
    }

    async fn get(&self, shown: &Shown, target: &str) -> Response {
        Request::get(target).send(self.tunnel(shown).await).await
    }

    async fn get_without(&self, target: &str) -> Response {
        Request::get(target).send(self.plain.tunnel(self.addr, None).await).await
    }

    /// Why no connection comes about; TLS 1.3 says so only to who reads.
    async fn is_shut_out(&self, caller: TlsCaller) -> bool {
        let at = caller.tunnel(self.addr, None).await;
        let mut client = RawClient::connect(at).await;
        // Where the handshake has failed already, nothing can be written.
        drop(client.try_send(Request::get("/open").bytes()).await);
        client.try_read_response().await.is_err()
    }
}

fn sections() -> String {
    format!("auth:\n{MACHINES}{ROUTES}")
}

/// What the operator is told of the last of so many requests.
async fn fault(gw: &TestGateway, count: usize) -> String {
    gw.log(count).await[count - 1]["fault"].as_str().unwrap_or_default().to_owned()
}

/// What an answer of this kind has no use for: there is no such thing as a certificate in a header.
fn assert_no_challenge(response: &Response) {
    assert_eq!(response.header("www-authenticate"), None);
}

#[tokio::test]
async fn a_certificate_says_whose_rows_are_seen() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    let shown = machines.caller("acme");
    for caller in [callers.showing(&shown), callers.showing(&shown).old()] {
        let at = caller.tunnel(gw.addr(), None).await;
        let response = Request::get("/top?company_id=beta").send(at).await;
        assert_eq!(response.status, 200, "{}", response.body_text());
    }
    for seen in gw.origin.received() {
        assert_eq!(seen.target, "/v0/pipes/top.json?company_id=acme");
        assert!(!String::from_utf8_lossy(&seen.raw_head).to_lowercase().contains("robot"), "it stays here");
    }
    let log = gw.log(2).await;
    assert_eq!((log[0]["tenant"].as_str(), log[0]["caller"].as_str()), (Some("acme"), Some("robot 7")));
}

#[tokio::test]
async fn it_is_the_same_over_http2() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    let caller = callers.showing(&machines.caller("acme")).offering(&["h2"]);
    let h2 = H2Client::connect(caller.tunnel(gw.addr(), None).await).await;
    for _ in 0..2 {
        assert_eq!(h2.get("/top").await.status, 200);
    }
    assert_eq!(gw.origin.received()[1].target, "/v0/pipes/top.json?company_id=acme");
    let none = H2Client::connect(callers.plain.clone().offering(&["h2"]).tunnel(gw.addr(), None).await).await;
    let refused = none.get("/top").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("credential_missing")));
}

#[tokio::test]
async fn who_shows_none_is_told_so_and_nobody_needs_one_elsewhere() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    let refused = callers.get_without("/top").await;
    assert_refused(&refused, 401, "credential_missing");
    assert_no_challenge(&refused);
    assert!(refused.json()["error"].as_str().is_some_and(|text| text.contains("certificate")));
    assert_eq!(callers.get_without("/open").await.status, 200);
    // What is no credential on this route is none beside it either.
    let at = callers.tunnel(&machines.caller("acme")).await;
    assert_eq!(Request::get("/top?token=x").bearer("y").send(at).await.status, 200);
    assert_eq!(gw.origin.received()[1].target, "/v0/pipes/top.json?company_id=acme");
    // Without TLS there is nothing to show, whatever a header says.
    let plain = gw.app().addresses()[1];
    let pem = machines.pem().replace('\n', "%0A");
    let mut request = Request::get("/top");
    for name in
        ["X-Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert", "Client-Cert", "SSL-Client-Subject-DN"]
    {
        request = request.header(name, &pem);
    }
    assert_refused(&request.send(plain).await, 401, "credential_missing");
    assert_refused(&request.send(callers.plain.tunnel(gw.addr(), None).await).await, 401, "credential_missing");
}

#[tokio::test]
async fn nobody_else_signs_for_the_authority() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    // Another one, one with the same name, and nobody at all.
    let (other, imposter) = (Signer::new("Other CA"), Signer::new("Machines CA"));
    let for_a_server = machines.caller_with("acme", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let of_an_authority = machines.caller_with("acme", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let cases = [
        (other.caller("acme"), "was not signed by any authority of this route: `CN=Machines CA`"),
        (self_signed("acme"), "was not signed by any authority of this route"),
        (imposter.caller("acme"), "was not signed by it"),
        (for_a_server, "is not for callers"),
        (of_an_authority, "is not for callers"),
    ];
    for (index, (shown, why)) in cases.into_iter().enumerate() {
        let response = callers.get(&shown, "/top").await;
        assert_refused(&response, 401, "credential_invalid");
        assert_no_challenge(&response);
        let fault = fault(&gw, index + 1).await;
        assert!(fault.contains(why) && fault.contains("O=acme, CN=robot 7"), "{fault}");
        assert!(!response.contains("robot") && !response.contains("Machines"), "callers are not told");
    }
    assert_eq!(gw.origin.received_count(), 0);
}

#[tokio::test]
async fn its_time_is_the_gateways() {
    let time = TestClock::new();
    let (gw, callers, machines) = House::new().gateway_on(&sections(), time.clock());
    let shown = machines.caller_with("acme", |params| {
        params.not_before = date_time_ymd(2031, 1, 1);
        params.not_after = date_time_ymd(2032, 1, 1);
    });
    let stranger =
        Signer::new("Machines CA").caller_with("acme", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let year = |year: u64| UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952);
    // One connection all the time: what it showed is judged anew.
    let mut kept = RawClient::connect(callers.tunnel(&shown).await).await;
    let mut ask = async || Request::get("/top").send_on(&mut kept).await;
    assert_refused(&ask().await, 401, "credential_invalid");
    assert!(fault(&gw, 1).await.contains("is not good before Wed, 01 Jan 2031"));
    time.advance_to(year(2031) + Duration::from_secs(86_400));
    assert_eq!(ask().await.status, 200);
    assert_eq!(ask().await.status, 200, "and from memory");
    time.advance_to(year(2032) + Duration::from_secs(86_400));
    assert_refused(&ask().await, 401, "credential_expired");
    assert!(fault(&gw, 4).await.contains("expired at Thu, 01 Jan 2032"));
    // Of what was never good, nobody says that it was.
    assert_refused(&callers.get(&stranger, "/top").await, 401, "credential_invalid");
}

#[tokio::test]
async fn an_authority_whose_time_is_over_signs_nothing() {
    let time = TestClock::new();
    let ends = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2031, 1, 1);
    let house = House::of(Signer::with("Machines CA", ends));
    let (gw, callers, machines) = house.gateway_on(&sections(), time.clock());
    let shown = machines.caller("acme");
    assert_eq!(callers.get(&shown, "/top").await.status, 200);
    time.advance_to(UNIX_EPOCH + Duration::from_secs(1_925_000_000));
    assert_refused(&callers.get(&shown, "/top").await, 401, "credential_invalid");
    assert!(fault(&gw, 2).await.contains("CN=Machines CA"));
}

#[tokio::test]
async fn what_lies_between_is_shown_by_the_caller() {
    let house = House::new();
    let (west, south) = (house.machines.below("West"), house.machines.below("West").below("South"));
    let (gw, callers, _) = house.gateway(&sections());
    for shown in [west.caller("acme"), south.caller("acme")] {
        assert_eq!(callers.get(&shown, "/top").await.status, 200, "{} certificates", shown.chain.len());
        assert_refused(&callers.get(&shown.alone(), "/top").await, 401, "credential_invalid");
    }
    assert_eq!(gw.origin.received_count(), 2);
    // Whose own certificate is none of an authority signs nothing.
    let leaf = west.caller("acme");
    let mut forged = self_signed("acme");
    forged.chain.extend(leaf.chain);
    assert_refused(&callers.get(&forged, "/top").await, 401, "credential_invalid");
}

#[tokio::test]
async fn a_key_that_somebody_else_holds_opens_no_connection() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    let stolen = machines.caller("acme").with_a_foreign_key();
    assert!(callers.is_shut_out(callers.showing(&stolen)).await);
    assert!(callers.is_shut_out(callers.showing(&stolen).old()).await);
    // Nor does what is no certificate, or more of them than anybody needs.
    let mut broken = machines.caller("acme");
    broken.chain.push(b"no certificate".to_vec());
    assert!(callers.is_shut_out(callers.showing(&broken)).await);
    let mut many = machines.caller("acme");
    many.chain.extend(std::iter::repeat_n(many.chain[0].clone(), 20));
    assert!(callers.is_shut_out(callers.showing(&many)).await);
    assert!(!callers.is_shut_out(callers.plain.clone()).await, "others come in");
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_certificate_of_one_tenant_opens_nothing_of_another() {
    let house = House::new();
    let partners = Signer::new("Partners CA");
    partners.write(&house.path().join("partners.pem"));
    let sections = "auth:
  machines: { type: mtls, ca: machines.pem, tenant: '{certificate.subject.o}', tenants: [acme] }
  partners: { type: mtls, ca: partners.pem, tenant: '{certificate.subject.o}', tenants: [beta] }
routes:
  /both: { pipe: both, auth: [machines, partners], params: { fixed: { company_id: '{tenant}' } } }
  /ours: { pipe: ours, auth: machines, params: { fixed: { company_id: '{tenant}' } } }
hosts:
  acme.example.com: { tenant: acme }
  beta.example.com: { tenant: beta }
";
    let (gw, callers, machines) = house.gateway(sections);
    let (acme, beta) = (machines.caller("acme"), partners.caller("beta"));
    let ask = async |shown: &Shown, host: &'static str, target: &'static str| {
        Request::get(target).host(host).send(callers.tunnel(shown).await).await
    };
    assert_eq!(ask(&acme, "acme.example.com", "/both").await.status, 200);
    assert_eq!(ask(&beta, "beta.example.com", "/both").await.status, 200);
    assert_eq!(ask(&acme, "acme.example.com", "/ours").await.status, 200);
    let seen: Vec<String> = gw.origin.received().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(
        seen,
        [
            "/v0/pipes/both.json?company_id=acme",
            "/v0/pipes/both.json?company_id=beta",
            "/v0/pipes/ours.json?company_id=acme"
        ]
    );
    assert_refused(&ask(&acme, "beta.example.com", "/both").await, 403, "tenant_mismatch");
    assert_refused(&ask(&beta, "acme.example.com", "/both").await, 403, "tenant_mismatch");
    // Of another authority, even for the same tenant.
    assert_refused(&ask(&partners.caller("acme"), "acme.example.com", "/ours").await, 401, "credential_invalid");
    // Of the right authority, for a tenant that its provider does not speak for.
    assert_refused(&ask(&partners.caller("acme"), "acme.example.com", "/both").await, 403, "tenant_mismatch");
    assert_refused(&ask(&machines.caller("beta"), "beta.example.com", "/both").await, 403, "tenant_mismatch");
    assert_eq!(gw.origin.received_count(), 3);
}

#[tokio::test]
async fn what_stands_twice_names_nobody() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    let organisations: [&[(DnType, &str)]; 6] = [
        &[(DnType::OrganizationName, "acme"), (another_o(), "beta")],
        &[(another_o(), "acme"), (DnType::OrganizationName, "acme")],
        &[(DnType::CommonName, "acme")],
        &[(DnType::OrganizationName, "")],
        &[(DnType::OrganizationName, "acme,beta")],
        &[(DnType::OrganizationName, "acme\0")],
    ];
    for name in organisations {
        let shown = machines.caller_with("", |params| params.distinguished_name = subject(name));
        assert_refused(&callers.get(&shown, "/top").await, 403, "tenant_missing");
    }
    assert_eq!(gw.origin.received_count(), 0);
}

#[tokio::test]
async fn every_part_of_it_can_be_asked() {
    let sections = "auth:
  machines:
    type: mtls
    ca: machines.pem
    tenant: '{certificate.san.dns}'
    scopes: '{certificate.subject.ou}'
routes:
  /top:
    pipe: top
    auth: machines
    require: { scopes: [reports.read, reports.write] }
    params: { fixed: { company_id: '{tenant}', who: '{certificate.subject.cn}', where: '{certificate.subject.l}-{certificate.san.uri}' } }
";
    let (gw, callers, machines) = House::new().gateway(sections);
    let shown = |units: [&str; 2], names: &[SanType]| {
        machines.caller_with("acme", |params| {
            params.distinguished_name = subject(&[
                (DnType::CommonName, "robot"),
                (DnType::LocalityName, "Ulm"),
                (DnType::OrganizationalUnitName, units[0]),
                (another_ou(), units[1]),
            ]);
            params.subject_alt_names = names.to_vec();
        })
    };
    let names = [dns("acme.example"), SanType::URI("spiffe:x".try_into().expect("a URI"))];
    let response = callers.get(&shown(["reports.read", "reports.write"], &names), "/top").await;
    assert_eq!(response.status, 200, "{}", response.body_text());
    let query = gw.origin.only_request().target.clone();
    assert_eq!(query, "/v0/pipes/top.json?company_id=acme.example&where=Ulm-spiffe:x&who=robot");
    assert_eq!(gw.log(1).await[0]["caller"], "spiffe:x");
    assert_refused(&callers.get(&shown(["reports.read", "other"], &names), "/top").await, 403, "forbidden");
    let two = [dns("acme.example"), dns("beta.example"), names[1].clone()];
    assert_refused(&callers.get(&shown(["reports.read", "reports.write"], &two), "/top").await, 403, "tenant_missing");
}

#[tokio::test]
async fn j9_beside_another_credential_it_is_one_too_many() {
    let house = House::new();
    let key = api_key("Kacme0000000", "acme");
    std::fs::write(house.path().join("keys.yaml"), record(&key, ", tenant: acme")).expect("a file");
    let sections = format!(
        "auth:\n{MACHINES}  partners: {{ type: api_key, keys: keys.yaml }}\nroutes:
  /both: {{ pipe: both, auth: [machines, partners], params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}
  /keys: {{ pipe: keys, auth: partners, params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}
"
    );
    let (gw, callers, machines) = house.gateway(&sections);
    let shown = machines.caller("beta");
    let at = callers.tunnel(&shown).await;
    let without = callers.plain.tunnel(gw.addr(), None).await;
    assert_refused(&Request::get("/both").bearer(&key).send(at).await, 400, "bad_request");
    assert_eq!(Request::get("/both").send(at).await.status, 200);
    assert_eq!(Request::get("/both").bearer(&key).send(without).await.status, 200);
    // Where only keys count, the certificate says nothing.
    assert_eq!(Request::get("/keys").bearer(&key).send(at).await.status, 200);
    let refused = Request::get("/keys").send(at).await;
    assert_refused(&refused, 401, "credential_missing");
    assert_eq!(refused.header("www-authenticate").as_deref(), Some("Bearer"));
    let seen: Vec<String> = gw.origin.received().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(
        seen,
        [
            "/v0/pipes/both.json?company_id=beta",
            "/v0/pipes/both.json?company_id=acme",
            "/v0/pipes/keys.json?company_id=acme"
        ]
    );
    let missing = Request::get("/both").send(without).await;
    assert_eq!(missing.header("www-authenticate").as_deref(), Some("Bearer"), "a key would do");
}

#[tokio::test]
async fn a_reload_counts_at_once_for_connections_that_are_open() {
    let (gw, callers, machines) = House::new().gateway("routes: { /top: { pipe: top }, /open: { pipe: open } }\n");
    let shown = machines.caller("acme");
    // Nobody is asked yet, so that nothing is known of this one later.
    let mut before = RawClient::connect(callers.tunnel(&shown).await).await;
    assert_eq!(Request::get("/top").send_on(&mut before).await.status, 200);
    gw.rewrite(&format!("{LISTENERS}{}", sections()));
    assert_eq!(gw.reload().await.status, 200);
    assert_refused(&Request::get("/top").send_on(&mut before).await, 401, "credential_missing");
    let mut kept = RawClient::connect(callers.tunnel(&shown).await).await;
    assert_eq!(Request::get("/top").send_on(&mut kept).await.status, 200);
    // The authority is another one from now on.
    Signer::new("Machines CA").write(&gw.folder().join("machines.pem"));
    assert_eq!(gw.reload().await.status, 200);
    assert_refused(&Request::get("/top").send_on(&mut kept).await, 401, "credential_invalid");
    // Both, while callers get new certificates.
    let both = Signer::new("Machines CA").pem() + &machines.pem();
    std::fs::write(gw.folder().join("machines.pem"), both).expect("a file");
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(Request::get("/top").send_on(&mut kept).await.status, 200);
    gw.rewrite(&format!("{LISTENERS}routes: {{ /top: {{ pipe: top }}, /open: {{ pipe: open }} }}\n"));
    assert_eq!(gw.reload().await.status, 200);
    let caller = callers.showing(&shown.with_a_foreign_key());
    assert!(!callers.is_shut_out(caller).await, "nobody is asked any more");
}

#[tokio::test]
async fn a_session_that_is_resumed_is_of_who_opened_it() {
    let (gw, callers, machines) = House::new().gateway(&sections());
    for caller in [callers.showing(&machines.caller("acme")), callers.showing(&machines.caller("acme")).old()] {
        let caller = caller.resuming();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = caller.connect(gw.addr(), Some("localhost")).await.expect("a handshake");
            let answer = exchange(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
    assert!(gw.origin.received().iter().all(|seen| seen.target.ends_with("?company_id=acme")));
    // And judged as if it were new.
    let caller = callers.showing(&machines.caller("acme")).resuming();
    drop(exchange(&mut caller.connect(gw.addr(), Some("localhost")).await.expect("a handshake")).await);
    Signer::new("Machines CA").write(&gw.folder().join("machines.pem"));
    assert_eq!(gw.reload().await.status, 200);
    let mut stream = caller.connect(gw.addr(), Some("localhost")).await.expect("a handshake");
    let answer = exchange(&mut stream).await;
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

/// One request on a connection, which its answer ends; a ticket has come by then.
async fn exchange(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /top HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("a request");
    let mut answer = Vec::new();
    // What ends it may be the end of TLS, or of TCP.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_certificate_is_taken_back_by_its_number_or_its_fingerprint() {
    let house = House::new();
    let (lost, kept) = (
        house.machines.caller_with("acme", |params| params.serial_number = serial(&[0, 0xaf, 1])),
        house.machines.caller("acme"),
    );
    let west = house.machines.below("West");
    std::fs::write(house.path().join("revoked.yaml"), "").expect("a file");
    let provider = MACHINES.replace(" }\n", ", revoked: revoked.yaml }\n");
    let (gw, callers, _) = house.gateway(&format!("auth:\n{provider}{ROUTES}"));
    let below = west.caller("acme");
    let mut client = RawClient::connect(callers.tunnel(&lost).await).await;
    assert_eq!(Request::get("/top").send_on(&mut client).await.status, 200);
    assert_eq!(callers.get(&below, "/top").await.status, 200);
    let digest = ring::digest::digest(&ring::digest::SHA256, &below.chain[1]);
    let sha256: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let lines = format!("- {{ serial: 'AF:01', note: stolen }}\n- {{ sha256: '{}' }}\n", sha256.join(":"));
    std::fs::write(gw.folder().join("revoked.yaml"), lines).expect("a file");
    assert_eq!(gw.reload().await.status, 200);
    assert_refused(&Request::get("/top").send_on(&mut client).await, 401, "credential_invalid");
    assert!(fault(&gw, 3).await.contains("list of revoked"));
    assert_refused(&callers.get(&below, "/top").await, 401, "credential_invalid");
    assert_eq!(callers.get(&kept, "/top").await.status, 200);
}

#[tokio::test]
async fn a_listener_can_leave_the_asking_out() {
    let house = House::new();
    let listeners = "listeners: [{ address: 127.0.0.1:0, tls: true, client_certificates: false }, { address: 127.0.0.1:0, tls: true }]\ntls: { default: { cert: server.pem, key: server.key } }\n";
    let caller = TlsCaller::trusting(house.server.der()).showing(house.machines.caller("acme"));
    let gw = TestGateway::from_folder(house.folder, &format!("{listeners}{}", sections()), Clock::system());
    let [quiet, asking] = [gw.app().addresses()[0], gw.app().addresses()[1]];
    let at = caller.tunnel(quiet, None).await;
    assert_refused(&Request::get("/top").send(at).await, 401, "credential_missing");
    let at = caller.tunnel(asking, None).await;
    assert_eq!(Request::get("/top").send(at).await.status, 200);
}

#[tokio::test]
async fn limits_count_callers_by_their_certificates() {
    let sections = format!(
        "auth:\n{MACHINES}limits: {{ each: {{ by: caller, rate: 1/h }} }}\nroutes:
  /top: {{ pipe: top, auth: machines, limits: [each], params: {{ fixed: {{ company_id: '{{tenant}}' }} }} }}\n"
    );
    let (_gw, callers, machines) = House::new().gateway_on(&sections, TestClock::new().clock());
    let named = |name: &'static str| {
        machines.caller_with("acme", |params| {
            params.distinguished_name = subject(&[(DnType::OrganizationName, "acme"), (DnType::CommonName, name)]);
        })
    };
    let (first, second) = (named("one"), named("two"));
    assert_eq!(callers.get(&first, "/top").await.status, 200);
    assert_refused(&callers.get(&first, "/top").await, 429, "rate_limited");
    assert_eq!(callers.get(&second, "/top").await.status, 200);
}

#[tokio::test]
async fn who_sends_many_forged_ones_waits_and_known_ones_pass() {
    let (_gw, callers, machines) = House::new().gateway_on(&sections(), TestClock::new().clock());
    let (good, fresh) = (machines.caller("acme"), machines.caller("acme"));
    assert_eq!(callers.get(&good, "/top").await.status, 200);
    let forged = Signer::new("Machines CA").caller("acme");
    let mut client = RawClient::connect(callers.tunnel(&forged).await).await;
    for _ in 0..100 {
        assert_refused(&Request::get("/top").send_on(&mut client).await, 401, "credential_invalid");
    }
    assert_refused(&Request::get("/top").send_on(&mut client).await, 429, "rate_limited");
    assert_eq!(callers.get(&good, "/top").await.status, 200, "it was verified before");
    assert_refused(&callers.get(&fresh, "/top").await, 429, "rate_limited");
}

#[tokio::test]
async fn a_preflight_needs_no_certificate() {
    let sections = format!("cors: {{ origins: ['https://app.example.com'] }}\n{}", sections());
    let (gw, callers, _) = House::new().gateway(&sections);
    let at = callers.plain.tunnel(gw.addr(), None).await;
    let preflight = Request::preflight("/top", "https://app.example.com", "GET").send(at).await;
    assert_eq!(preflight.status, 204);
}

#[tokio::test]
async fn the_running_gateway_explains_what_a_certificate_opens() {
    let (gw, _, machines) = House::new().gateway(&sections());
    machines.caller("acme").write(&gw.folder(), "caller");
    let pem = std::fs::read_to_string(gw.folder().join("caller.pem")).expect("a file");
    let ask = async |url: &'static str, pem: Option<&str>| {
        let asked = serde_json::json!({ "method": "GET", "url": url, "certificate": pem });
        let request = Request::post("/routes/test").bearer(&gw.admin_token()).json(asked.to_string());
        request.send(gw.admin()).await
    };
    let told: Value = ask("/top", Some(&pem)).await.json();
    assert_eq!(told.pointer("/explanation/verdict/outcome"), Some(&Value::from("upstream")), "{told}");
    assert_eq!(told.pointer("/explanation/callers/of/caller/kind"), Some(&Value::from("mtls")), "{told}");
    assert_eq!(told.pointer("/explanation/callers/of/caller/tenant"), Some(&Value::from("acme")), "{told}");
    let told: Value = ask("/top", None).await.json();
    let why = told.pointer("/explanation/callers/of/why_not").and_then(Value::as_str);
    assert_eq!(why, Some("there is no client certificate"), "{told}");
    for (url, pem) in [("http://localhost/top", &*pem), ("/top", "nothing")] {
        assert_eq!(ask(url, Some(pem)).await.status, 400, "{url}");
    }
}

#[tokio::test]
async fn curl_shows_its_certificate() {
    let (gw, _, machines) = House::new().gateway(&sections());
    machines.caller("acme").write(&gw.folder(), "caller");
    let url = format!("https://localhost:{}/top", gw.addr().port());
    let curl = async |more: &[&str]| {
        let mut call = tokio::process::Command::new("curl");
        // Whose the gateway's own certificate is has no part in this.
        call.current_dir(gw.folder()).args(["-sSk", "-o", "/dev/null", "-w", "%{http_code}"]);
        let output = call.args(more).arg(&url).output().await.expect("curl is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(curl(&["--cert", "caller.pem", "--key", "caller.key"]).await, "200");
    assert_eq!(curl(&[]).await, "401");
}

#[tokio::test]
async fn an_authority_that_is_over_is_not_taken_over() {
    let house = House::new();
    let (gw, callers, machines) = house.gateway_on(&sections(), TestClock::new().clock());
    Signer::with("Old CA", |params| params.not_after = date_time_ymd(2020, 1, 1))
        .write(&gw.folder().join("machines.pem"));
    let told = gw.reload().await;
    assert!(told.status >= 400, "{}", told.body_text());
    assert!(told.body_text().contains("is over: it is `CN=Old CA`"), "{}", told.body_text());
    assert_eq!(callers.get(&machines.caller("acme"), "/top").await.status, 200, "the one before stays");
}

#[tokio::test]
async fn the_document_of_a_host_says_that_a_certificate_opens_a_route() {
    let sections = format!("white_label: {{ openapi: /openapi.json, openapi_auth: public }}\n{}", sections());
    let (_gw, callers, _) = House::new().gateway(&sections);
    let document = callers.get_without("/openapi.json").await.json();
    let operation = |path: &str| document["paths"][path]["get"].clone();
    assert!(operation("/top")["description"].as_str().is_some_and(|text| text.contains("client certificate")));
    assert!(!operation("/open").to_string().contains("certificate"));
    assert_eq!(document["components"]["securitySchemes"], serde_json::json!({}), "OpenAPI 3.0 has no word for it");
}
