use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn server(text: &str) -> Server {
    serde_yaml::from_str(text).expect("a section")
}

fn load(text: &str) -> Arc<Load> {
    let load = Load::new(1_000);
    load.follow(&server(text));
    Arc::new(load)
}

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
}

#[test]
fn one_address_cannot_take_every_place() {
    let load = load("{ overload: { connections: 10, connections_per_address: 5 } }");
    let taken: Vec<_> = (0..5).map(|_| load.enter(address(1)).expect("room")).collect();
    assert_eq!(load.enter(address(1)).unwrap_err(), Full::Address);
    assert_eq!(load.connections(), 5, "who is turned away is not there");
    let others: Vec<_> = (2..7).map(|last| load.enter(address(last)).expect("room")).collect();
    assert_eq!(load.enter(address(9)).unwrap_err(), Full::All);
    assert_eq!(Full::EACH.map(|why| load.refused(why)), [1, 1, 0]);
    drop(taken);
    assert_eq!(load.connections(), 5);
    drop((others, load.enter(address(1)).expect("room again")));
    assert_eq!(load.connections(), 0);
    assert!(load.addresses.iter().all(|shard| shard.lock().unwrap().is_empty()), "nothing is kept of who has left");
}

#[test]
fn the_addresses_of_one_network_are_one_and_proxies_are_none() {
    let load = load("{ trusted_proxies: [10.0.0.0/8], overload: { connections: 100, connections_per_address: 1 } }");
    let [first, second, other] =
        ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| Some(text.parse().unwrap()));
    let _first = load.enter(first).expect("room");
    assert_eq!(load.enter(second).unwrap_err(), Full::Address);
    let _other = load.enter(other).expect("room");
    let mapped = Some("::ffff:192.0.2.1".parse().unwrap());
    let _mapped = load.enter(mapped).expect("room");
    assert_eq!(load.enter(address(1)).unwrap_err(), Full::Address);
    let proxies: Vec<_> = (0..20).map(|_| load.enter(Some("10.1.2.3".parse().unwrap())).expect("room")).collect();
    assert_eq!(load.connections(), 3 + proxies.len() as u64);
}

#[test]
fn what_is_left_out_follows_from_the_open_files() {
    let marks = Marks::of(&server("{}"), 20_000);
    assert_eq!((marks.connections, marks.connections_per_address, marks.in_flight), (7_500, 1_875, 3_750));
    assert!(marks.connections + 2 * marks.in_flight <= 20_000 / 4 * 3);
    let marks = Marks::of(&server("{ overload: { connections: 7, in_flight: 3, memory: 1MiB } }"), 20_000);
    assert_eq!((marks.connections, marks.connections_per_address, marks.in_flight), (7, 2, 3));
    assert_eq!(marks.memory, Some(1 << 20));
    assert!(Marks::of(&server("{}"), 0).connections > 0, "some can always come");
    assert_eq!(
        Marks::of(&server("{}"), u64::MAX),
        Marks::of(&server("{}"), 1 << 20),
        "there is no end to what systems allow"
    );
}

#[test]
fn who_writes_marks_that_cannot_be_reached_is_told() {
    let marks = |text: &str| Marks::of(&server(text), 1_000);
    assert_eq!(warnings(&marks("{}"), 1_000, Some(1 << 20)), Vec::<String>::new());
    let fits = marks("{ overload: { connections: 1000, memory: 400MiB } }");
    assert_eq!(warnings(&fits, 1_000, Some(500 << 20)), Vec::<String>::new());
    assert_eq!(warnings(&fits, 1_000, None), Vec::<String>::new());
    let told = warnings(&marks("{ overload: { connections: 1001, memory: 1GiB } }"), 1_000, Some(500 << 20));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("is 1001, but the process may open 1000 files only"), "{told:?}");
    assert!(told[1].contains("is 1024 MiB, but the system ends the process at 500 MiB"), "{told:?}");
}

#[test]
fn memory_must_have_come_down_before_it_is_enough() {
    let load = load("{ overload: { memory: 1000B } }");
    let steps = [(999, Memory::AsBefore), (1_001, Memory::GotShort), (990, Memory::AsBefore), (950, Memory::Recovered)];
    for (bytes, expected) in steps {
        assert_eq!(load.note_memory(bytes), expected, "{bytes}");
        let is_short = [1_001, 990].contains(&bytes);
        assert_eq!(load.begin().err(), is_short.then_some(Strain::Memory), "{bytes}");
        assert_eq!(load.enter(address(1)).err(), is_short.then_some(Full::Memory), "{bytes}");
        assert_eq!(load.connections(), 0, "none is left");
    }
    assert_eq!(load.note_memory(2_000), Memory::GotShort);
    load.follow(&server("{}"));
    assert!(load.begin().is_ok(), "there is no mark any more");
    assert_eq!(load.note_memory(u64::MAX), Memory::AsBefore);
}

#[test]
fn who_is_refused_takes_no_place() {
    let load = load("{ overload: { in_flight: 2 } }");
    let first = load.begin().expect("room");
    let second = load.begin().expect("room");
    for _ in 0..3 {
        assert_eq!(load.begin().unwrap_err(), Strain::InFlight);
    }
    drop(first);
    let third = load.begin().expect("room again");
    drop((second, third));
    assert_eq!(load.requests.load(Ordering::Relaxed), 0);
}

proptest! {
    #[test]
    fn the_count_is_that_of_who_is_there(steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..60)) {
        let load = load("{ overload: { connections: 9, connections_per_address: 4 } }");
        let mut there: Vec<(u8, Entry)> = Vec::new();
        for (last, comes) in steps {
            if !comes {
                if let Some(at) = there.iter().position(|(other, _)| *other == last) {
                    drop(there.swap_remove(at));
                }
                continue;
            }
            let of_this = there.iter().filter(|(other, _)| *other == last).count();
            match load.enter(address(last)) {
                Ok(entry) => there.push((last, entry)),
                Err(Full::Address) => prop_assert_eq!(of_this, 4),
                Err(Full::All) => prop_assert_eq!(there.len(), 9),
                Err(Full::Memory) => prop_assert!(false, "there is no such mark"),
            }
            prop_assert!(there.len() <= 9 && of_this <= 4);
        }
        prop_assert_eq!(load.connections(), there.len() as u64);
    }
}
