//! What an operator is told of a Postgres that does not do what it should; and never its password.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tollgate::clock::Clock;

use crate::support::ledger::{end, gateway, key, place, requests, used};
use crate::support::ports::free_port;
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::said;
use crate::support::slow::Way;

/// A configuration whose ledger is there, and what a command says of it.
fn tollgate(folder: &Path, store: &str, arguments: &[&str]) -> Output {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ a: {{ url: 'http://127.0.0.1:{}' }} }}
default_auth: public
routes: {{ /a: {{ proxy: / }} }}
state: {{ store: \"{store}\" }}
",
        free_port()
    );
    fs::write(folder.join("t.yaml"), text).expect("a configuration");
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(arguments)
        .args(["-c", "t.yaml"])
        .current_dir(folder)
        .env("SSL_CERT_FILE", folder.join("ca.pem"))
        .env_remove("PGPASSWORD")
        .output()
        .expect("the program starts")
}

fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

/// What a gateway logs that writes there; then it has ended.
async fn logged(store: &str, folder: &Path) -> String {
    said::listen();
    let place = place(store, folder);
    let usage = gateway(&place, Clock::system());
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(1));
    usage.flush().await;
    assert_eq!(usage.standing().is_written, Some(false));
    end(usage).await;
    let lines = said::of(&place.to_string());
    lines.last().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_postgres_that_refuses_says_why_and_what_to_do() {
    let server = Postgres::start();
    for statement in [
        "CREATE USER guest PASSWORD 'guest'",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
        "CREATE DATABASE newer",
        "CREATE DATABASE reading",
        "ALTER DATABASE reading SET default_transaction_read_only = on",
        "CREATE DATABASE closed",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ] {
        server.sql_in("postgres", statement);
    }
    server.sql_in("closed", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    server.sql_in(
        "newer",
        "CREATE TABLE tollgate_usage_notes (name text, text text); INSERT INTO tollgate_usage_notes VALUES ('version', '2')",
    );
    let port = server.port;
    let url = |login: &str, database: &str| format!("postgres://{login}@127.0.0.1:{port}/{database}");
    let own = format!("tollgate:{PASSWORD}");
    let troubles = [
        (url("tollgate:wrong", "tollgate"), "it does not accept the user or the password in `state.store`"),
        (url(&format!("{PASSWORD}:x"), "tollgate"), "it does not accept the user or the password in `state.store`"),
        (url("tollgate", "tollgate"), "it wants a password: write postgres://USER:PASSWORD@HOST/DATABASE"),
        (url(&own, "nowhere"), "it has no such database (database \"nowhere\" does not exist): make it with CREATE"),
        (url(&own, "latin"), "it keeps its texts in LATIN1: make a database for the ledger with ENCODING 'UTF8'"),
        (url(&own, "newer"), "it was written by a newer gateway"),
        (url(&own, "reading"), "it is a replica, or only for reading, and takes no writes: `state.store` must lead to"),
        (
            url("guest:guest", "closed"),
            "it has no tables for the ledger yet, and this user may not make them (permission denied for schema public): \
             GRANT CREATE ON SCHEMA to the user",
        ),
        (
            format!("{}?sslmode=require", url(&own, "tollgate")),
            "it does not speak TLS: switch it on there (`ssl = on`), or write `?sslmode=disable` if every machine",
        ),
        (
            format!("postgres://{own}@127.0.0.1:{}/d", free_port()),
            "it cannot be reached: no connection: connection refused",
        ),
    ];
    for (store, why) in troubles {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let line = logged(&store, folder.path()).await;
        assert!(line.contains(why), "{store}: {why} is not in\n{line}");
        assert!(!line.contains(PASSWORD) && line.contains("usage-waiting and written later"), "{line}");
    }
}

#[tokio::test]
async fn check_online_finds_it_before_a_gateway_does_and_changes_nothing() {
    let server = Postgres::start();
    server.sql("CREATE USER guest PASSWORD 'guest'");
    server.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let folder = tempfile::tempdir().expect("a folder for the test");
    let guest = format!("postgres://guest:guest@127.0.0.1:{}/tollgate", server.port);
    let check = |store: &str| said(&tollgate(folder.path(), store, &["check", "--online"]));
    let text = check(&server.url());
    let ledger = format!("ledger postgres://127.0.0.1:{}/tollgate", server.port);
    assert!(text.contains(&ledger) && text.contains("answers, and lets the gateway make its tables"), "{text}");
    let text = check(&guest);
    assert!(
        text.contains("error[TG0316]: the ledger cannot be written: it has no tables for the ledger yet, and"),
        "{text}"
    );
    assert_eq!(server.sql("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'tollgate%'"), "0");

    let usage = gateway(&place(&server.url(), folder.path()), Clock::system());
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(1));
    end(usage).await;
    assert!(check(&server.url()).contains("answers, and lets the gateway write its tables"));
    let text = check(&guest);
    assert!(text.contains("permission denied for table tollgate_usage_notes"), "{text}");
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest");
    let text = check(&guest);
    assert!(
        text.contains("it does not let this user read and write its tables: let the user that made them"),
        "{text}"
    );
    server.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest");
    assert!(check(&guest).contains("answers, and lets the gateway write its tables"));
    let text = check(&server.url().replace(PASSWORD, "wrong"));
    assert!(text.contains("error[TG0316]: the ledger cannot be written: it does not accept the user"), "{text}");
}

