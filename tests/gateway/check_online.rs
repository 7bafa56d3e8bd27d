//! `check --online` against upstreams of our own: each thing that can be wrong, and its place in the file.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::date_time_ymd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tollgate::app::probe::{Grade, Probed, Trial, probe};
use tollgate::clock::{Clock, TestClock};
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::demo::{Demo, DemoOptions};

use crate::support::caller_certificate::Signer;
use crate::support::identity_provider::{IdentityProvider, Lie};
use crate::support::origin::{Answer, MockOrigin};
use crate::support::tls_origin::{Authority, TlsOrigin};
use crate::support::unreachable::RefusedPort;

const TOKEN: &str = "p.token-of-the-workspace";

/// What probing a file finds: `TG0304 at 2:3: title`.
async fn issues(text: &str) -> Vec<String> {
    found(&probed(text, &Clock::system()).await)
}

fn found(probed: &Probed) -> Vec<String> {
    let shown = probed.issues.to_string();
    assert!(!shown.contains(TOKEN), "{shown}");
    for finding in &probed.findings {
        assert!(!finding.words.contains(TOKEN) && !finding.words.contains('\n'), "{finding:?}");
    }
    let each = probed.issues.iter().map(|issue| {
        let (line, column) = issue.place.as_ref().expect("every problem has a place").line_and_column();
        assert!(issue.help.as_ref().is_some_and(|help| !help.is_empty()), "{issue:?}");
        format!("{} at {line}:{column}: {}", issue.code, issue.title)
    });
    each.collect()
}

async fn probed(text: &str, clock: &Clock) -> Probed {
    let environment = Environment::of([("TOKEN", TOKEN)]);
    let loaded = match load_text("main.yaml", text, ".".into(), &environment) {
        Ok(loaded) => loaded,
        Err(issues) => panic!("{issues}"),
    };
    probe(&loaded, clock).await
}

/// A file with one upstream, at 2:3, and these routes, from line 5.
fn file(upstream: &str, routes: &str) -> String {
    format!(
        "upstreams:\n  t: {{ {upstream} }}\nadmin: {{ address: '127.0.0.1:0' }}\nlisteners: [{{ address: '127.0.0.1:0' }}]\nroutes:\n{routes}"
    )
}

const PROXY: &str = "  /p/*: { proxy: '/{path.rest}' }\n";

async fn demo() -> Demo {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = DemoOptions { address, token: TOKEN.to_owned(), clock: Clock::system() };
    Demo::start(options).await.expect("the demo upstream starts")
}

