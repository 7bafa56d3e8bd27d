use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::clock::TestClock;
use crate::config::section::upstreams::Upstream;

const LONG: Duration = Duration::from_secs(3600);

/// The terms of an upstream with these further keys.
fn terms(keys: &str) -> Terms {
    let section: Upstream = serde_yaml::from_str(&format!("{{ url: 'http://127.0.0.1:1', {keys} }}")).unwrap();
    Terms::compile(&section).unwrap()
}

/// A queue on a clock that stands still, asked by hand.
struct Stage {
    time: TestClock,
    queue: Arc<Queue>,
    counters: Counters,
}

type Entering<'a> = Pin<Box<dyn Future<Output = Result<Place, TurnedAway>> + 'a>>;

impl Stage {
    fn with(keys: &str) -> Self {
        let time = TestClock::new();
        let queue = Arc::new(Queue::new("t", time.clock()));
        queue.set(terms(keys));
        Stage { counters: Counters::new(time.clock()), queue, time }
    }

    fn entering<'a>(&'a self, tenant: &'a TenantName) -> Entering<'a> {
        Box::pin(self.queue.enter(Visit { tenant: Some(tenant), left: LONG, counters: &self.counters }))
    }

    /// Comes, and is not turned away at once.
    fn come<'a>(&'a self, tenant: &'a TenantName) -> Entering<'a> {
        let mut entering = self.entering(tenant);
        assert!(look(&mut entering).is_pending());
        entering
    }

    /// Comes, and has a place at once.
    fn enter(&self, tenant: &TenantName) -> Place {
        now(&mut self.entering(tenant)).unwrap()
    }

    fn refused(&self, tenant: &TenantName) -> TurnedAway {
        now(&mut self.entering(tenant)).unwrap_err()
    }

    /// Turns the clock, and rings the alarm if it is time.
    fn advance(&self, by: Duration) {
        self.time.advance(by);
        self.queue.update(|_, _| ());
    }

    fn load(&self) -> (u32, usize) {
        let load = self.queue.load();
        (load.in_flight, load.waiting)
    }
}

fn look<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn now<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    match look(future) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn where_nothing_is_limited_only_the_upstreams_own_word_counts() {
    let section: Upstream = serde_yaml::from_str("{ url: 'http://127.0.0.1:1' }").unwrap();
    assert!(!Terms::compile(&section).unwrap().is_limited());
    let section: Upstream = serde_yaml::from_str("{ url: 'http://127.0.0.1:1', auth: passthrough }").unwrap();
    assert!(Terms::compile(&section).is_none(), "its 429 may be one caller's");
}

#[test]
fn a_place_that_comes_free_goes_to_who_waits() {
    let stage = Stage::with("concurrency: { max: 1, queue: 2 }");
    let a = tenant("a");
    let place = stage.enter(&a);
    let (mut first, mut second) = (stage.come(&a), stage.come(&a));
    assert_eq!(stage.load(), (1, 2));
    assert_eq!(stage.refused(&a).why, Why::QueueFull { room: 2 });
    drop(place);
    assert!(look(&mut second).is_pending(), "who came first is first");
    let place = now(&mut first).unwrap();
    assert_eq!(stage.load(), (1, 1));
    drop(place);
    drop(now(&mut second).unwrap());
    assert_eq!(stage.load(), (0, 0));
}

#[test]
fn who_waits_too_long_is_turned_away() {
    let stage = Stage::with("concurrency: { max: 1, wait: 2s }");
    let a = tenant("a");
    let _place = stage.enter(&a);
    let mut waiting = stage.come(&a);
    stage.advance(seconds(1.9));
    assert!(look(&mut waiting).is_pending());
    stage.advance(seconds(0.1));
    let why = now(&mut waiting).unwrap_err().why;
    assert_eq!(why, Why::WaitedTooLong { waited: seconds(2.0) });
    assert_eq!(stage.load(), (1, 0));
}

