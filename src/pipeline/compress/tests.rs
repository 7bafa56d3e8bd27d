use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::{Asked, Gzip, Packing, vary, weakened};

fn head(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

fn json() -> HeaderMap {
    head(&[(header::CONTENT_TYPE, "application/json; charset=utf-8")])
}

fn judged(status: StatusCode, answer: &HeaderMap, asked: &HeaderMap) -> Packing {
    Packing::judge(status, answer, Asked { version: Version::HTTP_11, headers: asked })
}

#[test]
fn callers_get_what_they_like_best() {
    for (wish, packing) in [
        ("gzip", Packing::Gzip),
        ("GZip", Packing::Gzip),
        ("x-gzip", Packing::Gzip),
        ("gzip, deflate, br", Packing::Gzip),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", Packing::Gzip),
        ("deflate,gzip;q=1.000", Packing::Gzip),
        ("gzip ; Q=0.001", Packing::Gzip),
        ("gzip;q=0.5, identity;q=0.5", Packing::Gzip),
        ("gzip;q=0.5, identity;q=0.6", Packing::Plain),
        ("gzip, identity;q=0", Packing::Gzip),
        ("*", Packing::Gzip),
        ("*;q=0.5, identity", Packing::Plain),
        ("*;q=0, gzip", Packing::Gzip),
        ("*, gzip;q=0", Packing::Plain),
        ("gzip;q=0", Packing::Plain),
        ("gzip;q=0.000", Packing::Plain),
        ("gzip;q=0, x-gzip", Packing::Gzip),
        ("*;q=0", Packing::Plain),
        ("identity;q=0", Packing::Plain),
        ("identity", Packing::Plain),
        ("br, deflate", Packing::Plain),
        ("", Packing::Plain),
        (", ,", Packing::Plain),
        // What is not a weight says nothing.
        ("gzip;q=", Packing::Plain),
        ("gzip;q=2", Packing::Plain),
        ("gzip;q=1.5", Packing::Plain),
        ("gzip;q=0.1234", Packing::Plain),
        ("gzip;q=-1", Packing::Plain),
        ("gzip;q=.5", Packing::Plain),
        ("gzip;level=9", Packing::Plain),
        ("gzipped", Packing::Plain),
    ] {
        assert_eq!(judged(StatusCode::OK, &json(), &head(&[(header::ACCEPT_ENCODING, wish)])), packing, "{wish}");
    }
    let lines = head(&[(header::ACCEPT_ENCODING, "br"), (header::ACCEPT_ENCODING, "gzip;q=0.1")]);
    assert_eq!(judged(StatusCode::OK, &json(), &lines), Packing::Gzip);
    assert_eq!(judged(StatusCode::OK, &json(), &HeaderMap::new()), Packing::Plain);
}

#[test]
fn only_whole_plain_long_texts_are_packed() {
    let asked = head(&[(header::ACCEPT_ENCODING, "gzip")]);
    for (status, packing) in [
        (200, Packing::Gzip),
        (201, Packing::Gzip),
        (204, Packing::AsItIs),
        (205, Packing::AsItIs),
        (206, Packing::AsItIs),
        (302, Packing::AsItIs),
        (304, Packing::Gzip),
        (400, Packing::AsItIs),
        (500, Packing::AsItIs),
    ] {
        assert_eq!(judged(StatusCode::from_u16(status).unwrap(), &json(), &asked), packing, "{status}");
    }
    for (media, packing) in [
        ("application/json", Packing::Gzip),
        ("Application/JSON;charset=UTF-8", Packing::Gzip),
        ("application/x-ndjson", Packing::Gzip),
        ("text/csv; charset=utf-8", Packing::Gzip),
        ("text/plain", Packing::Gzip),
        ("application/vnd.api+json", Packing::Gzip),
        ("image/svg+xml", Packing::Gzip),
        ("text/event-stream", Packing::AsItIs),
        ("application/vnd.apache.parquet", Packing::AsItIs),
        ("application/octet-stream", Packing::AsItIs),
        ("application/gzip", Packing::AsItIs),
        ("image/png", Packing::AsItIs),
        ("json", Packing::AsItIs),
        ("", Packing::AsItIs),
    ] {
        assert_eq!(judged(StatusCode::OK, &head(&[(header::CONTENT_TYPE, media)]), &asked), packing, "{media}");
    }
    for (name, value, packing) in [
        (header::CONTENT_LENGTH, "1023", Packing::AsItIs),
        (header::CONTENT_LENGTH, "1024", Packing::Gzip),
        (header::CONTENT_ENCODING, "br", Packing::AsItIs),
        (header::CONTENT_RANGE, "bytes 0-1/2", Packing::AsItIs),
        (header::CACHE_CONTROL, "private, No-Transform", Packing::AsItIs),
        (header::CACHE_CONTROL, "private, max-age=5", Packing::Gzip),
    ] {
        let mut answer = json();
        answer.insert(name.clone(), HeaderValue::from_static(value));
        assert_eq!(judged(StatusCode::OK, &answer, &asked), packing, "{name}: {value}");
    }
    let old = Packing::judge(StatusCode::OK, &json(), Asked { version: Version::HTTP_10, headers: &asked });
    assert_eq!(old, Packing::Plain);
}

#[test]
fn vary_names_the_coding_once() {
    for (before, after) in [
        (vec![], "Accept-Encoding"),
        (vec!["Accept"], "Accept, Accept-Encoding"),
        (vec!["Accept, accept-encoding"], "Accept, accept-encoding"),
        (vec!["Accept", "Origin,, Accept-Language "], "Accept, Origin, Accept-Language, Accept-Encoding"),
        (vec!["Accept, *"], "*"),
    ] {
        let mut answer = HeaderMap::new();
        for value in before {
            answer.append(header::VARY, HeaderValue::from_static(value));
        }
        assert_eq!(vary(&answer), after);
    }
}

#[test]
fn the_tag_of_other_bytes_is_weak() {
    for (before, after) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", None), ("\"\"", Some("W/\"\""))] {
        let weak = weakened(&head(&[(header::ETAG, before)]));
        assert_eq!(weak.as_ref().map(|tag| tag.to_str().unwrap()), after);
    }
    assert_eq!(weakened(&HeaderMap::new()), None);
}

#[test]
fn each_piece_can_be_read_when_it_has_come() {
    let mut gzip = Gzip::new();
    let (mut packed, mut plain) = (Vec::new(), Vec::new());
    for number in 0..50_u32 {
        let piece = format!("piece {number} {}", "x".repeat(number as usize * 1000));
        plain.extend_from_slice(piece.as_bytes());
        packed.extend_from_slice(&gzip.piece(piece.as_bytes()).unwrap());
        let mut so_far = vec![0; plain.len()];
        GzDecoder::new(packed.as_slice()).read_exact(&mut so_far).unwrap();
        assert!(so_far == plain, "after piece {number}");
        let whole = GzDecoder::new(packed.as_slice()).read_to_end(&mut Vec::new());
        assert!(whole.is_err(), "nobody can take it for the whole");
    }
    packed.extend_from_slice(&gzip.last(b"end").unwrap());
    plain.extend_from_slice(b"end");
    let mut whole = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut whole).unwrap();
    assert!(whole == plain, "the whole");
    assert_eq!(Gzip::new().last(b"").unwrap().len(), 20);
}
