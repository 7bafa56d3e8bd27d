//! Every way in which Redis can be of no use is told to the operator: once, in words that help, without a password.

use std::time::{Duration, Instant};

use tollgate::config::section::state::OnCounterFailure;

use crate::support::asks::quota;
use crate::support::ports::free_port;
use crate::support::said;
use crate::support::server::Server;
use crate::support::store::{Gateway, eventually};

/// A gateway that cannot use this Redis says so in these words, once, and lets requests in.
async fn complains(server: &Server, login: &str, words: &str) -> Gateway {
    said::listen();
    let url = format!("redis://{login}127.0.0.1:{}", server.port);
    let gateway = Gateway::sharing(&url, OnCounterFailure::Local);
    told(server.port, words).await;
    assert!(gateway.admits(&quota("q", "acme", 5)).await);
    gateway
}

/// What was said of the Redis on a port.
fn said_of(port: u16) -> Vec<String> {
    said::of(&format!(":{port}/"))
}

async fn told(port: u16, words: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    while !said_of(port).iter().any(|line| line.contains(words)) {
        assert!(Instant::now() < end, "nobody said that it {words}: {:?}", said_of(port));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!said_of(port).concat().contains("hunter2"), "{:?}", said_of(port));
}

#[tokio::test]
async fn nobody_listens() {
    let server = Server::absent(&[]);
    let gateway = complains(&server, "", "cannot be reached: no connection: connection refused").await;
    let said = said_of(server.port);
    let expected = format!(
        "WARN Redis at redis://127.0.0.1:{}/0 cannot be reached: no connection: connection refused. Until it decides again, \
         this gateway counts for itself, as it knows of no other",
        server.port
    );
    assert_eq!(said, [expected]);
    gateway.eventually("a few more attempts", |health| health.failures > 3).await;
    assert_eq!(said_of(server.port).len(), 1, "an outage is one line");
}

#[tokio::test]
async fn it_comes_and_goes() {
    said::listen();
    let mut server = Server::start();
    let gateway = Gateway::up(&server).await;
    let other = Gateway::up(&server).await;
    gateway.eventually("two gateways", |health| health.gateways == 2).await;
    server.kill();
    gateway.is_down().await;
    told(server.port, "and gives 1/2 of every limit").await;
    server.run();
    gateway.is_up().await;
    eventually("the operator to be told", || {
        said_of(server.port).iter().any(|line| line.starts_with("INFO limits are counted again by Redis at redis://"))
    })
    .await;
    drop(other);
}

#[tokio::test]
async fn it_wants_a_password() {
    complains(&Server::with(&["--requirepass", "secret"]), "", "wants a password").await;
}

#[tokio::test]
async fn the_password_is_wrong() {
    let server = Server::with(&["--requirepass", "secret"]);
    complains(&server, ":hunter2@", "does not accept the user or the password").await;
}

#[tokio::test]
async fn there_is_no_such_user() {
    complains(&Server::start(), "tollgate:hunter2@", "does not accept the user or the password").await;
}

#[tokio::test]
async fn the_password_is_right() {
    let server = Server::with(&["--requirepass", "secret"]);
    let url = format!("redis://:secret@127.0.0.1:{}/3", server.port);
    Gateway::sharing(&url, OnCounterFailure::Local).is_up().await;
}

#[tokio::test]
async fn the_user_may_not_do_what_it_has_to() {
    let server = Server::start();
    server.ask::<()>(&["ACL", "SETUSER", "tollgate", "on", ">hunter2", "~other:*", "+@all"]);
    complains(&server, "tollgate:hunter2@", "does not let this user").await;
}

#[tokio::test]
async fn a_user_needs_few_rights() {
    let server = Server::start();
    let rights = ["-@all", "+evalsha", "+script|load", "+time", "+get", "+set", "+pttl", "+pexpire"];
    let sets = ["+zadd", "+zremrangebyscore", "+zcard", "+select"];
    let words = [&["ACL", "SETUSER", "tollgate", "on", ">hunter2", "~{tollgate}:*"][..], &rights, &sets].concat();
    server.ask::<()>(&words);
    let url = format!("redis://tollgate:hunter2@127.0.0.1:{}", server.port);
    let gateway = Gateway::sharing(&url, OnCounterFailure::Local);
    gateway.is_up().await;
    let ask = quota("q", "acme", 5);
    assert!(gateway.admits(&ask).await);
    gateway.counters.reset(&ask).await;
    gateway.has_told().await;
    assert_eq!(gateway.health().failures, 0);
}