#[test]
fn patience_ends_with_the_time_that_is_left() {
    let stage = Stage::with("concurrency: { max: 1, wait: 2s }");
    let a = tenant("a");
    let _place = stage.enter(&a);
    let visit = Visit { tenant: Some(&a), left: seconds(0.5), counters: &stage.counters };
    let mut waiting: Entering<'_> = Box::pin(stage.queue.enter(visit));
    assert!(look(&mut waiting).is_pending());
    stage.advance(seconds(0.5));
    assert_eq!(now(&mut waiting).unwrap_err().why, Why::WaitedTooLong { waited: seconds(0.5) });
}

#[test]
fn a_place_given_to_who_is_just_leaving_goes_to_the_next() {
    let stage = Stage::with("concurrency: { max: 1 }");
    let a = tenant("a");
    let place = stage.enter(&a);
    let (called, mut next) = (stage.come(&a), stage.come(&a));
    drop(place);
    // It was called and has not looked.
    drop(called);
    drop(now(&mut next).unwrap());
    assert_eq!(stage.load(), (0, 0));
}

#[test]
fn who_leaves_while_the_counters_are_asked_leaves_nothing_behind() {
    let stage = Stage::with("rate: 5/s, concurrency: { max: 1 }");
    let a = tenant("a");
    let mut visitor = Visitor::new(&stage.queue, Visit { tenant: Some(&a), left: LONG, counters: &stage.counters });
    visitor.arrive().unwrap();
    assert_eq!((stage.load(), stage.queue.lock().taken), ((0, 0), 1));
    let mut next = stage.come(&a);
    drop(visitor);
    drop(now(&mut next).unwrap());
    assert_eq!(stage.queue.lock().taken, 0);
}

#[test]
fn who_is_called_as_its_time_ends_goes() {
    let stage = Stage::with("concurrency: { max: 1, wait: 2s }");
    let a = tenant("a");
    let place = stage.enter(&a);
    let mut waiting = stage.come(&a);
    stage.advance(seconds(2.0));
    drop(place);
    drop(now(&mut waiting).unwrap());
    assert_eq!(stage.load(), (0, 0));
}

#[test]
fn whose_turn_comes_as_its_time_ends_goes() {
    let stage = Stage::with("rate: 30/m");
    let a = tenant("a");
    (0..30).for_each(|_| drop(stage.enter(&a)));
    let mut waiting = stage.come(&a);
    // Nobody has rung the alarm.
    stage.time.advance(seconds(2.0));
    drop(now(&mut waiting).unwrap());
}

#[test]
fn no_tenant_holds_more_than_its_share() {
    let stage = Stage::with("concurrency: { max: 1, queue: 6 }");
    let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
    let _place = stage.enter(&a);
    let mut of_a: Vec<_> = (0..6).map(|_| stage.come(&a)).collect();
    assert_eq!(stage.refused(&a).why, Why::QueueFull { room: 6 });
    let _of_b: Vec<_> = (0..3).map(|_| stage.come(&b)).collect();
    for made_room in of_a.drain(3..) {
        let mut made_room = made_room;
        assert_eq!(now(&mut made_room).unwrap_err().why, Why::MadeRoom, "the newest first");
    }
    assert_eq!(stage.refused(&b).why, Why::OverShare { share: 3 });
    assert_eq!(stage.refused(&a).why, Why::OverShare { share: 3 });
    let _of_c: Vec<_> = (0..2).map(|_| stage.come(&c)).collect();
    assert_eq!(stage.refused(&c).why, Why::OverShare { share: 2 });
    assert_eq!(stage.load(), (1, 6));
    assert!(of_a.iter_mut().take(2).all(|waiting| look(waiting).is_pending()));
}

#[test]
fn a_share_is_kept_free_while_there_is_room() {
    let stage = Stage::with("concurrency: { max: 1, queue: 6 }");
    let (a, b) = (tenant("a"), tenant("b"));
    let _place = stage.enter(&a);
    let _waiting = [stage.come(&b), stage.come(&a), stage.come(&a), stage.come(&a)];
    assert_eq!(stage.refused(&a).why, Why::OverShare { share: 3 });
}

#[test]
fn where_more_tenants_wait_than_fit_each_has_one() {
    let stage = Stage::with("concurrency: { max: 1, queue: 2 }");
    let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
    let _place = stage.enter(&a);
    let _waiting = [stage.come(&a), stage.come(&b)];
    assert_eq!(stage.refused(&c).why, Why::QueueFull { room: 2 });
    assert_eq!(stage.refused(&a).why, Why::OverShare { share: 1 });
}

