//! What counters promise, wherever they count.

use smallvec::smallvec;
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Ask, Back, Bill, Costs, NotSpent};

use crate::support::asks::{on_trial, quota, rate, remaining, rows};
use crate::support::server::Server;
use crate::support::store::Gateway;

/// A month: nothing of a burst comes back while a test runs.
const LONG: u64 = 3_600_000;

/// The same promises of both.
macro_rules! promises {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::Gateway::alone()).await;
            })*
        }

        mod shared {
            $(#[tokio::test]
            async fn $name() {
                let server = super::Server::start();
                let gateway = super::Gateway::up(&server).await;
                super::$name(&gateway).await;
                assert_eq!(gateway.health().failures, 0, "Redis decided all of it");
            })*
        }
    };
}

promises! {
    a_burst_comes_at_once_and_who_waits_as_told_is_let_in
    all_are_spent_or_none
    what_is_on_trial_counts_and_refuses_nobody
    a_quota_is_let_in_while_anything_is_left
    what_a_query_cost_takes_the_place_of_what_it_reserved
    what_is_given_back_is_there_again
    a_rate_keeps_that_a_request_came
    looking_spends_nothing
    a_reset_forgets
    a_raised_rate_helps_at_once
    everyone_is_counted_apart_and_those_without_a_name_together
    odd_names_are_told_apart
}

async fn a_burst_comes_at_once_and_who_waits_as_told_is_let_in(gateway: &Gateway) {
    let ask = rate("r", "acme", 100, 3);
    for left in [2, 1, 0] {
        let answer = gateway.spend(&ask).await;
        assert!(answer.spent.is_ok());
        assert_eq!(remaining(&answer), [left]);
        assert!(answer.standings[0].passes);
    }
    let answer = gateway.spend(&ask).await;
    assert_eq!(answer.spent.as_ref().err(), Some(&NotSpent::Refused));
    let standing = answer.standings[0];
    assert_eq!((standing.total, standing.remaining, standing.passes), (3, 0, false));
    assert!(standing.wait.as_millis() <= 100 && standing.whole > standing.wait, "{standing:?}");
    tokio::time::sleep(standing.wait).await;
    assert!(gateway.admits(&ask).await, "who slept exactly as long as told");
    assert!(!gateway.admits(&ask).await);
}

async fn all_are_spent_or_none(gateway: &Gateway) {
    let (wide, narrow, third) = (rate("wide", "a", LONG, 10), rate("narrow", "a", LONG, 1), quota("q", "a", 10));
    let all = [wide.clone(), narrow, third.clone()];
    assert_eq!(remaining(&gateway.counters.spend(&all).await), [9, 0, 9]);
    for _ in 0..3 {
        let refused = gateway.counters.spend(&all).await;
        assert!(refused.spent.is_err());
        assert_eq!(remaining(&refused), [9, 0, 9], "nothing was spent");
    }
    assert_eq!(remaining(&gateway.counters.spend(&[wide, third]).await), [8, 8]);
}

async fn what_is_on_trial_counts_and_refuses_nobody(gateway: &Gateway) {
    let (trial, real) = (on_trial(rate("trial", "a", LONG, 2)), rate("real", "a", LONG, 3));
    let both = [trial.clone(), real.clone()];
    let mut passes = Vec::new();
    for _ in 0..4 {
        let answer = gateway.counters.spend(&both).await;
        passes.push((answer.spent.is_ok(), answer.standings[0].passes));
    }
    // The fourth is refused by the real one: how the trial stands is told all the same.
    assert_eq!(passes, [(true, true), (true, true), (true, false), (false, false)]);
    assert!(gateway.admits(&trial).await);
}

async fn a_quota_is_let_in_while_anything_is_left(gateway: &Gateway) {
    let ask = quota("q", "acme", 2);
    assert_eq!(remaining(&gateway.spend(&ask).await), [1]);
    assert_eq!(remaining(&gateway.spend(&ask).await), [0]);
    let refused = gateway.spend(&ask).await;
    let standing = refused.standings[0];
    assert!(refused.spent.is_err() && !standing.passes);
    assert_eq!(standing.wait, standing.whole, "until the next month");
    assert!(standing.wait.as_secs() <= 31 * 86_400 && !standing.wait.is_zero());
}