/// Answers every connection with these bytes, and holds it open.
async fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            drop(stream.write_all(answer.as_bytes()).await);
            held.push(stream);
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn an_upstream_that_works_has_no_issues() {
    let demo = demo().await;
    let text = file(
        &format!("url: 'http://{}', token: '${{TOKEN}}'", demo.address()),
        "  /kpis: { pipe: kpis }\n  /trend: { pipe: trend, formats: [json, csv] }\n",
    );
    let probed = probed(&text, &Clock::system()).await;
    assert_eq!(found(&probed), [""; 0]);
    let words: Vec<String> = probed.findings.iter().map(|one| format!("{}: {}", one.subject, one.words)).collect();
    assert_eq!(
        words,
        [
            format!("upstream t: {} takes connections", demo.address()),
            "upstream t: the credential reads 12 pipes".to_owned(),
            "upstream t: 2 pipes of the routes can be read".to_owned(),
            "listener 127.0.0.1:0: takes a free port".to_owned(),
            "admin 127.0.0.1:0: takes a free port".to_owned(),
            "state: ./data can be written: an admin token will be made there".to_owned(),
        ]
    );
    assert!(probed.findings.iter().all(|one| one.grade == Grade::Ok));
    demo.stop();
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_port_that_refuses() {
    let unknown = issues(&file("url: 'http://nothing.invalid'", PROXY)).await;
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(
        unknown[0].starts_with("TG0301 at 2:3: the host `nothing.invalid` of `t` cannot be resolved: "),
        "{unknown:?}"
    );
    let refused = RefusedPort::reserve();
    assert_eq!(
        issues(&file(&format!("url: '{}'", refused.url()), PROXY)).await,
        [format!("TG0302 at 2:3: `t` takes no connection on port {}: connection refused", refused.addr().port())]
    );
}

#[tokio::test]
async fn each_backend_is_tried_and_asked_whether_it_is_well() {
    let (well, refused) = (MockOrigin::start(), RefusedPort::reserve());
    let text = |health: &str| {
        file(&format!("urls: ['{}', '{}'], health: {{ path: {health} }}", well.url(), refused.url()), PROXY)
    };
    well.on_path("/ill", Answer::status(404));
    let column = 15 + well.url().len() + 4;
    let dead = format!(
        "TG0302 at 2:{column}: `t at {}` takes no connection on port {}: connection refused",
        refused.addr(),
        refused.addr().port()
    );
    let fine = probed(&text("/ping"), &Clock::system()).await;
    assert_eq!(found(&fine), std::slice::from_ref(&dead));
    let subject = format!("upstream t at {}", well.addr());
    let words = fine.findings.iter().filter(|finding| finding.subject == subject);
    assert_eq!(
        words.map(|finding| finding.words.as_str()).collect::<Vec<_>>(),
        [format!("{} takes connections", well.addr()).as_str(), "answers 200 to GET /", "is well by GET /ping"]
    );
    let ill = issues(&text("/ill")).await;
    let fails = format!("`t at {}` fails its health check: it answers 404 to GET /ill", well.addr());
    assert_eq!(ill, [format!("TG0307 at 2:15: {fails}"), dead]);
}

#[tokio::test]
async fn a_token_that_is_refused_or_missing() {
    let demo = demo().await;
    let url = format!("http://{}", demo.address());
    for (token, title) in [
        (", token: p.another", "refuses the credential: it answers 403 to GET /v0/pipes/openapi.json"),
        ("", "wants a credential: it answers 403 to GET /v0/pipes/openapi.json"),
    ] {
        let text = file(&format!("url: '{url}'{token}"), "  /kpis: { pipe: kpis }\n");
        assert_eq!(issues(&text).await, [format!("TG0304 at 2:3: `t` {title}")]);
    }
    demo.stop();
}

#[tokio::test]
async fn pipes_that_the_token_cannot_read_are_named_where_they_stand() {
    let demo = demo().await;
    let text = file(
        &format!("url: 'http://{}', token: '${{TOKEN}}'", demo.address()),
        "  /kpis: { pipe: kpsi }\n  /any/{name}: { pipe: '{path.name}' }\n  /id: { pipe: t_00000000000000000000000000000000 }\n  /x: { pipe: nothing-like-it }\n",
    );
    let probed = probed(&text, &Clock::system()).await;
    assert_eq!(
        found(&probed),
        [
            "TG0305 at 6:18: `t` shows the credential no pipe `kpsi`",
            "TG0305 at 9:15: `t` shows the credential no pipe `nothing-like-it`",
        ]
    );
    let helps: Vec<&str> = probed.issues.iter().filter_map(|issue| issue.help.as_deref()).collect();
    assert_eq!(helps[0], "did you mean `kpis`?");
    assert!(helps[1].contains("PIPES:READ") && helps[1].contains("and 4 more"), "{helps:?}");
    let notes: Vec<_> = probed.findings.iter().filter(|one| one.grade == Grade::Note).collect();
    assert_eq!(notes.len(), 2, "what cannot be known is said: {notes:?}");
    demo.stop();
}

#[tokio::test]
async fn asking_runs_no_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let text = file(
        &format!("url: 'http://{}/base', headers: {{ X-Key: '${{TOKEN}}' }}", listener.local_addr().expect("bound")),
        "  /kpis: { pipe: kpis }\n",
    );
    let seen = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.expect("a head");
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.expect("it reads");
        String::from_utf8(head).expect("text").to_lowercase()
    };
    let (found, seen) = tokio::join!(issues(&text), seen);
    assert!(seen.starts_with("get /base/v0/pipes/openapi.json http/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("x-key: {TOKEN}\r\n")), "the credential may be in a header: {seen}");
    assert!(tokio::time::timeout(Duration::ZERO, listener.accept()).await.is_err(), "one request, no more");
    assert_eq!(
        found,
        ["TG0308 at 2:3: `t` does not say which pipes it has: it answers 404 to GET /v0/pipes/openapi.json"]
    );
}

#[tokio::test]
async fn answers_that_are_of_no_use() {
    let pipe = "  /kpis: { pipe: kpis }\n";
    for (answer, routes, wanted) in [
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", pipe, "TG0307"),
        ("HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", pipe, "TG0307"),
        ("220 smtp ready\r\n", pipe, "TG0307"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", pipe, "TG0308"),
        ("HTTP/1.1 502 Oops\r\nContent-Length: 0\r\n\r\n", PROXY, "TG0307"),
        ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", PROXY, "TG0304"),
    ] {
        let url = server(answer).await;
        let found = issues(&file(&format!("url: '{url}'"), routes)).await;
        assert_eq!(found.len(), 1, "{answer}: {found:?}");
        assert!(found[0].starts_with(&format!("{wanted} at 2:3: ")), "{answer}: {found:?}");
    }
}

#[tokio::test]
async fn any_answer_will_do_for_an_api_that_is_only_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        // More than is read of an answer that nobody wants.
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nrows",
    ] {
        let url = server(answer).await;
        let probed = probed(&file(&format!("url: '{url}'"), PROXY), &Clock::system()).await;
        assert_eq!(found(&probed), [""; 0], "{answer}");
    }
}