#[test]
fn without_a_queue_nobody_waits() {
    let stage = Stage::with("concurrency: { max: 1, queue: 0 }, rate: 1/s");
    let a = tenant("a");
    let place = stage.enter(&a);
    assert_eq!(stage.refused(&a).why, Why::QueueFull { room: 0 });
    drop(place);
    assert_eq!(stage.refused(&a).why, Why::QueueFull { room: 0 }, "it would have to wait for its turn");
    stage.advance(seconds(1.0));
    stage.enter(&a);
}

#[test]
fn tenants_are_served_in_turn() {
    let stage = Stage::with("concurrency: { max: 1 }");
    let (a, b) = (tenant("a"), tenant("b"));
    let mut place = stage.enter(&a);
    let mut waiting: Vec<_> = [&a, &a, &a, &b, &b].into_iter().map(|tenant| stage.come(tenant)).collect();
    for expected in [0, 3, 1, 4, 2] {
        drop(place);
        let ready: Vec<_> = waiting.iter_mut().map(look).collect();
        let at = ready.iter().position(Poll::is_ready).unwrap();
        assert_eq!(at, expected);
        place = ready.into_iter().find_map(|poll| if let Poll::Ready(done) = poll { done.ok() } else { None }).unwrap();
        waiting[at] = Box::pin(std::future::pending());
    }
}

#[test]
fn the_tap_closes_for_everybody_and_opens() {
    let stage = Stage::with("concurrency: { max: 2, wait: 2s }");
    let (a, b) = (tenant("a"), tenant("b"));
    let _place = stage.enter(&a);
    assert!(stage.queue.close(seconds(1.5)), "news");
    assert!(!stage.queue.close(seconds(1.0)), "said already");
    assert!(stage.queue.load().is_tap_closed);
    let mut waiting = stage.come(&b);
    stage.advance(seconds(1.4));
    assert!(look(&mut waiting).is_pending(), "the longer pause counts");
    stage.advance(seconds(0.1));
    drop(now(&mut waiting).unwrap());
    assert!(!stage.queue.load().is_tap_closed);
}

#[test]
fn a_pause_that_nobody_can_wait_for_turns_everybody_away_at_once() {
    let stage = Stage::with("concurrency: { max: 1, wait: 2s }");
    let a = tenant("a");
    let place = stage.enter(&a);
    let mut waiting = stage.come(&a);
    stage.queue.close(seconds(30.0));
    let told = TurnedAway { why: Why::TapClosed { left: seconds(30.0) }, retry_after: seconds(30.0) };
    assert_eq!(now(&mut waiting).unwrap_err(), told);
    drop(place);
    stage.advance(seconds(10.0));
    let told = TurnedAway { why: Why::TapClosed { left: seconds(20.0) }, retry_after: seconds(20.0) };
    assert_eq!(stage.refused(&a), told);
    stage.advance(seconds(18.0));
    let mut waiting = stage.come(&a);
    stage.advance(seconds(2.0));
    drop(now(&mut waiting).unwrap());
}

#[test]
fn a_tap_is_closed_for_a_minute_at_most() {
    let stage = Stage::with("concurrency: { max: 1 }");
    let a = tenant("a");
    stage.queue.close(Duration::from_secs(u32::MAX.into()));
    assert_eq!(stage.refused(&a).retry_after, Duration::from_secs(60));
    stage.advance(Duration::from_secs(60));
    stage.enter(&a);
}

#[test]
fn where_callers_bring_their_credentials_no_tap_is_closed() {
    let stage = Stage::with("auth: passthrough, concurrency: { max: 1 }");
    assert!(!stage.queue.close(seconds(30.0)));
    stage.enter(&tenant("a"));
}

#[test]
fn another_credential_opens_the_tap_and_other_numbers_do_not() {
    let stage = Stage::with("concurrency: { max: 1 }");
    let a = tenant("a");
    stage.queue.close(seconds(30.0));
    stage.queue.set(terms("concurrency: { max: 2 }, rate: 5/s"));
    assert!(stage.queue.load().is_tap_closed);
    stage.queue.set(terms("concurrency: { max: 2 }, token: another"));
    stage.enter(&a);
}