async fn what_a_query_cost_takes_the_place_of_what_it_reserved(gateway: &Gateway) {
    let ask = rows("rows", "acme", 1_000, 100);
    let first = gateway.spend(&ask).await;
    assert_eq!(remaining(&first), [900]);
    let second = gateway.spend(&ask).await.spent.expect("let in");
    gateway
        .counters
        .settle(first.spent.expect("let in"), &Bill::Exactly(Costs { rows_read: Some(250), ..Costs::default() }));
    gateway.eventually_left(&ask, 650).await;
    gateway.counters.settle(second, &Bill::Exactly(Costs::default()));
    // What is not known costs what is assumed.
    gateway.eventually_left(&ask, 710).await;
    let third = gateway.spend(&ask).await;
    assert_eq!(remaining(&third), [610]);
    // One query may read more than there is; then nobody is let in.
    gateway
        .counters
        .settle(third.spent.expect("let in"), &Bill::Exactly(Costs { rows_read: Some(5_000), ..Costs::default() }));
    gateway.eventually_left(&ask, 0).await;
    assert!(!gateway.admits(&ask).await);
}

async fn what_is_given_back_is_there_again(gateway: &Gateway) {
    let (turns, month) = (rate("r", "a", LONG, 5), quota("q", "a", 5));
    let asks = [turns.clone(), month.clone()];
    let receipt = gateway.counters.spend(&asks).await.spent.expect("let in");
    gateway.counters.refund(receipt, Back::Everything);
    gateway.eventually_left(&turns, 5).await;
    gateway.eventually_left(&month, 5).await;
}

async fn a_rate_keeps_that_a_request_came(gateway: &Gateway) {
    let (turns, month) = (rate("r", "a", LONG, 5), quota("q", "a", 5));
    let receipt = gateway.counters.spend(&[turns.clone(), month.clone()]).await.spent.expect("let in");
    gateway.counters.refund(receipt, Back::Quotas);
    gateway.eventually_left(&month, 5).await;
    assert_eq!(gateway.counters.look(&turns).await.remaining, 4);
}

async fn looking_spends_nothing(gateway: &Gateway) {
    let (turns, month) = (rate("r", "a", LONG, 1), quota("q", "a", 1));
    for ask in [&turns, &month] {
        for _ in 0..3 {
            let standing = gateway.counters.look(ask).await;
            assert_eq!((standing.remaining, standing.passes), (1, true));
        }
        assert!(gateway.admits(ask).await);
        assert_eq!(gateway.counters.look(ask).await.remaining, 0);
    }
}

async fn a_reset_forgets(gateway: &Gateway) {
    for ask in [rate("r", "a", LONG, 1), quota("q", "a", 1)] {
        for _ in 0..2 {
            assert!(gateway.admits(&ask).await);
            assert!(!gateway.admits(&ask).await);
            gateway.counters.reset(&ask).await;
            assert_eq!(gateway.counters.look(&ask).await.remaining, 1);
        }
    }
}

async fn a_raised_rate_helps_at_once(gateway: &Gateway) {
    assert_eq!(gateway.admitted(&rate("r", "acme", LONG, 5), 6).await, 5);
    let raised = rate("r", "acme", 100, 5);
    let refused = gateway.spend(&raised).await;
    let wait = refused.standings[0].wait;
    assert!(refused.spent.is_err() && wait.as_millis() <= 100, "{wait:?}");
    tokio::time::sleep(wait).await;
    assert!(gateway.admits(&raised).await, "five hours are not waited for");
    assert!(!gateway.admits(&raised).await, "and no burst is given away");
}

async fn everyone_is_counted_apart_and_those_without_a_name_together(gateway: &Gateway) {
    for who in ["acme", "beta"] {
        assert_eq!(gateway.admitted(&rate("r", who, LONG, 2), 4).await, 2);
    }
    let nobody = Ask { values: smallvec![Value::Missing], ..rate("r", "", LONG, 2) };
    assert_eq!(gateway.admitted(&nobody, 4).await, 2);
    let address = |text: &str| Value::network(text.parse().expect("an address"));
    let from = |text: &str| Ask { values: smallvec![address(text)], ..rate("r", "", LONG, 1) };
    let mut admitted = Vec::new();
    for text in ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
        admitted.push(gateway.admits(&from(text)).await);
    }
    assert_eq!(admitted, [true, true, false, true, false, true]);
}

async fn odd_names_are_told_apart(gateway: &Gateway) {
    for who in ["a/b", "a+b", "a b", "a%2Fb", "{a}", "ä", "~", "\u{0}\r\n", ""] {
        assert!(gateway.admits(&rate("r", who, LONG, 1)).await, "{who:?} was not there yet");
    }
    let words = |words| Ask { values: smallvec![Value::Text(words)], ..rate("r", "", LONG, 1) };
    assert!(gateway.admits(&words(["a", "b", ""])).await);
    assert!(gateway.admits(&words(["a", "", "b"])).await);
    assert!(gateway.admits(&words(["", "a", "b"])).await);
    assert!(!gateway.admits(&words(["a", "b", ""])).await);
}