#[tokio::test]
async fn upstreams_are_tried_side_by_side_and_end_in_time() {
    let (first, second) = (
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    );
    let text = format!(
        "upstreams:\n  a: {{ url: 'http://{}' }}\n  b: {{ url: 'http://{}' }}\nroutes:\n  /a: {{ proxy: /a, upstream: a }}\n  /b: {{ proxy: /b, upstream: b }}\n",
        first.local_addr().expect("bound"),
        second.local_addr().expect("bound")
    );
    let clock = TestClock::new();
    let silent = async {
        // Both have sent their request before any time has passed, and get no answer.
        let mut held = Vec::new();
        for listener in [&first, &second] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.expect("a head");
            }
            held.push(stream);
        }
        clock.advance(Duration::from_secs(10));
        std::future::pending::<()>().await;
    };
    let trial = clock.clock();
    let probed = tokio::select! {
        probed = probed(&text, &trial) => probed,
        () = silent => unreachable!("it never ends"),
    };
    let found = found(&probed);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "TG0307 at 2:3: `a` does not answer GET /: nothing came within 10s");
    assert!(found[1].starts_with("TG0307 at 3:3: `b` "), "{found:?}");
}

/// The clock of these tests stands at 2026-09-21.
#[tokio::test]
async fn certificates_are_verified_and_their_days_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let authority = Authority::new();
    authority.write(&ca);
    let clock = TestClock::new().clock();
    let tried = |url: String, ca: Option<&Path>| {
        let tls = ca.map(|ca| format!(", tls: {{ ca: '{}' }}", ca.display())).unwrap_or_default();
        let text = file(&format!("url: '{url}'{tls}"), PROXY);
        let clock = clock.clone();
        async move { probed(&text, &clock).await }
    };

    let good = tried(authority.origin_until("localhost", (2026, 12, 31)).await.url("localhost"), Some(&ca)).await;
    assert_eq!(found(&good), [""; 0]);
    let tls = good.findings.iter().find(|one| one.trial == Trial::Tls).expect("TLS was tried");
    assert_eq!(tls.words, "the certificate of `localhost` ends in 100 days, on 2026-12-31");

    let soon = tried(authority.origin_until("localhost", (2026, 10, 1)).await.url("localhost"), Some(&ca)).await;
    assert_eq!(found(&soon), ["TG0306 at 2:3: the certificate of `localhost` ends in 9 days, on 2026-10-01"]);
    assert!(!soon.issues.has_errors(), "it still works");

    let expired = tried(authority.origin_until("localhost", (2026, 9, 1)).await.url("localhost"), Some(&ca)).await;
    assert_eq!(found(&expired), ["TG0303 at 2:3: no TLS with `t`: its certificate expired on 2026-09-01"]);

    let wrong_name = authority.origin("other.example.com").await;
    let other = tried(wrong_name.url("localhost"), Some(&ca)).await;
    assert_eq!(found(&other), ["TG0303 at 2:3: no TLS with `t`: its certificate is for another host name"]);

    let itself = tried(TlsOrigin::self_signed("localhost").await.url("localhost"), Some(&ca)).await;
    assert_eq!(
        found(&itself),
        ["TG0303 at 2:3: no TLS with `t`: its certificate is not signed by an authority that is trusted here"]
    );
    assert_eq!(wrong_name.requests(), 0, "no credential travels where the certificate is not right");
}