#[test]
fn a_rate_lets_a_burst_through_and_then_one_after_the_other() {
    let stage = Stage::with("rate: 10/s");
    let (a, b) = (tenant("a"), tenant("b"));
    for _ in 0..10 {
        stage.enter(&a);
    }
    let mut waiting: Vec<_> = [&a, &a, &a, &b].into_iter().map(|tenant| stage.come(tenant)).collect();
    for expected in [0, 3, 1, 2] {
        stage.advance(seconds(0.099));
        assert!(waiting.iter_mut().all(|waiting| look(waiting).is_pending()));
        stage.advance(seconds(0.001));
        let ready: Vec<_> = waiting.iter_mut().map(look).collect();
        assert_eq!(ready.iter().position(Poll::is_ready), Some(expected));
        assert_eq!(ready.iter().filter(|poll| poll.is_ready()).count(), 1);
        waiting[expected] = Box::pin(std::future::pending());
    }
    stage.advance(seconds(1.0));
    for _ in 0..10 {
        stage.enter(&a);
    }
}

#[test]
fn whose_turn_would_come_too_late_is_turned_away_at_once_and_told_when() {
    let stage = Stage::with("rate: 1/s");
    let (a, b) = (tenant("a"), tenant("b"));
    stage.enter(&a);
    let _first = stage.come(&a);
    let _second = stage.come(&a);
    let told = TurnedAway { why: Why::TooFast, retry_after: seconds(3.0) };
    assert_eq!(stage.refused(&a), told);
    // A tenant with nothing in the line comes before the second.
    let _other = stage.come(&b);
    let told = TurnedAway { why: Why::TooFast, retry_after: seconds(4.0) };
    assert_eq!(stage.refused(&b), told);
}

#[test]
fn who_comes_back_after_retry_after_is_let_in() {
    for keys in ["rate: 1/s, concurrency: { max: 9, wait: 1s }", "rate: 30/m", "rate: 1/day"] {
        let stage = Stage::with(keys);
        let a = tenant("a");
        let mut waiting = Vec::new();
        let told = loop {
            let mut entering = stage.entering(&a);
            match look(&mut entering) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(told)) => break told,
                Poll::Pending => waiting.push(entering),
            }
        };
        for _ in 0..=waiting.len() {
            // Each of those that wait has its turn.
            stage.advance(told.retry_after / (waiting.len() as u32 + 1));
            waiting.retain_mut(|waiting| look(waiting).is_pending());
        }
        stage.enter(&a);
    }
}

#[test]
fn a_rate_waits_for_a_place_before_it_is_spent() {
    let stage = Stage::with("rate: 2/s, concurrency: { max: 1, wait: 30s }");
    let a = tenant("a");
    let place = stage.enter(&a);
    let mut waiting = stage.come(&a);
    stage.advance(seconds(10.0));
    drop(place);
    let place = now(&mut waiting).unwrap();
    drop(place);
    stage.enter(&a);
    // Both of the burst are spent, and none was while the place was waited for.
    drop(stage.come(&a));
}

#[test]
fn who_leaves_while_it_waits_for_its_turn_holds_nobody_up() {
    let stage = Stage::with("rate: 1/s");
    let a = tenant("a");
    stage.enter(&a);
    let (first, mut second) = (stage.come(&a), stage.come(&a));
    stage.advance(seconds(1.0));
    drop(first);
    drop(now(&mut second).unwrap());
    assert_eq!(stage.load(), (0, 0));
}

#[test]
fn retry_after_of_a_full_queue_follows_how_long_requests_take() {
    let stage = Stage::with("concurrency: { max: 2, queue: 5, wait: 60m }");
    let a = tenant("a");
    let fill = || {
        let places = [stage.enter(&a), stage.enter(&a)];
        let waiting: Vec<_> = (0..5).map(|_| stage.come(&a)).collect();
        let told = stage.refused(&a).retry_after;
        drop(waiting);
        (told, places)
    };
    let (told, places) = fill();
    assert_eq!(told, seconds(1.0), "nothing is known");
    stage.advance(seconds(4.0));
    drop(places);
    let (told, places) = fill();
    assert_eq!(told, seconds(12.0), "six of 4 s, two at once");
    stage.advance(seconds(4000.0));
    drop(places);
    assert_eq!(fill().0, seconds(60.0), "nobody waits longer for a guess");
}

