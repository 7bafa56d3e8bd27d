use super::*;

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const BEFORE_FLAGS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn trace(values: &[&str]) -> Trace {
    Trace::continue_or_begin(&headers(values), Sampling::Off)
}

#[test]
fn a_callers_trace_goes_on_with_a_new_span_for_each_try() {
    for sampling in [Sampling::Off, Sampling::Share(0.0)] {
        let mut trace = Trace::continue_or_begin(&headers(&[GIVEN]), sampling);
        let mut tries = Vec::new();
        for _ in 0..2 {
            trace.begin_try(crate::clock::Clock::system().now());
            let header = trace.header();
            let text = header.to_str().unwrap();
            assert!(text.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && text.ends_with("-01"), "{text}");
            assert!(!text.contains("b7ad6b7169203331"));
            tries.push(Parent::parse(text.as_bytes()).unwrap().span);
        }
        assert_ne!(tries[0], tries[1]);
        match (sampling, trace.spans()) {
            (Sampling::Off, spans) => assert!(spans.is_none()),
            (Sampling::Share(_), spans) => {
                let spans = spans.unwrap();
                assert_eq!(spans.parent, Some(*b"b7ad6b7169203331"));
                assert_eq!(spans.tries.iter().map(|tried| tried.span).collect::<Vec<_>>(), tries);
            }
        }
    }
}

/// The cases of the W3C's own test suite (`trace-context/test/test.py`).
#[test]
fn malformed_traces_are_not_continued() {
    let (trace_id, span) = ("12345678901234567890123456789012", "1234567890123456");
    let (short_id, short_span) = ("2345678901234567890123456789012", "234567890123456");
    let well = [
        format!("00-{trace_id}-{span}-01"),
        format!("cc-{trace_id}-{span}-01"),
        format!("cc-{trace_id}-{span}-01-what-the-future-will-be-like"),
    ];
    for good in well {
        assert_eq!(trace(&[&good]).id(), trace_id, "{good}");
    }
    let zero = |n: usize| "0".repeat(n);
    let bad = [
        String::new(),
        "00".to_owned(),
        format!("00-{trace_id}-{span}-01."),
        format!("00-{trace_id}-{span}-01-what-the-future-will-be-like"),
        format!("cc-{trace_id}-{span}-01.what-the-future-will-be-like"),
        format!("ff-{trace_id}-{span}-01"),
        format!(".0-{trace_id}-{span}-01"),
        format!("0.-{trace_id}-{span}-01"),
        format!("000-{trace_id}-{span}-01"),
        format!("0000-{trace_id}-{span}-01"),
        format!("0-{trace_id}-{span}-01"),
        format!("00-{}-{span}-01", zero(32)),
        format!("00-.{}-{span}-01", zero(31)),
        format!("00-{}.-{span}-01", short_id),
        format!("00-{trace_id}3-{span}-01"),
        format!("00-{}-{span}-01", short_id),
        format!("00-{trace_id}-{}-01", zero(16)),
        format!("00-{trace_id}-.{}-01", short_span),
        format!("00-{trace_id}-{}.-01", short_span),
        format!("00-{trace_id}-{span}7-01"),
        format!("00-{trace_id}-{}-01", short_span),
        format!("00-{trace_id}-{span}-.0"),
        format!("00-{trace_id}-{span}-0."),
        format!("00-{trace_id}-{span}-001"),
        format!("00-{trace_id}-{span}-1"),
        format!("00-{trace_id}-{span}"),
        GIVEN.to_uppercase(),
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01".to_owned(),
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01".to_owned(),
    ];
    for bad in bad {
        let begun = trace(&[&bad]);
        assert!(!bad.contains(begun.id()), "{bad}");
        assert_eq!(begun.header().to_str().unwrap().len(), GIVEN.len());
    }
}

#[test]
fn of_two_traces_neither_is_continued() {
    let other = "00-12345678901234567890123456789011-1234567890123456-01";
    for both in [[GIVEN, other], [GIVEN, GIVEN]] {
        let id = trace(&both).id().to_owned();
        assert!(both.iter().all(|given| !given.contains(&id)), "{id}");
    }
}

#[test]
fn flags_without_a_meaning_are_not_passed_on() {
    for (given, passed) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("fc", 0)] {
        let trace = trace(&[&format!("{BEFORE_FLAGS}{given}")]);
        assert_eq!(trace.flags(), passed, "{given}");
        assert!(trace.header().to_str().unwrap().ends_with(&format!("-0{passed}")));
    }
}

#[test]
fn what_others_wrote_is_passed_on_with_their_trace_only() {
    let mut both = headers(&[GIVEN]);
    both.append("tracestate", HeaderValue::from_static("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    let trace = Trace::continue_or_begin(&both, Sampling::Off);
    assert_eq!(trace.state().unwrap(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
    both.remove(TRACEPARENT);
    assert_eq!(Trace::continue_or_begin(&both, Sampling::Off).state(), None);
}

#[test]
fn the_caller_decides_what_is_kept_and_a_share_where_nobody_did() {
    let kept = |given: &[&str], sampling| Trace::continue_or_begin(&headers(given), sampling).spans().is_some();
    let unsampled = format!("{BEFORE_FLAGS}00");
    assert!(kept(&[GIVEN], Sampling::Share(0.0)));
    assert!(!kept(&[&unsampled], Sampling::Share(1.0)));
    assert!(!kept(&[GIVEN], Sampling::Off));
    assert!(kept(&[], Sampling::Share(1.0)) && !kept(&[], Sampling::Share(0.0)) && !kept(&[], Sampling::Off));
    let share = (0..10_000).filter(|_| kept(&[], Sampling::Share(0.1))).count();
    assert!((800..1_200).contains(&share), "{share}");
    let begun = Trace::continue_or_begin(&headers(&[]), Sampling::Share(1.0));
    assert!(begun.header().to_str().unwrap().ends_with("-01"), "whoever is behind the gateway keeps it, too");
}

#[test]
fn request_ids_are_unlike_each_other() {
    assert_ne!(request_id(), request_id());
    assert!(is_request_id(request_id().as_bytes()));
    for bad in ["short", "with space in it", "line\nbreak-here", "", "ä-ä-ä-ä-ä", "token=abcdef"] {
        assert!(!is_request_id(bad.as_bytes()), "{bad:?}");
    }
}