/// Answers everything so, as long as the test runs.
async fn always(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/ok?app=1", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let head = String::from_utf8_lossy(&head).into_owned();
            assert!(head.starts_with("GET /ok?app=1&domain=nobody-") && head.contains(".customers.example "), "{head}");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    url
}

#[tokio::test]
async fn whom_certificates_depend_on_is_asked_and_nothing_is_ordered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, ca) = (Authority::new(), folder.path().join("ca.pem"));
    authority.write(&ca);
    // It answers, and is no authority.
    let other = authority.origin("localhost").await;
    let tried = async |directory: &str, ask: &str| {
        let text = format!(
            "upstreams: {{ t: {{ url: 'http://127.0.0.1:9' }} }}\nadmin: {{ address: '127.0.0.1:0', token: x }}\nlisteners: [{{ address: '127.0.0.1:0' }}, {{ address: '127.0.0.1:0', tls: true }}]\nhosts: {{ '*.customers.example': {{ tls: on_demand }} }}\ntls:\n  acme: {{ directory: '{directory}', ca: '{}' }}\n  on_demand: {{ ask: '{ask}' }}\nroutes: {{ /p: {{ proxy: /p }} }}\n",
            ca.display()
        );
        let probed = probed(&text, &Clock::system()).await;
        let notes = probed.findings.iter().filter(|one| one.grade == Grade::Ok && one.trial == Trial::Answer);
        let notes: Vec<String> = notes.map(|one| format!("{}: {}", one.subject, one.words)).collect();
        (found(&probed).into_iter().filter(|issue| issue.starts_with("TG0315")).collect::<Vec<_>>(), notes)
    };
    let no = always("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let (issues, notes) = tried(&other.url("localhost"), &no).await;
    assert_eq!(notes, ["tls.on_demand.ask: says no to a name that is nobody's (404)"]);
    assert_eq!(issues.len(), 1, "{issues:?}");
    assert!(issues[0].starts_with("TG0315 at 6:9: the authority does not answer: https://localhost:"), "{issues:?}");
    assert!(issues[0].ends_with(" answers 200, and not as a directory of ACME"), "{issues:?}");

    let yes = always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (issues, notes) = tried("https://127.0.0.1:9/dir", &yes).await;
    assert_eq!(notes, [""; 0]);
    assert!(issues[0].contains("https://127.0.0.1:9/dir: no connection: "), "{issues:?}");
    assert!(issues[1].starts_with("TG0315 at 7:21: ") && issues[1].contains(" approves of `nobody-"), "{issues:?}");

    let (issues, _) = tried("https://127.0.0.1:9/dir", "http://127.0.0.1:9/").await;
    assert!(issues[1].contains("cannot be asked: no connection"), "{issues:?}");
}