#[test]
fn more_places_are_taken_at_once_and_fewer_as_they_come_free() {
    let stage = Stage::with("concurrency: { max: 1, queue: 9 }");
    let a = tenant("a");
    let first = stage.enter(&a);
    let mut waiting: Vec<_> = (0..4).map(|_| stage.come(&a)).collect();
    stage.queue.set(terms("concurrency: { max: 3, queue: 9 }"));
    let second = now(&mut waiting[0]).unwrap();
    let third = now(&mut waiting[1]).unwrap();
    assert!(look(&mut waiting[2]).is_pending());
    stage.queue.set(terms("concurrency: { max: 1, queue: 9 }"));
    drop((first, second));
    assert!(look(&mut waiting[2]).is_pending());
    drop(third);
    let last = now(&mut waiting[2]).unwrap();
    assert!(look(&mut waiting[3]).is_pending());
    // Not protected any more: nobody waits.
    stage.queue.set(Terms::open());
    drop((last, now(&mut waiting[3]).unwrap()));
    assert_eq!(stage.load(), (0, 0));
}

#[test]
fn a_queue_is_kept_by_the_name_of_its_upstream() {
    let time = TestClock::new();
    let (queues, counters) = (Queues::new(time.clock()), Counters::new(time.clock()));
    let (protected, a) = (terms("concurrency: { max: 1, queue: 0 }"), tenant("a"));
    let of = || {
        queues.set([("t", &protected)].into_iter());
        queues.of("t")
    };
    let enter = |queue: Arc<Queue>| {
        let mut entering: Entering<'_> =
            Box::pin(async { queue.enter(Visit { tenant: Some(&a), left: LONG, counters: &counters }).await });
        now(&mut entering)
    };
    let place = enter(of()).unwrap();
    assert!(enter(of()).is_err());
    let before = of();
    queues.set(std::iter::empty());
    assert!(enter(before).is_ok(), "lets everything through");
    drop(place);
}

#[tokio::test]
async fn the_alarm_rings_where_there_is_a_runtime() {
    let stage = Stage::with("rate: 1/s");
    let a = tenant("a");
    stage.enter(&a);
    let visit = Visit { tenant: Some(&a), left: LONG, counters: &stage.counters };
    let turning = async {
        while stage.time.sleepers() < 2 {
            tokio::task::yield_now().await;
        }
        stage.time.advance(seconds(1.0));
    };
    let (entered, ()) = tokio::join!(stage.queue.enter(visit), turning);
    assert!(entered.is_ok());
}

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Close(u64),
    Come(usize),
    Go(usize),
    Leave(usize),
    Set(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..700_u64).prop_map(Step::Advance),
        1 => (1..3_u64).prop_map(Step::Close),
        9 => (0..4_usize).prop_map(Step::Come),
        4 => (0..20_usize).prop_map(Step::Leave),
        4 => (0..20_usize).prop_map(Step::Go),
        1 => (1..5_u32).prop_map(Step::Set),
    ]
}

const TENANTS: [&str; 4] = ["a", "b", "c", "d"];
const ROOM: usize = 6;

