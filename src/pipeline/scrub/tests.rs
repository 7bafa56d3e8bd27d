use base64::Engine;
use bytes::Bytes;
use http::HeaderValue;

use super::*;

const TOKEN: &str = "p.eyJ1IjoiYWJjIn0.secret/part+1=";

fn told(request_id: &str) -> Told<'_> {
    static PHRASES: std::sync::LazyLock<Phrases> = std::sync::LazyLock::new(Phrases::default);
    Told { request_id, phrases: &PHRASES }
}

fn scrub(error_text: ErrorText, pattern: &str, proxy: Option<&str>) -> Scrub {
    let endpoint: Endpoint = "https://api.tinybird.co".parse().unwrap();
    let template: Option<Template> = proxy.map(|proxy| proxy.parse().unwrap());
    let wording = Arc::new(Wording::compile(["api.tinybird.co"].into_iter()));
    let tripwire = Arc::new(Tripwire::compile([TOKEN].into_iter()));
    Scrub::compile(error_text, &[endpoint], (&pattern.parse().unwrap(), template.as_ref()), wording, tripwire)
}

fn body(text: &str) -> ErrorBody {
    let mut body = ErrorBody::new(&HeaderMap::new());
    body.push(&Bytes::copy_from_slice(text.as_bytes()));
    body
}

fn cleaned(status: u16, text: &str) -> String {
    let scrub = scrub(ErrorText::ClientErrors, "/a", None);
    let bytes = scrub.error_body(StatusCode::from_u16(status).unwrap(), &body(text), told("id-1")).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn client_errors_keep_their_text_without_what_betrays() {
    let text = cleaned(
        400,
        r#"{"error":"Missing parameter 'start' (Date), see https://www.tinybird.co/docs?x=1","documentation":"https://x"}"#,
    );
    assert!(text.contains("Missing parameter 'start' (Date), see [link]"), "{text}");
    assert!(!text.contains("documentation") && !text.to_lowercase().contains("tinybird"), "{text}");
    assert!(text.contains(r#""request_id":"id-1""#));
}

#[test]
fn vendor_names_hosts_and_tokens_go() {
    let text = cleaned(
        403,
        r#"{"error":"Tinybird at api.tinybird.co:443 refused p.eyJhbGciOiJIUzI1.abc_d and eyJhbGciOiJI.eyJzdWIiOi.sig; ClickHouse said token=abc&x=1"}"#,
    );
    for word in ["inybird", "lickHouse", "p.ey", "eyJ", "token=abc"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    assert!(text.contains("refused"));
}

#[test]
fn server_errors_and_what_is_not_json_are_replaced() {
    for (status, sent) in
        [(500, r#"{"error":"SELECT secret FROM t"}"#), (400, "<html>SELECT</html>"), (400, "[1]"), (404, "")]
    {
        let text = cleaned(status, sent);
        assert!(!text.contains("SELECT"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().get("error").unwrap().is_string());
    }
    let all = scrub(ErrorText::All, "/a", None);
    let bytes = all.error_body(StatusCode::BAD_GATEWAY, &body(r#"{"error":"boom"}"#), told("1")).unwrap();
    assert!(String::from_utf8(bytes).unwrap().contains("boom"));
    let nothing = scrub(ErrorText::Nothing, "/a", None);
    let bytes = nothing.error_body(StatusCode::BAD_REQUEST, &body(r#"{"error":"boom"}"#), told("1")).unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains("boom"));
}

#[test]
fn large_and_compressed_error_bodies() {
    let mut large = body("{\"error\":\"");
    for _ in 0..70 {
        large.push(&Bytes::from(vec![b'x'; 1024]));
    }
    let text = scrub(ErrorText::All, "/a", None).error_body(StatusCode::BAD_REQUEST, &large, told("1")).unwrap();
    assert!(text.len() < 300);

    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let mut zipped = ErrorBody::new(&headers);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, br#"{"error":"zipped text"}"#).unwrap();
    zipped.push(&Bytes::from(encoder.finish().unwrap()));
    let text = scrub(ErrorText::All, "/a", None).error_body(StatusCode::BAD_REQUEST, &zipped, told("1")).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("zipped text"));

    let mut bomb = ErrorBody::new(&headers);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 10 << 20]).unwrap();
    bomb.push(&Bytes::from(encoder.finish().unwrap()));
    assert!(bomb.decoded().is_none(), "a bomb is not unpacked");
}

#[test]
fn tripwire_finds_every_spelling() {
    let wire = Tripwire::compile([TOKEN, "short"].into_iter());
    let percent = "p.eyJ1IjoiYWJjIn0.secret%2Fpart%2B1%3D";
    for bytes in [
        TOKEN.to_owned(),
        format!("x={percent}&y"),
        percent.to_lowercase().replace("eyj1ijoiywjjin0", "eyJ1IjoiYWJjIn0"),
    ] {
        assert!(wire.trips(bytes.as_bytes()), "{bytes}");
    }
    for prefix in ["", "a", "ab", "abc", "Bearer "] {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{prefix}{TOKEN}:rest"));
        assert!(wire.trips(encoded.as_bytes()), "{prefix}");
    }
    assert!(!wire.trips(b"a short text about tokens and nothing else"));
    assert!(!Tripwire::compile(["short"].into_iter()).trips(b"short short short short"));
}

#[test]
fn redirects_stay_inside_or_go() {
    let tail = scrub(ErrorText::All, "/ch/*", Some("/api/{path.rest}"));
    let location = |value: &str| tail.header(&header::LOCATION, value.as_bytes());
    assert_eq!(location("https://api.tinybird.co/api/x/y?a=1&token=S"), HeaderFate::Replace("/ch/x/y?a=1".into()));
    assert_eq!(location("/api/x"), HeaderFate::Replace("/ch/x".into()));
    assert_eq!(location("/other?%74oken=S"), HeaderFate::Drop);
    assert_eq!(
        location("https://storage.example.com/f?sig=1"),
        HeaderFate::Replace("https://storage.example.com/f?sig=1".into())
    );
    let exact = scrub(ErrorText::All, "/a", None);
    assert_eq!(exact.header(&header::LOCATION, b"/v0/pipes/x.json?token=S"), HeaderFate::Drop);
    assert_eq!(exact.header(&header::SERVER, b"Tinybird"), HeaderFate::Drop);
    assert_eq!(exact.header(&header::SET_COOKIE, b"a=b"), HeaderFate::Drop);
    assert_eq!(exact.header(&header::ETAG, b"x"), HeaderFate::Keep);
}