#[tokio::test]
async fn a_program_that_sets_records_must_be_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let tried = async |hook: &str| {
        let text = format!(
            "upstreams:\n  t: {{ url: 'http://127.0.0.1:9' }}\nadmin: {{ address: '127.0.0.1:0', token: x }}\nlisteners: [{{ address: '127.0.0.1:0' }}, {{ address: '127.0.0.1:0', tls: true }}]\nhosts: {{ '*.example.com': {{ tls: auto }} }}\ntls: {{ acme: {{ dns_hook: {hook}, directory: 'https://127.0.0.1:9/' }} }}\nroutes: {{ /p: {{ proxy: /p }} }}\n"
        );
        let loaded = load_text("main.yaml", &text, folder.path().into(), &Environment::of([])).expect("a good file");
        let probed = probe(&loaded, &Clock::system()).await;
        found(&probed).into_iter().find(|issue| issue.contains("cannot be started"))
    };
    let file = folder.path().join("record");
    assert!(
        tried("./record")
            .await
            .is_some_and(|issue| issue.starts_with("TG0001 at 6:26: ") && issue.contains("No such file"))
    );
    std::fs::write(&file, "#!/bin/sh\n").expect("a file");
    assert!(tried("./record --zone a").await.is_some_and(|issue| issue.contains("is it executable?")));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("rights");
    assert_eq!(tried("./record --zone a").await, None, "beside the file that names it");
    assert_eq!(tried("record").await, None, "it is looked for when it is started");
}

/// On the same clock.
#[tokio::test]
async fn days_of_the_authorities_of_callers_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("machines.pem");
    let of = |name: &str, from: (i32, u8, u8), to: (i32, u8, u8)| {
        let [from, to] = [from, to].map(|(year, month, day)| date_time_ymd(year, month, day));
        Signer::with(name, |params| (params.not_before, params.not_after) = (from, to)).pem()
    };
    let tried = async |authorities: &[String]| {
        std::fs::write(&ca, authorities.concat()).expect("a file");
        let text = format!(
            "upstreams:\n  t: {{ url: 'http://127.0.0.1:9' }}\nadmin: {{ address: '127.0.0.1:0', token: x }}\nlisteners: [{{ address: '127.0.0.1:0', tls: true }}]\nauth:\n  machines: {{ type: mtls, ca: '{}' }}\ntls: {{ default: internal }}\nroutes: {{ /p: {{ proxy: /p, auth: machines }} }}\n",
            ca.display()
        );
        let probed = probed(&text, &TestClock::new().clock()).await;
        let issues: Vec<String> = found(&probed).into_iter().filter(|issue| issue.contains("authority")).collect();
        let notes = probed.findings.iter().filter(|one| one.subject.starts_with("authority"));
        (issues, notes.map(|one| format!("{}: {}", one.subject, one.words)).collect::<Vec<_>>())
    };

    let good = of("Good CA", (2020, 1, 1), (2026, 12, 31));
    let (issues, notes) = tried(std::slice::from_ref(&good)).await;
    assert_eq!(
        (issues.as_slice(), notes.as_slice()),
        (&[][..], &["authority CN=Good CA: is valid for 100 days".to_owned()][..])
    );

    let file = ca.display();
    let (issues, _) = tried(&[
        good,
        of("Last CA", (2020, 1, 1), (2026, 10, 1)),
        of("Old CA", (2020, 1, 1), (2026, 9, 1)),
        of("Next CA", (2027, 1, 1), (2030, 1, 1)),
    ])
    .await;
    assert_eq!(
        issues,
        [
            format!(
                "TG0313 at 6:31: the authority in `{file}` is over: it is `CN=Old CA`, valid from Wed, 01 Jan 2020 00:00:00 GMT to Tue, 01 Sep 2026 00:00:00 GMT"
            ),
            format!(
                "TG0313 at 6:31: the authority in `{file}` is not valid yet: it is `CN=Next CA`, valid from Fri, 01 Jan 2027 00:00:00 GMT to Tue, 01 Jan 2030 00:00:00 GMT"
            ),
            "TG0314 at 6:31: the authority `CN=Last CA` ends in 9 days, and all that it signed".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_one_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    Authority::new().write(&ca);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    // What a plain server says to a handshake.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let text = file(&format!("url: 'https://localhost:{port}', tls: {{ ca: '{}' }}", ca.display()), PROXY);
    let found = issues(&text).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("TG0303 at 2:3: no TLS with `t`: "), "{found:?}");
}