fn protected(max: u32, rate: &str) -> Terms {
    terms(&format!("concurrency: {{ max: {max}, queue: {ROOM}, wait: 1s }}{rate}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens in whatever order: never more places than there are, nobody waits for nothing, nothing is lost.
    #[test]
    fn places_never_exceed_their_number_and_never_leak(
        steps in prop::collection::vec(step(), 0..80),
        rate in prop::sample::select(vec!["", ", rate: 5/s"]),
    ) {
        let stage = Stage::with("concurrency: { max: 1 }");
        let tenants: Vec<_> = TENANTS.iter().map(|name| tenant(name)).collect();
        let mut max = 2;
        stage.queue.set(protected(max, rate));
        // As many may go on from before `max` was lowered.
        let mut most = max;
        let (mut waiting, mut places) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Advance(millis) => stage.advance(Duration::from_millis(millis)),
                Step::Close(seconds) => drop(stage.queue.close(Duration::from_secs(seconds))),
                Step::Come(tenant) => waiting.push(stage.entering(&tenants[tenant])),
                Step::Go(index) if index < waiting.len() => drop(waiting.swap_remove(index)),
                Step::Leave(index) if index < places.len() => drop(places.swap_remove(index)),
                Step::Go(_) | Step::Leave(_) => {}
                Step::Set(number) => {
                    max = number;
                    stage.queue.set(protected(max, rate));
                }
            }
            // Half of them look; the others have been told and do not know it yet.
            let mut turn = 0;
            waiting.retain_mut(|entering| {
                turn += 1;
                if turn % 2 == 0 {
                    return true;
                }
                match look(entering) {
                    Poll::Pending => true,
                    Poll::Ready(entered) => {
                        places.extend(entered);
                        false
                    }
                }
            });
            // Some were called and do not know it yet.
            let taken = stage.queue.lock().taken;
            prop_assert!(taken <= most.max(max), "{taken} places of {max}");
            prop_assert!(places.len() as u32 <= taken);
            most = taken.max(max);
            prop_assert!(stage.queue.load().waiting <= ROOM + places.len());
        }
        // In the end everybody is served, or has given up.
        for _ in 0..40 {
            stage.advance(Duration::from_millis(250));
            waiting.retain_mut(|entering| match look(entering) {
                Poll::Pending => true,
                Poll::Ready(entered) => {
                    drop(entered);
                    false
                }
            });
            places.pop();
        }
        prop_assert!(waiting.is_empty(), "{} wait for ever", waiting.len());
        places.clear();
        prop_assert_eq!(stage.load(), (0, 0));
        stage.queue.set(terms(&format!("concurrency: {{ max: {max}, queue: 0 }}")));
        let all: Vec<_> = (0..max).map(|_| stage.enter(&tenants[0])).collect();
        prop_assert_eq!(stage.refused(&tenants[0]).why, Why::QueueFull { room: 0 });
        drop(all);
    }
}

/// Many threads that come, hold, and give up at any moment.
#[test]
fn no_place_is_lost_under_many_cancellations() {
    const MAX: u32 = 3;
    let queue = Arc::new(Queue::new("t", Clock::system()));
    queue.set(terms("concurrency: { max: 3, queue: 40, wait: 5ms }"));
    let counters = Arc::new(Counters::new(Clock::system()));
    let inside = Arc::new(AtomicU32::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..64_u64 {
            let (queue, counters, inside) = (Arc::clone(&queue), Arc::clone(&counters), Arc::clone(&inside));
            tasks.spawn(async move {
                let own = tenant(TENANTS[(task % 4) as usize]);
                for turn in 0..300_u64 {
                    let visit = Visit { tenant: Some(&own), left: LONG, counters: &counters };
                    let yields = (task * 31 + turn * 17) % 23;
                    let give_up = async {
                        for _ in 0..yields {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! {
                        entered = queue.enter(visit) => if let Ok(place) = entered {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < MAX);
                            for _ in 0..turn % 5 {
                                tokio::task::yield_now().await;
                            }
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(place);
                        },
                        () = give_up => {}
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    assert_eq!(queue.load(), Load { in_flight: 0, waiting: 0, is_tap_closed: false });
    let visit = |own| Visit { tenant: Some(own), left: LONG, counters: &counters };
    let own = tenant("a");
    let places: Vec<_> =
        (0..MAX).map(|_| runtime.block_on(queue.enter(visit(&own))).expect("every place is still there")).collect();
    assert_eq!(queue.load().in_flight, MAX);
    drop(places);
}

#[test]
fn a_panic_frees_the_place() {
    let stage = Stage::with("concurrency: { max: 1, queue: 0 }");
    let a = tenant("a");
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _place = stage.enter(&a);
        panic!("in the middle of a request");
    }));
    assert!(caught.is_err());
    stage.enter(&a);
}