#[tokio::test]
async fn it_is_a_replica() {
    let primary = Server::start();
    let replica = Server::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    complains(&replica, "", "is a replica and takes no writes").await;
}

#[tokio::test]
async fn it_becomes_a_replica() {
    said::listen();
    let server = Server::start();
    let gateway = Gateway::up(&server).await;
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    gateway.is_down().await;
    eventually("the operator to be told", || said_of(server.port).concat().contains("is a replica")).await;
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    gateway.is_up().await;
}

#[tokio::test]
async fn its_memory_is_full() {
    let server = Server::with(&["--maxmemory", "1"]);
    complains(&server, "", "has no memory left").await;
}

#[tokio::test]
async fn it_reads_its_data_first() {
    let mut server = Server::with(&["--rdbcompression", "no"]);
    // It answers between two of these, and waits a while at each.
    let value = "v".repeat(10_000);
    for number in 0..40 {
        server.ask::<()>(&["SET", &format!("k{number}"), &value]);
    }
    server.ask::<()>(&["SAVE"]);
    server.kill();
    server.add(&["--key-load-delay", "30000", "--loading-process-events-interval-bytes", "5000"]);
    server.launch();
    let gateway = complains(&server, "", "is starting: it reads its data first").await;
    gateway.is_up().await;
}

#[tokio::test]
async fn it_cannot_save_its_data() {
    let server = Server::start();
    let gateway = Gateway::up(&server).await;
    said::listen();
    server.ask::<()>(&["CONFIG", "SET", "save", "1 1"]);
    // Where it cannot write.
    std::fs::create_dir(server.folder().join("dump.rdb")).expect("a folder where its file should be");
    server.ask::<()>(&["SET", "k", "v"]);
    drop(server.try_ask::<()>(&["BGSAVE"]));
    told(server.port, "cannot save its data (MISCONF)").await;
    gateway.is_down().await;
}

#[tokio::test]
async fn it_has_no_such_database() {
    said::listen();
    let server = Server::with(&["--databases", "2"]);
    let url = format!("redis://127.0.0.1:{}/7", server.port);
    let _gateway = Gateway::sharing(&url, OnCounterFailure::Local);
    told(server.port, "DB index is out of range").await;
}

#[tokio::test]
async fn something_else_listens_there() {
    said::listen();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("a port").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt as _;
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let _gateway = Gateway::sharing(&format!("redis://127.0.0.1:{port}"), OnCounterFailure::Local);
    told(port, "does not speak the protocol of Redis").await;
}

#[tokio::test]
async fn another_server_of_the_cluster_has_the_keys() {
    let cluster = ["--cluster-enabled", "yes"];
    let (first, second) = (Server::with(&cluster), Server::with(&cluster));
    // The slot of `{tollgate}` belongs to the second, all others to the first.
    let slot: u16 = first.ask(&["CLUSTER", "KEYSLOT", "{tollgate}"]);
    let (below, above) = ((slot - 1).to_string(), (slot + 1).to_string());
    first.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", &below, &above, "16383"]);
    second.ask::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    second.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    first.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &second.port.to_string()]);
    let is_ok = |server: &Server| server.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    eventually("the cluster", || is_ok(&first) && is_ok(&second)).await;

    let gateway = Gateway::up(&first).await;
    let (turns, month) = (crate::support::asks::rate("r", "acme", 3_600_000, 3), quota("q", "acme", 5));
    for left in [2, 1, 0] {
        let answer = gateway.counters.spend(&[turns.clone(), month.clone()]).await;
        assert!(answer.spent.is_ok() && answer.standings[0].remaining == left);
    }
    assert!(gateway.counters.spend(&[turns, month]).await.spent.is_err());
    assert_eq!(gateway.health().failures, 0);
    assert!(second.ask::<usize>(&["DBSIZE"]) >= 3, "the second has them");
}