#[tokio::test]
async fn addresses_and_the_access_log_are_tried_and_left_as_they_were() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = (taken.local_addr().expect("bound"), taken);
    let refused = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let text = |listener: &str, log: &Path| {
        format!(
            "upstreams: {{ t: {{ url: '{refused}' }} }}\nadmin: {{ address: '{}' }}\nlisteners: [{{ address: '{listener}' }}]\nlog: {{ access: '{}' }}\nroutes:\n{PROXY}",
            taken.0,
            log.display()
        )
    };
    let good = probed(&text("127.0.0.1:0", &log), &Clock::system()).await;
    assert_eq!(found(&good), [""; 0], "a running gateway holds its addresses");
    let admin = good.findings.iter().find(|one| one.subject.starts_with("admin ")).expect("it was tried");
    assert_eq!(admin.grade, Grade::Note, "{admin:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
    std::fs::write(&log, "kept\n").expect("a log");
    assert_eq!(found(&probed(&text("127.0.0.1:0", &log), &Clock::system()).await), [""; 0]);
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), "kept\n");

    // 203.0.113.0/24 is kept for documentation: no machine has it.
    let bad = issues(&text("203.0.113.7:8080", &folder.path().join("no/such/folder/access.log"))).await;
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].starts_with("TG0309 at 3:24: `203.0.113.7:8080` cannot be listened on: "), "{bad:?}");
    assert!(bad[1].starts_with("TG0310 at 4:16: the access log "), "{bad:?}");
}

#[tokio::test]
async fn the_folder_of_the_admin_token_is_tried_and_left_as_it_was() {
    use std::os::unix::fs::PermissionsExt as _;

    let upstream = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("made/at/start");
    let text = |dir: &Path, token: &str| {
        format!(
            "upstreams: {{ t: {{ url: '{upstream}' }} }}\nstate: {{ dir: '{}' }}\nadmin: {{ address: '127.0.0.1:0'{token} }}\nroutes:\n{PROXY}",
            dir.display()
        )
    };
    assert_eq!(issues(&text(&dir, "")).await, [""; 0]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");

    // Root may write everywhere, but not below a file.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = issues(&text(&file.join("data"), "")).await;
    assert_eq!(below.len(), 1, "{below:?}");
    assert!(below[0].starts_with("TG0311 at 2:15: "), "{below:?}");
    assert_eq!(
        issues(&text(&file.join("data"), ", token: p.a-token-that-is-written")).await,
        [""; 0],
        "nobody needs it"
    );

    std::fs::create_dir_all(&dir).expect("a folder");
    let token = dir.join("admin.token");
    std::fs::write(&token, TOKEN).expect("a token");
    for (mode, fine) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let found = issues(&text(&dir, "")).await;
        let told = ["others may read or change the admin token", "everybody may use it"];
        let is_told = found.iter().any(|one| told.iter().any(|words| one.contains(words)));
        assert_eq!((is_told, found.is_empty()), (!fine, fine), "{mode:o}: {found:?}");
    }
    std::fs::write(&token, "\n").expect("no token");
    let found = issues(&text(&dir, "")).await;
    assert!(found.len() == 1 && found[0].contains("cannot be used: "), "{found:?}");
}

#[tokio::test]
async fn keys_of_a_provider_are_fetched() {
    let provider = IdentityProvider::start();
    provider.rotate(["rs-1"]);
    let origin = demo().await;
    let file = |jwks: &str| {
        format!(
            "upstreams: {{ tb: {{ url: 'http://{}', token: \"${{TOKEN}}\" }} }}\nauth:\n  staff: {{ type: jwt, issuer: 'https://id.example.com/', audience: any, jwks: '{jwks}' }}\nroutes:\n  /kpis: {{ pipe: kpis, auth: staff }}\n",
            origin.address()
        )
    };
    let good = probed(&file(&provider.jwks_url()), &Clock::system()).await;
    let keys: Vec<_> = good.findings.iter().filter(|finding| finding.trial == Trial::Keys).collect();
    assert_eq!((keys.len(), keys[0].grade), (1, Grade::Ok), "{keys:?}");
    assert!(keys[0].words.starts_with("1 public key of http"), "{keys:?}");
    provider.lie(Lie::Html);
    let bad = issues(&file(&provider.jwks_url())).await;
    assert!(bad.iter().any(|issue| issue.starts_with("TG0312 at 3:")), "{bad:?}");
    origin.stop();
}
