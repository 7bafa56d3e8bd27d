//! The ledger says the same wherever it is kept, and several gateways write into one.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate::clock::Clock;
use tollgate::exchange::usage::{UsageKey, Used};
use tollgate::state::usage::{Question, Side};

use crate::support::ledger::{asked, clock, end, gateway, key, minute, place, requests, used, written};
use crate::support::postgres::Postgres;
use crate::support::slow::Way;
use crate::support::store::eventually;

const HOUR: Duration = Duration::from_secs(3_600);

/// Callers as token makers name them.
const CALLERS: [&str; 5] = ["a", "", "Ä, \"b\" \\ '; DROP TABLE tollgate_usage --", "{}", "\u{1f642}"];

fn some(minute: u32) -> Vec<(UsageKey, Used)> {
    let mut sums = Vec::new();
    for (index, caller) in (0u32..).zip(CALLERS) {
        for tenant in ["acme", "Beta", "a.b", ""] {
            let before = index * 700;
            let mut key = key(minute - before, tenant, caller, ["/b", "/B/{x}", ""][index as usize % 3]);
            key.class = u8::try_from(index + 1).expect("a class");
            sums.push((key, used(u64::from(index) * 3 + tenant.len() as u64)));
        }
    }
    sums
}

#[tokio::test]
async fn every_store_gives_the_same_answers() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let places = [place("sqlite", folder.path()), place(&server.url(), folder.path())];
    let time = clock();
    let gateways = places.each_ref().map(|place| gateway(place, time.clock()));
    let now = minute(&time);
    let questions = |at: u64| {
        let sides: [&[Side]; 6] = [
            &[],
            &[Side::Tenant],
            &[Side::Day, Side::Caller],
            &[Side::Hour],
            &[Side::Class],
            &[Side::Route, Side::Tenant],
        ];
        let mut questions: Vec<Question> =
            sides.map(|by| Question { by: by.to_vec(), until: u64::MAX, ..Question::default() }).into();
        let by = vec![Side::Caller];
        questions.push(Question {
            by: by.clone(),
            since: at - 86_400,
            until: at,
            tenant: Some("acme".into()),
            route: None,
        });
        questions.push(Question { by: by.clone(), since: 0, until: at, tenant: None, route: Some("/b".into()) });
        questions.push(Question {
            by,
            since: at,
            until: u64::MAX,
            tenant: Some(String::new()),
            route: Some("/b".into()),
        });
        questions
    };
    // Minutes become hours, and hours days; the last step is beyond what is kept.
    for (step, hours) in [0, 1, 60, 24 * 70, 24 * 400].into_iter().enumerate() {
        time.advance(HOUR * hours);
        for gateway in &gateways {
            gateway.flush().await;
        }
        for gateway in &gateways {
            some(now).iter().for_each(|(key, used)| gateway.count(key.borrowed(), *used));
            gateway.flush().await;
        }
        for question in questions(u64::from(now) * 60) {
            let [file, postgres] =
                [asked(&places[0], question.clone()).await, asked(&places[1], question.clone()).await];
            assert_eq!(file, postgres, "{question:?} in step {step}");
        }
        assert!(!written(&places[0], &[]).await.rows.is_empty(), "step {step}");
        if step == 3 {
            assert_ne!(server.sql("SELECT count(*) FROM tollgate_usage WHERE span = 86400"), "0", "days were made");
        }
    }
    for gateway in gateways {
        end(gateway).await;
    }
}

#[tokio::test]
async fn no_caller_keeps_the_others_from_being_written() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let time = clock();
    for place in [place("sqlite", folder.path()), place(&server.url(), folder.path())] {
        let gateway = gateway(&place, time.clock());
        // What no text of Postgres holds, twice the same then; what no index holds; sums beyond any number.
        let most = Used { requests: 1, rows_read: u64::MAX, ..Used::default() };
        for caller in ["a\0b", "a\u{fffd}b", &"ß".repeat(5_000), &"x".repeat(9_000)] {
            for _ in 0..3 {
                gateway.count(key(minute(&time), "acme", caller, "/a").borrowed(), most);
                gateway.flush().await;
            }
        }
        assert_eq!(gateway.standing().is_written, Some(true), "{place}");
        assert_eq!(requests(&place).await, 12, "{place}");
        end(gateway).await;
    }
}