#[tokio::test]
async fn the_command_asks_the_ledger_of_all_gateways() {
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let usage = |store: &str, more: &[&str]| {
        tollgate(folder.path(), store, &[&["usage", "--since", "1970-01-01"], more].concat())
    };
    let output = usage(&server.url(), &[]);
    let none =
        format!("there is no ledger at postgres://127.0.0.1:{}/tollgate: it is made with the first", server.port);
    assert!(said(&output).contains(&none) && output.status.code() == Some(2), "{}", said(&output));

    for number in 1..=2 {
        let own = tempfile::tempdir().expect("a folder for the test");
        let usage = gateway(&place(&server.url(), own.path()), Clock::system());
        usage.count(key(7, "acme", "a", "/a").borrowed(), used(number));
        end(usage).await;
    }
    let output = usage(&server.url(), &["--csv", "--by", "tenant,caller,hour"]);
    assert_eq!(
        said(&output).lines().nth(1),
        Some("acme,keys:a,1970-01-01T00:00Z,3,2,0,21,0,300,0,0,0"),
        "{}",
        said(&output)
    );
    // A file in the folder is another ledger.
    let output = usage("${NOT_SET}", &[]);
    assert!(said(&output).contains("where the ledger is cannot be told from the file"), "{}", said(&output));
    server.stop();
    let output = usage(&server.url(), &[]);
    let away = "cannot be read: it cannot be reached: no connection: connection refused";
    assert!(said(&output).contains(away) && output.status.code() == Some(2), "{}", said(&output));
    let shown = said(&tollgate(folder.path(), &server.url(), &["config", "show"]));
    assert!(shown.contains("store: postgres://***:***@127.0.0.1"), "{shown}");
}

#[tokio::test]
async fn with_tls_only_the_right_certificate_is_believed() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let authority = |_: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
    };
    let (own, other) = (authority("own"), authority("other"));
    let leaf = KeyPair::generate().expect("a key");
    let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = names.signed_by(&leaf, &own).expect("a certificate");
    let certificate = server.file("own.pem", &certificate.pem());
    let key_file = server.file("key.pem", &leaf.serialize_pem());
    server.stop();
    server.add(&["ssl=on", &format!("ssl_cert_file={certificate}"), &format!("ssl_key_file={key_file}")]);
    server.run();
    let check = |store: &str, trusted: &str| {
        fs::write(folder.path().join("ca.pem"), trusted).expect("a file");
        said(&tollgate(folder.path(), store, &["check", "--online"]))
    };
    let named = format!("{}?sslmode=verify-full", server.url().replace("127.0.0.1", "localhost"));
    let text = check(&named, &own.pem());
    assert!(text.contains("answers, and lets the gateway make its tables"), "{text}");
    let text = check(&named, &other.pem());
    assert!(text.contains("no TLS: its certificate is not signed by an authority that is trusted here"), "{text}");
    let text = check(&format!("{}?sslmode=verify-full", server.url()), &own.pem());
    assert!(text.contains("no TLS: its certificate is for another host name"), "{text}");
}

#[tokio::test]
async fn tables_that_somebody_removes_are_made_again() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let way = Way::to(server.port).await;
    let place = place(&server.url_at(way.port), folder.path());
    let usage = gateway(&place, Clock::system());
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(1));
    usage.flush().await;
    server.sql("DROP TABLE tollgate_usage, tollgate_usage_writers, tollgate_usage_notes");
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(10));
    crate::support::store::eventually("them to be made", || {
        usage.standing().is_written == Some(true) && !server.sql("SELECT to_regclass('tollgate_usage')").is_empty()
    })
    .await;
    usage.flush().await;
    end(usage).await;
    let last = gateway(&place, Clock::system());
    end(last).await;
    assert_eq!(requests(&place).await, 10);
}
