use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};

use super::book::{Book, Current, Ending, Entry, From, Job, News, Now, ORDERS, Refused, State, Wish, way, worst};
use super::certificate::{self, Certificate};
use super::issuer::{Hook, Issuer};
use super::name::Name;
use super::order::Way;
use super::trouble::{Kind, Trouble};
use crate::clock::TestClock;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn issuer(host: &str) -> Issuer {
    Issuer::new(format!("https://{host}/dir").parse().unwrap())
}

fn book(issuers: &[&str]) -> Book {
    let mut book = Book::new();
    book.issuers = issuers.iter().map(|host| Arc::new(issuer(host))).collect();
    book
}

fn now(time: &TestClock) -> Now {
    Now { passed: time.clock().now(), wall: time.clock().wall() }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A certificate of 90 days that ends in so many.
fn certificate(text: &str, wall: SystemTime, left: Duration) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(vec![text.to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.not_before = (wall + left - DAY * 90).into();
    params.not_after = (wall + left).into();
    let leaf = params.signed_by(&key, &authority.unwrap()).unwrap();
    let pem = certificate::join(&key.serialize_pem(), &leaf.pem());
    certificate::read(pem.as_bytes(), &name(text)).unwrap()
}

fn add(book: &mut Book, text: &str, wish: Wish, left: Option<Duration>, now: Now) {
    let current = left.map(|left| Current::new(certificate(text, now.wall, left), "a.example-dir".to_owned()));
    book.entries.insert(name(text), Entry::new(wish, current, now));
}

fn names(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.name().to_string()).collect()
}

fn failed(kind: Kind) -> Ending {
    refused(kind, None)
}

/// By `a.example`.
fn refused(kind: Kind, until: Option<SystemTime>) -> Ending {
    let refused = Refused { issuer: issuer("a.example").slug(), kind, until };
    Ending::Failed(Trouble::new(kind, "so it is"), vec![refused])
}

fn next_try(book: &Book, now: Now) -> Duration {
    book.report(now)[0].next_try.unwrap().duration_since(now.wall).unwrap()
}

#[test]
fn who_waits_comes_first_and_few_come_at_a_time() {
    let (mut book, time) = (book(&["a.example"]), TestClock::new());
    let now = now(&time);
    add(&mut book, "soon.example", Wish::Listed, Some(DAY), now);
    add(&mut book, "later.example", Wish::Listed, Some(20 * DAY), now);
    add(&mut book, "fresh.example", Wish::Listed, Some(80 * DAY), now);
    add(&mut book, "none.example", Wish::Listed, None, now);
    add(&mut book, "zone.example", Wish::Listed, None, now);
    add(&mut book, "waits.example", Wish::Asked, None, now);
    let first = book.due(now);
    assert_eq!(names(&first), ["waits.example", "none.example", "zone.example", "soon.example"]);
    assert_eq!(first.len(), ORDERS);
    assert!(book.due(now).is_empty(), "there is no room");
    assert!(book.end(&name("waits.example"), failed(Kind::Dns), now).is_some());
    assert_eq!(names(&book.due(now)), ["later.example"], "what failed waits for its pause, what is fresh for its time");
    book.reset();
    assert_eq!(names(&book.due(now)), ["none.example", "zone.example", "soon.example", "later.example"]);
}

#[test]
fn without_an_authority_nothing_is_due() {
    let (mut book, time) = (book(&[]), TestClock::new());
    add(&mut book, "a.example", Wish::Asked, None, now(&time));
    assert!(book.due(now(&time)).is_empty());
}

#[test]
fn a_failure_is_news_once_and_a_pause_each_time() {
    let (mut book, time) = (book(&["a.example"]), TestClock::new());
    add(&mut book, "a.example", Wish::Listed, None, now(&time));
    let mut waits = Vec::new();
    for (kind, is_news) in [(Kind::Dns, true), (Kind::Dns, false), (Kind::Reach, true), (Kind::Dns, true)] {
        assert_eq!(book.report(now(&time))[0].state, if waits.is_empty() { State::Waiting } else { State::Failed });
        assert_eq!(book.due(now(&time)).len(), 1);
        assert_eq!(book.report(now(&time))[0].state, State::Ordering);
        assert_eq!(book.report(now(&time))[0].next_try, None);
        let news = book.end(&name("a.example"), failed(kind), now(&time)).unwrap();
        assert_eq!(matches!(news, News::Failed(..)), is_news, "{news:?}");
        assert!(book.due(now(&time)).is_empty());
        let wait = next_try(&book, now(&time));
        assert_eq!(book.idle_for(now(&time)), wait);
        waits.push(wait);
        time.advance(wait);
    }
    for (wait, minutes) in waits.iter().zip([1, 2, 4, 8]) {
        assert!(*wait >= MINUTE * minutes && *wait <= MINUTE * minutes * 5 / 4, "{wait:?}");
    }
    assert_eq!(book.due(now(&time)).len(), 1);
    let issued = certificate("a.example", now(&time).wall, 90 * DAY);
    let news =
        book.end(&name("a.example"), Ending::Got(issued, "a.example-dir".to_owned(), From::Authority), now(&time));
    assert!(matches!(news, Some(News::Issued(_))), "{news:?}");
    let report = &book.report(now(&time))[0];
    assert_eq!((report.state, report.last_error.clone(), report.days_left), (State::Active, None, Some(89)));
    assert!(next_try(&book, now(&time)) > 56 * DAY);
}

#[test]
fn one_authority_that_wants_to_be_left_alone_does_not_hold_up_the_other() {
    let time = TestClock::new();
    for (hosts, alone) in [(&["a.example"][..], true), (&["a.example", "b.example"], false)] {
        let mut book = book(hosts);
        add(&mut book, "x.example", Wish::Listed, None, now(&time));
        assert_eq!(book.due(now(&time)).len(), 1);
        let until = Some(now(&time).wall + 100 * MINUTE);
        let news = book.end(&name("x.example"), refused(Kind::Limit, until), now(&time));
        let wait = next_try(&book, now(&time));
        assert_eq!(wait > 90 * MINUTE, alone, "{wait:?}");
        assert!(matches!(news, Some(News::Failed(_, said)) if said == wait));
        let later = Now { passed: now(&time).passed + wait, wall: now(&time).wall + wait };
        let jobs = book.due(later);
        let Some(Job::Order { issuers, .. }) = jobs.first() else { panic!("{jobs:?}") };
        let asked: Vec<String> = issuers.iter().map(|issuer| issuer.slug()).collect();
        assert_eq!(asked, [if alone { "a.example-dir" } else { "b.example-dir" }]);
    }
}

#[test]
fn an_authority_that_is_away_is_not_asked_once_for_each_name() {
    let (mut book, time) = (book(&["a.example"]), TestClock::new());
    let all: Vec<String> = (0..40).map(|number| format!("n{number}.example")).collect();
    for text in &all {
        add(&mut book, text, Wish::Listed, None, now(&time));
    }
    let (mut asked, mut waits) = (0, Vec::new());
    for _ in 0..4 {
        // Those that were under way together fail together.
        let jobs = book.due(now(&time));
        assert_eq!(jobs.len(), ORDERS);
        asked += jobs.len();
        for job in &jobs {
            assert!(!book.is_settled(job.name(), now(&time)));
            book.end(job.name(), failed(Kind::Silence), now(&time));
        }
        assert!(all.iter().all(|text| book.is_settled(&name(text), now(&time))), "none of them comes soon");
        assert!(book.due(now(&time)).is_empty());
        waits.push(book.idle_for(now(&time)));
        time.advance(book.idle_for(now(&time)));
    }
    assert_eq!(asked, 4 * ORDERS);
    for (wait, minutes) in waits.iter().zip([1, 2, 4, 8]) {
        assert!(*wait >= MINUTE * minutes && *wait <= MINUTE * minutes * 5 / 4, "{waits:?}");
    }
    // It is back: everybody has their turn at once.
    let mut got = 0;
    loop {
        let jobs = book.due(now(&time));
        if jobs.is_empty() {
            break;
        }
        got += jobs.len();
        for job in jobs {
            let issued = certificate(job.name().as_str(), now(&time).wall, 90 * DAY);
            book.end(job.name(), Ending::Got(issued, issuer("a.example").slug(), From::Authority), now(&time));
        }
    }
    assert!(got >= all.len() - 4 * ORDERS, "{got}");
}

#[test]
fn a_limit_of_the_account_is_not_found_out_by_every_name() {
    let (mut book, time) = (book(&["a.example"]), TestClock::new());
    for number in 0..20 {
        add(&mut book, &format!("n{number}.example"), Wish::Listed, None, now(&time));
    }
    let until = Some(now(&time).wall + 20 * MINUTE);
    let first = book.due(now(&time));
    for job in &first {
        book.end(job.name(), refused(Kind::Limit, until), now(&time));
    }
    assert!(book.due(now(&time)).is_empty());
    assert_eq!(book.idle_for(now(&time)), 20 * MINUTE);
    // A limit of one name is nobody else's.
    let (mut book, name) = (self::book(&["a.example"]), name("one.example"));
    add(&mut book, "one.example", Wish::Listed, None, now(&time));
    book.due(now(&time));
    book.end(&name, refused(Kind::Limit, until), now(&time));
    add(&mut book, "other.example", Wish::Listed, None, now(&time));
    assert_eq!(names(&book.due(now(&time))), ["other.example"]);
}

#[test]
fn a_suggestion_moves_the_renewal_and_is_asked_for_again() {
    let (mut book, time) = (book(&["a.example"]), TestClock::new());
    add(&mut book, "a.example", Wish::Listed, Some(89 * DAY), now(&time));
    time.advance(10 * MINUTE);
    let jobs = book.due(now(&time));
    assert!(matches!(jobs[..], [Job::Check { .. }]), "{jobs:?}");
    assert_eq!(book.report(now(&time))[0].state, State::Active);
    let wall = now(&time).wall;
    let window = (wall + 5 * DAY, wall + 6 * DAY);
    book.end(&name("a.example"), Ending::Checked(Some(window), Some(6 * 60 * MINUTE)), now(&time));
    let picked = next_try(&book, now(&time));
    assert!(picked >= 5 * DAY && picked <= 6 * DAY, "{picked:?}");
    time.advance(7 * 60 * MINUTE);
    assert!(matches!(book.due(now(&time))[..], [Job::Check { .. }]));
    book.end(&name("a.example"), Ending::Checked(Some(window), None), now(&time));
    assert_eq!(next_try(&book, now(&time)), picked - 7 * 60 * MINUTE, "the same window is the same moment");
    time.advance(8 * 60 * MINUTE);
    assert!(matches!(book.due(now(&time))[..], [Job::Check { .. }]));
    // It has to be revoked: now.
    book.end(&name("a.example"), Ending::Checked(Some((wall - DAY, wall)), None), now(&time));
    assert!(matches!(book.due(now(&time))[..], [Job::Order { .. }]));
}

#[test]
fn wildcards_go_by_dns_and_others_by_turns_where_that_can_be() {
    let bare = issuer("a.example");
    let hooked = Issuer { dns_hook: Hook::parse("/bin/true"), ..bare.clone() };
    for (text, issuer, attempt, expected) in [
        ("a.example", &bare, 0, Way::Http),
        ("a.example", &bare, 1, Way::Http),
        ("a.example", &hooked, 0, Way::Http),
        ("a.example", &hooked, 1, Way::Dns),
        ("a.example", &hooked, 2, Way::Http),
        ("*.a.example", &hooked, 0, Way::Dns),
        ("*.a.example", &bare, 0, Way::Dns),
    ] {
        assert_eq!(way(&name(text), issuer, attempt), expected, "{text} {attempt}");
    }
}

#[test]
fn of_several_troubles_the_one_is_told_that_somebody_can_do_something_about() {
    let kinds =
        |kinds: &[Kind]| worst(kinds.iter().map(|kind| Trouble::new(*kind, "")).collect()).map(|found| found.kind);
    assert_eq!(kinds(&[]), None);
    assert_eq!(kinds(&[Kind::Silence, Kind::Dns]), Some(Kind::Dns));
    assert_eq!(kinds(&[Kind::Reach, Kind::Dns, Kind::Limit]), Some(Kind::Reach));
    assert_eq!(kinds(&[Kind::Silence, Kind::Limit]), Some(Kind::Silence));
}