#[tokio::test]
async fn gateways_that_start_together_make_one_ledger() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&server.url(), folder.path());
    let gateways: Vec<_> = (0..8).map(|_| gateway(&place, Clock::system())).collect();
    for (number, gateway) in (1..).zip(&gateways) {
        gateway.count(key(7, "acme", "a", "/a").borrowed(), used(number));
    }
    for gateway in gateways {
        gateway.flush().await;
        assert_eq!(gateway.standing().is_written, Some(true));
        end(gateway).await;
    }
    assert_eq!(requests(&place).await, 36);
    assert_eq!(server.sql("SELECT count(*) FROM tollgate_usage"), "1");
}

/// Counts until it is told to end, under one tenant of its own and one of all; how much that was.
async fn busy(place: tollgate::state::usage::Place, name: String, rounds: u64) -> u64 {
    let usage = gateway(&place, Clock::system());
    let mut sum = 0;
    for round in 0..rounds {
        for number in 0..50 {
            let tenant = if number % 2 == 0 { "all" } else { name.as_str() };
            usage.count(key(7 + (number % 5) as u32, tenant, &format!("c{}", number % 7), "/a").borrowed(), used(1));
            sum += 1;
        }
        if round % 3 == 0 {
            usage.flush().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end(usage).await;
    sum
}

#[tokio::test]
async fn gateways_that_come_and_go_write_one_exact_bill() {
    let server = Postgres::start();
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder for the test"));
    let places = folders.each_ref().map(|folder| place(&server.url(), folder.path()));
    // One stays; another is restarted again and again; operators end connections; somebody tidies up meanwhile.
    let stays = tokio::spawn(busy(places[0].clone(), "first".to_owned(), 150));
    let mut restarted = 0;
    for _ in 0..8 {
        restarted += busy(places[1].clone(), "second".to_owned(), 10).await;
        server.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'tollgate' AND pid <> \
             pg_backend_pid()",
        );
    }
    let all = stays.await.expect("it ends") + restarted;
    // What a restart kept in files is written by the next.
    let last = gateway(&places[1], Clock::system());
    eventually("everything to be written", || {
        server.sql("SELECT sum(requests) FROM tollgate_usage") == all.to_string()
    })
    .await;
    end(last).await;
    assert_eq!(requests(&places[2]).await, all);
    let tenants: BTreeMap<_, _> = written(&places[2], &[Side::Tenant]).await.rows.into_iter().collect();
    assert_eq!(tenants[&vec!["all".to_owned()]].requests, all / 2);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let way = Way::to(server.port).await;
    let place = place(&server.url_at(way.port), folder.path());
    let usage = gateway(&place, Clock::system());
    usage.count(key(7, "acme", "a", "/a").borrowed(), used(1));
    usage.flush().await;
    assert_eq!(usage.standing().is_written, Some(true));
    for losses in [1, 2, 3] {
        way.lose_commits(losses);
        usage.count(key(7, "acme", "a", "/a").borrowed(), used(10));
        // More than once in a row, and it is told, and tried again after a while.
        eventually("every loss", || way.left_to_lose() == 0).await;
        eventually("the ledger to be written", || usage.standing().behind == Duration::ZERO).await;
        eventually("that to be told", || usage.standing().is_written == Some(true)).await;
    }
    assert_eq!(requests(&place).await, 31);
    end(usage).await;
}

#[tokio::test]
async fn tidying_up_loses_nothing_that_is_added_meanwhile() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let place = place(&server.url(), folder.path());
    let time = clock();
    let old = minute(&time) - 60 * 24 * 3;
    let gateways = [(); 3].map(|()| gateway(&place, time.clock()));
    let mut sum = 1;
    gateways[0].count(key(old, "acme", "a", "/a").borrowed(), used(1));
    gateways[0].flush().await;
    // Whoever makes an hour takes its time, in which the others add to minutes of it.
    server.sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.15); RETURN NULL; END';
         CREATE TRIGGER wait AFTER INSERT OR UPDATE ON tollgate_usage FOR EACH ROW WHEN (NEW.span = 3600) EXECUTE FUNCTION wait()",
    );
    for _ in 0..4 {
        for gateway in &gateways {
            for minute in 0..40 {
                gateway.count(key(old + minute, "acme", "a", "/a").borrowed(), used(1));
                sum += 1;
            }
        }
        time.advance(HOUR);
        let [first, second, third] = &gateways;
        tokio::join!(first.flush(), second.flush(), third.flush());
    }
    for gateway in gateways {
        assert_eq!(gateway.standing().is_written, Some(true));
        end(gateway).await;
    }
    assert_eq!(requests(&place).await, sum);
    assert_ne!(server.sql("SELECT count(*) FROM tollgate_usage WHERE span = 3600"), "0");
}
